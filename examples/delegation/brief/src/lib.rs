//! The skill `brief`: it reads no file and parses no table; it calls `files`, `csv` and `text`, each under the grant of its own.

/// Types and glue generated from `wit/`.
mod bindings {
    wit_bindgen::generate!({ world: "brief", path: "wit", generate_all });
}

use bindings::exports::acme::brief::tools::Guest;
use bindings::skillhost::skill::tools::{self, CallError};
use serde_json::{Value, json};

/// What the report is made of.
const TEMPLATE: &str = "{% for group in groups %}{{ group.key }}: {{ group.total }}\n{% endfor %}";

struct Brief;

/// Calls a tool and reads what it gives.
fn call(tool: &str, input: &Value) -> Result<Value, CallError> {
    let output = tools::call(tool, &input.to_string())?;
    serde_json::from_str(&output).map_err(|error| CallError::Failed(format!("`{tool}` gave no JSON: {error}")))
}

impl Guest for Brief {
    fn total(path: String, value: String, group: String) -> Result<String, CallError> {
        let text = call("files.read-text", &json!({ "path": path }))?;
        let summary = call("csv.summarise", &json!({ "text": text, "value": value, "group-by": group }))?;
        let report = call("text.render", &json!({ "template": TEMPLATE, "data": summary.to_string() }))?;
        Ok(report.as_str().unwrap_or_default().to_owned())
    }

    fn may_call() -> Vec<String> {
        tools::available()
    }
}

bindings::export!(Brief with_types_in bindings);
