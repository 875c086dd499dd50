//! Filling templates. Undefined names are errors: a report with a silent hole is worse than none.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use crate::bindings::{Error, ErrorCode};
use crate::error::{check_size, fail};
use crate::limits::{MAX_OUTPUT_BYTES, MAX_TEMPLATE_BYTES, MAX_TEMPLATE_DEPTH, MAX_TEMPLATE_STEPS};
use crate::shape;

/// The template's text with the data of a JSON object filled in.
pub(crate) fn render(template: &str, data: &str) -> Result<String, Error> {
    if template.len() > MAX_TEMPLATE_BYTES {
        let message = format!("the template has more than {MAX_TEMPLATE_BYTES} bytes: give a shorter one");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    check_size("data", data)?;
    shape::check(template)?;
    let data: serde_json::Map<String, serde_json::Value> = serde_json::from_str(data)
        .map_err(|error| fail(ErrorCode::InvalidData, format!("data is not a JSON object: {error}")))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(MAX_TEMPLATE_DEPTH);
    environment.set_fuel(Some(MAX_TEMPLATE_STEPS));
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| explain(ErrorCode::InvalidTemplate, &error))?);
    let template =
        environment.template_from_str(template).map_err(|error| explain(ErrorCode::InvalidTemplate, &error))?;
    let mut output = Bounded(Vec::new());
    match template.render_captured_to(Value::from(Serde(data)), &mut output) {
        Ok(_) => String::from_utf8(output.0)
            .map_err(|_| fail(ErrorCode::RenderFailed, "the template made text that is not UTF-8")),
        Err(error) if error.kind() == ErrorKind::WriteFailure => {
            let message = format!("the result has more than {MAX_OUTPUT_BYTES} bytes: render it in parts");
            Err(fail(ErrorCode::TooLarge, message))
        }
        Err(error) => Err(explain(ErrorCode::RenderFailed, &error)),
    }
}

fn explain(code: ErrorCode, error: &minijinja::Error) -> Error {
    let (code, message) = match error.kind() {
        ErrorKind::OutOfFuel => (
            ErrorCode::TooLarge,
            format!("the template takes more than {MAX_TEMPLATE_STEPS} steps: render it in parts"),
        ),
        kind => match error.detail() {
            Some(detail) => (code, format!("{kind}: {detail}")),
            None if kind == ErrorKind::UndefinedError => (
                code,
                "the template uses a name that the data does not hold: add it, or use the filter default".to_owned(),
            ),
            None => (code, kind.to_string()),
        },
    };
    Error { code, message, line: error.line().and_then(|line| u32::try_from(line).ok()) }
}

/// Memory that takes bytes up to the output limit.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(std::io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Bounded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bounded({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_values_in_the_order_of_the_data() {
        let template =
            "{% for k, v in m|items %}{{ k }}={{ v }};{% endfor %} {{ n }} {{ f }} {{ m|tojson }} <{{ h }}>\n";
        let text = render(template, r#"{"m":{"z":1,"a":"x"},"n":3,"f":1.5,"h":"<b>"}"#).unwrap();
        assert_eq!(text, "z=1;a=x; 3 1.5 {\"z\": 1, \"a\": \"x\"} <<b>>\n");
    }

    #[test]
    fn an_undefined_name_is_an_error_with_its_line() {
        let error = render("a\n{{ gone.x }}", "{}").unwrap_err();
        assert_eq!((error.code, error.line), (ErrorCode::RenderFailed, Some(2)));
        assert_eq!(render("{{ gone|default('-') }}", "{}").unwrap(), "-");
    }

    #[test]
    fn malformed_templates_and_data() {
        let error = render("a\n\n{% if %}", "{}").unwrap_err();
        assert_eq!((error.code, error.line), (ErrorCode::InvalidTemplate, Some(3)));
        assert_eq!(render("", "[1]").unwrap_err().code, ErrorCode::InvalidData);
        assert_eq!(render("", "").unwrap_err().code, ErrorCode::InvalidData);
        assert_eq!(render("{% include 'other' %}", "{}").unwrap_err().code, ErrorCode::RenderFailed);
        assert_eq!(render(&"(".repeat(10_000), "{}").unwrap(), "(".repeat(10_000));
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(300), ")".repeat(300));
        assert_eq!(render(&deep, "{}").unwrap_err().code, ErrorCode::InvalidTemplate);
    }

    #[test]
    fn endless_work_ends() {
        let nested = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert_eq!(render(nested, "{}").unwrap_err().code, ErrorCode::TooLarge);
        let recursion = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
        assert_eq!(render(recursion, "{}").unwrap_err().code, ErrorCode::RenderFailed);
        let long = "{% for a in range(2000) %}{{ s }}{% endfor %}";
        let data = format!("{{\"s\":\"{}\"}}", "x".repeat(100_000));
        assert_eq!(render(long, &data).unwrap_err().code, ErrorCode::TooLarge);
    }
}
