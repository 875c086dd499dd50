//! `{{x}} == 5`: one comparison as a text, as the condition of a step.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Reader;
use super::references::Scope;
use crate::json;
use crate::problem::shown;

/// The operators, those first that begin with another one.
const OPERATORS: [(&str, &str); 6] =
    [("==", "is"), ("!=", "is_not"), ("<=", "at_most"), (">=", "at_least"), ("<", "less_than"), (">", "more_than")];
const HINT: &str =
    "write a reference, one of == != < <= > >=, and a number, true, false, null, a quoted text or a reference";

impl Reader<'_> {
    /// The condition that `text` says.
    pub(super) fn condition(
        &mut self,
        text: &str,
        pointer: &str,
        scope: Scope<'_>,
        used: &mut BTreeSet<usize>,
    ) -> Option<Value> {
        let Some((left, operator, right)) = split(text) else {
            self.report("bad-condition", pointer, format!("`{}` is no condition", shown(text)), HINT);
            return None;
        };
        let value = self.rewrite(&Value::from(left), pointer, scope, used);
        let right = self.rewrite(&right, pointer, scope, used);
        let now = json!({ "value": value, operator: right });
        self.changed(pointer, text.into(), now.clone(), "a condition of its step");
        Some(now)
    }
}

fn split(text: &str) -> Option<(&str, &'static str, Value)> {
    let text = text.trim();
    let end = text.strip_prefix("{{")?.find("}}")?.checked_add(4)?;
    let (left, rest) = text.split_at_checked(end)?;
    let rest = rest.trim_start();
    let (operator, right) = OPERATORS.iter().find_map(|(theirs, ours)| Some((*ours, rest.strip_prefix(*theirs)?)))?;
    Some((left, operator, operand(right.trim())?))
}

fn operand(text: &str) -> Option<Value> {
    if let Some(inner) = text.strip_prefix("{{") {
        return (inner.find("}}")? == inner.len().checked_sub(2)?).then(|| Value::from(text));
    }
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote) {
            let inner = inner.strip_suffix(quote)?;
            // What an escape means there is not known, and braces would be a reference.
            let is_plain = !inner.contains([quote, '\\']) && !inner.contains("{{");
            return is_plain.then(|| Value::from(inner));
        }
    }
    json::parse(text.as_bytes()).ok().filter(|value| !value.is_array() && !value.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comparison_is_read() {
        for (text, left, operator, right) in [
            ("{{a.b}} == 5", "{{a.b}}", "is", json!(5)),
            (" {{ a }}!='x y' ", "{{ a }}", "is_not", json!("x y")),
            ("{{a}}<=1.5", "{{a}}", "at_most", json!(1.5)),
            ("{{a}} < -1", "{{a}}", "less_than", json!(-1)),
            ("{{a}} >= {{b.c}}", "{{a}}", "at_least", json!("{{b.c}}")),
            ("{{a}} > 0", "{{a}}", "more_than", json!(0)),
            ("{{a}} == true", "{{a}}", "is", json!(true)),
            ("{{a}} == null", "{{a}}", "is", Value::Null),
            ("{{a}} == \"it's\"", "{{a}}", "is", json!("it's")),
        ] {
            assert_eq!(split(text), Some((left, operator, right)), "{text}");
        }
        for text in [
            "",
            "{{a}}",
            "a == 1",
            "{{a}} = 1",
            "{{a}} == ",
            "{{a}} == b",
            "{{a}} == True",
            "{{a}} == [1]",
            "{{a}} == 1 and {{b}} == 2",
            "{{a}} == {{b}} + {{c}}",
            "{{a}} == 'x",
            "{{a}} == 'x' 'y'",
            "{{a == 1",
            "1 == {{a}}",
            "{{a}} == '{{b}}'",
            "not {{a}} == 1",
        ] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
