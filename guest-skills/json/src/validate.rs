//! JSON Schema.

use jsonschema::{PatternOptions, ValidationError};

use crate::bindings::{Error, ErrorCode, Problem, Verdict};
use crate::document::read;
use crate::error::shorten;
use crate::limits::{MAX_PATTERN_BYTES, MAX_PROBLEMS};

/// Whether a document satisfies a schema, and where not.
pub(crate) fn validate(text: &str, schema: &str) -> Result<Verdict, Error> {
    let document = read("text", text)?;
    let schema = read("schema", schema)?;
    let validator = jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES))
        .build(&schema)
        .map_err(|error| Error {
            code: ErrorCode::InvalidSchema,
            message: shorten(format!("schema is not a JSON Schema that can be used here: {error}")),
            pointer: Some(error.instance_path().to_string()),
        })?;
    let mut problems: Vec<Problem> = validator.iter_errors(&document).take(MAX_PROBLEMS + 1).map(problem).collect();
    let truncated = problems.len() > MAX_PROBLEMS;
    problems.truncate(MAX_PROBLEMS);
    Ok(Verdict { valid: problems.is_empty(), problems, truncated })
}

fn problem(error: ValidationError<'_>) -> Problem {
    Problem {
        pointer: error.instance_path().to_string(),
        schema_pointer: error.schema_path().to_string(),
        message: shorten(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r##"{"type":"object","required":["n"],"additionalProperties":false,
        "properties":{"n":{"type":"integer","minimum":1},"tags":{"items":{"$ref":"#/$defs/tag"}}},
        "$defs":{"tag":{"type":"string","pattern":"^[a-z]+$"}}}"##;

    #[test]
    fn tells_where_and_why() {
        assert!(validate(r#"{"n":1,"tags":["a"]}"#, SCHEMA).unwrap().valid);
        let verdict = validate(r#"{"n":0,"tags":["a","B"]}"#, SCHEMA).unwrap();
        let places: Vec<_> = verdict.problems.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(places, ["/n", "/tags/1"]);
        assert_eq!(verdict.problems[0].schema_pointer, "/properties/n/minimum");
        assert!(!verdict.valid && !verdict.truncated);
        assert_eq!(validate("[]", SCHEMA).unwrap().problems[0].pointer, "");
    }

    #[test]
    fn wrong_schemas() {
        for schema in [
            r#"{"type":"nonsense"}"#,
            r#"{"minimum":"1"}"#,
            "1",
            r##"{"$ref":"#/none"}"##,
            r#"{"$ref":"https://example.com/x.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
            r#"{"pattern":"("}"#,
            r#"{"pattern":"(a{1000}){1000}"}"#,
        ] {
            assert_eq!(validate("1", schema).unwrap_err().code, ErrorCode::InvalidSchema, "{schema}");
        }
        assert_eq!(validate("1", "{").unwrap_err().code, ErrorCode::InvalidJson);
        assert!(validate("1", "true").unwrap().valid);
        assert!(!validate("1", "false").unwrap().valid);
    }

    #[test]
    fn recursive_schemas_and_many_problems() {
        let tree = r##"{"properties":{"next":{"$ref":"#"}},"additionalProperties":false}"##;
        let deep = format!("{}1{}", "{\"next\":".repeat(100), "}".repeat(100));
        assert!(validate(&deep, tree).unwrap().valid);
        let many = format!("[{}1]", "1,".repeat(500));
        let verdict = validate(&many, r#"{"items":{"type":"string"}}"#).unwrap();
        assert_eq!((verdict.problems.len(), verdict.truncated), (MAX_PROBLEMS, true));
    }
}
