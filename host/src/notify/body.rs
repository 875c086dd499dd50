//! What a message says: all that both of the notations say that people wire to chats and ticket systems, in one object. Pure.

use serde_json::{Value, json};

use crate::canonical;
use crate::limits;
use crate::trace::redact::{REDACTED, is_sensitive};

/// A run waits for a person. Texts and values are as they are; [`Self::to_json`] cuts and redacts.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalNotice<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The plan's name.
    pub plan: &'a str,
    /// The step's id.
    pub step: &'a str,
    /// What the person is asked.
    pub message: &'a str,
    /// What the plan gives to decide by.
    pub context: &'a Value,
    /// The tool whose call waits; `None` for a step that only asks.
    pub tool: Option<&'a str>,
    /// The input that the tool would get.
    pub input: &'a Value,
    /// The risk of the tool.
    pub risk: Option<&'a str>,
    /// The step's description.
    pub description: Option<&'a str>,
    /// When the run began to wait, as RFC 3339.
    pub requested_at: &'a str,
    /// When it stops waiting.
    pub expires_at: Option<&'a str>,
    /// The command that approves.
    pub approve: &'a str,
    /// The command that rejects.
    pub reject: &'a str,
    /// A page on which a person approves, where there is one.
    pub approve_url: Option<&'a str>,
    /// A page on which a person rejects.
    pub reject_url: Option<&'a str>,
}

impl ApprovalNotice<'_> {
    /// The message. Every key is always there. What has a sensitive name is redacted as in traces; texts are cut to
    /// [`limits::WEBHOOK_TEXT_BYTES_MAX`]; where the whole would be longer than [`limits::WEBHOOK_BODY_BYTES_MAX`], `context` and
    /// `step_info.inputs` are null and `shortened` is true.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let whole = self.with(&redacted(self.context), &redacted(self.input), false);
        if canonical::to_vec(&whole).len() <= limits::WEBHOOK_BODY_BYTES_MAX {
            return whole;
        }
        self.with(&Value::Null, &Value::Null, true)
    }

    /// The message as the bytes that are sent and signed: canonical JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(&self.to_json())
    }

    fn with(&self, context: &Value, input: &Value, shortened: bool) -> Value {
        json!({
            "event": "approval_required",
            "approval_id": format!("{}:{}", cut(self.run), cut(self.step)),
            "workflow_id": cut(self.run),
            "workflow_name": cut(self.plan),
            "step_id": cut(self.step),
            "step_name": cut(self.step),
            "step_info": {
                "capability": self.tool.map(cut),
                "inputs": input,
                "risk_level": self.risk.map(cut),
                "description": self.description.map(cut),
            },
            "message": cut(self.message),
            "context": context,
            "requested_at": cut(self.requested_at),
            "expires_at": self.expires_at.map(cut),
            "actions": { "approve": cut(self.approve), "reject": cut(self.reject) },
            "approve_url": self.approve_url.map(cut),
            "reject_url": self.reject_url.map(cut),
            "shortened": shortened,
        })
    }
}

/// The beginning of a text, up to the end of a character.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(limits::WEBHOOK_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The value without what stands under a sensitive name. Recursion is bounded by the depth that readers accept.
pub(crate) fn redacted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(redacted).collect()),
        Value::Object(members) => {
            let shown = |(key, value): (&String, &Value)| {
                let value = if is_sensitive(key) { Value::from(REDACTED) } else { redacted(value) };
                (key.clone(), value)
            };
            Value::Object(members.iter().map(shown).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice<'a>(context: &'a Value, input: &'a Value) -> ApprovalNotice<'a> {
        ApprovalNotice {
            run: "20260131T120000.000001Z-1f2e",
            plan: "archive",
            step: "gate",
            message: "delete the old figures?",
            context,
            tool: Some("files.remove"),
            input,
            risk: Some("high"),
            description: None,
            requested_at: "2026-01-31T12:00:00Z",
            expires_at: None,
            approve: "host approve 1f2e",
            reject: "host reject 1f2e",
            approve_url: None,
            reject_url: None,
        }
    }

    #[test]
    fn both_notations_are_in_one_object() {
        let (context, input) = (json!({"rows": 3}), json!({"path": "/old"}));
        let body = String::from_utf8(notice(&context, &input).to_bytes()).unwrap();
        let expected = concat!(
            r#"{"actions":{"approve":"host approve 1f2e","reject":"host reject 1f2e"},"#,
            r#""approval_id":"20260131T120000.000001Z-1f2e:gate","approve_url":null,"context":{"rows":3},"#,
            r#""event":"approval_required","expires_at":null,"message":"delete the old figures?","reject_url":null,"#,
            r#""requested_at":"2026-01-31T12:00:00Z","shortened":false,"step_id":"gate","#,
            r#""step_info":{"capability":"files.remove","description":null,"inputs":{"path":"/old"},"risk_level":"high"},"#,
            r#""step_name":"gate","workflow_id":"20260131T120000.000001Z-1f2e","workflow_name":"archive"}"#,
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn what_is_sensitive_by_its_name_is_not_told() {
        let context = json!({"api-key": "k1", "list": [{"Password": {"old": "k2"}, "user": "ada"}]});
        let input = json!({"headers": {"Authorization": "k3", "accept": "text/plain"}});
        let notice = notice(&context, &input);
        let body = notice.to_json();
        assert_eq!(body["context"], json!({"api-key": REDACTED, "list": [{"Password": REDACTED, "user": "ada"}]}));
        assert_eq!(
            body["step_info"]["inputs"],
            json!({"headers": {"Authorization": REDACTED, "accept": "text/plain"}})
        );
        let bytes = String::from_utf8(notice.to_bytes()).unwrap();
        assert!(["k1", "k2", "k3"].iter().all(|secret| !bytes.contains(secret)), "{bytes}");
    }

    #[test]
    fn a_message_is_never_longer_than_its_bound() {
        let long = "é\u{1}".repeat(limits::WEBHOOK_BODY_BYTES_MAX);
        let context = Value::from(long.as_str());
        let input = json!({"path": "/old"});
        let longest = ApprovalNotice {
            run: &long,
            plan: &long,
            step: &long,
            message: &long,
            tool: Some(&long),
            risk: Some(&long),
            description: Some(&long),
            requested_at: &long,
            expires_at: Some(&long),
            approve: &long,
            reject: &long,
            approve_url: Some(&long),
            reject_url: Some(&long),
            ..notice(&context, &input)
        };
        let body = longest.to_json();
        assert_eq!((&body["context"], &body["step_info"]["inputs"]), (&Value::Null, &Value::Null));
        assert_eq!(body["shortened"], json!(true));
        assert!(longest.to_bytes().len() <= limits::WEBHOOK_BODY_BYTES_MAX);
        let fits = json!("x".repeat(limits::WEBHOOK_BODY_BYTES_MAX / 2));
        assert_eq!(notice(&fits, &input).to_json()["context"], fits);
    }
}
