//! Rules and plans of other systems, imported.

use host_tests::repo;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::program::Program;

#[test]
fn ordered_rules_become_cedar() {
    let program = Program::new();
    program.write(
        "policies.yaml",
        "default: DENY\nrules:\n  - { principal: 'role:intern', when: { capability: files.remove }, decision: DENY }\n  \
         - { principal: 'agent:*', when: { capability: 'files.*', risk_level: HIGH }, decision: REQUIRE_APPROVAL }\n  \
         - { principal: 'agent:*', capabilities: ['files.*', csv.filter], action: ALLOW }\n",
    );
    let ended = program.run(&["policy", "import", "policies.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_snapshot!("import", ended.stdout);
}

#[test]
fn what_has_no_meaning_here_is_refused() {
    let program = Program::new();
    program.write("policies.yaml", "default: ALLOW\nrules: []\n");
    let ended = program.run(&["policy", "import", "policies.yaml"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("/default: the default is"), "{}", ended.stderr);
}

/// An example of `examples/import`, in the program's folder.
fn example(name: &str) -> Program {
    let program = Program::new();
    program.write(name, repo::text(&format!("examples/import/{name}")));
    program
}

#[test]
fn a_workflow_becomes_a_plan() {
    let program = example("close-month.yaml");
    let ended = program.run(&["plan", "import", "close-month.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(ended.stdout, repo::text("examples/import/close-month.plan.json"));
    assert_snapshot!("plan_import", ended.stderr);
    let (code, envelope) = program.json(&["plan", "import", "close-month.yaml"]);
    assert_eq!((code, &envelope["result"]["dialect"]), (0, &json!("ai-first")));
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(envelope["result"]["plan"], plan);
    let changes = envelope["result"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), ended.stderr.lines().count());
    assert!(changes.iter().all(|change| ["pointer", "was", "now", "why"].iter().all(|key| change.get(key).is_some())));
}

#[test]
fn a_plan_of_skills_becomes_one_that_runs() {
    let program = example("join-notes.json");
    let ended = program.run(&["plan", "import", "join-notes.json", "--out", "plans/notes.json"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.stdout.starts_with("plans/notes.json: the plan, with "), "{}", ended.stdout);
    let plan = std::fs::read_to_string(program.path("plans/notes.json")).unwrap();
    assert_eq!(plan, repo::text("examples/import/join-notes.plan.json"));
    program.write("policy.toml", repo::text("policies/default.toml"));
    let ended = program.run(&["run", "plans/notes.json", "--policy", "policy.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let joined = std::fs::read_to_string(program.path("workspace/public/notes.txt")).unwrap();
    assert_eq!(joined, "Ask {{who}} about the roof\nThe roof is dry");
    // What is there is not replaced.
    let again = program.run(&["plan", "import", "join-notes.json", "--out", "plans/notes.json"]);
    assert_eq!(again.code, 2, "{}", again.all());
}

#[test]
fn what_has_no_meaning_in_a_plan_is_refused_with_its_line() {
    let program = Program::new();
    program.write(
        "bad.yaml",
        "name: bad\nversion: 1.0\npolicy:\n  - agent: bot\nsteps:\n  - name: make\n    capability: cloud.db.create\n    input: { size: 1 }\n  \
         - name: undo\n    capability: sys.undo\n    depends_on: [nobody]\n",
    );
    let ended = program.run(&["plan", "import", "bad.yaml"]);
    assert_eq!(ended.code, 2);
    assert_snapshot!("plan_import_bad", ended.all());
    for (name, text, why) in [
        ("anchor.yaml", "steps: &a [1]\n", "anchors are not accepted"),
        (
            "deep.yaml",
            "steps: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
            "deep",
        ),
        ("twice.json", "{\"steps\": [], \"steps\": []}", "steps"),
        ("comment.json", "{\"steps\": [] } // x", "after the JSON value"),
        ("none.yaml", "steps: []\n", "the notation is not known"),
    ] {
        program.write(name, text);
        let ended = program.run(&["plan", "import", name]);
        assert!(ended.code == 2 && ended.stderr.contains(why), "{name}: {}", ended.all());
    }
    for (args, why) in [
        (["--map", "a=b"], "not a tool name"),
        (["--map", "a"], "expected CAPABILITY=SKILL.TOOL"),
        (["--gives", "=x"], "expected CAPABILITY=KEY"),
        (["--dialect", "other"], "invalid value"),
    ] {
        let ended = program.run(&[&["plan", "import", "bad.yaml"], &args[..]].concat());
        assert!(ended.code == 2 && ended.stderr.contains(why), "{args:?}: {}", ended.all());
    }
}

#[test]
fn capabilities_are_mapped_on_the_command_line() {
    let program = Program::new();
    program.write(
        "deploy.yaml",
        "name: deploy\nenable_auto_rollback: false\npolicy: []\nsteps:\n  - name: create\n    capability: cloud.db.create\n    inputs: { name: db }\n  \
         - name: start\n    capability: cloud.app.start\n    inputs: { database: '{{database_name}}' }\n",
    );
    let mut args = vec!["plan", "import", "deploy.yaml", "--drop-policy"];
    args.extend(["--map", "cloud.db.create=cloud.create-db", "--map", "cloud.app.start=cloud.start"]);
    args.extend(["--gives", "cloud.db.create=database_name,size"]);
    let (code, envelope) = program.json(&args);
    assert_eq!(code, 0, "{envelope:#}");
    let steps = &envelope["result"]["plan"]["steps"];
    assert_eq!(steps[0], json!({"id": "create", "tool": "cloud.create-db", "input": {"name": "db"}}));
    assert_eq!(steps[1]["input"], json!({"database": "{{steps.create.database-name}}"}));
}

const WASSETTE: &str = "version: \"1.0\"\ndescription: Tells the weather\npermissions:\n  storage:\n    allow:\n      \
    - { uri: 'fs://workspace/**', access: [read, write] }\n      - { uri: 'fs:///srv/maps/**', access: [read] }\n  \
    network:\n    allow:\n      - host: api.example.com\n  environment:\n    allow:\n      - key: API_KEY\n  \
    resources:\n    limits: { cpu: 500m, memory: 256Mi }\n";

#[test]
fn a_policy_of_wassette_becomes_one_grant() {
    let program = Program::new();
    program.write("policy.yaml", WASSETTE);
    let ended = program.run(&["policy", "import", "policy.yaml", "--skill", "weather"]);
    assert_eq!(ended.code, 0);
    assert_snapshot!("import_wassette", ended.all());
    program.write("policy.toml", &ended.stdout);
    let checked = program.run(&["policy", "check", "policy.toml"]);
    assert_eq!((checked.code, checked.stdout.as_str()), (0, "ok: policy.toml, 1 grant\n"));
    let (code, envelope) = program.json(&["policy", "import", "policy.yaml", "--skill", "weather"]);
    assert_eq!((code, envelope["result"]["policy"].as_str()), (0, Some(ended.stdout.as_str())));
    assert_eq!(envelope["result"]["changes"].as_array().unwrap().len(), ended.stderr.lines().count());
    let nobody = program.run(&["policy", "import", "policy.yaml"]);
    assert!(nobody.code == 2 && nobody.stderr.contains("--skill NAME"), "{}", nobody.all());
}

#[test]
fn what_wassette_allows_and_this_host_cannot_is_refused_with_its_line() {
    let program = Program::new();
    program
        .write("policy.yaml", WASSETTE.replace("fs:///srv/maps/**", "fs:///srv/*/maps").replace("500m", "1, gpu: 1"));
    let ended = program.run(&["policy", "import", "policy.yaml", "--skill", "weather"]);
    assert_eq!(ended.code, 2);
    assert_snapshot!("import_wassette_bad", ended.all());
    program.write("policies.yaml", "rules: []\n");
    let rules = program.run(&["policy", "import", "policies.yaml", "--skill", "weather"]);
    assert!(rules.code == 2 && rules.stderr.contains("of no single skill"), "{}", rules.all());
}

#[test]
fn a_document_of_neither_kind_is_told_so() {
    let program = Program::new();
    program.write("x.yaml", "rulez: []\n").write("list.yaml", "- 1\n").write("rules.yaml", "rules: []\n");
    for args in [&["policy", "import", "x.yaml"][..], &["policy", "import", "list.yaml", "--skill", "text"]] {
        let ended = program.run(args);
        assert_eq!(ended.code, 2, "{}", ended.all());
        assert!(
            ended.stderr.contains("is neither a policy of Wassette nor a list of rules\nhint: "),
            "{}",
            ended.all()
        );
    }
    let ended = program.run(&["policy", "import", "rules.yaml", "--skill", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("\nhint: leave `--skill` out"), "{}", ended.all());
}
