//! Where a plan and values come from: files, stdin, arguments.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::{PlanDocument, PlanFormat, json, limits};

/// The name that means stdin.
const STDIN: &str = "-";

/// Reads the plan file; `-` is JSON from stdin, with component paths relative to the current folder.
pub(crate) fn read_plan(path: &Path) -> Result<PlanDocument, Error> {
    if path == Path::new(STDIN) {
        return Ok(PlanDocument::new(read_stdin()?, PlanFormat::Json, ""));
    }
    PlanDocument::read(path).map_err(|problem| Error::document(&path.display().to_string(), vec![problem]))
}

/// Reads a JSON file; `-` is stdin.
pub(crate) fn read_json(path: &Path) -> Result<Value, Error> {
    let name = path.display().to_string();
    let bytes = if name == STDIN {
        read_stdin()?
    } else {
        crate::document::read_limited(path).map_err(|problem| Error::document(&name, vec![problem]))?
    };
    json::parse(&bytes).map_err(|problem| Error::document(&name, vec![problem]))
}

fn read_stdin() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(limits::DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::new(Exit::Internal, format!("cannot read stdin: {error}")))?;
    if bytes.len() as u64 > limits::DOCUMENT_BYTES_MAX {
        return Err(Error::new(Exit::Request, format!("stdin has more than {} bytes", limits::DOCUMENT_BYTES_MAX)));
    }
    Ok(bytes)
}

/// `--input K=JSON`.
pub(crate) fn json_pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = pair(text, "K=JSON")?;
    let value = json::parse(value.as_bytes()).map_err(|problem| {
        let text = "for text use `--input-text`, or quote it twice";
        format!("`{key}`: {problem}; {text}")
    })?;
    Ok((key, value))
}

/// `--input-text K=TEXT`.
pub(crate) fn text_pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = pair(text, "K=TEXT")?;
    Ok((key, Value::from(value)))
}

fn pair<'t>(text: &'t str, form: &str) -> Result<(String, &'t str), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value)),
        _ => Err(format!("expected {form}")),
    }
}

/// The inputs of a run: each may be given once.
pub(crate) fn inputs<'a>(pairs: impl Iterator<Item = &'a (String, Value)>) -> Result<Map<String, Value>, Error> {
    let mut inputs = Map::new();
    for (key, value) in pairs {
        if inputs.insert(key.clone(), value.clone()).is_some() {
            return Err(Error::new(Exit::Request, format!("the input `{key}` is given twice")));
        }
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs() {
        assert_eq!(json_pair("a=1=").unwrap_err().split(':').next(), Some("`a`"));
        assert_eq!(json_pair("a={\"b\":[1]}").unwrap(), ("a".to_owned(), json!({"b": [1]})));
        assert_eq!(text_pair("a=b=c").unwrap(), ("a".to_owned(), json!("b=c")));
        assert_eq!(text_pair("=b").unwrap_err(), "expected K=TEXT");
        assert!(json_pair("a=text").unwrap_err().contains("--input-text"));
    }

    #[test]
    fn an_input_is_given_once() {
        let pairs = [("a".to_owned(), json!(1)), ("a".to_owned(), json!(2))];
        assert!(inputs(pairs.iter()).is_err());
        assert_eq!(inputs(pairs.iter().take(1)).unwrap().len(), 1);
    }
}
