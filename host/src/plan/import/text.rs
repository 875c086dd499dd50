//! A plan as text that a person reads on: indented, the keys in the order in which people write them.

use serde_json::{Map, Value};

use crate::{canonical, harmless};

/// The keys of a plan and of a step, in their order. What is not here comes behind, sorted.
const PLAN: [&str; 13] = [
    "schema",
    "name",
    "version",
    "description",
    "on_failure",
    "parallel",
    "deadline_ms",
    "seed",
    "start_time",
    "inputs",
    "skills",
    "steps",
    "compensate",
];
const STEP: [&str; 15] = [
    "id",
    "message",
    "value",
    "description",
    "tool",
    "approve",
    "depends_on",
    "when",
    "input",
    "expect",
    "retry",
    "limits",
    "compensate",
    "reuse",
    "irreversible",
];
/// A value that is not longer stands on one line.
const LINE_CHARS: usize = 90;

/// The text, with a newline at its end.
pub(super) fn write(plan: &Value) -> String {
    let mut out = String::new();
    value(&mut out, plan, 0, "");
    out.push('\n');
    harmless::json(&out).into_owned()
}

fn value(out: &mut String, written: &Value, depth: usize, key: &str) {
    let compact = canonical::to_string(written);
    match written {
        // The plan itself, its list of steps and each step have lines of their own.
        Value::Object(members)
            if !members.is_empty() && (depth == 0 || is_long(&compact) || members.contains_key("id")) =>
        {
            let order: &[&str] = if depth == 0 { &PLAN } else { &STEP };
            out.push('{');
            for (index, name) in ordered(members, order).into_iter().enumerate() {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                indent(out, depth + 1);
                out.push_str(&canonical::to_string(&Value::from(name)));
                out.push_str(": ");
                value(out, members.get(name).unwrap_or(&Value::Null), depth + 1, name);
            }
            out.push('\n');
            indent(out, depth);
            out.push('}');
        }
        Value::Array(items) if !items.is_empty() && (key == "steps" || is_long(&compact)) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                indent(out, depth + 1);
                value(out, item, depth + 1, "");
            }
            out.push('\n');
            indent(out, depth);
            out.push(']');
        }
        _ => line(out, written),
    }
}

/// A value on one line, with a blank after each comma and colon.
fn line(out: &mut String, written: &Value) {
    match written {
        Value::Object(members) if !members.is_empty() => {
            out.push_str("{ ");
            for (index, name) in ordered(members, &STEP).into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(&canonical::to_string(&Value::from(name)));
                out.push_str(": ");
                line(out, members.get(name).unwrap_or(&Value::Null));
            }
            out.push_str(" }");
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                line(out, item);
            }
            out.push(']');
        }
        scalar => out.push_str(&canonical::to_string(scalar)),
    }
}

fn ordered<'m>(members: &'m Map<String, Value>, order: &[&str]) -> Vec<&'m str> {
    let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
    let place = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
    names.sort_by(|one, two| (place(one), *one).cmp(&(place(two), *two)));
    names
}

fn is_long(compact: &str) -> bool {
    compact.chars().count() > LINE_CHARS
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_is_json_of_the_same_value_in_the_order_of_people() {
        let plan = json!({
            "steps": [{"input": {"path": "/a", "text": "x".repeat(100)}, "tool": "files.write-text", "id": "a"}],
            "name": "é\n", "schema": "skillhost.plan/1", "inputs": {}, "zeta": [], "compensate": [{"tool": "a.b", "input": {}}],
        });
        let text = write(&plan);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), plan);
        let places: Vec<Option<usize>> = ["schema", "name", "steps", "id", "tool", "input", "zeta"]
            .iter()
            .map(|key| text.find(&format!("\"{key}\":")))
            .collect();
        assert!(places.is_sorted() && !places.contains(&None), "{places:?} {text}");
        assert!(text.ends_with("}\n") && text.contains("\"inputs\": {},"), "{text}");
    }
}
