//! `host skill`.

use host_tests::repo;
use insta::assert_snapshot;
use serde_json::json;

use crate::program::Program;

/// A folder as an author has it after a build: the component of `text` with metadata, policy and tests.
fn built() -> Program {
    let program = Program::new();
    program
        .write("t/text.wasm", repo::component("text"))
        .write("t/skill.toml", repo::text("guest-skills/text/skill.toml"))
        .write("t/policy.toml", "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"text\"]\ntools = [\"*\"]\n")
        .write("t/tests/b.json", plan("b", "2"))
        .write("t/tests/a.json", plan("a", "1"))
        .write("t/tests/data.txt", "no plan");
    program
}

fn plan(name: &str, with: &str) -> String {
    json!({
        "schema": "skillhost.plan/1", "name": name,
        "steps": [{
            "id": "it", "tool": "text.replace", "input": { "text": "1", "pattern": "1", "replacement": with },
            "expect": { "kind": "json", "schema": { "properties": { "text": { "const": with } } } },
        }],
    })
    .to_string()
}

#[test]
fn new_skills_have_the_same_files_in_every_language() {
    let program = Program::new();
    assert_snapshot!("new_skill", program.run(&["skill", "new", "greet"]).all());
    for lang in ["rust", "c", "js", "python"] {
        let (code, made) = program.json(&["skill", "new", "greet", "--lang", lang, "--dir", &format!("in/{lang}")]);
        assert_eq!(code, 0, "{made}");
        for file in made["result"]["files"].as_array().unwrap() {
            assert!(program.path(&format!("in/{lang}/{}", file.as_str().unwrap())).is_file(), "{file}");
        }
    }
    // What the host offers is there to be imported, by taking comments away.
    let deps = std::fs::read_to_string(program.path("greet/wit/deps/skillhost/skill.wit")).unwrap();
    assert_eq!(deps, repo::text("wit/skill.wit"));
    let world = std::fs::read_to_string(program.path("greet/wit/world.wit")).unwrap();
    assert_eq!(world.matches("// import skillhost:skill/").count(), 4);
    program.write("t.wasm", repo::component("csv"));
    let pack = ["skill", "pack", "t.wasm", "--wit", "greet/wit", "-o", "packed.wasm"];
    for text in [world.clone(), world.replace("// import", "import")] {
        program.write("greet/wit/world.wit", text);
        let packed = program.run(&pack);
        assert_eq!(packed.code, 0, "{}", packed.all());
    }
    program.write("greet/wit/world.wit", world.replace("// import skillhost:skill/log", "import skillhost:skill/lag"));
    assert_eq!(program.run(&pack).code, 2);
    let code = std::fs::read_to_string(program.path("greet/src/lib.rs")).unwrap();
    assert!(code.contains("generate_all"), "what other packages have would not be bound");
    for wrong in [
        &["skill", "new", "greet"][..],
        &["skill", "new", "1x"],
        &["skill", "new", "host"],
        &["skill", "new", "sys"],
        &["skill", "new", "x", "--lang", "go"],
    ] {
        assert_eq!(program.run(wrong).code, 2, "{wrong:?}");
    }
    let ended = program.run(&["skill", "check", "greet"]);
    assert_eq!(ended.code, 3);
    assert!(ended.stderr.contains("hint: build it first"), "{}", ended.all());
}

#[test]
fn check_shows_what_a_skill_is_and_runs_its_tests() {
    let program = built();
    assert_snapshot!("check", program.run(&["skill", "check", "t"]).all());
    let (code, checked) = program.json(&["skill", "check", "t"]);
    let tests = checked["result"]["tests"].as_array().unwrap();
    let of = |key: &str| tests.iter().map(|test| test[key].clone()).collect::<Vec<_>>();
    assert_eq!(
        (code, of("file"), of("outcome")),
        (0, vec![json!("a.json"), json!("b.json")], vec![json!("completed"); 2])
    );
    assert!(tests.iter().all(|test| test["fuel"].as_u64().is_some_and(|fuel| fuel > 1_000)));
    // An output that is not what was expected.
    program.write("t/tests/b.json", plan("b", "2").replace("\"const\":\"2\"", "\"const\":\"3\""));
    let ended = program.run(&["skill", "check", "t"]);
    assert_eq!(ended.code, 7, "{}", ended.all());
    // And one that is not what lies beside the plan.
    program.write("t/tests/b.json", plan("b", "2")).write("t/tests/expected/b.json", "null");
    assert_eq!(program.run(&["skill", "check", "t"]).code, 0);
    program.write("t/tests/expected/b.json", "{}");
    let ended = program.run(&["skill", "check", "t"]);
    assert_eq!(ended.code, 7, "{}", ended.all());
    assert!(ended.stderr.contains("error: b.json: the output is null, and {} was expected"), "{}", ended.all());
    // A mistake is said with its file.
    program.write("t/tests/b.json", "{");
    let ended = program.run(&["skill", "check", "t"]);
    assert!(ended.code == 2 && ended.stderr.contains("error: b.json: line 1, column 1: "), "{}", ended.all());
    program.write("t/tests/b.json", plan("b", "2")).write("t/tests/expected/b.json", "{");
    assert!(program.run(&["skill", "check", "t"]).stderr.contains("error: t/tests/expected/b.json: line "));
    program.write("t/tests/expected/b.json", "null");
    program.write("t/skill.toml", "schema = \"skillhost.skill/1\"\nname = \n");
    let ended = program.run(&["skill", "check", "t"]);
    assert!(ended.code == 3 && ended.stderr.contains("error: t/skill.toml: line 2, column "), "{}", ended.all());
    program.write("t/skill.toml", "schema = \"skillhost.skill/1\"\nname = \"text\"\nversion = \"1\"\n[tools.no]\n");
    let ended = program.run(&["skill", "check", "t"]);
    assert!(ended.code == 3 && ended.stderr.contains("error: t/skill.toml: /tools/no: "), "{}", ended.all());
    // A file alone has no tests; without metadata there is advice.
    program.write("bare.wasm", repo::component("text"));
    let (code, checked) = program.json(&["skill", "check", "bare.wasm"]);
    assert_eq!((code, &checked["result"]["tests"]), (0, &json!([])));
    assert!(checked["result"]["advice"][0].as_str().unwrap().starts_with("it has no metadata"));
}

#[test]
fn what_was_packed_beside_a_component_is_not_the_one_that_was_built() {
    let program = built();
    assert_eq!(program.run(&["skill", "pack", "t/text.wasm", "-o", "t/o.wasm"]).code, 0);
    let (code, checked) = program.json(&["skill", "check", "t"]);
    assert_eq!((code, &checked["result"]["skill"]["name"]), (0, &json!("text")), "{checked}");
    // Where nothing says which one it is, both are named.
    let both = "error: there are several components in `t`: `o.wasm` and `text.wasm`\nhint: ";
    let toml = repo::text("guest-skills/text/skill.toml");
    program.write("t/skill.toml", toml.replacen("name = \"text\"", "name = \"other\"", 1));
    let ended = program.run(&["skill", "check", "t"]);
    assert!(ended.code == 3 && ended.stderr.starts_with(both), "{}", ended.all());
    assert!(ended.stderr.contains("none is called as `t/skill.toml` says (`other.wasm`)"), "{}", ended.all());
    std::fs::remove_file(program.path("t/skill.toml")).unwrap();
    let ended = program.run(&["skill", "check", "t"]);
    assert!(ended.code == 3 && ended.stderr.starts_with(both), "{}", ended.all());
}

#[test]
fn what_is_for_a_reviewer_is_shown_and_packed() {
    let program = Program::new();
    program.write("t/csv.wasm", repo::component("csv"));
    program.write(
        "t/skill.toml",
        "schema = \"skillhost.skill/1\"\nname = \"csv\"\nversion = \"1\"\nauthor = \"Ada\"\n[tools.filter]\nrisk = \"low\"\n\
         risk_reason = \"templates are code\"\n\
         side_effects = { reversible = false, scope = \"nothing\", description = \"none that we know\" }\n",
    );
    for args in [&["inspect", "t/csv.wasm"][..], &["skill", "check", "t/csv.wasm"]] {
        let ended = program.run(args);
        assert_eq!(ended.code, 0, "{}", ended.all());
        for line in [
            "by Ada\n",
            "      reason for the risk: templates are code\n",
            "      side effects: not reversible; in nothing; none that we know\n",
        ] {
            assert!(ended.stdout.contains(line), "{args:?}: {line}: {}", ended.all());
        }
    }
    assert_eq!(program.run(&["skill", "pack", "t/csv.wasm", "-o", "out/csv.wasm"]).code, 0);
    let (_, value) = program.json(&["inspect", "out/csv.wasm"]);
    assert_eq!(value["result"]["author"], "Ada");
    let annotations = &value["result"]["tools"]["filter"]["annotations"];
    assert_eq!(annotations["risk_reason"], "templates are code");
    let effects = json!({ "reversible": false, "scope": "nothing", "description": "none that we know" });
    assert_eq!(annotations["side_effects"], effects);
    assert_eq!(value["result"]["tools"]["summarise"]["annotations"]["side_effects"], json!(null));
}

#[test]
fn a_packed_skill_is_one_file() {
    let program = built();
    let wit = repo::root().join("guest-skills/text/wit");
    let packed = program.run(&["skill", "pack", "t/text.wasm", "--wit", wit.to_str().unwrap(), "-o", "out/text.wasm"]);
    assert_eq!(packed.code, 0, "{}", packed.all());
    let (_, beside) = program.json(&["inspect", "t/text.wasm"]);
    let (_, inside) = program.json(&["inspect", "out/text.wasm"]);
    for key in ["version", "description"] {
        assert_eq!(inside["result"][key], beside["result"][key]);
        assert!(inside["result"][key].is_string());
    }
    assert_eq!(inside["result"]["tools"], beside["result"]["tools"]);
    let first = std::fs::read(program.path("out/text.wasm")).unwrap();
    assert_eq!(program.run(&["skill", "pack", "out/text.wasm", "-o", "out/text.wasm"]).code, 0);
    assert_eq!(std::fs::read(program.path("out/text.wasm")).unwrap(), first);
    // Comments alone.
    program.write("bare/text.wasm", repo::component("text"));
    program.run(&["skill", "pack", "bare/text.wasm", "--wit", wit.to_str().unwrap(), "-o", "bare/out.wasm"]);
    assert!(program.run(&["inspect", "bare/out.wasm"]).stdout.contains("Fills a template in Jinja syntax"));
    // It runs as what it is.
    let call = ["call", "text.search", "--skill", "text=out/text.wasm", "--policy", "t/policy.toml", "--input"];
    let ended = program.run(&[&call[..], &[r#"{"text": "a", "pattern": "a"}"#]].concat());
    assert_eq!(ended.code, 0, "{}", ended.all());
    // Metadata that does not fit is refused, and nothing is written.
    program.write("bad.toml", "schema = \"skillhost.skill/1\"\nname = \"t\"\nversion = \"1\"\n[tools.no]\n");
    let bad = ["skill", "pack", "t/text.wasm", "--skill-toml", "bad.toml", "-o", "out/bad.wasm"];
    assert_eq!(program.run(&bad).code, 3);
    assert!(!program.path("out/bad.wasm").exists());
    assert_eq!(program.run(&["skill", "pack", "t/text.wasm", "--wit", "absent", "-o", "out/bad.wasm"]).code, 2);
}
