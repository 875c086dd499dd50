//! Rules about who may call what, in Cedar. Where a policy has a file of them, a call needs a grant and a rule that permits it.
//!
//! Stricter than Cedar alone: every rule has an id of its own, nothing is a template, what Cedar only warns of is refused, and a rule that
//! cannot be evaluated denies the call instead of being passed over. Pure: the text comes from the caller.

mod bounds;
pub(crate) mod court;
mod input;
mod reads;

use std::collections::BTreeMap;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use crate::id::{Digest, is_name};
use crate::limits;
use crate::policy::Approval;
use crate::problem::{Problem, suggestion};
use crate::toml_text::Reader;
use reads::Reads;

/// What rules can talk about, in Cedar's own words.
pub const SCHEMA: &str = include_str!("rules/schema.cedarschema");

/// The annotations that rules may have.
const ANNOTATIONS: [&str; 3] = ["id", "reason", "approval"];

/// The rules of a policy, in the text's order. Each fits the schema.
#[derive(Debug, Clone)]
pub struct RuleSet {
    text: String,
    digest: Digest,
    rules: Vec<Rule>,
    by_id: BTreeMap<String, usize>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `@id`.
    pub id: String,
    /// Whether it permits; it forbids otherwise.
    pub permits: bool,
    /// `@reason`.
    pub reason: Option<String>,
    /// `@approval`.
    pub approval: Option<Approval>,
    /// The line on which it begins, one-based.
    pub line: u64,
    reads: Reads,
    policy: cedar_policy::Policy,
}

impl RuleSet {
    /// Reads rules.
    ///
    /// # Errors
    ///
    /// All mistakes, in the order of the text, each with its line: syntax, annotations, what does not fit the schema. Where the text
    /// cannot be read at all, what Cedar says of its syntax.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        bounds::check(text)?;
        let set: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
            let found = errors.iter().map(|error| problem(text, "bad-rules", &error.into(), None));
            sorted(found.take(limits::PROBLEMS_MAX).collect())
        })?;
        let count = set.num_of_policies() + set.num_of_templates();
        if count > limits::RULES_MAX {
            let message = format!("there are {count} rules; at most {} are read", limits::RULES_MAX);
            return Err(vec![Problem::new("too-many-rules", "/rules", message)]);
        }
        let mut problems = Vec::new();
        for template in set.templates() {
            let offset = template.as_ref().loc().map(|loc| loc.start()).unwrap_or_default();
            let hint = Some("write the principal or resource that is meant".to_owned());
            problems.push(at(text, offset, "rule-template", "a rule may not have slots", hint));
        }
        let mut rules: Vec<(usize, Rule)> = Vec::new();
        for policy in set.policies() {
            let offset = policy.as_ref().loc().map(|loc| loc.start()).unwrap_or_default();
            if let Some(rule) = read_rule(text, offset, policy, &mut problems) {
                rules.push((offset, rule));
            }
        }
        rules.sort_by_key(|(offset, _)| *offset);
        let mut by_id = BTreeMap::new();
        for (index, (offset, rule)) in rules.iter().enumerate() {
            if let Some(first) = by_id.insert(rule.id.clone(), index) {
                let line = rules.get(first).map_or(0, |(_, first)| first.line);
                let message = format!("the id `{}` is that of the rule on line {line} as well", rule.id);
                problems.push(at(text, *offset, "duplicate-rule-id", message, None));
            }
        }
        let rules: Vec<Rule> = rules.into_iter().map(|(_, rule)| rule).collect();
        if problems.is_empty() {
            problems = check_types(text, &rules);
        }
        if problems.is_empty() {
            Ok(Self { text: text.to_owned(), digest: Digest::of(text.as_bytes()), rules, by_id })
        } else {
            problems.truncate(limits::PROBLEMS_MAX);
            Err(sorted(problems))
        }
    }

    /// The text that was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of the text.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The rules in the text's order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The place of the rule of that id.
    fn index(&self, id: &PolicyId) -> Option<usize> {
        self.by_id.get::<str>(id.as_ref()).copied()
    }
}

/// The rule of a parsed policy; reports what is wrong with its annotations.
fn read_rule(text: &str, offset: usize, policy: &cedar_policy::Policy, problems: &mut Vec<Problem>) -> Option<Rule> {
    let before = problems.len();
    let mut report = |code: &str, message: String, hint: Option<String>| {
        problems.push(at(text, offset, code, message, hint));
    };
    for (name, _) in policy.annotations() {
        if !ANNOTATIONS.contains(&name) {
            let hint = suggestion(name, ANNOTATIONS).unwrap_or_else(|| {
                "rules may have `@id`, `@reason` and `@approval`; write the rest as a comment".to_owned()
            });
            report("unknown-annotation", format!("there is no annotation `@{name}`"), Some(hint));
        }
    }
    let id = policy.annotation("id").map(str::to_owned);
    match id.as_deref() {
        None => {
            let hint = Some("write `@id(\"…\")` before it: decisions and traces name rules by it".to_owned());
            report("missing-rule-id", "the rule has no `@id`".to_owned(), hint);
        }
        Some(id) if !is_name(id) => {
            let hint = Some("an id starts with a letter and holds only letters, digits, `-` and `_`".to_owned());
            report("bad-rule-id", format!("`{}` is no id of a rule", crate::problem::shown(id)), hint);
        }
        Some(_) => {}
    }
    let permits = policy.effect() == Effect::Permit;
    let approval = match policy.annotation("approval") {
        None => None,
        Some(_) if !permits => {
            let hint = Some("remove it: what a rule forbids, nobody can approve".to_owned());
            report("approval-of-forbid", "a rule that forbids has an `@approval`".to_owned(), hint);
            None
        }
        Some("required") => Some(Approval::Required),
        Some("never") => Some(Approval::Never),
        Some(other) => {
            let message = format!("`{}` is no value of `@approval`", crate::problem::shown(other));
            report("bad-approval", message, Some("it is \"required\" or \"never\"".to_owned()));
            None
        }
    };
    let reason = policy.annotation("reason").map(str::to_owned);
    if reason.as_ref().is_some_and(|reason| reason.is_empty() || reason.len() > limits::APPROVAL_TEXT_BYTES_MAX) {
        let message = format!("a `@reason` has 1 to {} bytes", limits::APPROVAL_TEXT_BYTES_MAX);
        report("bad-reason", message, None);
    }
    let tree = match policy.to_json() {
        Ok(tree) => tree,
        Err(error) => {
            report("bad-rules", format!("the rule has no JSON form: {error}"), None);
            return None;
        }
    };
    if problems.len() > before {
        return None;
    }
    let id = id?;
    let line = position(text, offset).line;
    let policy = policy.new_id(PolicyId::new(&id));
    Some(Rule { id, permits, reason, approval, line, reads: Reads::of(&tree), policy })
}

/// Holds the rules against the schema. What a rule does with the input is held against a tool's parameters where the tool is known; here
/// everything else of it is.
fn check_types(text: &str, rules: &[Rule]) -> Vec<Problem> {
    let schema = match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _)) => schema,
        Err(error) => return vec![Problem::new("bad-rules", "/rules", format!("the schema of rules: {error}"))],
    };
    let validator = Validator::new(schema);
    let mut problems = validate(text, rules, &validator, rules.iter().map(|rule| rule.policy.clone()));
    if problems.is_empty() {
        // Behind `context.input has x &&` nothing was looked at: to the bare schema no input has anything.
        let loosened = rules.iter().filter(|rule| rule.reads.reads_input()).filter_map(|rule| {
            let mut tree = rule.policy.to_json().ok()?;
            reads::without_tests_of_input(&mut tree);
            cedar_policy::Policy::from_json(Some(PolicyId::new(&rule.id)), tree).ok()
        });
        problems = validate(text, rules, &validator, loosened);
    }
    problems
}

fn validate(
    text: &str,
    rules: &[Rule],
    validator: &Validator,
    policies: impl Iterator<Item = cedar_policy::Policy>,
) -> Vec<Problem> {
    let set = match PolicySet::from_policies(policies) {
        Ok(set) => set,
        Err(error) => return vec![Problem::new("bad-rules", "/rules", error.to_string())],
    };
    let result = validator.validate(&set, ValidationMode::Strict);
    let rule = |id: &PolicyId| rules.iter().find(|rule| rule.id == AsRef::<str>::as_ref(id));
    let mut problems = Vec::new();
    for error in result.validation_errors() {
        let rule = rule(error.policy_id());
        let found = DetailedError::from(error);
        if !is_of_input(&found) {
            problems.push(problem(text, "rule-type", &found, rule));
        }
    }
    // What Cedar cannot type it also believes to be impossible: one mistake is said once.
    let warnings = result.validation_warnings().filter(|_| problems.is_empty()).collect::<Vec<_>>();
    for warning in warnings {
        let rule = rule(warning.policy_id());
        // To the bare schema no input has anything, so a rule that asks for it seems impossible.
        let is_open = rule.is_some_and(|rule| rule.reads.reads_input())
            && matches!(warning, cedar_policy::ValidationWarning::ImpossiblePolicy(_));
        if !is_open {
            problems.push(problem(text, "rule-never-applies", &DetailedError::from(warning), rule));
        }
    }
    problems
}

/// Whether all that is wrong is that the bare schema knows nothing of the input.
fn is_of_input(error: &DetailedError) -> bool {
    error.message.contains("attribute `input.") || error.message.contains("attribute `input[")
}

/// What Cedar says, as a problem: at the place that it names, else where the rule begins.
fn problem(text: &str, code: &str, error: &DetailedError, rule: Option<&Rule>) -> Problem {
    // Cedar begins with the rule's id, which is said in our own way.
    let message = match error.message.split_once("`, ") {
        Some((start, rest)) if start.starts_with("for policy `") => rest,
        _ => error.message.as_str(),
    };
    let message = message.trim_end_matches('.').lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let message = match rule {
        Some(rule) => format!("rule `{}`: {message}", rule.id),
        None => message,
    };
    let mut found = match (error.source_locations.first(), rule) {
        (Some(place), _) => at(text, place.loc.start, code, message, None),
        (None, Some(rule)) => {
            Problem::new(code, "/rules", message).at(crate::problem::Position { line: rule.line, column: 1 })
        }
        (None, None) => Problem::new(code, "/rules", message),
    };
    found.hint = error.help.as_ref().map(|help| help.trim_end_matches('.').to_owned());
    found
}

/// A problem at a byte of the text.
fn at(text: &str, offset: usize, code: &str, message: impl Into<String>, hint: Option<String>) -> Problem {
    let mut problem = Problem::new(code, "/rules", message).at(position(text, offset));
    problem.hint = hint;
    problem
}

fn position(text: &str, offset: usize) -> crate::problem::Position {
    Reader::new(text).position(offset)
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.position.map_or((0, 0), |position| (position.line, position.column)));
    problems
}

#[cfg(test)]
mod tests;
