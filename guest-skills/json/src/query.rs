//! jq filters. What depends on the machine (`now`, `env`, modules) is taken away; everything else is jaq's.
//!
//! A filter is a program: one that recurses without end (`def f: 1 + f; f`) is stopped by the sandbox, not here.

use jaq_core::compile::Undefined;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Bind, Compiler, Ctx, Error as JaqError, Filter, Native, Vars, data};
use jaq_json::{Val, read};
use serde_json::{Map, Value};

use crate::bindings::{Error, ErrorCode};
use crate::document::check_size;
use crate::error::{fail, shorten};
use crate::limits::{MAX_DEPTH, MAX_FILTER_BYTES, MAX_FILTER_LEVELS, MAX_OUTPUT_BYTES, MAX_RESULTS};

/// What the compiled filter runs on: only its own look-up table.
type Data = data::JustLut<Val>;

/// jaq's native filters that read the machine.
const MACHINE: [&str; 2] = ["now", "env"];

/// The words of a filter that open a level without a bracket.
const NESTING: [&str; 10] = ["if", "elif", "try", "reduce", "foreach", "def", "label", "as", "and", "or"];

/// Every result of the filter.
pub(crate) fn all(text: &str, filter: &str, variables: Option<&str>, raw: bool) -> Result<Vec<String>, Error> {
    let results = run(text, filter, variables, raw, MAX_RESULTS + 1)?;
    if results.len() > MAX_RESULTS {
        let message = format!("the filter has more than {MAX_RESULTS} results: bound it with limit(n; ...)");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    Ok(results)
}

/// The result of a filter that has exactly one.
pub(crate) fn one(text: &str, filter: &str, variables: Option<&str>, raw: bool) -> Result<String, Error> {
    // A second result is all it takes to refuse; a filter without end is not run further.
    let mut results = run(text, filter, variables, raw, 2)?;
    match (results.pop(), results.is_empty()) {
        (Some(result), true) => Ok(result),
        (Some(_), false) => {
            let message = "the filter has several results: collect them with [...], or use query";
            Err(fail(ErrorCode::NotOneResult, message))
        }
        (None, _) => {
            let message = "the filter has no result: add an alternative such as // null";
            Err(fail(ErrorCode::NotOneResult, message))
        }
    }
}

/// At most `limit` results.
fn run(text: &str, filter: &str, variables: Option<&str>, raw: bool, limit: usize) -> Result<Vec<String>, Error> {
    let input = value("text", text)?;
    let (names, values) = bind(variables.unwrap_or("{}"))?;
    let filter = compile(filter, &names)?;
    let context = Ctx::<Data>::new(&filter.lut, Vars::new(values));
    let mut results = Vec::new();
    let mut bytes = 0;
    for result in filter.id.run((context, input)).take(limit) {
        let result = match result {
            Ok(value) => show(&value, raw)?,
            Err(exception) => return Err(explain(exception.get_err().ok())),
        };
        bytes += result.len();
        if bytes > MAX_OUTPUT_BYTES {
            let message = format!("the results have more than {MAX_OUTPUT_BYTES} bytes: ask for less");
            return Err(fail(ErrorCode::TooLarge, message));
        }
        results.push(result);
    }
    Ok(results)
}

/// An argument as jaq's value. jaq accepts more than JSON (comments, NaN, any depth), so serde_json looks at it first.
fn value(name: &str, text: &str) -> Result<Val, Error> {
    crate::document::read(name, text)?;
    read::parse_single(text.as_bytes())
        .map_err(|error| fail(ErrorCode::InvalidJson, format!("{name} is not JSON: {error}; check the text there")))
}

/// The members of the variables as names with `$` and values, in the same order.
fn bind(variables: &str) -> Result<(Vec<String>, Vec<Val>), Error> {
    check_size("variables", variables)?;
    let members: Map<String, Value> = serde_json::from_str(variables)
        .map_err(|error| fail(ErrorCode::InvalidJson, format!("variables is not a JSON object: {error}")))?;
    let mut names = Vec::with_capacity(members.len());
    let mut values = Vec::with_capacity(members.len());
    for (name, member) in members {
        let mut characters = name.chars();
        let starts = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        if !starts || !characters.all(|next| next.is_ascii_alphanumeric() || next == '_') {
            let message = format!("the variable {name:?} cannot be named in a filter: use letters, digits and _");
            return Err(fail(ErrorCode::InvalidInput, shorten(message)));
        }
        values.push(value("variables", &member.to_string())?);
        names.push(format!("${name}"));
    }
    Ok((names, values))
}

fn compile(filter: &str, names: &[String]) -> Result<Filter<Data>, Error> {
    check_filter(filter)?;
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let funs = funs.filter(|(name, _, _): &(&str, Box<[Bind]>, Native<Data>)| !MACHINE.contains(name));
    let arena = Arena::default();
    let modules = Loader::new(defs).load(&arena, File { code: filter, path: () }).map_err(|errors| {
        let place = errors.first().and_then(|(file, error)| describe(file.code, error));
        let place = place.unwrap_or_else(|| "something is missing".to_owned());
        fail(ErrorCode::InvalidFilter, shorten(format!("the filter does not parse: {place}")))
    })?;
    Compiler::default().with_funs(funs).with_global_vars(names.iter().map(String::as_str)).compile(modules).map_err(
        |errors| {
            let unknown = errors.first().and_then(|(_, names)| names.first());
            let message = match unknown {
                Some((name, Undefined::Var)) => format!("the variable {name} is not defined: give it in variables"),
                Some((name, Undefined::Filter(arity))) => {
                    format!("the filter {name} with {arity} arguments does not exist: check its name and arguments")
                }
                Some((name, _)) => format!("the name {name} is not defined: check its spelling"),
                None => "the filter uses a name that is not defined".to_owned(),
            };
            fail(ErrorCode::InvalidFilter, shorten(message))
        },
    )
}

/// Refuses a filter that could exhaust the parser's stack. What may open a level is counted, not whether it does: in `- - 1` and
/// `1 | 2 | 3` there is no bracket to tell.
fn check_filter(filter: &str) -> Result<(), Error> {
    let signs = filter.bytes().filter(|byte| b"([{|,-+*/%=<>".contains(byte)).count();
    let words =
        filter.split(|character: char| !character.is_alphanumeric()).filter(|word| NESTING.contains(word)).count();
    if filter.len() > MAX_FILTER_BYTES || signs + words > MAX_FILTER_LEVELS {
        let message = format!(
            "the filter has more than {MAX_FILTER_BYTES} bytes or {MAX_FILTER_LEVELS} operators: use several steps"
        );
        return Err(fail(ErrorCode::TooLarge, message));
    }
    Ok(())
}

/// Where a filter does not parse.
fn describe(code: &str, error: &load::Error<&str>) -> Option<String> {
    match error {
        load::Error::Io(errors) => errors.first().map(|(name, _)| format!("module {name:?} is not available here")),
        load::Error::Lex(errors) => errors.first().map(|(expected, found)| unexpected(code, expected.as_str(), found)),
        load::Error::Parse(errors) => {
            errors.first().map(|(expected, found)| unexpected(code, expected.as_str(), found))
        }
    }
}

fn unexpected(code: &str, expected: &str, found: &str) -> String {
    let at = load::span(code, found).start;
    if found.is_empty() {
        format!("expected {expected} at its end")
    } else {
        format!("expected {expected} at byte {at}")
    }
}

/// A result as text. What jaq can hold and JSON cannot (NaN, byte strings, odd keys) is refused rather than changed.
fn show(value: &Val, raw: bool) -> Result<String, Error> {
    if let (Val::TStr(bytes), true) = (value, raw) {
        return String::from_utf8(bytes.to_vec())
            .map_err(|_| fail(ErrorCode::QueryFailed, "a result is not UTF-8: encode it with @base64"));
    }
    check_depth(value)?;
    let text = value.to_string();
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(_) => {
            let message = format!("a result cannot be written as JSON: {text}; convert it in the filter");
            Err(fail(ErrorCode::QueryFailed, shorten(message)))
        }
    }
}

/// Refuses a value that nests too deep to be written. The walk keeps its own stack.
fn check_depth(value: &Val) -> Result<(), Error> {
    let mut pending = vec![(value, 0)];
    while let Some((value, depth)) = pending.pop() {
        if depth > MAX_DEPTH {
            return Err(fail(ErrorCode::TooLarge, format!("a result nests more than {MAX_DEPTH} levels: flatten it")));
        }
        match value {
            Val::Arr(items) => pending.extend(items.iter().map(|item| (item, depth + 1))),
            Val::Obj(members) => pending.extend(members.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// The failure of a filter that ran; without an error it was `halt`.
fn explain(error: Option<JaqError<Val>>) -> Error {
    let message = error.map_or_else(|| "the filter halted".to_owned(), |error| format!("the filter failed: {error}"));
    fail(ErrorCode::QueryFailed, shorten(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(text: &str, filter: &str) -> Vec<String> {
        all(text, filter, None, false).unwrap()
    }

    #[test]
    fn filters_as_jq_does() {
        let text = r#"{"items":[{"n":"b","v":2},{"n":"a","v":1.50}],"big":123456789012345678901234567890}"#;
        assert_eq!(results(text, ".items[] | .n"), ["\"b\"", "\"a\""]);
        assert_eq!(results(text, "[.items[].v] | add"), ["3.5"]);
        assert_eq!(results(text, ".items | sort_by(.n) | map(.v)"), ["[1.50,2]"]);
        assert_eq!(results(text, ".big"), ["123456789012345678901234567890"]);
        assert_eq!(results(text, "empty"), Vec::<String>::new());
        assert_eq!(results(r#""a-b""#, r#"test("^a") , gsub("-"; "+")"#), ["true", "\"a+b\""]);
        assert_eq!(results(r#"{"z":1,"a":2}"#, "., keys"), [r#"{"z":1,"a":2}"#, r#"["a","z"]"#]);
    }

    #[test]
    fn raw_strings_and_variables() {
        assert_eq!(one(r#"{"a":"x\ny"}"#, ".a", None, true).unwrap(), "x\ny");
        assert_eq!(one("{}", "$n + 1", Some(r#"{"n":41}"#), false).unwrap(), "42");
        assert_eq!(one("{}", "$none", None, false).unwrap_err().code, ErrorCode::InvalidFilter);
        assert_eq!(one("{}", "1", Some("[]"), false).unwrap_err().code, ErrorCode::InvalidJson);
        assert_eq!(one("{}", "1", Some(r#"{"a b":1}"#), false).unwrap_err().code, ErrorCode::InvalidInput);
    }

    #[test]
    fn one_means_one() {
        assert_eq!(one("[1,2]", ".[]", None, false).unwrap_err().code, ErrorCode::NotOneResult);
        assert_eq!(one("[]", ".[]", None, false).unwrap_err().code, ErrorCode::NotOneResult);
        assert_eq!(one("1", "repeat(1)", None, false).unwrap_err().code, ErrorCode::NotOneResult);
    }

    /// Runs a check with room for the large call frames of an unoptimised build.
    fn with_large_stack(check: fn()) {
        std::thread::Builder::new().stack_size(64 * 1024 * 1024).spawn(check).unwrap().join().unwrap();
    }

    #[test]
    fn long_filters_within_the_bound_work() {
        with_large_stack(|| {
            assert_eq!(results("1", &format!("1{}", "+1".repeat(199))), ["200"]);
            assert_eq!(results("1", &format!("1{}", "|.".repeat(199))), ["1"]);
            assert_eq!(results("1", &format!("{}1{}", "(".repeat(199), ")".repeat(199))), ["1"]);
            for filter in ["-", "if ", "1|", "(", "[{"] {
                assert_eq!(
                    all("1", &filter.repeat(99), None, false).unwrap_err().code,
                    ErrorCode::InvalidFilter,
                    "{filter}"
                );
            }
        });
    }

    #[test]
    fn wrong_filters_are_explained() {
        for filter in ["(", "1 +", ".a.", "\"", "}", "no_such", "import \"x\" as x; 1", "now", "env", "if"] {
            assert_eq!(all("1", filter, None, false).unwrap_err().code, ErrorCode::InvalidFilter, "{filter}");
        }
        assert_eq!(all("1", &"-".repeat(5000), None, false).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(all("1", &" ".repeat(20_000), None, false).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn failures_while_running() {
        let error = all("1", ".a", None, false).unwrap_err();
        assert_eq!(error.code, ErrorCode::QueryFailed);
        assert!(error.message.starts_with("the filter failed: cannot index 1"), "{}", error.message);
        for filter in ["error(\"x\")", "nan", "halt", "error", "{(1):2}", "infinite"] {
            assert_eq!(all("null", filter, None, false).unwrap_err().code, ErrorCode::QueryFailed, "{filter}");
        }
        assert_eq!(all("1", "repeat(1)", None, false).unwrap_err().code, ErrorCode::TooLarge);
        let deep = "reduce range(500) as $i (1; [.])";
        assert_eq!(all("1", deep, None, false).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(all("{\"a\":NaN}", ".", None, false).unwrap_err().code, ErrorCode::InvalidJson);
    }
}
