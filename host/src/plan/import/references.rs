//! `{{x}}` and `{{step.key}}` of workflows as references that name one thing: an input of the plan, or a part of one step's output.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Reader;
use crate::id::StepId;
use crate::plan::template::{Node, Part, Reference, Root};
use crate::problem::{pointer_to, shown, suggestion};
use crate::types::one_of;

/// What a step gives.
#[derive(Debug)]
pub(super) enum Gives {
    /// These keys, with the path to each in the tool's output.
    Keys(Vec<(String, Vec<String>)>),
    /// Nobody said.
    Unknown,
}

/// A step to which others may refer.
#[derive(Debug)]
pub(super) struct Giver {
    pub(super) name: String,
    pub(super) id: StepId,
    /// The tool, for messages.
    pub(super) tool: String,
    pub(super) gives: Gives,
}

/// All that can be referred to.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) inputs: BTreeSet<String>,
    pub(super) steps: Vec<Giver>,
}

/// From where it is referred to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    /// `None` where braces mean nothing.
    pub(super) state: Option<&'s State>,
    /// The steps that run later.
    pub(super) later: &'s BTreeSet<usize>,
    /// The step that refers, where it may not refer to itself.
    pub(super) this: Option<usize>,
    /// Whether steps can be referred to at all.
    pub(super) steps: bool,
}

impl Scope<'static> {
    /// Where braces mean nothing.
    pub(super) const LITERAL: Self = Self { state: None, later: &BTreeSet::new(), this: None, steps: false };
}

/// Code, message and hint.
type Refusal = (&'static str, String, String);

impl Reader<'_> {
    /// The value with the references of its strings in our form; the steps that they name are added to `used`.
    pub(super) fn rewrite(
        &mut self,
        value: &Value,
        pointer: &str,
        scope: Scope<'_>,
        used: &mut BTreeSet<usize>,
    ) -> Value {
        match value {
            Value::String(text) if text.contains("{{") => {
                let Some(state) = scope.state else {
                    let now = Node::Scalar(value.clone()).to_document();
                    self.changed(pointer, value.clone(), now.clone(), "braces are text there");
                    return now;
                };
                let parts = match parts(text, state, scope, used) {
                    Ok(parts) => parts,
                    Err((code, message, hint)) => {
                        self.report(code, pointer, message, hint);
                        return value.clone();
                    }
                };
                let node = match <[Part; 1]>::try_from(parts) {
                    Ok([Part::Reference(reference)]) => Node::Whole(reference),
                    Ok([part]) => Node::Text(vec![part]),
                    Err(parts) => Node::Text(parts),
                };
                let now = node.to_document();
                self.changed(pointer, value.clone(), now.clone(), "references say what they name");
                now
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .map(|(index, item)| self.rewrite(item, &pointer_to(pointer, &index.to_string()), scope, used))
                    .collect()
            }
            Value::Object(members) => members
                .iter()
                .map(|(key, member)| (key.clone(), self.rewrite(member, &pointer_to(pointer, key), scope, used)))
                .collect(),
            other => other.clone(),
        }
    }
}

fn parts(text: &str, state: &State, scope: Scope<'_>, used: &mut BTreeSet<usize>) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inner, after)) = after.split_once("}}") else {
            let hint = "close it with `}}`; braces that are text cannot be told from a reference".to_owned();
            return Err(("bad-reference", format!("a reference in `{}` is not closed", shown(text)), hint));
        };
        if !before.is_empty() {
            parts.push(Part::Literal(before.to_owned()));
        }
        parts.push(Part::Reference(find(inner.trim(), state, scope, used)?));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// The one thing that `inner` can mean.
fn find(inner: &str, state: &State, scope: Scope<'_>, used: &mut BTreeSet<usize>) -> Result<Reference, Refusal> {
    let shown_inner = shown(inner);
    // Names of steps may hold anything, also dots.
    let of_step = |giver: &Giver| inner.strip_prefix(giver.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
    let by_name: Vec<(usize, &str)> =
        state.steps.iter().enumerate().filter_map(|(at, giver)| Some((at, of_step(giver)?))).collect();
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let path = by_name.first().map_or(inner, |(_, path)| *path);
    if !path.split('.').all(is_plain) {
        let hint = "names joined by dots have a meaning; filters and expressions have none here".to_owned();
        return Err(("bad-reference", format!("`{{{{{shown_inner}}}}}` is no reference"), hint));
    }
    let (first, rest) = inner.split_once('.').map_or((inner, None), |(first, rest)| (first, Some(rest)));
    let may = |at: usize| scope.steps && Some(at) != scope.this && !scope.later.contains(&at);

    let mut meanings: Vec<(Reference, Option<usize>, String)> = Vec::new();
    if state.inputs.contains(first) {
        let tail = rest.into_iter().flat_map(|rest| rest.split('.')).map(str::to_owned).collect();
        let reference = Reference { root: Root::Input(first.to_owned()), path: tail };
        meanings.push((reference, None, format!("`initial_state` has `{}`", shown(first))));
    }
    for (at, path) in by_name.iter().filter(|(at, _)| may(*at)) {
        if let Some(giver) = state.steps.get(*at) {
            let reference = giver.reference(path)?;
            meanings.push((reference, Some(*at), format!("the step `{}` gives it", shown(&giver.name))));
        }
    }
    let is_named = !by_name.is_empty();
    for (at, giver) in state.steps.iter().enumerate().filter(|(at, _)| may(*at)) {
        let said = match &giver.gives {
            Gives::Keys(keys) if keys.iter().any(|(key, _)| key == first) => "gives it",
            // What may be there is no match for what is named.
            Gives::Unknown if !is_named => "may give it",
            _ => continue,
        };
        meanings.push((giver.reference(inner)?, Some(at), format!("the step `{}` {said}", shown(&giver.name))));
    }

    match <[_; 1]>::try_from(meanings) {
        Ok([(reference, step, _)]) => {
            used.extend(step);
            Ok(reference)
        }
        Err(meanings) if meanings.is_empty() => Err(nothing(inner, state, scope, &by_name)),
        Err(meanings) => {
            let mut all: Vec<&str> = meanings.iter().map(|(_, _, said)| said.as_str()).collect();
            all.truncate(4);
            let message = format!("`{{{{{shown_inner}}}}}` could mean several things: {}", all.join(", "));
            let hint = match meanings.iter().find_map(|(_, step, _)| state.steps.get((*step)?)) {
                Some(giver) if !is_named => format!(
                    "write `{{{{{}.{shown_inner}}}}}`, or say with `--gives` what the mapped capabilities give",
                    shown(&giver.name)
                ),
                _ => "rename one of them".to_owned(),
            };
            Err(("ambiguous-reference", message, hint))
        }
    }
}

/// Why nothing has that name.
fn nothing(inner: &str, state: &State, scope: Scope<'_>, by_name: &[(usize, &str)]) -> Refusal {
    let name = shown(inner);
    if let Some((at, _)) = by_name.first() {
        let message = match scope.this == Some(*at) {
            true => format!("`{{{{{name}}}}}` is what the step itself gives"),
            false if !scope.steps => format!("`{{{{{name}}}}}` is what a step gives, which may not have run"),
            false => format!("`{{{{{name}}}}}` is what a step gives that runs later"),
        };
        return ("unresolved-reference", message, "refer to what is there when this is needed".to_owned());
    }
    let message = format!("nothing gives `{{{{{name}}}}}`");
    let known = state.inputs.iter().map(String::as_str);
    let keys = state.steps.iter().flat_map(|giver| match &giver.gives {
        Gives::Keys(keys) => keys.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        Gives::Unknown => Vec::new(),
    });
    let hint = suggestion(inner, known.chain(keys)).unwrap_or_else(|| {
        "put it into `initial_state`, or write `{{step.key}}` with a step that runs before".to_owned()
    });
    ("unresolved-reference", message, hint)
}

impl Giver {
    /// The reference to a path of keys as they were called there.
    fn reference(&self, path: &str) -> Result<Reference, Refusal> {
        let mut parts = path.split('.');
        let path: Vec<String> = match &self.gives {
            Gives::Unknown => parts.map(kebab).collect(),
            Gives::Keys(keys) => {
                let first = parts.next().unwrap_or_default();
                let Some((_, found)) = keys.iter().find(|(key, _)| key == first) else {
                    let message =
                        format!("the step `{}` (`{}`) gives no `{}`", shown(&self.name), self.tool, shown(first));
                    let known = keys.iter().map(|(key, _)| key.as_str());
                    let hint = suggestion(first, known.clone()).unwrap_or_else(|| one_of("it gives", known));
                    return Err(("unresolved-reference", message, hint));
                };
                found.iter().cloned().chain(parts.map(str::to_owned)).collect()
            }
        };
        Ok(Reference { root: Root::Step(self.id.clone()), path })
    }
}

/// A name as WIT has it.
pub(super) fn kebab(name: &str) -> String {
    name.replace('_', "-")
}
