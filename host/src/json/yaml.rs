//! YAML events to JSON values: the core schema of YAML 1.2 and nothing that a JSON document could not say.

pub(super) mod places;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::{Map, Number, Value};

use super::State;
use crate::limits;
use crate::problem::{Position, Problem, shown};

type Result<T, E = Problem> = std::result::Result<T, E>;

pub(super) fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader { parser: Parser::new_from_str_with_options(text, options()), state: State::default() };
    reader.document()
}

fn options() -> Options {
    let mut options = Options::default();
    options.disallow_directives = true;
    options.emit_comments = false;
    options.emit_unresolved_aliases = true;
    // One more than is accepted, so that the report is the reader's own.
    options.flow_nesting_limit = limits::DOCUMENT_DEPTH_MAX + 1;
    options.block_nesting_limit = limits::DOCUMENT_DEPTH_MAX + 1;
    options
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    state: State,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Position)> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, position(&span))),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(Problem::new("bad-yaml", "", "the YAML text ends too early")),
        }
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let marker = error.marker();
        let position = Position { line: marker.line() as u64, column: marker.col() as u64 + 1 };
        let message = format!("not YAML: {}", shown(&error.info()));
        Problem::new("bad-yaml", self.state.pointer(), message)
            .at(position)
            .with_hint("check the text before this place")
    }

    fn document(&mut self) -> Result<Value> {
        let value = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd, at) => {
                    let problem = Problem::new("bad-yaml", "", "there is no document in the text");
                    return Err(problem.at(at).with_hint("the document is empty"));
                }
                (event, at) => break self.value(event, at)?,
            }
        };
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(value),
                (_, at) => {
                    let problem = Problem::new("trailing-data", "", "there is more than one document in the text");
                    return Err(problem.at(at).with_hint("keep one; `---` begins another"));
                }
            }
        }
    }

    fn refuse<T>(&self, code: &str, message: &str, hint: &str, at: Position) -> Result<T> {
        Err(Problem::new(code, self.state.pointer(), message).at(at).with_hint(hint))
    }

    fn unadorned(&self, anchor: usize, has_tag: bool, at: Position) -> Result<()> {
        if anchor != 0 {
            return self.refuse("anchor", "anchors are not accepted", "write the value where it is needed", at);
        }
        if has_tag {
            return self.refuse("tag", "tags are not accepted", "write strings in quotes and other values plain", at);
        }
        Ok(())
    }

    fn value(&mut self, event: Event<'t>, at: Position) -> Result<Value> {
        self.state.count().map_err(|problem| problem.at(at))?;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.unadorned(anchor, tag.is_some(), at)?;
                if style != ScalarStyle::Plain {
                    return Ok(Value::String(text.into_owned()));
                }
                plain(&text).map_err(|mut problem| {
                    problem.pointer = self.state.pointer();
                    problem.at(at)
                })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.unadorned(anchor, tag.is_some(), at)?;
                self.state.check_depth().map_err(|problem| problem.at(at))?;
                let mut items = Vec::new();
                loop {
                    let (event, at) = self.next()?;
                    if event == Event::SequenceEnd {
                        return Ok(Value::Array(items));
                    }
                    self.state.enter_element(items.len());
                    items.push(self.value(event, at)?);
                    self.state.leave_element();
                }
            }
            Event::MappingStart(_, anchor, tag) => {
                self.unadorned(anchor, tag.is_some(), at)?;
                self.state.check_depth().map_err(|problem| problem.at(at))?;
                let mut members = Map::new();
                loop {
                    let (event, at) = self.next()?;
                    if event == Event::MappingEnd {
                        return Ok(Value::Object(members));
                    }
                    let key = self.key(event, at)?;
                    self.state.check_key(&members, &key).map_err(|problem| problem.at(at))?;
                    let (event, at) = self.next()?;
                    self.state.enter_member(key);
                    let value = self.value(event, at)?;
                    members.insert(self.state.leave_member(), value);
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse("alias", "aliases are not accepted", "write the value where it is needed", at)
            }
            _ => self.refuse("bad-yaml", "a value is missing", "check the text before this place", at),
        }
    }

    fn key(&self, event: Event<'t>, at: Position) -> Result<String> {
        let Event::Scalar(text, style, anchor, tag) = event else {
            return self.refuse("key-not-string", "a key is not a string", "only strings can be keys", at);
        };
        self.unadorned(anchor, tag.is_some(), at)?;
        if style == ScalarStyle::Plain {
            if text == "<<" {
                let hint = "write the members out, or put `\"<<\"` in quotes if it is meant as a key";
                return self.refuse("merge-key", "merge keys are not accepted", hint, at);
            }
            if !matches!(plain(&text), Ok(Value::String(_))) {
                let message = format!("the key `{}` is not a string", shown(&text));
                return self.refuse("key-not-string", &message, "put it in quotes", at);
            }
        }
        Ok(text.into_owned())
    }
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line() as u64, column: span.start.col() as u64 + 1 }
}

/// A plain scalar by the core schema (YAML 1.2.2, section 10.3.2).
fn plain(text: &str) -> Result<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        let problem = Problem::new("not-a-number", "", format!("`{text}` is not a JSON number"));
        return Err(
            problem.with_hint("where a tool takes a float, write the string \"NaN\", \"Infinity\" or \"-Infinity\"")
        );
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return u64::from_str_radix(digits, radix)
                .map(Value::from)
                .map_err(|_| Problem::new("number-out-of-range", "", format!("`{}` is beyond 64 bits", shown(text))));
        }
    }
    if !is_number(unsigned) {
        return Ok(Value::String(text.to_owned()));
    }
    if unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
        let problem = Problem::new("leading-zero", "", format!("`{}` has leading zeros", shown(text)));
        return Err(problem.with_hint("put it in quotes if it is a text, or write the number without them"));
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Ok(integer) = text.parse::<u64>() {
        return Ok(Value::from(integer));
    }
    // `-0` is a double in JSON as well.
    if let Ok(integer) = text.parse::<i64>()
        && integer != 0
    {
        return Ok(Value::from(integer));
    }
    text.parse().ok().and_then(Number::from_f64).map(Value::Number).ok_or_else(|| {
        let problem =
            Problem::new("number-out-of-range", "", format!("`{}` is out of the range of a double", shown(text)));
        problem.with_hint("numbers beyond 1.8e308 cannot be kept")
    })
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_number(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        let text = "\
norway: no
yes: on
version: 1.20
big: 18446744073709551615
negative: -5
float: 1e3
point: .5
hex: 0x1F
octal: 0o17
date: 2026-01-01
time: 12:30:00
underscore: 1_000
quoted: '5'
nothing:
tilde: ~
truth: TRUE
text: |
  a
  b
dots: ...x
nan: nan
exp: e5
";
        let expected = json!({
            "norway": "no", "yes": "on", "version": 1.2, "big": u64::MAX, "negative": -5, "float": 1000.0, "point": 0.5,
            "hex": 31, "octal": 15, "date": "2026-01-01", "time": "12:30:00", "underscore": "1_000", "quoted": "5",
            "nothing": null, "tilde": null, "truth": true, "text": "a\nb\n", "dots": "...x", "nan": "nan", "exp": "e5",
        });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let deep_blocks = (0..65).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>();
        for (text, code) in [
            ("", "bad-yaml"),
            ("a: 1\na: 2", "duplicate-key"),
            ("a: 1\n'a': 2", "duplicate-key"),
            ("{a: 1, \"a\": 2}", "duplicate-key"),
            ("a: &x 1", "anchor"),
            ("a: &x [1]\nb: *x", "anchor"),
            ("a: *x", "alias"),
            ("*x : 1", "key-not-string"),
            ("a: !!str 1", "tag"),
            ("a: !mine {b: 1}", "tag"),
            ("a: !!binary aGk=", "tag"),
            ("!!map {a: 1}", "tag"),
            ("1: a", "key-not-string"),
            ("true: a", "key-not-string"),
            ("? [a]\n: b", "key-not-string"),
            ("<<: {a: 1}", "merge-key"),
            ("a: .nan", "not-a-number"),
            ("a: -.inf", "not-a-number"),
            ("a: 1e999", "number-out-of-range"),
            ("a: 0xfffffffffffffffff", "number-out-of-range"),
            ("zip: 01234", "leading-zero"),
            ("a: 1\n---\nb: 2", "trailing-data"),
            ("%YAML 1.1\n---\na: 1", "bad-yaml"),
            ("a: [1", "bad-yaml"),
            ("a: b: c", "bad-yaml"),
            (&deep, "too-deep"),
            (&deep_blocks, "too-deep"),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.code, code, "{text}: {problem}");
            assert!(problem.position.is_some(), "{text}");
        }
        let problem = parse("a:\n  b:\n    - 1\n    - c: 01").unwrap_err();
        assert_eq!((problem.pointer.as_str(), problem.position), ("/a/b/1/c", Some(Position { line: 4, column: 10 })));
    }
}
