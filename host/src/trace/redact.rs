//! What of a request is sensitive by its name: not shown to people, and of a guest's arguments recorded by digest alone.

use serde_json::Value;

use super::event::CallEvent;

/// What people see in the place of a sensitive value.
pub const REDACTED: &str = "***REDACTED***";

/// Header fields that carry credentials by their definition.
const FIELDS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
/// What the names of other fields that do commonly hold.
const WORDS: [&str; 6] = ["token", "secret", "password", "credential", "api-key", "apikey"];

/// Whether the values of the header field `name` are credentials, as far as its name says.
#[must_use]
pub fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FIELDS.contains(&name.as_str()) || WORDS.iter().any(|word| name.contains(word))
}

/// The call with its sensitive values replaced by [`REDACTED`]; `None` where it has none. The handle numbers stay.
pub(super) fn redacted(call: &CallEvent) -> Option<CallEvent> {
    let function = call.function.strip_prefix("wasi:http/types#")?;
    let mut shown = call.clone();
    let hide = |value: Option<&mut Value>| {
        if let Some(value) = value {
            *value = Value::String(REDACTED.to_owned());
        }
    };
    match function {
        "[method]fields.append" | "[method]fields.set" | "[method]fields.get"
            if call.params.get("name").and_then(Value::as_str).is_some_and(is_sensitive) =>
        {
            hide(shown.params.get_mut("value"));
            if function.ends_with("get") {
                hide(shown.result.get_mut("ok"));
            }
        }
        "[static]fields.from-list" | "[method]fields.entries" => {
            let entries = match function.ends_with("entries") {
                true => shown.result.get_mut("ok"),
                false => shown.params.get_mut("entries"),
            };
            for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
                if entry.get(0).and_then(Value::as_str).is_some_and(is_sensitive) {
                    hide(entry.get_mut(1));
                }
            }
        }
        _ => return None,
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canonical;

    #[test]
    fn names_of_credentials_are_sensitive() {
        for name in [
            "Authorization",
            "COOKIE",
            "Set-Cookie",
            "x-api-key",
            "X-Auth-Token",
            "client-secret",
            "Proxy-Authorization",
        ] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in ["accept", "content-type", "x-request-id", "host", "etag", "www-authenticate", ""] {
            assert!(!is_sensitive(name), "{name}");
        }
    }

    #[test]
    fn values_under_sensitive_names_are_not_shown() {
        let text = canonical::to_string;
        let call = |function: &str, params: Value, result: Value| {
            let call = CallEvent { function: format!("wasi:http/types#{function}"), params, result };
            redacted(&call)
                .map_or_else(|| "as it is".to_owned(), |call| format!("{} {}", text(&call.params), text(&call.result)))
        };
        let shown =
            call("[method]fields.append", json!({"self": 1, "name": "Cookie", "value": "YQ=="}), json!({"ok": null}));
        assert_eq!(shown, r#"{"name":"Cookie","self":1,"value":"***REDACTED***"} {"ok":null}"#);
        let shown = call("[method]fields.get", json!({"self": 1, "name": "set-cookie"}), json!({"ok": ["YQ=="]}));
        assert_eq!(shown, r#"{"name":"set-cookie","self":1} {"ok":"***REDACTED***"}"#);
        let entries = json!([["accept", "Kg=="], ["x-api-key", "YQ=="]]);
        let shown = call("[method]fields.entries", json!({"self": 1}), json!({"ok": entries}));
        assert_eq!(shown, r#"{"self":1} {"ok":[["accept","Kg=="],["x-api-key","***REDACTED***"]]}"#);
        let shown = call("[static]fields.from-list", json!({"entries": entries}), json!({"ok": 1}));
        assert_eq!(shown, r#"{"entries":[["accept","Kg=="],["x-api-key","***REDACTED***"]]} {"ok":1}"#);
        assert_eq!(call("[method]fields.has", json!({"self": 1, "name": "cookie"}), json!({"ok": true})), "as it is");
    }
}
