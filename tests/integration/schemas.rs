//! Every document of the repository is what its JSON Schema says.

use host_tests::repo;
use serde_json::Value;
use skillhost::protocol::schema::schema;

fn validator(name: &str) -> jsonschema::Validator {
    let schema = schema(name).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_valid(validator: &jsonschema::Validator, path: &str, document: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new(), "{path}");
}

/// The documents with that ending whose `schema` is this.
fn documents(endings: &[&str], schema: &str, read: impl Fn(&str) -> Option<Value>) -> Vec<(String, Value)> {
    let folders = ["examples", "policies", "tests/fixtures", "tests/compat", "host/src"];
    let files = folders.iter().flat_map(|folder| repo::files(folder, endings));
    let documents = files.filter_map(|(path, text)| Some((path, read(&text)?)));
    // Templates become documents when a name is put in.
    let documents = documents.filter(|(path, document)| !path.contains("/template") && document["schema"] == schema);
    documents.collect()
}

#[test]
fn every_plan_is_what_the_schema_says() {
    let validator = validator("plan");
    let mut plans = documents(&["json"], "skillhost.plan/1", |text| serde_json::from_str(text).ok());
    plans.extend(documents(&["yaml"], "skillhost.plan/1", |text| skillhost::json::parse_yaml(text.as_bytes()).ok()));
    assert!(plans.len() >= 8, "{plans:?}");
    for (path, plan) in &plans {
        assert_valid(&validator, path, plan);
    }
}

#[test]
fn every_policy_is_what_the_schema_says() {
    let validator = validator("policy");
    let policies =
        documents(&["toml"], "skillhost.policy/1", |text| serde_json::to_value(text.parse::<toml::Table>().ok()?).ok());
    assert!(policies.len() >= 8, "{policies:?}");
    for (path, policy) in policies {
        assert_valid(&validator, &path, &policy);
    }
}

#[test]
fn every_line_of_a_trace_is_what_the_schema_says() {
    let validator = validator("trace-event");
    let traces = repo::files("tests/fixtures", &["jsonl"]);
    assert!(traces.len() >= 4);
    for (path, text) in traces {
        for (number, line) in text.lines().enumerate() {
            assert_valid(&validator, &format!("{path}:{number}"), &serde_json::from_str(line).unwrap());
        }
    }
    // A run of today, with every host call of a tool that reads and writes.
    let host = host_tests::TestHost::with(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"text\"]\ntools = [\"*\"]\n",
        &[],
    );
    let run = host.call("text.split", serde_json::json!({ "text": "a,b", "pattern": "," })).completed();
    let text = std::fs::read_to_string(run.report.folder.join("trace.jsonl")).unwrap();
    for line in text.lines() {
        assert_valid(&validator, "a new run", &serde_json::from_str(line).unwrap());
    }
}
