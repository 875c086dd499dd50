//! What somebody is asked about, as text: all of it, since an answer is bound to all of it. Made of the document that has the digest, so that
//! nothing is shown that is not bound. Of a folder its path stands for it; the number that the system knows it by is bound as well.

use serde_json::Value;

use super::{Append as _, harmless, pretty};
use crate::id::Digest;
use crate::policy::place;

/// The document as lines for a person, the digest last.
pub(crate) fn subject(document: &Value, digest: &Digest) -> String {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(harmless);
    let mut out = String::new();
    let needed = place::with_places(&list(document.get("needed_by")));
    let (step, plan) = (text("/step").unwrap_or_default(), text("/plan/name").unwrap_or_default());
    out.add(format_args!("step `{step}` of plan `{plan}` needs approval: {}\n", harmless(&needed)));
    if let Some(description) = text("/description") {
        out.add(format_args!("  description: {description}\n"));
    }
    for (name, pointer) in [("tool", "/tool"), ("called by", "/principal")] {
        out.add(format_args!("  {name}: {}\n", text(pointer).unwrap_or_default()));
    }
    out.add(format_args!("  risk: {}\n", text("/risk").unwrap_or_else(|| "not declared".to_owned())));
    if let (Some(sha256), Some(origin)) = (text("/component/sha256"), text("/component/origin")) {
        out.add(format_args!("  component: {sha256}, {origin}\n"));
    }
    if let Some(message) = document.get("message").and_then(Value::as_str).filter(|message| !message.is_empty()) {
        indented(&mut out, "message", &crate::harmless::block(message));
    }
    if let Some(context) = document.get("context").filter(|context| has_members(context)) {
        indented(&mut out, "context", &pretty(context));
    }
    if text("/tool").as_deref() != Some(crate::id::ToolName::approve().to_string().as_str())
        && let Some(input) = document.get("input")
    {
        indented(&mut out, "input", &pretty(input));
    }
    if let Some(grant) = document.get("grant").filter(|grant| grant.is_object()) {
        granted(&mut out, grant, "");
        for callee in grant.get("calls").and_then(Value::as_array).into_iter().flatten() {
            let named = |name: &str| callee.get(name).and_then(Value::as_str).map(harmless).unwrap_or_default();
            out.add(format_args!("  may call {}: component {}\n", named("tool"), named("sha256")));
            granted(&mut out, callee, "  ");
        }
    }
    for (name, pointer) in [("permitted by", "/rules"), ("reason", "/reasons")] {
        let said = list(document.pointer(pointer));
        if !said.is_empty() {
            out.add(format_args!("  {name}: {}\n", harmless(&said)));
        }
    }
    for (name, pointer) in [
        ("workspace", "/place/workspace"),
        ("plan read in", "/place/plan"),
        ("bundle", "/place/bundle"),
        ("plan", "/plan/sha256"),
        ("policy file", "/policy/file"),
        ("policy", "/policy/sha256"),
        ("rules", "/policy/rules_sha256"),
    ] {
        if let Some(said) = text(pointer) {
            out.add(format_args!("  {name}: {said}\n"));
        }
    }
    out.add(format_args!("  subject: {digest}\n"));
    out
}

fn has_members(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

/// A text or a value in lines of its own, each indented: none of them looks like one of ours.
fn indented(out: &mut String, name: &str, text: &str) {
    let mut lines = text.trim_end().split('\n');
    match (lines.next(), lines.next()) {
        (Some(only), None) => out.add(format_args!("  {name}: {only}\n")),
        _ => {
            out.add(format_args!("  {name}:\n"));
            text.trim_end().split('\n').for_each(|line| out.add(format_args!("    {line}\n")));
        }
    }
}

fn list(value: Option<&Value>) -> String {
    let items = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    items.collect::<Vec<_>>().join(", ")
}

/// What a grant gives.
fn granted(out: &mut String, grant: &Value, indent: &str) {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(harmless).unwrap_or_default();
    let index = grant.get("index").and_then(Value::as_u64).unwrap_or_default();
    let (clocks, random) = (text(grant, "clocks"), text(grant, "random"));
    out.add(format_args!("  {indent}{}: clocks {clocks}, random {random}\n", place::grant(index)));
    let items = |name: &str| grant.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let folders = items("folders");
    if folders.is_empty() {
        out.add(format_args!("  {indent}  no folders\n"));
    }
    for folder in &folders {
        let (guest, host, access) = (text(folder, "guest"), text(folder, "host"), text(folder, "access"));
        out.add(format_args!("  {indent}  folder {guest} = {host} ({access})\n"));
    }
    let network = items("network");
    if network.is_empty() {
        out.add(format_args!("  {indent}  no network\n"));
    }
    for rule in &network {
        let (methods, url) = (list(rule.get("methods")), text(rule, "url"));
        out.add(format_args!("  {indent}  network {} {url}", harmless(&methods)));
        for (what, name) in [("also at", "addresses"), ("sets", "headers"), ("with the secrets", "secrets")] {
            let named = list(rule.get(name));
            if !named.is_empty() {
                out.add(format_args!(", {what} {}", harmless(&named)));
            }
        }
        out.push('\n');
    }
    for kind in ["env", "config"] {
        for (name, value) in grant.get(kind).and_then(Value::as_object).into_iter().flatten() {
            let name = harmless(name);
            let said = match (value.get("secret").and_then(Value::as_str), value.get("text").and_then(Value::as_str)) {
                (Some(secret), _) => format!("the secret {}", harmless(secret)),
                (None, Some(text)) => format!("`{}`", harmless(text)),
                (None, None) => "nothing".to_owned(),
            };
            out.add(format_args!("  {indent}  {kind} {name} = {said}\n"));
        }
    }
    if grant.get("sockets").is_some_and(Value::is_string) {
        out.add(format_args!("  {indent}  sockets {}\n", text(grant, "sockets")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn document(text: &str) -> Value {
        json!({
            "plan": {"name": text, "sha256": "aa"}, "step": "wipe", "tool": "files.remove", "description": text,
            "component": {"name": "files", "sha256": "bb", "origin": "built in"}, "principal": "agent:a", "risk": "high",
            "input": {"text": "x".repeat(1_000), "url": text}, "message": text, "context": {"a": text},
            "needed_by": ["grant 2", text], "rules": [text], "reasons": [text],
            "grant": {
                "index": 2, "clocks": "real", "random": "seeded", "sockets": null,
                "folders": [{"guest": "/w", "host": text, "access": "read-write", "identity": "1:2"}],
                "network": [{"url": text, "methods": ["GET"], "addresses": [], "headers": [text], "secrets": [text]}],
                "env": {"A": {"secret": text}, "B": {"text": text}}, "config": {},
                "calls": [{"index": 3, "tool": "t.t", "sha256": "cc", "folders": [], "network": [], "env": {}, "config": {}}],
            },
            "policy": {"sha256": "dd", "rules_sha256": null, "file": text}, "place": {"workspace": text, "plan": text, "bundle": null},
        })
    }

    #[test]
    fn all_that_an_answer_is_bound_to_is_shown() {
        let text = subject(&document("SEEN"), &Digest::of(b"it"));
        assert_eq!(text.matches("SEEN").count(), 17, "{text}");
        assert!(text.contains(&"x".repeat(1_000)), "the whole input: {text}");
        assert!(text.starts_with("step `wipe` of plan `SEEN` needs approval: grant 2 (the third), SEEN\n"), "{text}");
        assert!(text.contains("    folder /w = SEEN (read-write)\n"), "{text}");
        assert!(text.contains("    network GET SEEN, sets SEEN, with the secrets SEEN\n"), "{text}");
        assert!(text.contains("  may call t.t: component cc\n    grant 3 (the fourth)"), "{text}");
        assert!(text.ends_with(&format!("  subject: {}\n", Digest::of(b"it"))), "{text}");
    }

    proptest::proptest! {
        #[test]
        fn no_line_of_it_looks_like_another_one(foreign in crate::harmless::tests::hostile()) {
            let shown = |text: &str| {
                let mut document = document(text);
                // These may have several lines, each further in than ours.
                document["message"] = json!(text);
                subject(&document, &Digest::of(b"it"))
            };
            let (text, plain) = (shown(&foreign), shown("x"));
            proptest::prop_assert!(!text.chars().any(|c| crate::harmless::is_hidden(c) && c != '\n'), "{:?}", text);
            let ours = |text: &str| text.lines().filter(|line| !line.starts_with("    ")).count();
            // What says nothing has no line.
            if !foreign.is_empty() {
                proptest::prop_assert_eq!(ours(&text), ours(&plain));
            }
        }
    }
}
