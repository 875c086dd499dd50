//! References in strings: `{{inputs.month}}`, `{{steps.sum.total}}`, `{{steps.list.0["odd key"]}}`.
//!
//! A string that is one reference and nothing else becomes the referenced value with its JSON type. A reference inside a longer string
//! becomes text: a string as it is, anything else as canonical JSON. `{{"…"}}` with a JSON string inside is that text and the way to
//! write `{{` itself: `{{"{{"}}`. Outside of a reference `}}` is text. Keys of objects are not templates.
//!
//! Parsed once, when the plan is read; nothing that a value contains is ever parsed as a template.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::id::StepId;
use crate::problem::{Problem, Problems, shown, suggestion};
use crate::types::check::{Kind, Path, Tree};
use crate::types::{Mismatch, index, one_of};
use crate::{canonical, limits};

/// The values that steps have given, by step.
pub type Outputs = BTreeMap<StepId, Arc<Value>>;

/// A JSON value whose strings may hold references.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    root: Node,
    pointer: String,
    /// Whether nothing of it is replaced.
    is_literal: bool,
}

/// A value of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Null, a boolean, a number, or a string without references.
    Scalar(Value),
    /// A string that is one reference.
    Whole(Reference),
    /// A string with references among text.
    Text(Vec<Part>),
    Array(Vec<Self>),
    Object(BTreeMap<String, Self>),
    /// A string with a mistake, which has been reported: nothing is known of its value.
    Unreadable(String),
}

/// A piece of a string.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Literal(String),
    Reference(Reference),
}

/// What a reference names: an input or a step's output, and a path into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where the path begins.
    pub root: Root,
    /// Keys and indices; empty for the whole.
    pub path: Vec<String>,
}

/// Where a reference begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// `inputs.<name>`: that input of the plan.
    Input(String),
    /// `steps.<id>`: the output of that step.
    Step(StepId),
}

/// A reference with the JSON pointer of the string it is in.
#[derive(Debug, Clone)]
pub struct Located<'t> {
    /// The string's place in the plan.
    pub pointer: String,
    /// The reference.
    pub reference: &'t Reference,
}

/// What references are resolved against.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    /// The plan's inputs.
    pub inputs: &'s Map<String, Value>,
    /// The outputs of the steps that have run.
    pub outputs: &'s Outputs,
}

impl<'s> Scope<'s> {
    /// The value that `reference` names.
    ///
    /// # Errors
    ///
    /// Says which part of it does not exist.
    pub fn lookup(&self, reference: &Reference) -> Result<&'s Value, Mismatch> {
        let mut value = match &reference.root {
            Root::Step(id) => {
                self.outputs.get(id).ok_or_else(|| Mismatch::new(format!("the step `{id}` has given no output")))?
            }
            Root::Input(name) => self.inputs.get(name).ok_or_else(|| {
                let known = self.inputs.keys().map(String::as_str);
                let hint = suggestion(name, known.clone()).unwrap_or_else(|| one_of("the inputs are", known));
                Mismatch::new(format!("there is no input `{}`", shown(name))).hint(hint)
            })?,
        };
        for segment in &reference.path {
            let next = match value {
                Value::Object(members) => members.get(segment),
                Value::Array(items) => index(segment).and_then(|at| items.get(at)),
                _ => None,
            };
            value = next.ok_or_else(|| missing(value, segment))?;
        }
        Ok(value)
    }
}

fn missing(value: &Value, segment: &str) -> Mismatch {
    let mismatch = |what: String| Mismatch::new(format!("{what} has no `{}`", shown(segment)));
    match value {
        Value::Object(members) => {
            let known = members.keys().map(String::as_str);
            let hint = suggestion(segment, known.clone()).unwrap_or_else(|| one_of("its keys are", known));
            mismatch("the object".to_owned()).hint(hint)
        }
        Value::Array(items) => mismatch(format!("an array of {} elements", items.len())),
        _ => mismatch("a value that is neither object nor array".to_owned()),
    }
}

/// What finds the value of a reference.
pub(crate) type Lookup<'l> = dyn Fn(&Reference) -> Result<Cow<'l, Value>, Mismatch> + 'l;

impl Template {
    /// Parses the strings of `value`, which is at `pointer` in its document. Mistakes are added to `problems`; a string with a mistake
    /// is kept as text.
    pub fn parse(value: &Value, pointer: &str, problems: &mut Problems) -> Self {
        let root = Node::parse(value, &Path::root(pointer), problems);
        Self { is_literal: root.is_literal(), root, pointer: pointer.to_owned() }
    }

    /// The template that is `value` itself: no text of it is read as a reference.
    pub(super) fn literal(value: &Value, pointer: &str) -> Self {
        Self { root: Node::literal(value), pointer: pointer.to_owned(), is_literal: true }
    }

    /// Where in its document the template is.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The value as a document writes it: parsing that gives this template again.
    #[must_use]
    pub fn to_document(&self) -> Value {
        self.root.to_document()
    }

    /// All references with their places, in the order of the document.
    #[must_use]
    pub fn references(&self) -> Vec<Located<'_>> {
        let mut found = Vec::new();
        self.root.references(&Path::root(&self.pointer), &mut found);
        found
    }

    /// Whether it is one reference and nothing else.
    pub(crate) const fn is_reference(&self) -> bool {
        matches!(self.root, Node::Whole(_))
    }

    /// Whether it holds no reference, so that what is known of it before the run is known of its value.
    pub(crate) const fn is_literal(&self) -> bool {
        self.is_literal
    }

    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }

    /// The value with all references replaced.
    ///
    /// # Errors
    ///
    /// A reference that names nothing; text beyond [`limits::TEMPLATE_TEXT_BYTES_MAX`] or values beyond [`limits::VALUES_MAX`].
    pub fn resolve(&self, scope: &Scope<'_>) -> Result<Value, Problem> {
        self.resolve_with(&|reference| scope.lookup(reference).map(Cow::Borrowed))
    }

    pub(crate) fn resolve_with(&self, lookup: &Lookup<'_>) -> Result<Value, Problem> {
        self.root.resolve_alone(&Path::root(&self.pointer), lookup)
    }

    /// The same for one of several that share a bound.
    pub(crate) fn resolve_within(&self, lookup: &Lookup<'_>, budget: &mut Budget) -> Result<Value, Problem> {
        self.root.resolve(&Path::root(&self.pointer), lookup, budget)
    }
}

/// What resolving may still produce, so that many references to one large output do not multiply it without bound.
pub(crate) struct Budget {
    bytes: usize,
    values: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: limits::TEMPLATE_TEXT_BYTES_MAX, values: limits::VALUES_MAX }
    }
}

impl Budget {
    fn spend(&mut self, values: usize, bytes: usize, path: &Path<'_>) -> Result<(), Problem> {
        match (self.values.checked_sub(values), self.bytes.checked_sub(bytes)) {
            (Some(values), Some(bytes)) => {
                *self = Self { bytes, values };
                Ok(())
            }
            (None, _) => {
                let message = format!("with its references resolved it has more than {} values", limits::VALUES_MAX);
                Err(Problem::new("too-many-values", path.pointer(), message))
            }
            (_, None) => {
                let message = format!(
                    "with its references resolved it has more than {} bytes of text",
                    limits::TEMPLATE_TEXT_BYTES_MAX
                );
                Err(Problem::new("template-too-large", path.pointer(), message)
                    .with_hint("pass large data between steps in files"))
            }
        }
    }

    fn spend_on(&mut self, value: &Value, path: &Path<'_>) -> Result<(), Problem> {
        match value {
            Value::String(text) => self.spend(1, text.len(), path),
            Value::Array(items) => {
                self.spend(1, 0, path)?;
                items.iter().try_for_each(|item| self.spend_on(item, path))
            }
            Value::Object(members) => {
                self.spend(1, 0, path)?;
                members.iter().try_for_each(|(key, member)| {
                    self.spend(0, key.len(), path)?;
                    self.spend_on(member, path)
                })
            }
            _ => self.spend(1, 0, path),
        }
    }
}

impl Node {
    fn is_literal(&self) -> bool {
        match self {
            Self::Scalar(_) => true,
            Self::Whole(_) | Self::Text(_) | Self::Unreadable(_) => false,
            Self::Array(items) => items.iter().all(Self::is_literal),
            Self::Object(members) => members.values().all(Self::is_literal),
        }
    }

    fn literal(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::Array(items.iter().map(Self::literal).collect()),
            Value::Object(members) => {
                Self::Object(members.iter().map(|(key, member)| (key.clone(), Self::literal(member))).collect())
            }
            scalar => Self::Scalar(scalar.clone()),
        }
    }

    fn parse(value: &Value, path: &Path<'_>, problems: &mut Problems) -> Self {
        match value {
            Value::String(text) => Self::parse_text(text).unwrap_or_else(|error| {
                let message = format!("{} (character {} of the string)", error.message, error.at + 1);
                problems.push(Problem::new("bad-template", path.pointer(), message).with_hint(error.hint));
                Self::Unreadable(text.clone())
            }),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Self::Array(items.map(|(at, item)| Self::parse(item, &path.index(at), problems)).collect())
            }
            Value::Object(members) => {
                let members = members.iter();
                let parse =
                    |(key, member): (&String, &Value)| (key.clone(), Self::parse(member, &path.key(key), problems));
                Self::Object(members.map(parse).collect())
            }
            scalar => Self::Scalar(scalar.clone()),
        }
    }

    fn parse_text(text: &str) -> Result<Self, SyntaxError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            literal.push_str(before);
            let mut scanner = Scanner { text, rest: after };
            match scanner.expression()? {
                Part::Literal(escaped) => literal.push_str(&escaped),
                reference @ Part::Reference(_) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(reference);
                }
            }
            rest = scanner.rest;
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Ok(Self::Scalar(Value::String(literal)));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(match <[Part; 1]>::try_from(parts) {
            Ok([Part::Reference(reference)]) => Self::Whole(reference),
            Ok([part]) => Self::Text(vec![part]),
            Err(parts) => Self::Text(parts),
        })
    }

    pub(crate) fn to_document(&self) -> Value {
        match self {
            Self::Scalar(Value::String(text)) => Value::String(text.replace("{{", "{{\"{{\"}}")),
            Self::Scalar(scalar) => scalar.clone(),
            Self::Unreadable(text) => Value::String(text.clone()),
            Self::Whole(reference) => Value::String(format!("{{{{{reference}}}}}")),
            Self::Text(parts) => Value::String(parts.iter().map(Part::to_string).collect()),
            Self::Array(items) => items.iter().map(Self::to_document).collect(),
            Self::Object(members) => {
                Value::Object(members.iter().map(|(key, member)| (key.clone(), member.to_document())).collect())
            }
        }
    }

    /// Resolves with a budget of its own.
    pub(crate) fn resolve_alone(&self, path: &Path<'_>, lookup: &Lookup<'_>) -> Result<Value, Problem> {
        self.resolve(path, lookup, &mut Budget::default())
    }

    fn references<'t>(&'t self, path: &Path<'_>, found: &mut Vec<Located<'t>>) {
        match self {
            Self::Scalar(_) | Self::Unreadable(_) => {}
            Self::Whole(reference) => found.push(Located { pointer: path.pointer(), reference }),
            Self::Text(parts) => found.extend(parts.iter().filter_map(|part| match part {
                Part::Literal(_) => None,
                Part::Reference(reference) => Some(Located { pointer: path.pointer(), reference }),
            })),
            Self::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    item.references(&path.index(at), found);
                }
            }
            Self::Object(members) => {
                for (key, member) in members {
                    member.references(&path.key(key), found);
                }
            }
        }
    }

    fn resolve(&self, path: &Path<'_>, lookup: &Lookup<'_>, budget: &mut Budget) -> Result<Value, Problem> {
        let find = |reference: &Reference| {
            lookup(reference).map_err(|mismatch| {
                let message = format!("`{{{{{reference}}}}}`: {}", mismatch.message);
                let mut problem = Problem::new("unresolvable-reference", path.pointer(), message);
                problem.hint = mismatch.hint;
                problem
            })
        };
        match self {
            Self::Scalar(scalar) => {
                budget.spend_on(scalar, path)?;
                Ok(scalar.clone())
            }
            Self::Unreadable(text) => {
                budget.spend(1, text.len(), path)?;
                Ok(Value::String(text.clone()))
            }
            Self::Whole(reference) => {
                let value = find(reference)?;
                budget.spend_on(&value, path)?;
                Ok(value.into_owned())
            }
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    let piece = match part {
                        Part::Literal(literal) => Cow::Borrowed(literal.as_str()),
                        Part::Reference(reference) => match find(reference)? {
                            Cow::Borrowed(Value::String(string)) => Cow::Borrowed(string.as_str()),
                            value => Cow::Owned(match value.into_owned() {
                                Value::String(string) => string,
                                other => canonical::to_string(&other),
                            }),
                        },
                    };
                    budget.spend(0, piece.len(), path)?;
                    text.push_str(&piece);
                }
                budget.spend(1, 0, path)?;
                Ok(Value::String(text))
            }
            Self::Array(items) => {
                budget.spend(1, 0, path)?;
                let items = items.iter().enumerate();
                items.map(|(at, item)| item.resolve(&path.index(at), lookup, budget)).collect()
            }
            Self::Object(members) => {
                budget.spend(1, 0, path)?;
                let mut resolved = Map::new();
                for (key, member) in members {
                    resolved.insert(key.clone(), member.resolve(&path.key(key), lookup, budget)?);
                }
                Ok(Value::Object(resolved))
            }
        }
    }
}

impl Tree for Node {
    fn kind(&self) -> Kind<'_, Self> {
        match self {
            Self::Scalar(scalar) => Kind::Scalar(scalar),
            Self::Whole(_) | Self::Text(_) | Self::Unreadable(_) => Kind::Hole,
            Self::Array(items) => Kind::Items(items),
            Self::Object(members) => Kind::Members(members.len()),
        }
    }

    fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Object(members) => Box::new(members.keys().map(String::as_str)),
            _ => Box::new(std::iter::empty()),
        }
    }
}

/// Without the braces.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = match &self.root {
            Root::Input(name) => {
                f.write_str("inputs")?;
                Some(name)
            }
            Root::Step(id) => {
                write!(f, "steps.{id}")?;
                None
            }
        };
        for segment in input.into_iter().chain(&self.path) {
            if !segment.is_empty() && segment.bytes().all(is_bare) {
                write!(f, ".{segment}")?;
            } else {
                write!(f, "[{}]", canonical::to_string(&Value::from(segment.as_str())))?;
            }
        }
        Ok(())
    }
}

/// As in a document: references in braces, text escaped, a brace before a reference too.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(reference) => write!(f, "{{{{{reference}}}}}"),
            Self::Literal(text) => {
                let escaped = text.replace("{{", "{{\"{{\"}}");
                match escaped.strip_suffix('{') {
                    Some(before) => write!(f, "{before}{{{{\"{{\"}}}}"),
                    None => f.write_str(&escaped),
                }
            }
        }
    }
}

const fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

struct SyntaxError {
    message: String,
    hint: &'static str,
    /// The character at fault, from 0.
    at: usize,
}

/// Reads what is between `{{` and `}}`.
struct Scanner<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    fn error(&self, message: impl Into<String>, hint: &'static str) -> SyntaxError {
        let before = self.text.len() - self.rest.len();
        let at = self.text.get(..before).unwrap_or_default().chars().count();
        SyntaxError { message: message.into(), hint, at }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn eat(&mut self, token: &str) -> bool {
        self.rest.strip_prefix(token).map(|rest| self.rest = rest).is_some()
    }

    fn bare(&mut self) -> &'t str {
        let end = self.rest.bytes().position(|byte| !is_bare(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A JSON string with its quotes.
    fn quoted(&mut self) -> Result<String, SyntaxError> {
        let mut escaped = false;
        let closing = self.rest.bytes().enumerate().skip(1).find(|&(_, byte)| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let unquoted = "a quoted text is a JSON string, such as \"my key\"";
        let Some((end, _)) = closing else { return Err(self.error("a quoted text has no closing quote", unquoted)) };
        let (quoted, rest) = self.rest.split_at(end + 1);
        let Ok(text) = serde_json::from_str(quoted) else {
            return Err(self.error("a quoted text is not a JSON string", unquoted));
        };
        self.rest = rest;
        Ok(text)
    }

    fn expression(&mut self) -> Result<Part, SyntaxError> {
        const FORMS: &str =
            "a reference is `{{inputs.name}}` or `{{steps.id.field}}`; write `{{\"{{\"}}` for the braces themselves";
        self.skip_spaces();
        let part = if self.rest.starts_with('"') {
            Part::Literal(self.quoted()?)
        } else {
            let start = self.rest;
            let root = self.bare();
            let at_root =
                |scanner: &Self, message: String| Scanner { text: scanner.text, rest: start }.error(message, FORMS);
            let root = match root {
                "inputs" => match self.segment()? {
                    Some(name) => Root::Input(name),
                    None => return Err(at_root(self, "`inputs` lacks the name of an input".to_owned())),
                },
                "steps" => match self.segment()? {
                    Some(id) => Root::Step(StepId::new(id).map_err(|error| at_root(self, error.to_string()))?),
                    None => return Err(at_root(self, "`steps` lacks the id of a step".to_owned())),
                },
                "" if self.rest.starts_with("}}") => return Err(at_root(self, "the reference is empty".to_owned())),
                "" if self.rest.is_empty() => return Err(at_root(self, "`{{` without `}}`".to_owned())),
                "" => return Err(at_root(self, "a reference begins with `inputs` or `steps`".to_owned())),
                other => {
                    return Err(at_root(self, format!("`{}` is not `inputs` or `steps`", shown(other))));
                }
            };
            let mut path = Vec::new();
            while let Some(segment) = self.segment()? {
                if path.len() >= limits::DOCUMENT_DEPTH_MAX {
                    return Err(self.error("the reference has too many parts", FORMS));
                }
                path.push(segment);
            }
            Part::Reference(Reference { root, path })
        };
        self.skip_spaces();
        if self.eat("}}") {
            return Ok(part);
        }
        let message = match self.rest.chars().next() {
            None => "`{{` without `}}`".to_owned(),
            Some(c) => format!("`{}` does not belong into a reference", shown(&c.to_string())),
        };
        Err(self.error(message, FORMS))
    }

    fn segment(&mut self) -> Result<Option<String>, SyntaxError> {
        const FORMS: &str =
            "after a dot comes a key of letters, digits, `-` and `_`, or an index; other keys are written `[\"key\"]`";
        if self.eat(".") {
            return match self.bare() {
                "" => Err(self.error("a key is missing after the dot", FORMS)),
                word => Ok(Some(word.to_owned())),
            };
        }
        if !self.eat("[") {
            return Ok(None);
        }
        if !self.rest.starts_with('"') {
            return Err(self.error("a key in square brackets is in double quotes", FORMS));
        }
        let key = self.quoted()?;
        if !self.eat("]") {
            return Err(self.error("`[` without `]`", FORMS));
        }
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests;
