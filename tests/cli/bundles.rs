//! `host bundle`, and what runs from one.

use host_tests::repo;
use insta::assert_snapshot;
use serde_json::json;

use crate::program::Program;

fn program() -> Program {
    let program = Program::new();
    let made = program.run(&["bundle", "new", "demo"]);
    assert_eq!(made.code, 0, "{}", made.all());
    program
}

#[test]
fn a_new_bundle_is_right_and_runs() {
    let program = program();
    assert_snapshot!("new_bundle_verified", program.run(&["bundle", "verify", "demo"]).all());
    assert_snapshot!("new_bundle_id", program.run(&["bundle", "id", "demo", "--files"]).all());
    let id = program.run(&["bundle", "id", "demo"]).stdout.trim().to_owned();
    let plan = "demo/plans/hello.json";
    let (code, run) = program.json(&["run", "--bundle", "demo", plan, "--input-text", "name=you"]);
    assert_eq!((code, &run["result"]["output"]), (0, &json!({ "greeting": "Hello, you!" })), "{run}");
    assert_eq!((&run["result"]["snapshot_id"], &run["meta"]["snapshot_id"]), (&json!(id), &json!(id)));
    let (_, runs) = program.json(&["runs"]);
    assert_eq!(runs["result"]["runs"][0]["snapshot_id"], id);
    assert_eq!(program.run(&["replay", "last"]).stdout, "replayed 1 steps, 1 host calls, 0 divergences\n");
    assert_eq!(program.run(&["resume", "last"]).code, 0);
    let (_, runs) = program.json(&["runs"]);
    assert_eq!(runs["result"]["runs"][0]["snapshot_id"], id);
    // Nothing of it has changed.
    assert_eq!(program.run(&["bundle", "id", "demo"]).stdout.trim(), id);
    // Without the bundle there is neither its policy nor its id.
    let (code, run) = program.json(&["run", plan]);
    assert_eq!((code, run["result"].get("snapshot_id")), (11, None), "{run}");
    assert_eq!(program.run(&["bundle", "new", "demo"]).code, 2);
}

#[test]
fn the_policy_of_a_bundle_gives_way() {
    let program = program();
    program.write("none.toml", "schema = \"skillhost.policy/1\"\n");
    let input = r#"{"text": "a", "pattern": "a"}"#;
    let call = ["call", "text.search", "--input", input];
    let with = |more: &[&'static str]| [&call[..], more].concat();
    assert_eq!(program.run(&with(&["--bundle", "demo"])).code, 0);
    assert_eq!(program.run(&with(&["--bundle", "demo", "--policy", "none.toml"])).code, 11);
    assert_eq!(program.run_with(&[("HOST_POLICY", "none.toml")], &with(&["--bundle", "demo"])).code, 11);
    // The flag, then the environment.
    assert_eq!(program.run_with(&[("HOST_BUNDLE_ROOT", "demo")], &call).code, 0);
    assert_eq!(program.run_with(&[("EP_FILES_ROOT", "demo")], &call).code, 0);
    assert_eq!(program.run_with(&[("HOST_BUNDLE_ROOT", "absent"), ("EP_FILES_ROOT", "demo")], &call).code, 3);
    assert_eq!(program.run_with(&[("HOST_BUNDLE_ROOT", "absent")], &with(&["--bundle", "demo"])).code, 0);
    assert_eq!(program.run(&with(&["--bundle", "demo", "--skill", "text=x.wasm"])).code, 2);
}

#[test]
fn differences_are_named() {
    let program = program();
    program.run(&["bundle", "new", "other", "--name", "demo"]);
    assert_snapshot!("no_difference", program.run(&["bundle", "diff", "demo", "other"]).all());
    program.write("other/more/new.txt", "x").write("other/policy.toml", "");
    std::fs::remove_file(program.path("other/README.md")).unwrap();
    assert_snapshot!("differences", program.run(&["bundle", "diff", "demo", "other"]).all());
    let (code, diff) = program.json(&["bundle", "diff", "demo", "other"]);
    assert_eq!((code, &diff["result"]["added"]), (1, &json!(["more/new.txt"])));
    assert_eq!(diff["result"]["changed"][0]["path"], "policy.toml");
}

#[test]
fn what_is_wrong_with_a_bundle() {
    let program = program();
    let manifest = std::fs::read_to_string(program.path("demo/bundle.toml")).unwrap();
    let write = |text: &str| program.write("demo/bundle.toml", text);
    write(
        &manifest
            .replace("skillhost:skill@0.1.0", "skillhost:skill@0.2.0")
            .replace("kind = \"flow\"", "kind = \"flwo\""),
    );
    assert_snapshot!("wrong_manifest", program.run(&["bundle", "verify", "demo"]).all());
    // What only the components and plans show.
    let wrong = manifest
        .replace("tool = \"text.search\"", "tool = \"text.serach\"")
        .replace("text.replace\"      #", "text.no\"  #")
        + "[[export]]\nkind = \"agent\"\nname = \"a\"\ntool = \"text.render\"\n\
           [[export]]\nkind = \"flow\"\nname = \"list\"\nplan = \"plans/list.json\"\n\
           [[export]]\nkind = \"flow\"\nname = \"none\"\nplan = \"plans/none.json\"\n";
    write(&wrong);
    let plan = |name: &str, tool: &str, input: &str| {
        let step = format!(r#"{{ "id": "a", "tool": "{tool}", "input": {input} }}"#);
        format!(r#"{{ "schema": "skillhost.plan/1", "name": "{name}", "steps": [{step}] }}"#)
    };
    // It works on this host, but is not what the bundle has.
    program.write("demo/plans/list.json", plan("list", "json.query", r#"{ "text": "1", "filter": "." }"#));
    program.write("demo/plans/none.json", plan("none", "text.split", r#"{ "text": "1", "pattern": "," }"#));
    program.write("demo/plans/text.json", plan("text", "text.no", "{}"));
    program
        .write("demo/plans/README.md", "no plan")
        .write("demo/plans/Readme.md", "")
        .write("demo/policy.toml", "x = 1\n");
    assert_snapshot!("wrong_bundle", program.run(&["bundle", "verify", "demo"]).all());
    // Also where nothing is pinned: what is not in the bundle is in no id.
    write(&wrong.replace("[requires]", "[unused]").replace("[unused]\ntext", "# text"));
    let unpinned = program.run(&["bundle", "verify", "demo"]).all();
    let said = "plans/list.json/steps/0/tool: the plan uses the skill `json`, which is not in the bundle";
    assert!(unpinned.contains(said), "{unpinned}");
}

#[test]
fn components_for_another_host_are_named_with_both_versions() {
    let program = program();
    let text = r#"(component
        (import "skillhost:skill/log@0.2.0" (instance (export "log" (func)))))"#;
    let component = wat::parse_str(text).unwrap();
    program.write("demo/skills/late.wasm", component);
    let manifest = std::fs::read_to_string(program.path("demo/bundle.toml")).unwrap();
    program.write("demo/bundle.toml", manifest.replace("[requires]", "[unused]").replace("[unused]\ntext", "# text"));
    let ended = program.run(&["bundle", "verify", "demo"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(
        ended.stderr.contains("built for `skillhost:skill@0.2.0`, and this host has `skillhost:skill@0.1.0`"),
        "{}",
        ended.all()
    );
    // A pinned bundle does not take a component that nobody named.
    program.write("demo/bundle.toml", manifest);
    let ended = program.run(&["bundle", "verify", "demo"]);
    assert!(ended.stderr.contains("`late` is not among those that are required"), "{}", ended.all());
    assert!(repo::text("docs/bundle-format.md").contains("requires"));
}
