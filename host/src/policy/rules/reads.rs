//! What of the context a rule reads, from its syntax tree: only that is put before it, and only rules that read the input wait for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What a rule, or several of them, read of the context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) input: Parts,
    pub(crate) plan: bool,
    pub(crate) granted: Parts,
    pub(crate) attempt: bool,
    /// What the patterns of `like` do with each character at the worst: each looks for its longest text from place to place.
    pub(crate) weight: u64,
}

/// What is read of one record of the context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Nothing.
    #[default]
    Nothing,
    /// These members.
    Some(BTreeSet<String>),
    /// It as a whole.
    All,
}

impl Parts {
    /// Whether this member is read.
    pub(crate) fn has(&self, member: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Some(members) => members.contains(member),
            Self::All => true,
        }
    }

    /// Whether anything is read.
    pub(crate) fn any(&self) -> bool {
        *self != Self::Nothing
    }

    fn one(member: &str) -> Self {
        Self::Some([member.to_owned()].into_iter().collect())
    }

    fn extend(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Nothing) | (Self::All, _) => {}
            (Self::Some(members), Self::Some(more)) => members.extend(more.iter().cloned()),
            (parts, other) => *parts = other.clone(),
        }
    }
}

impl Reads {
    /// What the rule reads. `rule` is Cedar's JSON form of it.
    pub(crate) fn of(rule: &Value) -> Self {
        let mut reads = Self::default();
        for condition in rule.get("conditions").and_then(Value::as_array).into_iter().flatten() {
            if let Some(body) = condition.get("body") {
                reads.expression(body);
            }
        }
        reads
    }

    /// Whether the input is read.
    pub(crate) fn reads_input(&self) -> bool {
        self.input.any()
    }

    /// Whether anything is read that differs between two calls of one tool under one grant.
    pub(crate) fn varies(&self) -> bool {
        self.input.any() || self.plan || self.attempt
    }

    /// What either reads.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.plan |= other.plan;
        self.attempt |= other.attempt;
        self.weight = self.weight.saturating_add(other.weight);
        self.granted.extend(&other.granted);
        self.input.extend(&other.input);
    }

    fn expression(&mut self, expression: &Value) {
        if let Some(path) = path(expression) {
            self.note(&path);
            return;
        }
        match expression {
            Value::Array(items) => items.iter().for_each(|item| self.expression(item)),
            Value::Object(members) => {
                for (operator, operands) in members {
                    match operator.as_str() {
                        // A literal.
                        "Value" => {}
                        "like" => self.like(operands),
                        "has" => match tested(operands) {
                            Some(path) => self.note(&path),
                            None => self.operands(operands),
                        },
                        _ => self.operands(operands),
                    }
                }
            }
            _ => {}
        }
    }

    /// `{"left": …, "right": …}`, `{"arg": …}`, `[…]`, or the members of a record: all of it is expressions.
    fn operands(&mut self, operands: &Value) {
        match operands {
            Value::Array(items) => items.iter().for_each(|item| self.expression(item)),
            Value::Object(members) => members.values().for_each(|operand| self.expression(operand)),
            _ => {}
        }
    }

    /// On its own: rules are nested deep, and what this needs does not count for each of them.
    fn like(&mut self, operands: &Value) {
        self.weight = self.weight.saturating_add(longest(operands.get("pattern")));
        self.operands(operands);
    }

    fn note(&mut self, path: &[&str]) {
        let more = match path {
            [] => Self { input: Parts::All, plan: true, granted: Parts::All, attempt: true, weight: 0 },
            ["input"] => Self { input: Parts::All, ..Self::default() },
            ["input", param, ..] => Self { input: Parts::one(param), ..Self::default() },
            ["plan", ..] => Self { plan: true, ..Self::default() },
            ["granted"] => Self { granted: Parts::All, ..Self::default() },
            ["granted", name, ..] => Self { granted: Parts::one(name), ..Self::default() },
            ["attempt", ..] => Self { attempt: true, ..Self::default() },
            _ => Self::default(),
        };
        self.extend(&more);
    }
}

/// The longest text behind a wildcard of a pattern: it is looked for at every place.
fn longest(pattern: Option<&Value>) -> u64 {
    let (mut longest, mut run, mut is_behind) = (0, 0, false);
    for element in pattern.and_then(Value::as_array).into_iter().flatten() {
        match element.get("Literal").and_then(Value::as_str) {
            Some(text) if is_behind => run += text.chars().count() as u64,
            Some(_) => {}
            None => (run, is_behind) = (0, true),
        }
        longest = run.max(longest);
    }
    longest
}

/// `context.a.b` as `[a, b]`; `None` for what is not a part of the context.
fn path(expression: &Value) -> Option<Vec<&str>> {
    if expression.get("Var").and_then(Value::as_str) == Some("context") {
        return Some(Vec::new());
    }
    let access = expression.get(".")?;
    let mut path = path(access.get("left")?)?;
    path.push(access.get("attr")?.as_str()?);
    Some(path)
}

/// What `context.a has b` looks for, as a path.
fn tested(operands: &Value) -> Option<Vec<&str>> {
    let mut path = path(operands.get("left")?)?;
    match operands.get("attr")? {
        Value::String(attr) => path.push(attr),
        Value::Array(attrs) => path.extend(attrs.iter().filter_map(Value::as_str)),
        _ => return None,
    }
    Some(path)
}

/// The rule with each `has` on the input replaced by something of which a type checker does not know whether it holds: as long as the
/// tool is not known, what stands behind such a test is checked as well.
pub(crate) fn without_tests_of_input(rule: &mut Value) {
    match rule {
        Value::Array(items) => items.iter_mut().for_each(without_tests_of_input),
        Value::Object(members) => {
            let is_test = members
                .get("has")
                .and_then(tested)
                .is_some_and(|path| path.first() == Some(&"input") && path.len() > 1);
            if is_test {
                *rule = json!({ ".": { "left": { "Var": "resource" }, "attr": "declared" } });
            } else {
                members.values_mut().for_each(without_tests_of_input);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    fn reads(condition: &str) -> Reads {
        let policy =
            Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};")).unwrap();
        Reads::of(&policy.to_json().unwrap())
    }

    fn params(names: &[&str]) -> Reads {
        let input = Parts::Some(names.iter().map(|name| (*name).to_owned()).collect());
        Reads { input, ..Reads::default() }
    }

    #[test]
    fn what_a_rule_reads_is_found_in_every_form() {
        let all = Reads { input: Parts::All, plan: true, granted: Parts::All, attempt: true, weight: 0 };
        for (condition, expected) in [
            ("true", Reads::default()),
            ("resource.risk == \"low\"", Reads::default()),
            ("resource has input && principal has plan", Reads::default()),
            ("\"context.input\" == resource.name", Reads::default()),
            ("context.input.amount < 5", params(&["amount"])),
            ("context.input[\"group-by\"] == \"x\"", params(&["group-by"])),
            ("context.input.a.b.c == 1 || context.input.d like \"x*\"", params(&["a", "d"])),
            ("context.input has e", params(&["e"])),
            ("context.input has e.f", params(&["e"])),
            ("context has input", Reads { input: Parts::All, ..Reads::default() }),
            ("context.input == {}", Reads { input: Parts::All, ..Reads::default() }),
            ("[context.input.a].contains(1)", params(&["a"])),
            ("{x: context.input.a, \".\": 1} == {}", params(&["a"])),
            ("if context.input.a then context.input.b else !context.input.c", params(&["a", "b", "c"])),
            ("decimal(\"1.0\").lessThan(context.input.price)", params(&["price"])),
            ("context.plan.name == \"x\"", Reads { plan: true, ..Reads::default() }),
            ("context.granted.network", Reads { granted: Parts::one("network"), ..Reads::default() }),
            ("context.granted == {}", Reads { granted: Parts::All, ..Reads::default() }),
            ("context.attempt > 1", Reads { attempt: true, ..Reads::default() }),
            ("context == {}", all.clone()),
            ("(if true then context else context).input.a", all.clone()),
        ] {
            assert_eq!(reads(condition), expected, "{condition}");
        }
    }
}
