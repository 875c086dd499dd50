//! Ordered role rules of other systems (`policies.yaml`) as Cedar rules: the import behind `host policy import`.
//!
//! There the first rule that matches decides; here every rule is looked at and a `forbid` wins. So each rule that is written says what it
//! leaves to the rules before it. Two spellings are read: `when`, `principal`, `decision`, and `principal`, `capabilities`, `action`. What
//! has no meaning here is refused, never left out.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::limits;
use crate::problem::{Problem, pointer_to, shown, suggestion};

/// Whether a document is a list of such rules: it says so by its key.
#[must_use]
pub fn is_one(document: &Value) -> bool {
    document.get("rules").is_some()
}

/// Reads `policies.yaml` (or the same as JSON) and gives the rules as Cedar text.
///
/// # Errors
///
/// All mistakes, in the document's order: a default that is not `DENY`, unknown keys, patterns and principals that are not of their form.
pub fn import(document: &Value) -> Result<String, Vec<Problem>> {
    let mut reader = Reader::default();
    let rules = reader.document(document);
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let mut text = String::from(
        "// Imported from ordered rules: the first that matches decides. What no rule matches is denied.\n\
         // Tools without a declared risk count as high, and high and critical ones need approval.\n",
    );
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..index).unwrap_or_default();
        text.push_str(&rule.cedar(index, earlier));
    }
    Ok(text)
}

/// What a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decides {
    Allow,
    Deny,
    Ask,
}

/// One rule, in either spelling.
#[derive(Debug)]
struct Ordered {
    who: Who,
    /// At least one; any of them.
    tools: Vec<Match>,
    risk: Option<&'static str>,
    decides: Decides,
}

/// Whom a rule is about.
#[derive(Debug, PartialEq, Eq)]
enum Who {
    Anyone,
    /// `Agent` or `User`, and its names.
    Kind(&'static str, Match),
    Role(String),
}

/// A name, or the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Match {
    Exact(String),
    Prefix(String),
}

impl Match {
    fn may_meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Exact(name), Self::Prefix(prefix)) | (Self::Prefix(prefix), Self::Exact(name)) => {
                name.starts_with(prefix.as_str())
            }
            (Self::Prefix(one), Self::Prefix(two)) => one.starts_with(two.as_str()) || two.starts_with(one.as_str()),
        }
    }

    /// The condition on `attribute`; `None` where every name matches.
    fn condition(&self, attribute: &str) -> Option<String> {
        match self {
            Self::Exact(name) => Some(format!("{attribute} == \"{name}\"")),
            Self::Prefix(prefix) if prefix.is_empty() => None,
            Self::Prefix(prefix) => Some(format!("{attribute} like \"{prefix}*\"")),
        }
    }
}

impl Ordered {
    /// Whether a call may match both.
    fn may_meet(&self, other: &Self) -> bool {
        let who = match (&self.who, &other.who) {
            (Who::Kind(one, names), Who::Kind(two, others)) => one == two && names.may_meet(others),
            _ => true, // Who has a role is not known here.
        };
        let risk = self.risk.is_none() || other.risk.is_none() || self.risk == other.risk;
        who && risk && self.tools.iter().any(|one| other.tools.iter().any(|two| one.may_meet(two)))
    }

    /// When it matches, as one Cedar expression; `in_scope` where the rule's head names the principal already.
    fn condition(&self, in_scope: bool) -> String {
        let mut parts = Vec::new();
        match &self.who {
            Who::Anyone => {}
            _ if in_scope => {}
            Who::Role(role) => parts.push(format!("principal in Role::\"{role}\"")),
            Who::Kind(kind, _) => parts.push(format!("principal is {kind}")),
        }
        if let Who::Kind(_, names) = &self.who
            && !(in_scope && matches!(names, Match::Exact(_)))
        {
            parts.extend(names.condition("principal.name"));
        }
        if !self.tools.contains(&Match::Prefix(String::new())) {
            let any: Vec<String> = self.tools.iter().filter_map(|tool| tool.condition("resource.name")).collect();
            parts.push(if any.len() == 1 { any.concat() } else { format!("({})", any.join(" || ")) });
        }
        if let Some(risk) = self.risk {
            parts.push(format!("resource.risk == \"{risk}\""));
        }
        if parts.is_empty() { "true".to_owned() } else { parts.join(" && ") }
    }

    fn cedar(&self, index: usize, earlier: &[Self]) -> String {
        let mut text = format!("\n@id(\"rule-{index}\")\n");
        if self.decides == Decides::Ask {
            text.push_str("@approval(\"required\")\n");
        }
        let effect = if self.decides == Decides::Deny { "forbid" } else { "permit" };
        let principal = match &self.who {
            Who::Anyone => "principal".to_owned(),
            Who::Role(role) => format!("principal in Role::\"{role}\""),
            Who::Kind(kind, Match::Exact(name)) => format!("principal == {kind}::\"{name}\""),
            Who::Kind(kind, Match::Prefix(_)) => format!("principal is {kind}"),
        };
        // Writing to a string cannot fail.
        write!(text, "{effect} ({principal}, action == Action::\"call\", resource)").ok();
        let condition = self.condition(true);
        if condition != "true" {
            write!(text, "\nwhen {{ {condition} }}").ok();
        }
        // A forbid of what an earlier rule forbids as well changes nothing; everything else is for the first that matches.
        let first = earlier.iter().filter(|other| self.may_meet(other));
        let first: Vec<String> = first
            .filter(|other| !(self.decides == Decides::Deny && other.decides == Decides::Deny))
            .map(|other| format!("({})", other.condition(false)))
            .collect();
        if !first.is_empty() {
            write!(text, "\nunless {{ {} }}", first.join(" || ")).ok();
        }
        text.push_str(";\n");
        text
    }
}

/// Gathers what is wrong.
#[derive(Debug, Default)]
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn report(&mut self, code: &str, pointer: &str, message: String, hint: &str) {
        if self.problems.len() < limits::PROBLEMS_MAX {
            self.problems.push(Problem::new(code, pointer, message).with_hint(hint));
        }
    }

    fn document(&mut self, document: &Value) -> Vec<Ordered> {
        let Some(root) = self.object(document, "", &["default", "rules", "version"]) else { return Vec::new() };
        match root.get("default") {
            None => {}
            Some(Value::String(default)) if default.eq_ignore_ascii_case("deny") => {}
            Some(other) => self.report(
                "bad-default",
                "/default",
                format!("the default is `{}`; what no rule matches is denied here", shown(&other.to_string())),
                "write `default: DENY` and a last rule that allows what shall be allowed",
            ),
        }
        let Some(Value::Array(rules)) = root.get("rules") else {
            self.report("missing-key", "/rules", "there is no list `rules`".to_owned(), "write `rules:` and a list");
            return Vec::new();
        };
        if rules.len() > limits::RULES_IMPORTED_MAX {
            let message = format!("there are {} rules; at most {} are read", rules.len(), limits::RULES_IMPORTED_MAX);
            self.report("too-many-rules", "/rules", message, "join rules that differ in their tools alone");
            return Vec::new();
        }
        let rules = rules.iter().enumerate();
        rules.filter_map(|(index, rule)| self.rule(rule, &format!("/rules/{index}"))).collect()
    }

    fn object<'v>(&mut self, value: &'v Value, pointer: &str, known: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(members) = value.as_object() else {
            self.report("wrong-type", pointer, "expected keys and values".to_owned(), "see the format of the import");
            return None;
        };
        for key in members.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = suggestion(key, known.iter().copied()).unwrap_or_else(|| "remove it".to_owned());
            self.report("unknown-key", &pointer_to(pointer, key), format!("there is no key `{}`", shown(key)), &hint);
        }
        Some(members)
    }

    fn rule(&mut self, value: &Value, pointer: &str) -> Option<Ordered> {
        let known =
            ["id", "when", "principal", "principals", "decision", "capability", "capabilities", "action", "reason"];
        let rule = self.object(value, pointer, &known)?;
        let when_at = pointer_to(pointer, "when");
        let when = match rule.get("when") {
            Some(when) => {
                Some(self.object(when, &when_at, &["capability", "capabilities", "risk_level", "principal"])?)
            }
            None => None,
        };
        let mut find = |names: &[&str]| -> Option<(Value, String)> {
            let places = [(Some(rule), pointer), (when, when_at.as_str())];
            let found = places.iter().flat_map(|(place, at)| {
                names.iter().filter_map(move |name| Some((place.as_ref()?.get(*name)?, pointer_to(at, name))))
            });
            let mut found: Vec<(Value, String)> = found.map(|(value, at)| (value.clone(), at)).collect();
            if found.len() > 1 {
                let (_, second) = found.swap_remove(1);
                self.report("said-twice", &second, "the rule says this twice".to_owned(), "keep one of the two");
                return None;
            }
            found.pop()
        };
        let principals = find(&["principal", "principals"]);
        let tools = find(&["capability", "capabilities"]);
        let decision = find(&["decision", "action"]);
        let risk = when.and_then(|when| when.get("risk_level")).cloned();

        let who = match principals {
            None => Some(Who::Anyone),
            Some((value, at)) => self.who(&value, &at),
        };
        let tools = match tools {
            None => Some(vec![Match::Prefix(String::new())]),
            Some((value, at)) => self.matches(&value, &at),
        };
        let risk = match risk {
            None => Some(None),
            Some(value) => self.risk(&value, &pointer_to(&when_at, "risk_level")).map(Some),
        };
        let decides = match decision {
            None => {
                let hint = "write `decision: ALLOW`, `DENY` or `REQUIRE_APPROVAL`";
                self.report("missing-key", pointer, "the rule decides nothing".to_owned(), hint);
                None
            }
            Some((value, at)) => self.decision(&value, &at),
        };
        Some(Ordered { who: who?, tools: tools?, risk: risk?, decides: decides? })
    }

    fn decision(&mut self, value: &Value, pointer: &str) -> Option<Decides> {
        let decides = match value.as_str().map(str::to_ascii_uppercase).as_deref() {
            Some("ALLOW") => Decides::Allow,
            Some("DENY") => Decides::Deny,
            Some("REQUIRE_APPROVAL") => Decides::Ask,
            _ => {
                let message = format!("`{}` is no decision", shown(&value.to_string()));
                self.report("bad-decision", pointer, message, "write `ALLOW`, `DENY` or `REQUIRE_APPROVAL`");
                return None;
            }
        };
        Some(decides)
    }

    fn risk(&mut self, value: &Value, pointer: &str) -> Option<&'static str> {
        let named = value.as_str().map(str::to_ascii_lowercase);
        let risk = ["low", "medium", "high", "critical"].into_iter().find(|risk| Some(*risk) == named.as_deref());
        if risk.is_none() {
            let message = format!("`{}` is no risk", shown(&value.to_string()));
            self.report("bad-risk", pointer, message, "write `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`");
        }
        risk
    }

    fn who(&mut self, value: &Value, pointer: &str) -> Option<Who> {
        let hint = "write `agent:NAME`, `user:NAME`, `role:NAME` or `*`; a name may end in a star";
        let one = match value {
            Value::Array(list) if list.len() == 1 => list.first()?,
            other => other,
        };
        let Some(text) = one.as_str() else {
            let message = "one principal is expected".to_owned();
            self.report("bad-principal", pointer, message, "write a rule for each principal, or give them a role");
            return None;
        };
        let who = match text.split_once(':') {
            None if text == "*" => Some(Who::Anyone),
            Some(("agent", name)) => Match::read(name, false).map(|name| Who::Kind("Agent", name)),
            Some(("user", name)) => Match::read(name, false).map(|name| Who::Kind("User", name)),
            Some(("role", name)) => match Match::read(name, false) {
                Some(Match::Exact(role)) => Some(Who::Role(role)),
                _ => None,
            },
            _ => None,
        };
        if who.is_none() {
            self.report("bad-principal", pointer, format!("`{}` is no principal", shown(text)), hint);
        }
        who
    }

    fn matches(&mut self, value: &Value, pointer: &str) -> Option<Vec<Match>> {
        let single = [value.clone()];
        let (list, is_list) = match value {
            Value::Array(list) => (list.as_slice(), true),
            _ => (single.as_slice(), false),
        };
        if list.is_empty() {
            let message = "the rule names no tool, so it never matches".to_owned();
            self.report("empty-list", pointer, message, "write `*` for all tools");
            return None;
        }
        let before = self.problems.len();
        let mut matches = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let at = if is_list { pointer_to(pointer, &index.to_string()) } else { pointer.to_owned() };
            match item.as_str().and_then(|text| Match::read(text, true)) {
                Some(one) => matches.push(one),
                None => {
                    let message = format!("`{}` is no name of tools", shown(&item.to_string()));
                    self.report(
                        "bad-pattern",
                        &at,
                        message,
                        "write `skill.tool`, or the beginning of names and a star",
                    );
                }
            }
        }
        (self.problems.len() == before).then_some(matches)
    }
}

impl Match {
    /// A name of letters, digits, `-`, `_` and, where `dots`, dots; one star may end it.
    fn read(text: &str, dots: bool) -> Option<Self> {
        let (name, prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (dots && byte == b'.');
        let sound = name.bytes().all(plain) && name.len() <= limits::NAME_BYTES_MAX * 2 && (prefix || !name.is_empty());
        sound.then(|| if prefix { Self::Prefix(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }
}

#[cfg(test)]
mod tests;
