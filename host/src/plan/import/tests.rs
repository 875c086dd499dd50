//! What is imported, what is refused, and that nothing is changed without a word.

use serde_json::json;

use super::*;
use crate::plan::Plan;

/// Whether [`Plan`] reads the keys that only transactions have. What an import writes with them is then read back.
const READS_TRANSACTIONS: bool = true;
/// Those keys, and what was not a value before.
const TRANSACTIONS: [&str; 8] =
    ["parallel", "deadline_ms", "compensate", "approve", "when", "retry", "on_failure", "tool"];

fn options() -> ImportOptions {
    ImportOptions { name: "file".to_owned(), ..ImportOptions::default() }
}

fn mapping(pairs: &[(&str, &str)]) -> ImportOptions {
    let map = pairs.iter().map(|(name, tool)| ((*name).to_owned(), tool.parse().unwrap())).collect();
    ImportOptions { map, ..options() }
}

fn read(yaml: &str) -> Value {
    crate::json::parse_yaml(yaml.as_bytes()).unwrap_or_else(|problem| panic!("{problem}: {yaml}"))
}

/// The plan, which must be one.
fn plan_with(yaml: &str, options: &ImportOptions) -> Imported {
    let imported = import(&read(yaml), options).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(serde_json::from_str::<Value>(&imported.text()).unwrap(), imported.plan);
    if let Err(problems) = Plan::from_value(&imported.plan) {
        for problem in problems {
            let is_new = TRANSACTIONS.iter().any(|key| problem.pointer.ends_with(&format!("/{key}")));
            assert!(is_new && !READS_TRANSACTIONS, "{problem}");
        }
    }
    imported
}

fn plan(yaml: &str) -> Value {
    plan_with(yaml, &options()).plan
}

fn steps(yaml: &str) -> Value {
    plan(&format!("name: w\nsteps:\n{yaml}"))["steps"].clone()
}

/// Codes and pointers of what is refused, with messages and hints.
fn refused_with(yaml: &str, options: &ImportOptions) -> Vec<String> {
    let problems = match import(&read(yaml), options) {
        Ok(imported) => panic!("{yaml} became {:#}", imported.plan),
        Err(problems) => problems,
    };
    assert!(problems.iter().all(|problem| problem.hint.is_some()), "{problems:#?}");
    problems
        .iter()
        .map(|problem| {
            format!(
                "{} {}: {} ({})",
                problem.code,
                problem.pointer,
                problem.message,
                problem.hint.as_deref().unwrap_or_default()
            )
        })
        .collect()
}

fn refused(yaml: &str) -> Vec<String> {
    refused_with(yaml, &options())
}

const READ: &str = "  - { name: read, capability: io.fs.read_file, inputs: { path: /a } }\n";

#[test]
fn the_notation_is_found_out_or_has_to_be_said() {
    let dialect = |yaml: &str| import(&read(yaml), &options()).map(|imported| imported.dialect);
    assert_eq!(dialect(&format!("name: w\nsteps:\n{READ}")), Ok(Dialect::AiFirst));
    assert_eq!(dialect("steps: [{id: a, skill_name: file.read, params: {relative_path: b}}]"), Ok(Dialect::Avatar));
    for (yaml, code) in [
        ("steps: [{id: a}]", "unknown-dialect"),
        ("steps: [{skill_name: file.read, capability: io.fs.read_file}]", "unknown-dialect"),
        ("steps: []", "unknown-dialect"),
        ("[1]", "unknown-dialect"),
        ("schema: skillhost.plan/1\nsteps: []", "not-foreign"),
    ] {
        assert!(refused(yaml)[0].starts_with(code), "{yaml}");
    }
    let said = ImportOptions { dialect: Some(Dialect::Avatar), ..options() };
    assert!(refused_with("steps: [{id: a}]", &said)[0].starts_with("missing-key /steps/0/skill_name"));
}

#[test]
fn references_name_inputs_and_outputs() {
    let yaml = "name: w\ninitial_state: {dir: /a, n: 1, deep: {x: [2]}}\nsteps:\n\
        \x20 - { name: read, capability: io.fs.read_file, inputs: { path: '{{dir}}/x' } }\n\
        \x20 - { name: hash it, capability: io.fs.hash_file, inputs: { path: '{{ dir }}' } }\n\
        \x20 - name: write\n    capability: io.fs.write_file\n    inputs:\n\
        \x20     path: '/{{n}}-{{deep.x.0}}-{{hash it.hash}}'\n      content: '{{content}}'\n";
    let steps = plan(yaml)["steps"].clone();
    assert_eq!(steps[0]["input"], json!({"path": "{{inputs.dir}}/x"}));
    assert_eq!(steps[1]["input"], json!({"path": "{{inputs.dir}}"}));
    assert_eq!(steps[1]["id"], json!("hash-it"));
    // A flat key that one step gives; the whole output where that is the value.
    let expected =
        json!({"path": "/{{inputs.n}}-{{inputs.deep.x.0}}-{{steps.hash-it.sha256}}", "text": "{{steps.read}}"});
    assert_eq!(steps[2]["input"], expected);
}

#[test]
fn references_that_name_nothing_or_two_things_are_refused() {
    let two = "  - { name: other, capability: io.fs.read_file, inputs: { path: /b } }\n";
    let write = |content: &str, more: &str| {
        format!(
            "name: w\ninitial_state: {{ content2: 1, read: {{ content: 1 }} }}\nsteps:\n{two}{more}  - {{ name: write, capability: io.fs.write_file, inputs: {{ path: /c, content: '{content}' }} }}\n"
        )
    };
    for (content, more, expected) in [
        ("{{content}}", "", ""),
        (
            "{{content}}",
            READ,
            "ambiguous-reference /steps/2/inputs/content: `{{content}}` could mean several things: the step `other` gives it, the step `read` gives it (write `{{other.content}}`",
        ),
        ("{{read.content}}", READ, "ambiguous-reference"),
        (
            "{{contend}}",
            "",
            "unresolved-reference /steps/1/inputs/content: nothing gives `{{contend}}` (did you mean `content`?",
        ),
        ("{{nothing.at.all}}", "", "unresolved-reference"),
        (
            "{{other.size}}",
            "",
            "unresolved-reference /steps/1/inputs/content: the step `other` (`files.read-text`) gives no `size` (it gives `content`",
        ),
        (
            "{{write.path}}",
            "",
            "unresolved-reference /steps/1/inputs/content: `{{write.path}}` is what the step itself gives",
        ),
        ("{{other}}", "", "unresolved-reference"),
        ("{{content2 | upper}}", "", "bad-reference"),
        ("{{content2 + 1}}", "", "bad-reference"),
        ("{{}}", "", "bad-reference"),
        ("{{content2", "", "bad-reference"),
        ("{{a..b}}", "", "bad-reference"),
        ("{{content2[0]}}", "", "bad-reference"),
    ] {
        let yaml = write(content, more);
        if expected.is_empty() {
            assert_eq!(plan(&yaml)["steps"][1]["input"]["text"], json!("{{steps.other}}"));
        } else {
            let problems = refused(&yaml);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{content}: {problems:#?}");
        }
    }
    // What runs later cannot be referred to, and two steps cannot need each other.
    let later = "name: w\nsteps:\n  - { name: a, capability: io.fs.read_file, inputs: { path: '{{b.content}}' } }\n  - { name: b, capability: io.fs.read_file, inputs: { path: /b }, depends_on: [a] }\n";
    assert!(refused(later)[0].contains("gives that runs later"), "{:?}", refused(later));
    let each = later.replace("path: /b }, depends_on: [a]", "path: '{{a.content}}' }");
    assert!(refused(&each)[0].starts_with("circle /steps/"), "{:?}", refused(&each));
}

#[test]
fn capabilities_without_a_tool_need_one() {
    let yaml = "name: w\nsteps:\n\
        \x20 - { name: create_db, capability: cloud.db.create, inputs: { db_name: x }, compensation: { capability: cloud.db.delete, inputs: { name: '{{database_name}}' } } }\n\
        \x20 - { name: deploy, capability: cloud.app.deploy, inputs: { database: '{{database_name}}' }, depends_on: [create_db] }\n\
        \x20 - { name: balance, capability: cloud.lb.configure, inputs: { target: '{{app_id}}' }, depends_on: [deploy] }\n";
    let problems = refused(yaml);
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(problems[0].contains("--map cloud.db.create=skill.tool"), "{problems:#?}");
    assert!(problems[3].starts_with("unknown-capability /steps/0/compensation/capability"), "{problems:#?}");
    let mapped = mapping(&[
        ("cloud.db.create", "cloud.create-db"),
        ("cloud.db.delete", "cloud.delete-db"),
        ("cloud.app.deploy", "cloud.deploy"),
        ("cloud.lb.configure", "cloud.balance"),
    ]);
    // Both steps before may give it.
    let problems = refused_with(yaml, &mapped);
    assert!(problems.len() == 1 && problems[0].contains("--gives"), "{problems:#?}");
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<String>>();
    let gives =
        [("cloud.db.create".to_owned(), keys(&["database_name"])), ("cloud.app.deploy".to_owned(), keys(&["app_id"]))];
    let plan = plan_with(yaml, &ImportOptions { gives: gives.into(), ..mapped }).plan;
    assert_eq!(plan["steps"][0]["input"], json!({"db-name": "x"}));
    let undo = json!({"tool": "cloud.delete-db", "input": {"name": "{{steps.create_db.database-name}}"}});
    assert_eq!(plan["steps"][0]["compensate"], undo);
    assert_eq!(plan["steps"][2]["input"], json!({"target": "{{steps.deploy.app-id}}"}));
    for (name, hint) in [
        ("sys.undo", "rolls back"),
        ("sys.exec.run", "no program"),
        ("io.fs.read_fil", "did you mean `io.fs.read_file`?"),
    ] {
        let problems = refused(&format!("name: w\nsteps: [{{ name: a, capability: {name} }}]"));
        assert!(
            problems[0].starts_with("unknown-capability /steps/0/capability") && problems[0].contains(hint),
            "{problems:?}"
        );
    }
}

#[test]
fn parameters_have_their_names_and_values_here() {
    let call = |capability: &str, inputs: &str| {
        steps(&format!("  - {{ name: a, capability: {capability}, inputs: {inputs} }}\n"))[0].clone()
    };
    let step = call("io.fs.copy", "{ source: /a, dest: /b, overwrite: true }");
    assert_eq!(
        (&step["tool"], &step["input"]),
        (&json!("files.copy"), &json!({"source": "/a", "target": "/b", "overwrite": true}))
    );
    let step = call("net.http.get", "{ url: 'https://a.test/', headers: { Accept: text/plain, X-B: c } }");
    let headers = json!([{"name": "Accept", "value": "text/plain"}, {"name": "X-B", "value": "c"}]);
    assert_eq!(step["input"], json!({"url": "https://a.test/", "headers": headers}));
    assert_eq!(call("io.fs.hash_file", "{ path: /a, algorithm: SHA-256 }")["input"], json!({"path": "/a"}));
    assert_eq!(call("io.fs.read_file", "{ path: /a, encoding: null }")["input"], json!({"path": "/a"}));
    for (capability, inputs, expected) in [
        ("io.fs.read_file", "{ path: /a, mode: r }", "unknown-parameter /steps/0/inputs/mode"),
        ("io.fs.read_file", "{ path: /a, encoding: latin-1 }", "unknown-value /steps/0/inputs/encoding"),
        ("io.fs.hash_file", "{ path: /a, algorithm: md5 }", "unknown-value /steps/0/inputs/algorithm"),
        ("io.fs.copy", "{ source: /a, dest: /b, target: /c }", "said-twice /steps/0/inputs/"),
        ("net.http.get", "{ url: x, headers: [a] }", "wrong-type /steps/0/inputs/headers"),
        ("net.http.get", "{ url: x, headers: { A: 1 } }", "wrong-type /steps/0/inputs/headers/A"),
        ("io.fs.read_file", "[/a]", "wrong-type /steps/0/inputs"),
    ] {
        let problems = refused(&format!("name: w\nsteps: [{{ name: a, capability: {capability}, inputs: {inputs} }}]"));
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:#?}");
    }
}

#[test]
fn a_failure_rolls_back_unless_the_workflow_says_otherwise() {
    let with = |line: &str| plan(&format!("name: w\n{line}\nsteps:\n{READ}"));
    assert_eq!(with("")["on_failure"], json!("rollback"));
    assert_eq!(with("enable_auto_rollback: true")["on_failure"], json!("rollback"));
    assert_eq!(with("enable_auto_rollback: false")["on_failure"], json!("stop"));
    assert_eq!(with("max_execution_time_seconds: 0.25")["deadline_ms"], json!(250));
    assert_eq!(with("").get("deadline_ms"), None);
    let global = "global_compensation_steps: [{ name: last, capability: io.fs.delete, inputs: { path: /a } }]";
    assert_eq!(with(global)["compensate"], json!([{"tool": "files.remove", "input": {"path": "/a"}}]));
    let late = refused(&format!(
        "name: w\nglobal_compensation_steps: [{{ capability: io.fs.delete, inputs: {{ path: '{{{{read.content}}}}' }} }}]\nsteps:\n{READ}"
    ));
    assert!(late[0].contains("may not have run"), "{late:?}");
    let step = "  - { name: undo, step_type: COMPENSATION, capability: io.fs.delete, inputs: { path: /b }, depends_on: [read] }\n";
    let plan = plan(&format!("name: w\nsteps:\n{READ}{step}"));
    assert_eq!(plan["compensate"], json!([{"tool": "files.remove", "input": {"path": "/b"}}]));
    assert_eq!(plan["steps"].as_array().map(Vec::len), Some(1));
}

#[test]
fn retries_and_times_are_taken_only_where_they_are_written() {
    let with = |keys: &str| {
        steps(&format!("  - {{ name: a, capability: io.fs.exists, inputs: {{ path: /a }}, {keys} }}\n"))[0].clone()
    };
    let plain = with("risk_level: LOW");
    assert!(plain.get("retry").is_none() && plain.get("limits").is_none(), "{plain}");
    assert!(with("max_retries: 0").get("retry").is_none());
    assert_eq!(with("max_retries: 9")["retry"], json!({"attempts": 10, "on": ["failed", "trapped", "deadline"]}));
    assert_eq!(with("timeout_seconds: 86400")["limits"], json!({"deadline_ms": 86_400_000}));
    assert_eq!(with("timeout_seconds: 0.0015")["limits"], json!({"deadline_ms": 1}));
    for (keys, expected) in [
        ("max_retries: 10", "out-of-range"),
        ("max_retries: -1", "out-of-range"),
        ("max_retries: '3'", "out-of-range"),
        ("max_retries: 1.5", "out-of-range"),
        ("timeout_seconds: 0", "out-of-range"),
        ("timeout_seconds: -1", "out-of-range"),
        ("timeout_seconds: 86401", "out-of-range"),
        ("timeout_seconds: 1e300", "out-of-range"),
        ("timeout_seconds: '5'", "wrong-type"),
    ] {
        let problems = refused(&format!("name: w\nsteps: [{{ name: a, capability: io.fs.exists, {keys} }}]"));
        let key = keys.split(':').next().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("{expected} /steps/0/{key}")), "{problems:?}");
    }
}

#[test]
fn approvals_ask_a_person() {
    let gate = |keys: &str| {
        steps(&format!(
            "{READ}  - {{ name: gate, step_type: human_approval, depends_on: [read], {keys} }}\n  - {{ name: after, capability: io.fs.write_file, inputs: {{ path: /b, content: '{{{{gate.approver}}}}' }} }}\n"
        ))
    };
    let steps = gate(
        "inputs: { message: 'ok {{read.content}}?', webhook_url: 'https://a.test/x', webhook_payload: { a: 1 } }, approval_config: { timeout_seconds: 1.2, context: { b: '{{read.content}}' } }",
    );
    let expected = json!({
        "message": "ok {{steps.read}}?", "webhook_url": "https://a.test/x", "expires_in_s": 2,
        "context": {"a": 1, "b": "{{steps.read}}"},
    });
    assert_eq!(steps[1], json!({"id": "gate", "approve": expected, "depends_on": ["read"]}));
    assert_eq!(steps[2]["input"]["text"], json!("{{steps.gate.by}}"));
    assert_eq!(gate("risk_level: HIGH")[1]["approve"], json!({"message": "approve `gate`?"}));
    for (keys, expected) in [
        ("capability: io.fs.exists", "unknown-key /steps/0/capability"),
        ("compensation: {}", "unknown-key /steps/0/compensation"),
        ("inputs: { approvers: [ada] }", "no-approvers /steps/0/inputs/approvers"),
        ("inputs: { mesage: x }", "unknown-key /steps/0/inputs/mesage"),
        ("inputs: { message: 1 }", "wrong-type /steps/0/inputs/message"),
        ("inputs: { webhook_url: 'https://{{x}}/' }", "bad-reference /steps/0/inputs/webhook_url"),
        ("inputs: { context: 1 }", "wrong-type /steps/0/inputs/context"),
        ("inputs: { context: { a: 1 }, webhook_payload: { a: 2 } }", "said-twice /steps/0/inputs/webhook_payload/a"),
        ("inputs: { message: a }, approval_config: { message: b }", "said-twice"),
        ("inputs: { timeout: 5 }, timeout_seconds: 5", "said-twice"),
        ("timeout_seconds: 2592001", "out-of-range /steps/0/timeout_seconds"),
    ] {
        let problems = refused(&format!("name: w\nsteps: [{{ name: gate, step_type: HUMAN_APPROVAL, {keys} }}]"));
        assert!(problems[0].starts_with(expected), "{keys}: {problems:?}");
    }
}

#[test]
fn conditions_are_of_their_steps() {
    let one = "  - { name: maybe, step_type: CONDITION, condition: '{{read.content}} == \"yes\"', capability: io.fs.delete, inputs: { path: /a } }\n";
    let step = steps(&format!("{READ}{one}"))[1].clone();
    assert_eq!(step["when"], json!({"value": "{{steps.read}}", "is": "yes"}));
    let group = "  - name: if\n    step_type: CONDITION\n    inputs: { condition: '{{read.content}} != {{read.content}}' }\n    depends_on: [read]\n    steps:\n\
        \x20     - { name: x, capability: io.fs.delete, inputs: { path: /x } }\n\
        \x20     - { name: y, capability: io.fs.delete, inputs: { path: /y }, depends_on: [x] }\n\
        \x20 - { name: last, capability: io.fs.exists, inputs: { path: /z }, depends_on: [if] }\n";
    let steps = steps(&format!("{READ}{group}"));
    let when = json!({"value": "{{steps.read}}", "is_not": "{{steps.read}}"});
    assert_eq!((&steps[1]["when"], &steps[2]["when"]), (&when, &when));
    assert_eq!(steps[2]["depends_on"], json!(["read", "x"]));
    assert_eq!(steps[3]["depends_on"], json!(["x", "y"]));
    for (keys, expected) in [
        ("condition: '{{a}} == 1'", "bad-condition /steps/0: the condition decides about nothing"),
        ("capability: io.fs.exists", "missing-key /steps/0/condition"),
        ("condition: yes please, capability: io.fs.exists", "bad-condition /steps/0/condition"),
        ("condition: true, capability: io.fs.exists", "wrong-type /steps/0/condition"),
        ("condition: '{{a}} == 1', capability: io.fs.exists", "unresolved-reference /steps/0/condition"),
        (
            "condition: '{{a}} == 1', inputs: { condition: '1' }, steps: [{ name: b, capability: io.fs.exists }]",
            "said-twice",
        ),
        ("condition: '{{a}} == 1', steps: []", "no-steps /steps/0/steps"),
    ] {
        let problems = refused(&format!("name: w\nsteps: [{{ name: c, step_type: CONDITION, {keys} }}]"));
        assert!(problems[0].starts_with(expected), "{keys}: {problems:?}");
    }
}

#[test]
fn only_the_steps_of_a_group_run_side_by_side() {
    let yaml = "  - { name: a, capability: io.fs.exists, inputs: { path: /a } }\n\
        \x20 - name: both\n    step_type: PARALLEL\n    steps:\n\
        \x20     - { name: x, capability: io.fs.exists, inputs: { path: /x } }\n\
        \x20     - { name: y, capability: io.fs.exists, inputs: { path: /y } }\n\
        \x20 - { name: b, capability: io.fs.exists, inputs: { path: /b } }\n\
        \x20 - { name: c, capability: io.fs.exists, inputs: { path: /c }, depends_on: [both] }\n";
    let plan = plan(&format!("name: w\nsteps:\n{yaml}"));
    assert_eq!(plan["parallel"], json!(2));
    let waits: Vec<&Value> = plan["steps"].as_array().unwrap().iter().map(|step| &step["depends_on"]).collect();
    assert_eq!(json!(waits), json!([null, ["a"], ["a"], ["x", "y"], ["x", "y", "b"]]));
    // The order that is held is the one in which the steps can run.
    let turned = yaml.replace("path: /a } }", "path: /a }, depends_on: [both] }");
    let plan = super::tests::plan(&format!("name: w\nsteps:\n{turned}"));
    let waits: Vec<&Value> = plan["steps"].as_array().unwrap().iter().map(|step| &step["depends_on"]).collect();
    assert_eq!(json!(waits), json!([["x", "y"], null, null, ["a"], ["x", "y", "b"]]));
    // What is said of the group is lost, and that is said.
    let described = yaml.replace("step_type: PARALLEL", "step_type: PARALLEL\n    description: d");
    let imported = plan_with(&format!("name: w\nsteps:\n{described}"), &options());
    assert!(imported.changes.iter().any(|change| change.pointer == "/steps/1/description" && change.now.is_null()));
    // One step alone is not side by side with anything.
    let single = "  - { name: g, step_type: PARALLEL, steps: [{ name: x, capability: io.fs.exists }] }\n";
    assert_eq!(super::tests::plan(&format!("name: w\nsteps:\n{single}")).get("parallel"), None);
    for (step, expected) in [
        ("step_type: PARALLEL", "no-steps /steps/0/steps"),
        ("step_type: PARALLEL, steps: [{ name: b, step_type: PARALLEL, steps: [] }]", "nested-group /steps/0/steps/0"),
        ("step_type: PARALLEL, steps: [1]", "wrong-type /steps/0/steps/0"),
        (
            "step_type: PARALLEL, steps: [{ name: b, capability: io.fs.exists }], timeout_seconds: 1",
            "unknown-key /steps/0/timeout_seconds",
        ),
        ("step_type: PARALLEL, steps: [{ name: g, capability: io.fs.exists }]", "duplicate-step /steps/0/name"),
        ("step_type: PARALLEL, steps: [{ name: b, capability: io.fs.exists, depends_on: [g] }]", "circle"),
    ] {
        let problems = refused(&format!("name: w\nsteps: [{{ name: g, {step} }}]"));
        assert!(problems[0].starts_with(expected), "{step}: {problems:?}");
    }
}

#[test]
fn what_is_no_workflow_is_refused_with_its_place() {
    for (yaml, expected) in [
        ("name: 1\nsteps: [{ name: a, capability: io.fs.exists }]", "wrong-type /name"),
        (
            "nam: w\nsteps: [{ name: a, capability: io.fs.exists }]",
            "unknown-key /nam: there is no key `nam` (did you mean `name`?)",
        ),
        (
            "name: w\nversion: 1.0\nsteps: [{ name: a, capability: io.fs.exists }]",
            "wrong-type /version: expected a string, found a number (put it in quotes)",
        ),
        ("name: w\nversion: '1'\nsteps: [{ name: a, capability: io.fs.exists }]", "bad-version /version"),
        ("name: w\nsteps: { a: { capability: io.fs.exists } }", "unknown-dialect"),
        ("name: w\ninitial_state: [1]\nsteps: [{ name: a, capability: io.fs.exists }]", "wrong-type /initial_state"),
        (
            "name: w\nenable_auto_rollback: yes\nsteps: [{ name: a, capability: io.fs.exists }]",
            "wrong-type /enable_auto_rollback",
        ),
        (
            "name: w\nmax_execution_time_seconds: 604801\nsteps: [{ name: a, capability: io.fs.exists }]",
            "out-of-range /max_execution_time_seconds",
        ),
        ("name: w\nmetadata: 1\nsteps: [{ name: a, capability: io.fs.exists }]", "wrong-type /metadata"),
        ("name: w\npolicy: [{ agent: a }]\nsteps: [{ name: a, capability: io.fs.exists }]", "policy-in-plan /policy"),
        ("name: w\nsteps: [{ capability: io.fs.exists }]", "missing-key /steps/0/name"),
        ("name: w\nsteps: [{ name: a, inputs: {} }]", "missing-key /steps/0/capability"),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, capability_name: io.fs.exists }]",
            "said-twice /steps/0/capability_name",
        ),
        ("name: w\nsteps: [{ name: a, capability: 1 }]", "wrong-type /steps/0/capability"),
        ("name: w\nsteps: [{ name: a, capability: io.fs.exists }, 1]", "wrong-type /steps/1"),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, input: {} }]",
            "unknown-key /steps/0/input: there is no key `input` (did you mean `inputs`?)",
        ),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, step_type: LOOP }]",
            "unknown-value /steps/0/step_type",
        ),
        ("name: w\nsteps: [{ name: a, capability: io.fs.exists, depends_on: a }]", "wrong-type /steps/0/depends_on"),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, depends_on: [1] }]",
            "wrong-type /steps/0/depends_on/0",
        ),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, depends_on: [b] }]",
            "unknown-step /steps/0/depends_on/0",
        ),
        ("name: w\nsteps: [{ name: a, capability: io.fs.exists, depends_on: [a] }]", "circle /steps/0/depends_on"),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, depends_on: [b] }, { name: b, capability: io.fs.exists, depends_on: [a] }]",
            "circle /steps/",
        ),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists }, { name: a, capability: io.fs.exists }]",
            "duplicate-step /steps/1/name",
        ),
        (
            "name: w\nsteps: [{ name: a b, capability: io.fs.exists }, { name: a-b, capability: io.fs.exists }]",
            "duplicate-step /steps/1/name",
        ),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, compensation: 1 }]",
            "wrong-type /steps/0/compensation",
        ),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, compensation: { capability: x.y } }]",
            "unknown-capability /steps/0/compensation/capability",
        ),
        (
            "name: w\nsteps: [{ name: a, capability: io.fs.exists, agent_name: x }, { name: b, capability: io.fs.exists, agent_name: y }]",
            "several-agents /steps/1/agent_name",
        ),
    ] {
        let problems = refused(yaml);
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{yaml}: {problems:#?}");
    }
    // All of it in one report, as far as one mistake does not follow from another.
    let several = "nam: w\nversion: 1.0\nsteps: [{ name: a, capability: x.y, input: {}, depends_on: [c] }, { name: b, capability: sys.undo }]";
    let codes: Vec<String> =
        refused(several).iter().filter_map(|problem| problem.split(' ').next().map(str::to_owned)).collect();
    let expected =
        ["unknown-key", "wrong-type", "unknown-key", "unknown-step", "unknown-capability", "unknown-capability"];
    assert_eq!(codes, expected);
    let many = (0..=limits::STEPS_IMPORTED_MAX)
        .map(|n| format!("  - {{ name: s{n}, capability: io.fs.exists }}\n"))
        .collect::<String>();
    assert!(refused(&format!("name: w\nsteps:\n{many}"))[0].starts_with("too-many-steps"));
    let dropped = ImportOptions { drop_policy: true, ..options() };
    let imported = plan_with(&format!("name: w\npolicy: [1]\nsteps:\n{READ}"), &dropped);
    assert!(imported.changes.iter().any(|change| change.pointer == "/policy" && change.now.is_null()));
}

#[test]
fn everything_that_is_not_as_it_was_is_said() {
    let yaml = "name: w\nowner: ada\nmetadata: { cost_center: 7 }\nsteps:\n  - { name: a, capability: io.fs.exists, inputs: { path: /a }, risk_level: LOW, agent_name: bot }\n";
    let imported = plan_with(yaml, &options());
    assert_eq!(imported.plan["description"], json!("owner: ada\ncost_center: 7"));
    let pointers: Vec<&str> = imported.changes.iter().map(|change| change.pointer.as_str()).collect();
    let expected = [
        "/owner",
        "/metadata/cost_center",
        "/enable_auto_rollback",
        "/steps/0/capability",
        "/steps/0/risk_level",
        "/steps/0/agent_name",
    ];
    assert_eq!(pointers, expected);
    assert!(imported.changes.iter().all(|change| !change.why.is_empty() && !change.why.ends_with('.')));
}

#[test]
fn plans_of_skills_are_read() {
    let yaml = "description: d\nsteps:\n\
        \x20 - { id: step_1, skill_name: file.write, params: { relative_path: a.txt, content: '{{x}}' }, depends_on: [] }\n\
        \x20 - { id: step_2, skill_name: file.concat, params: { sources: [a.txt, /b], output: deep/c.txt }, depends_on: [step_1] }\n\
        \x20 - { id: step_3, skill_name: file.remove, params: { abs_path: / } }\n";
    let imported = plan_with(yaml, &options());
    assert_eq!(imported.dialect, Dialect::Avatar);
    let expected = json!({
        "schema": "skillhost.plan/1", "name": "file", "description": "d", "on_failure": "stop",
        "steps": [
            {"id": "step_1", "tool": "files.write-text", "input": {"path": "/workspace/a.txt", "text": "{{\"{{\"}}x}}"}},
            {"id": "step_2-folder", "tool": "files.make-dir", "input": {"path": "/workspace/deep"}, "depends_on": ["step_1"]},
            {
                "id": "step_2", "tool": "files.concat", "depends_on": ["step_2-folder"],
                "input": {"sources": ["/workspace/a.txt", "/b"], "output": "/workspace/deep/c.txt"},
            },
            {"id": "step_3", "tool": "files.remove", "input": {"path": "/"}},
        ],
    });
    assert_eq!(imported.plan, expected);
    Plan::from_value(&imported.plan).unwrap();
    for (steps, expected) in [
        ("[{ id: 1, skill_name: file.read }]", "wrong-type /steps/0/id"),
        ("[{ skill_name: file.read }]", "missing-key /steps/0/id"),
        ("[{ id: a, params: {} }]", "missing-key /steps/0/skill_name"),
        (
            "[{ id: a, skill_name: file.red }]",
            "unknown-capability /steps/0/skill_name: no tool is known for `file.red` (did you mean `file.read`?)",
        ),
        ("[{ id: a, skill_name: file.read, params: [] }]", "wrong-type /steps/0/params"),
        (
            "[{ id: a, skill_name: file.read, params: { relative_path: a, abs_path: /b } }]",
            "said-twice /steps/0/params/",
        ),
        (
            "[{ id: a, skill_name: file.read, params: { relativ_path: a } }]",
            "unknown-parameter /steps/0/params/relativ_path",
        ),
        ("[{ id: a, skill_name: file.read, depends_on: [b] }]", "unknown-step /steps/0/depends_on/0"),
        (
            "[{ id: a, skill_name: file.read, depends_on: [b] }, { id: b, skill_name: file.read, depends_on: [a] }]",
            "circle",
        ),
        ("[{ id: a, skill_name: file.read }, { id: a, skill_name: file.read }]", "duplicate-step /steps/1/id"),
        (
            "[{ id: a, skill_name: file.write, params: { relative_path: d/x } }, { id: a-folder, skill_name: file.read }]",
            "duplicate-step /steps/0/id",
        ),
        ("[{ id: a, skill_name: file.read, retries: 3 }]", "unknown-key /steps/0/retries"),
        ("[{ id: a, skill_name: file.read }, x]", "wrong-type /steps/1"),
    ] {
        let problems = refused(&format!("steps: {steps}"));
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{steps}: {problems:#?}");
    }
}

#[test]
fn ids_are_names() {
    for (name, id) in [
        ("a", "a"),
        ("Make it so!", "Make-it-so"),
        ("1st", "step-1st"),
        ("-", "step-"),
        ("ä", "step-"),
        ("a.b_c", "a-b_c"),
        ("step_1", "step_1"),
    ] {
        assert_eq!(id_of(name), id);
        assert!(is_name(&id_of(name)), "{name}");
    }
    assert!(is_name(&id_of(&"é1".repeat(limits::NAME_BYTES_MAX))));
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_plan_or_refused(text in "(name: w\n)?(initial_state: \\{x: 1\\}\n)?steps:\n(  - \\{ (name|id|steps|inputs|capability|skill_name|params|depends_on|step_type|condition): [a-z{}\\[\\]\\.' ]{0,12}(, (name|inputs|capability|depends_on|step_type): [a-zA-Z{}\\[\\]_ ]{0,12})? \\}\n){0,3}") {
        if let Ok(value) = crate::json::parse_yaml(text.as_bytes()) {
            for dialect in [Dialect::AiFirst, Dialect::Avatar] {
                let options = ImportOptions { dialect: Some(dialect), ..options() };
                if let Ok(imported) = import(&value, &options) {
                    proptest::prop_assert_eq!(serde_json::from_str::<Value>(&imported.text()).unwrap(), imported.plan);
                }
            }
        }
    }
}
