//! Strict reading of TOML documents: every mistake with its line, unknown keys refused, nothing coerced.
//!
//! Owns the form, not the meaning: policies and skill manifests say which keys there are. Reads as far as it can, so that one report
//! names all mistakes.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::form::Shape;
use crate::limits;
use crate::problem::{Position, Problem, Problems, pointer_to, suggestion};

/// Where a value is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// JSON pointer.
    pub(crate) pointer: String,
    /// Bytes of the text.
    span: Range<usize>,
}

impl Place {
    /// The document as a whole.
    pub(crate) const fn start() -> Self {
        Self { pointer: String::new(), span: 0..0 }
    }

    /// The place's key or index: the last part of the pointer.
    pub(crate) fn key(&self) -> &str {
        self.pointer.rsplit_once('/').map_or("", |(_, key)| key)
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node<'d, 't> {
    /// Where it is.
    pub(crate) place: Place,
    value: &'d DeValue<'t>,
}

/// A table whose keys were checked.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'d, 't> {
    /// Where it is.
    pub(crate) place: Place,
    table: &'d DeTable<'t>,
}

/// Collects the problems of one text.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    problems: Problems,
}

/// Parses the text; syntax errors, all that can be told apart, are problems.
pub(crate) fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, Vec<Problem>> {
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limits::DOCUMENT_BYTES_MAX {
        let message = format!("the document has {} bytes; at most {} are read", text.len(), limits::DOCUMENT_BYTES_MAX);
        return Err(vec![Problem::new("document-too-large", "", message)]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table);
    }
    let mut reader = Reader::new(text);
    for error in errors {
        let place = Place { pointer: String::new(), span: error.span().unwrap_or_default() };
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        reader.report(&place, "bad-toml", message, None);
    }
    Err(reader.finish())
}

/// Where the value at a JSON pointer stands in a text that is TOML; `None` where there is none.
pub(crate) fn position_of(text: &str, pointer: &str) -> Option<Position> {
    let table = parse(text).ok()?;
    let reader = Reader::new(text);
    let mut node: Option<Node<'_, '_>> = None;
    for part in pointer.strip_prefix('/')?.split('/') {
        let key = part.replace("~1", "/").replace("~0", "~");
        let value = match node.as_ref().map(|node| node.value) {
            None => table.get_ref().get(key.as_str())?,
            Some(DeValue::Table(table)) => table.get(key.as_str())?,
            Some(DeValue::Array(items)) => items.get(key.parse::<usize>().ok()?)?,
            Some(_) => return None,
        };
        let place = Place { pointer: String::new(), span: value.span() };
        node = Some(Node { place, value: value.get_ref() });
    }
    node.map(|node| reader.position_of(&node.place))
}

impl<'d, 't> Fields<'d, 't> {
    /// The value of `key`, where it is given.
    pub(crate) fn get(&self, key: &str) -> Option<Node<'d, 't>> {
        let value = self.table.get(key)?;
        let place = Place { pointer: pointer_to(&self.place.pointer, key), span: value.span() };
        Some(Node { place, value: value.get_ref() })
    }

    /// All entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'d str, Node<'d, 't>)> {
        self.table.iter().map(|(key, value)| {
            let key: &'d str = key.get_ref();
            let place = Place { pointer: pointer_to(&self.place.pointer, key), span: value.span() };
            (key, Node { place, value: value.get_ref() })
        })
    }
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, problems: Problems::default() }
    }

    /// Adds a problem.
    pub(crate) fn report(&mut self, place: &Place, code: &str, message: impl Into<String>, hint: Option<String>) {
        let mut problem = Problem::new(code, place.pointer.clone(), message).at(self.position(place.span.start));
        problem.hint = hint;
        self.problems.push(problem);
    }

    /// The problems in the order of the text.
    pub(crate) fn finish(self) -> Vec<Problem> {
        let mut problems = self.problems.into_vec();
        problems.sort_by_key(|problem| {
            problem.position.map_or((u64::MAX, u64::MAX), |position| (position.line, position.column))
        });
        problems
    }

    /// Where a value stands, for what is found wrong with it after the document was read.
    pub(crate) fn position_of(&self, place: &Place) -> Position {
        self.position(place.span.start)
    }

    /// The place of a byte of the text.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        let (lines, last) = before
            .rsplit_once('\n')
            .map_or((0, before), |(above, last)| (above.bytes().filter(|byte| *byte == b'\n').count() + 1, last));
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1);
        Position { line: number(lines), column: number(last.chars().count()) }
    }

    /// The document's own table.
    pub(crate) fn root<'d>(&mut self, table: &'d Spanned<DeTable<'t>>, known: &[&str]) -> Fields<'d, 't> {
        let fields = Fields { place: Place { pointer: String::new(), span: 0..0 }, table: table.get_ref() };
        self.check_keys(&fields, known);
        fields
    }

    /// The document's own table, whatever its keys are.
    pub(crate) fn whole<'d>(&self, table: &'d Spanned<DeTable<'t>>) -> Fields<'d, 't> {
        Fields { place: Place::start(), table: table.get_ref() }
    }

    fn check_keys(&mut self, fields: &Fields<'_, 't>, known: &[&str]) {
        for key in fields.table.keys() {
            let place = Place { pointer: pointer_to(&fields.place.pointer, key.get_ref()), span: key.span() };
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = suggestion(name, known.iter().copied())
                    .unwrap_or_else(|| format!("the keys here are {}", known.join(", ")));
                self.report(&place, "unknown-key", format!("there is no key `{name}`"), Some(hint));
            }
        }
    }

    fn wrong_type(&mut self, node: &Node<'_, '_>, expected: &str) {
        let found = match node.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.report(&node.place, "wrong-type", format!("expected {expected}, found {found}"), None);
    }

    /// A table with checked keys.
    pub(crate) fn table<'d>(&mut self, node: &Node<'d, 't>, known: &[&str]) -> Option<Fields<'d, 't>> {
        let fields = self.open_table(node)?;
        self.check_keys(&fields, known);
        Some(fields)
    }

    /// A table of that shape, whose keys were checked.
    pub(crate) fn shaped<'d>(&mut self, node: &Node<'d, 't>, shape: &Shape) -> Option<Fields<'d, 't>> {
        self.table(node, &shape.names().collect::<Vec<_>>())
    }

    /// The integer of that key, in the range that `shape` gives it.
    pub(crate) fn ranged(&mut self, fields: &Fields<'_, 't>, shape: &Shape, key: &str) -> Option<u64> {
        let (_, max) = shape.range(key)?;
        fields.get(key).and_then(|node| self.integer(&node, max))
    }

    /// Whether the value is a table, where it may be something else as well.
    pub(crate) const fn is_table(node: &Node<'_, 't>) -> bool {
        matches!(node.value, DeValue::Table(_))
    }

    /// A table whose keys are names of the document's own.
    pub(crate) fn open_table<'d>(&mut self, node: &Node<'d, 't>) -> Option<Fields<'d, 't>> {
        if let DeValue::Table(table) = node.value {
            return Some(Fields { place: node.place.clone(), table });
        }
        self.wrong_type(node, "a table");
        None
    }

    /// The elements of an array.
    pub(crate) fn array<'d>(&mut self, node: &Node<'d, 't>, of: &str) -> Option<Vec<Node<'d, 't>>> {
        let DeValue::Array(items) = node.value else {
            self.wrong_type(node, &format!("an array of {of}"));
            return None;
        };
        let nodes = items.iter().enumerate().map(|(index, item)| Node {
            place: Place { pointer: format!("{}/{index}", node.place.pointer), span: item.span() },
            value: item.get_ref(),
        });
        Some(nodes.collect())
    }

    /// A string.
    pub(crate) fn string<'d>(&mut self, node: &Node<'d, 't>) -> Option<&'d str> {
        if let DeValue::String(text) = node.value {
            return Some(text);
        }
        self.wrong_type(node, "a string");
        None
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, node: &Node<'_, 't>) -> Option<bool> {
        if let DeValue::Boolean(value) = node.value {
            return Some(*value);
        }
        self.wrong_type(node, "true or false");
        None
    }

    /// An integer from 1 to `max`.
    pub(crate) fn integer(&mut self, node: &Node<'_, 't>, max: u64) -> Option<u64> {
        let DeValue::Integer(digits) = node.value else {
            self.wrong_type(node, "an integer");
            return None;
        };
        let value = u64::from_str_radix(digits.as_str(), digits.radix()).ok();
        if let Some(value) = value.filter(|value| (1..=max).contains(value)) {
            return Some(value);
        }
        let message = format!("`{}` must be from 1 to {max}", node.place.key());
        self.report(&node.place, "out-of-range", message, None);
        None
    }

    /// A string that is one of a few.
    pub(crate) fn one_of<T: Copy>(&mut self, node: &Node<'_, 't>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(node)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            let hint = suggestion(text, choices.iter().map(|(name, _)| *name))
                .unwrap_or_else(|| format!("write one of {}", names.join(", ")));
            let message = format!("`{text}` is no value of `{}`", node.place.key());
            self.report(&node.place, "unknown-value", message, Some(hint));
        }
        found
    }

    /// The `schema` key, which must name `schema`.
    pub(crate) fn schema(&mut self, fields: &Fields<'_, 't>, schema: &str) {
        let hint = Some(format!("the first line of the document is `schema = \"{schema}\"`"));
        match fields.get("schema") {
            None => self.report(&fields.place, "wrong-schema", "the key `schema` is missing", hint),
            Some(node) => {
                if let Some(text) = self.string(&node)
                    && text != schema
                {
                    self.report(&node.place, "wrong-schema", format!("the schema `{text}` is not `{schema}`"), hint);
                }
            }
        }
    }
}
