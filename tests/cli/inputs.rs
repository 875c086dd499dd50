//! Bad inputs: each gives a clear error and the right exit code, and none a panic.

use std::fs::File;

use host_tests::repo;

use crate::program::Program;

const POLICY: &str = include_str!("../../policies/default.toml");

fn program() -> Program {
    let program = Program::new();
    program.write("policy.toml", POLICY);
    program
}

/// A plan of one valid step.
const PLAN: &str = r#"{"schema": "skillhost.plan/1", "name": "p",
    "steps": [{"id": "s", "tool": "text.split", "input": {"text": "a b", "pattern": " "}}]}"#;

/// Runs and checks the file; both refuse it with this code, and stderr says this.
fn refused(program: &Program, file: &str, code: i32, says: &str) {
    for args in [&["run", file, "--policy", "policy.toml"][..], &["check", file]] {
        let ended = program.run(args);
        assert_eq!(ended.code, code, "{args:?}: {}", ended.all());
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.all());
        let said_nothing = ended.stdout.is_empty() || ended.stdout.contains("refused: nothing ran");
        assert!(said_nothing, "{args:?}: {}", ended.all());
        let (json_code, value) = program.json(args);
        assert_eq!((json_code, &value["ok"]), (code, &serde_json::json!(false)), "{value}");
    }
}

#[test]
fn documents_that_are_not_text() {
    let program = program();
    program.write("latin.json", b"{\"name\": \"gr\xfc\xdfe\"}");
    program.write("bom.json", format!("\u{feff}{PLAN}"));
    program.write("nul.json", "\0\0\0\0");
    program.write("empty.json", "");
    refused(&program, "latin.json", 2, "UTF-8");
    refused(&program, "bom.json", 2, "byte order mark");
    refused(&program, "nul.json", 2, "line 1, column 1");
    refused(&program, "empty.json", 2, "line 1");
}

#[test]
fn documents_that_are_not_json() {
    let program = program();
    program.write("nan.json", PLAN.replace("\"p\"", "NaN"));
    program.write("twice.json", PLAN.replace("\"name\": \"p\"", "\"name\": \"p\", \"name\": \"q\""));
    program.write("comma.json", PLAN.replace("}]}", "},]}"));
    program.write("deep.json", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    program.write("deep.yaml", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    program.write("objects.json", "{\"a\":".repeat(100_000));
    refused(&program, "nan.json", 2, "NaN");
    refused(&program, "twice.json", 2, "`name`");
    refused(&program, "comma.json", 2, "line 2");
    refused(&program, "deep.json", 2, "deep");
    refused(&program, "objects.json", 2, "deep");
    refused(&program, "deep.yaml", 2, "recursion limit");
}

#[test]
fn files_that_are_no_files() {
    let program = program();
    std::fs::create_dir(program.path("folder.json")).unwrap();
    refused(&program, "folder.json", 2, "folder.json");
    refused(&program, "absent.json", 2, "absent.json");
    refused(&program, "", 2, "error");
    refused(&program, "policy.toml/plan.json", 2, "policy.toml/plan.json");
}

#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let program = program();
    File::create(program.path("huge.json")).unwrap().set_len(1 << 30).unwrap();
    refused(&program, "huge.json", 2, "16");
    File::create(program.path("huge.toml")).unwrap().set_len(1 << 30).unwrap();
    program.write("plan.json", PLAN);
    let ended = program.run(&["run", "plan.json", "--policy", "huge.toml"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    File::create(program.path("huge.wasm")).unwrap().set_len(1 << 30).unwrap();
    let ended = program.run(&["inspect", "huge.wasm"]);
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stderr.contains("64") || ended.stderr.contains("67108864"), "{}", ended.all());
}

#[test]
fn components_that_are_none() {
    let program = program();
    let component = repo::component("probe");
    program.write("module.wasm", wat::parse_str("(module)").unwrap());
    program.write("cut.wasm", &component[..component.len() / 2]);
    program.write("empty.wasm", "");
    program.write("text.wasm", "(component)");
    program.write("elf.wasm", b"\x7fELF\x02\x01\x01");
    std::fs::create_dir(program.path("folder.wasm")).unwrap();
    for (file, says) in [
        ("module.wasm", "core WebAssembly module"),
        ("cut.wasm", "damaged"),
        ("empty.wasm", "empty"),
        ("text.wasm", "text"),
        ("elf.wasm", "not a WebAssembly file"),
        ("folder.wasm", "folder.wasm"),
        ("absent.wasm", "absent.wasm"),
    ] {
        let ended = program.run(&["inspect", file]);
        assert_eq!(ended.code, 3, "{file}: {}", ended.all());
        assert!(ended.stderr.contains(says), "{file}: {}", ended.all());
        let plan = PLAN.replace(
            "\"name\": \"p\"",
            &format!("\"name\": \"p\", \"skills\": {{\"mine\": {{\"path\": \"{file}\"}}}}"),
        );
        program.write("plan.json", plan);
        refused(&program, "plan.json", 3, says);
    }
}

#[test]
fn a_component_that_is_not_the_pinned_one() {
    let program = program();
    program.write("probe.wasm", repo::component("probe"));
    let pin = "0".repeat(64);
    let skills = format!(r#""name": "p", "skills": {{"mine": {{"path": "probe.wasm", "sha256": "{pin}"}}}}"#);
    program.write("plan.json", PLAN.replace("\"name\": \"p\"", &skills));
    refused(&program, "plan.json", 3, &pin);
}

#[test]
fn policies_that_are_wrong() {
    let program = program();
    program.write("plan.json", PLAN);
    for (name, text, says) in [
        ("unknown.toml", "schema = \"skillhost.policy/1\"\ngrants = []\n", "`grants`"),
        ("later.toml", "schema = \"skillhost.policy/1\"\nrules = \"a.cedar\"\n", "rules"),
        ("schema.toml", "schema = \"skillhost.policy/2\"\n", "skillhost.policy/2"),
        ("syntax.toml", "schema = \n", "line 1"),
        ("limit.toml", "schema = \"skillhost.policy/1\"\n[limits]\nfuel = -1\n", "fuel"),
        ("bytes.toml", "schema = \"\u{0}\"\n", "line 1"),
    ] {
        program.write(name, text);
        let ended = program.run(&["run", "plan.json", "--policy", name]);
        assert_eq!(ended.code, 2, "{name}: {}", ended.all());
        assert!(ended.stderr.contains(says), "{name}: {}", ended.all());
    }
    let ended = program.run(&["run", "plan.json", "--policy", "absent.toml"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    // No policy at all: nothing is granted.
    let bare = Program::new();
    bare.write("plan.json", PLAN);
    let ended = bare.run(&["run", "plan.json"]);
    assert_eq!(ended.code, 11, "{}", ended.all());
}

#[test]
fn traces_that_are_none() {
    let program = program();
    program.write("plan.json", PLAN);
    assert_eq!(program.run(&["run", "plan.json", "--policy", "policy.toml"]).code, 0);
    let runs: Vec<_> = std::fs::read_dir(program.state("runs")).unwrap().collect();
    let run = runs[0].as_ref().unwrap().path();
    let good = std::fs::read_to_string(run.join("trace.jsonl")).unwrap();
    let newer = good.replace("skillhost.trace/1", "skillhost.trace/9");
    for (text, code) in [
        (newer.as_str(), None),
        ("", None),
        ("not json\n", None),
        ("{}\n", None),
        ("[]\n", None),
        ("\u{0}\u{0}", None),
        (&good[..good.len() / 2], Some(9)),
        (&good.replace("\"a b\"", "\"a c\""), Some(9)),
    ] {
        std::fs::write(run.join("trace.jsonl"), text).unwrap();
        for args in [&["trace", "verify", "last"][..], &["replay", "last"]] {
            let ended = program.run(args);
            assert!(ended.code != 0 && ended.code != 1, "{args:?} {text:.40}: {}", ended.all());
            if let Some(code) = code {
                assert_eq!(ended.code, code, "{args:?}: {}", ended.all());
            }
            assert!(ended.stderr.starts_with("error: "), "{}", ended.all());
        }
        program.run(&["trace", "show", "last"]);
        assert_eq!(program.run(&["runs"]).code, 0);
    }
    let ended = program.run(&["trace", "verify", "2099"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
}

#[test]
fn command_lines_that_are_wrong() {
    let program = program();
    for args in [
        &["run"][..],
        &["walk"],
        &["run", "a", "b"],
        &["--no-such"],
        &["call", "text.split", "--input", "{"],
        &["call", "a", "b"],
        &["trace"],
        &["run", "plan.json", "--input", "a"],
        &["run", "plan.json", "--skill", "a"],
    ] {
        let ended = program.run(args);
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.all());
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{args:?}: {}", ended.all());
        let (code, value) = program.json(args);
        assert_eq!((code, &value["ok"]), (2, &serde_json::json!(false)), "{args:?}");
    }
    let ended = program.run(&["call", "text.splt", "--input", "{}", "--policy", "policy.toml"]);
    assert_eq!(ended.code, 5, "{}", ended.all());
    let ended = program.run(&["call", "text.split", "--input", "{}", "--policy", "policy.toml"]);
    assert_eq!(ended.code, 6, "{}", ended.all());
}

#[test]
fn a_command_line_that_is_wrong_has_a_hint() {
    let program = program();
    for (args, command) in
        [(&["run", "--nope"][..], "host run"), (&["policy", "explain"], "host policy explain"), (&["nope"], "host")]
    {
        let ended = program.run(args);
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.ends_with(&format!("\n\nhint: see `{command} --help`\n")), "{args:?}: {}", ended.all());
        let (_, value) = program.json(args);
        assert_eq!(value["error"]["hint"], format!("see `{command} --help`"));
    }
}

#[test]
fn what_cannot_be_written_has_a_hint() {
    let program = program();
    program.write("plan.json", PLAN).write("file", "");
    for (args, says) in [
        (
            &["run", "plan.json", "--state", "file", "--policy", "policy.toml"][..],
            "hint: look at what is there, or choose another state",
        ),
        (&["skill", "new", "greet", "--dir", "/proc/x"], "hint: choose a place in a folder"),
        (&["policy", "init", "default", "--out", "file/policy.toml"], "hint: choose a place in a folder"),
        (&["bundle", "new", "/proc/x"], "hint: choose a place in a folder"),
    ] {
        let ended = program.run(args);
        assert_eq!(ended.code, 20, "{args:?}: {}", ended.all());
        assert!(ended.stderr.starts_with("error: cannot ") && ended.stderr.contains(says), "{args:?}: {}", ended.all());
    }
}

#[test]
fn a_skill_is_named_once() {
    let program = program();
    program.write("plan.json", PLAN).write("a.wasm", repo::component("text")).write("b.wasm", repo::component("text"));
    let twice = ["--skill", "w=a.wasm", "--skill", "w=b.wasm"];
    let request = r#"{"action": "describe"}"#;
    for args in [&["run", "plan.json"][..], &["check", "plan.json"], &["call", "w.split"], &["replay", "last"]] {
        let ended = program.run(&[args, &twice].concat());
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.all());
        assert!(
            ended
                .stderr
                .contains("error: `--skill w` is given twice: as `a.wasm` and as `b.wasm`\nhint: leave one out"),
            "{args:?}: {}",
            ended.all()
        );
    }
    let answer = program.piped(&[&["exec"][..], &twice].concat(), request);
    assert!(answer.code != 0 && answer.stdout.contains("is given twice"), "{}", answer.all());
    // Two names for one file are two skills.
    let both = ["check", "plan.json", "--skill", "w=a.wasm", "--skill", "v=a.wasm"];
    assert_eq!(program.run(&both).code, 0);
}
