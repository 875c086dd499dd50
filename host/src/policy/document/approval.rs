//! `[approval]`: from text to settings.

use http::Uri;

use crate::policy::ApprovalSettings;
use crate::policy::document::keys::APPROVAL;
use crate::policy::document::network::read_rules;
use crate::policy::document::secrets::References;
use crate::policy::network::Target;
use crate::toml_text::{Node, Reader};

/// The one method of a webhook.
const METHOD: &str = "POST";

/// Reads `[approval]`.
pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>, used: &mut References) -> ApprovalSettings {
    let Some(fields) = reader.shaped(node, &APPROVAL) else {
        return ApprovalSettings::default();
    };
    let webhook = fields.get("webhook").and_then(|node| {
        let text = reader.string(&node)?;
        let fault = match text.parse::<Uri>() {
            Ok(uri) => Target::of(&uri).err().map(|fault| fault.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let Some(fault) = fault else { return Some(text.to_owned()) };
        // Without the text: the paths of such URLs are often secrets.
        let hint = "write a url in full, such as `https://chat.example.com/hooks/approvals`".to_owned();
        reader.report(&node.place, "bad-url", format!("`webhook` is no url that is told: {fault}"), Some(hint));
        None
    });
    let expires_in_s = reader.ranged(&fields, &APPROVAL, "expires_in_s");
    let network = fields.get("network").map(|node| {
        let rules = read_rules(reader, &node, used);
        if rules.iter().any(|rule| rule.methods.iter().any(|method| method != METHOD)) {
            let hint = format!("write `methods = [\"{METHOD}\"]`");
            reader.report(&node.place, "bad-method", format!("a webhook is a {METHOD} and nothing else"), Some(hint));
        }
        rules
    });
    ApprovalSettings { webhook, expires_in_s, network: network.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use crate::policy::Policy;

    fn read(lines: &str) -> Result<Policy, Vec<String>> {
        let text = format!("schema = \"skillhost.policy/1\"\n[approval]\n{lines}\n");
        Policy::parse(&text).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_it_says_is_kept() {
        let policy = read(
            "webhook = \"https://hooks.test/T1/B2?x=1\"\nexpires_in_s = 3600\n\
             network = [{ url = \"https://plans.test/*\", methods = [\"POST\"] }]",
        );
        let approval = policy.unwrap().approval;
        assert_eq!(approval.webhook.as_deref(), Some("https://hooks.test/T1/B2?x=1"));
        assert_eq!((approval.expires_in_s, approval.network.len()), (Some(3600), 1));
        assert_eq!(Policy::deny_all().approval, super::ApprovalSettings::default());
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for (lines, expected) in [
            ("webhook = 1", "expected a string"),
            ("webhook = \"hooks.test\"", "`webhook` is no url"),
            ("webhook = \"ftp://hooks.test/\"", "neither http nor https"),
            ("webhook = \"https://user:pass@hooks.test/\"", "user name or password"),
            ("webhook = \"https://hooks.test/a/../b\"", "`.` or `..`"),
            ("webhok = \"https://hooks.test/\"", "there is no key `webhok`"),
            ("expires_in_s = 0", "must be from 1 to 2592000"),
            ("expires_in_s = 2592001", "must be from 1 to 2592000"),
            ("expires_in_s = 1.5", "expected an integer"),
            ("network = [{ url = \"https://a.test/*\", methods = [\"GET\"] }]", "a webhook is a POST"),
            ("network = [{ url = \"https://a.test/*\", methods = [\"GET\", \"POST\"] }]", "a webhook is a POST"),
            ("network = [{ url = \"http://10.0.0.1/*\", methods = [\"POST\"] }]", "private"),
            (
                "network = [{ url = \"https://a.test/*\", methods = [\"POST\"], headers = { x = { secret = \"S\" } } }]",
                "the secret `S` is not declared",
            ),
        ] {
            let problems = read(lines).unwrap_err();
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{lines}: {problems:?}");
            assert!(problems.iter().all(|problem| !problem.contains("user:pass")), "{problems:?}");
        }
    }
}
