//! What a policy may say that nobody has named and nobody trusts: it came with a folder, and so did the plan and perhaps the skills.
//!
//! Pure. Such a policy may let tools compute, and read and write the workspace, which the user names or which is a folder made for that; what
//! they change there can be undone. So it may also lift the question for approval. Everything by which something of this machine could get
//! out, or a change could reach further, is beyond it:
//!
//! - folders other than `{workspace}` and those below it,
//! - any network, webhooks included: a request to any server can carry the workspace, and `GET` is enough for that,
//! - secrets: the host's environment and files; texts in `env` and `config`, and what a request says of itself, are the caller's and its own,
//! - which DNS server and which certificates the host believes,
//! - more work than the stock limits,
//! - how long the operator's runs are kept and what an audit shows of them.

use crate::limits::StepLimits;
use crate::policy::network::Roots;
use crate::policy::{AuditSettings, Grant, Policy, WORKSPACE};
use crate::problem::{Problem, Problems, pointer_to};
use crate::toml_text;

/// The code of what is beyond a policy that is not trusted.
pub const BEYOND: &str = "beyond-untrusted";

/// What of a policy with this text is beyond one that is not trusted, each with its line; nothing where it may be used as it is.
#[must_use]
pub fn overreach(policy: &Policy, text: &str) -> Vec<Problem> {
    let mut found = Problems::default();
    let mut beyond = |pointer: String, message: String| {
        let problem = Problem::new(BEYOND, pointer, message);
        found.push(match toml_text::position_of(text, &problem.pointer) {
            Some(position) => problem.at(position),
            None => problem,
        });
    };
    let stock = StepLimits::DEFAULT.entries();
    for ((key, value), (_, most)) in policy.limits.entries().into_iter().zip(stock) {
        if value > most {
            beyond(format!("/limits/{key}"), format!("`{key}` is above the stock limit, which is {most}"));
        }
    }
    if policy.network.dns.is_some() {
        beyond("/network/dns".to_owned(), "it chooses the DNS server that the host asks".to_owned());
    }
    if policy.network.roots != Roots::Mozilla {
        beyond("/network/roots".to_owned(), "it chooses the certificates that the host believes".to_owned());
    }
    if policy.approval.webhook.is_some() {
        beyond("/approval/webhook".to_owned(), "it sends what waits for approval to a server".to_owned());
    }
    for index in 0..policy.approval.network.len() {
        beyond(
            format!("/approval/network/{index}"),
            "it lets plans send what waits for approval to a server".to_owned(),
        );
    }
    let AuditSettings { level, retention_days, .. } = &policy.audit;
    if *level != AuditSettings::default().level {
        beyond("/audit/level".to_owned(), "it hides from an audit what its runs did".to_owned());
    }
    if retention_days.is_some() {
        beyond("/audit/retention_days".to_owned(), "it says how long your runs are kept".to_owned());
    }
    for name in policy.secrets.keys() {
        beyond(pointer_to("/secrets", name), format!("the secret `{name}` is a value of this machine"));
    }
    for (index, grant) in policy.grants.iter().enumerate() {
        of_grant(grant, index, &mut beyond);
    }
    found.into_vec()
}

fn of_grant(grant: &Grant, index: usize, beyond: &mut impl FnMut(String, String)) {
    for (at, preopen) in grant.filesystem.iter().enumerate() {
        let below = preopen.host.strip_prefix(WORKSPACE);
        if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message = format!("the folder `{}` is outside of `{WORKSPACE}`", crate::problem::shown(&preopen.host));
            beyond(format!("/grant/{index}/filesystem/{at}/host"), message);
        }
    }
    for (at, rule) in grant.network.iter().enumerate() {
        let message = format!("`{}` reaches a server", crate::problem::shown(&rule.to_string()));
        beyond(format!("/grant/{index}/network/{at}/url"), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Vec<(String, Option<u64>)> {
        let text = format!("schema = \"skillhost.policy/1\"\n{lines}\n");
        let policy = Policy::parse(&text).unwrap_or_else(|problems| panic!("{lines}: {problems:?}"));
        let found = overreach(&policy, &text);
        assert!(found.iter().all(|problem| problem.code == BEYOND));
        found.into_iter().map(|problem| (problem.pointer, problem.position.map(|at| at.line))).collect()
    }

    const GRANT: &str = "[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";

    #[test]
    fn what_stays_in_the_workspace_is_within() {
        for lines in [
            String::new(),
            GRANT.to_owned(),
            format!("{GRANT}filesystem = [{{ host = \"{{workspace}}\", guest = \"/w\", access = \"read-write\" }}]"),
            format!("{GRANT}filesystem = [{{ host = \"{{workspace}}/a/b\", guest = \"/w\", access = \"read-only\" }}]"),
            format!(
                "{GRANT}approval = \"never\"\nenv = {{ LANG = \"C\", A = {{ request = \"A\" }} }}\nconfig = {{ a = \"b\" }}"
            ),
            format!("{GRANT}clocks = \"real\"\nrandom = \"real\"\nsockets = \"closed\"\ncalls = [\"text.*\"]"),
            format!("[limits]\nfuel = 1\ndeadline_ms = 30_000\n[run]\nsteps = 100\nattempts = 10\n{GRANT}"),
            format!("[audit]\ntags = [\"a\"]\n[approval]\nexpires_in_s = 5\n{GRANT}"),
        ] {
            assert_eq!(of(&lines), [], "{lines}");
        }
    }

    #[test]
    fn everything_else_is_beyond_with_its_line() {
        for (lines, pointer, line) in [
            ("[limits]\nfuel = 2_000_000_001", "/limits/fuel", 3),
            ("[limits]\ndeadline_ms = 30_001", "/limits/deadline_ms", 3),
            ("[limits]\nmemory_bytes = 134_217_729", "/limits/memory_bytes", 3),
            ("[limits]\noutput_bytes = 16_777_217", "/limits/output_bytes", 3),
            ("[limits]\nstdio_bytes = 1_048_577", "/limits/stdio_bytes", 3),
            ("[limits]\nhost_calls = 10_000_001", "/limits/host_calls", 3),
            ("[limits]\ntrace_bytes = 4_294_967_297", "/limits/trace_bytes", 3),
            ("[network]\ndns = \"127.0.0.1:53\"", "/network/dns", 3),
            ("[network]\nroots = { file = \"/ca.pem\" }", "/network/roots", 3),
            ("[approval]\nwebhook = \"https://a.test/x\"", "/approval/webhook", 3),
            ("[approval]\nnetwork = [{ url = \"https://a.test/*\", methods = [\"POST\"] }]", "/approval/network/0", 3),
            ("[audit]\nlevel = \"minimal\"", "/audit/level", 3),
            ("[audit]\nretention_days = 1", "/audit/retention_days", 3),
        ] {
            assert_eq!(of(lines), [(pointer.to_owned(), Some(line))], "{lines}");
        }
        for host in ["/", "/etc", "/srv/a/workspace"] {
            let grant = format!(
                "{GRANT}filesystem = [\n  {{ host = \"{{workspace}}\", guest = \"/w\", access = \"read-only\" }},\n  {{ host = \"{host}\", guest = \"/x\", access = \"read-only\" }},\n]"
            );
            assert_eq!(of(&grant), [("/grant/0/filesystem/1/host".to_owned(), Some(7))], "{host}");
        }
        // Addresses of this machine and those of any other one alike.
        for rule in [
            "{ url = \"https://example.com/*\", methods = [\"GET\"] }",
            "{ url = \"http://localhost/*\", methods = [\"GET\"], addresses = [\"127.0.0.1/32\"] }",
        ] {
            let two = format!("{GRANT}\n[[grant]]\nskills = [\"a\"]\ntools = [\"b\"]\n").replace("\"*\"", "\"x\"");
            let found = of(&format!("{two}network = [{rule}]"));
            assert_eq!(found, [("/grant/1/network/0/url".to_owned(), Some(9))], "{rule}");
        }
        let used = format!("[secrets]\nKEY = {{ env = \"HOME\" }}\n{GRANT}env = {{ K = {{ secret = \"KEY\" }} }}");
        assert_eq!(of(&used), [("/secrets/KEY".to_owned(), Some(3))]);
    }

    #[test]
    fn the_policies_that_come_with_the_host_are_within() {
        for preset in crate::policy::presets::PRESETS {
            let policy = Policy::parse(preset.text).unwrap();
            assert_eq!(overreach(&policy, preset.text), [], "{}", preset.name);
        }
    }
}
