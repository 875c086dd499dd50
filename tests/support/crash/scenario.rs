//! What is run: representative plans whose outcome shows each effect exactly once. An append that is done twice is in the file twice, a
//! rename that is done twice fails, a folder that is made twice is an error.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::{Guest, repo, step};

/// One grant for every tool. Nobody is asked but by plans.
pub const POLICY: &str = r#"schema = "skillhost.policy/1"
[run]
attempts = 5
[[grant]]
skills = ["*"]
tools = ["*"]
approval = "never"
filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]
"#;

/// A plan and what it begins with.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The plan.
    pub plan: Value,
    /// The kinds of events that its trace has: it would show less without.
    pub shows: &'static [&'static str],
    /// How the run ends that is never killed.
    pub ends: &'static str,
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Scenario> {
    vec![pure(), files(), rollback(), parallel(), undo(), large(), large_back()]
}

/// The one of that name.
#[must_use]
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// Makes the workspace as it is before the run.
    pub fn prepare(&self, workspace: &Path) {
        let write = |name: &str, text: &str, mode: u32| {
            let path = workspace.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        };
        write("orders.csv", "region,amount\nnorth,10\nsouth,20\nnorth,5\n", 0o644);
        write("counter.log", "begin\n", 0o640);
        write("old/deep/nested/leaf.txt", "leaf\n", 0o600);
        write("old/deep/other.txt", "other\n", 0o644);
        write("old/keep.txt", "keep\n", 0o644);
        write("report.txt", "the report of last month, which is much longer than the one of this month\n", 0o644);
        write("large.bin", &"large\n".repeat(20_000), 0o644);
        write("larger.bin", &"larger\n".repeat(200_000), 0o644);
        write("shared.txt", "one file with two names\n", 0o644);
        fs::hard_link(workspace.join("shared.txt"), workspace.join("shared-too.txt")).expect("a link");
        std::os::unix::fs::symlink("report.txt", workspace.join("latest")).expect("a link");
        fs::create_dir(workspace.join("empty")).expect("a folder");
        fs::set_permissions(workspace.join("empty"), fs::Permissions::from_mode(0o750)).expect("its mode");
    }

    /// The skills of its plan that are not built in; `folder` gets those that are made here.
    #[must_use]
    pub fn skills(&self, folder: &Path) -> Vec<(&'static str, PathBuf)> {
        let plan = self.plan.to_string();
        let mut skills = Vec::new();
        if plan.contains("\"probe.") {
            skills.push(("probe", repo::component_path("probe")));
        }
        if plan.contains("\"flaky.") {
            let path = folder.join("flaky.wasm");
            if !path.is_file() {
                fs::write(&path, flaky()).expect("written");
            }
            skills.push(("flaky", path));
        }
        skills
    }
}

/// A tool that traps twice of three times: whether it does is drawn from the seed, anew in each attempt.
fn flaky() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let core = r#"
            (import "wasi:random/random@0.2.12" "get-random-u64" (func $random (result i64)))
            (func (export "draw") (result i32)
              (local $drawn i32)
              (local.set $drawn (i32.wrap_i64 (i64.rem_u (call $random) (i64.const 3))))
              (if (local.get $drawn) (then unreachable))
              (local.get $drawn))"#;
        Guest { imports: &["wasi:random/random@0.2.12"], exports: "export draw: func() -> u32;", core }.build()
    })
}

fn probe(id: &str, args: &[&str]) -> Value {
    step(id, "probe.run", json!({"args": args}))
}

fn append(id: &str, text: &str) -> Value {
    step(id, "files.append", json!({"path": "/workspace/counter.log", "text": text}))
}

/// A step with more keys.
fn with(mut step: Value, more: Value) -> Value {
    let (Some(step_keys), Value::Object(more)) = (step.as_object_mut(), more) else { panic!("objects") };
    step_keys.extend(more);
    step
}

/// Steps behind each other.
fn in_order(steps: Vec<Value>) -> Vec<Value> {
    let mut last: Option<String> = None;
    steps
        .into_iter()
        .map(|step| {
            let id = step["id"].as_str().expect("an id").to_owned();
            let after = last.replace(id);
            match after {
                Some(after) => with(step, json!({"depends_on": [after]})),
                None => step,
            }
        })
        .collect()
}

fn ask(id: &str, message: &str) -> Value {
    json!({"id": id, "approve": {"message": message, "context": {"sum": "{{steps.sum.total}}"}}})
}

/// No file changes: repetition, a condition that does not hold, a person who is asked.
fn pure() -> Scenario {
    let steps = in_order(vec![
        step("read", "files.read-text", json!({"path": "/workspace/orders.csv"})),
        step("sum", "csv.summarise", json!({"text": "{{steps.read}}", "value": "amount", "group-by": "region"})),
        with(
            step("draw", "flaky.draw", json!({})),
            json!({"retry": {"attempts": 5, "backoff_ms": 1, "on": ["trapped"]}}),
        ),
        with(
            step("large", "text.split", json!({"text": "never", "pattern": " "})),
            json!({"when": {"value": "{{steps.sum.total}}", "more_than": 1000}}),
        ),
        with(
            step("split", "text.split", json!({"text": "a b c", "pattern": " "})),
            json!({"expect": {"kind": "json", "schema": {"type": "object"}, "mode": "warn"}}),
        ),
        ask("ask", "is {{steps.sum.total}} right?"),
        step("join", "json.query-one", json!({"text": "[{{steps.sum.total}}, 7]", "filter": "add"})),
    ]);
    let output = json!({"by": "{{steps.ask.by}}", "drawn": "{{steps.draw}}", "joined": "{{steps.join}}",
                        "parts": "{{steps.split}}", "large": "{{steps.large}}"});
    let plan = json!({"schema": "skillhost.plan/1", "name": "pure", "seed": 7, "steps": steps, "output": output});
    Scenario {
        name: "pure",
        about: "no file changes; retry, condition, contract, approval",
        plan,
        shows: &["retry", "skipped", "approval"],
        ends: "completed",
    }
}

/// Everything that a tool can do to files, a person who is asked between, and an end in failure after two attempts.
fn files() -> Scenario {
    let steps = in_order(vec![
        step("read", "files.read-text", json!({"path": "/workspace/orders.csv"})),
        step("sum", "csv.summarise", json!({"text": "{{steps.read}}", "value": "amount"})),
        append("count-1", "one\n"),
        step("tree", "files.make-dir", json!({"path": "/workspace/new/a/b", "parents": true})),
        step("inside", "files.write-text", json!({"path": "/workspace/new/a/b/c.txt", "text": "c\n"})),
        step("report", "files.write-text", json!({"path": "/workspace/report.txt", "text": "{{steps.sum.total}}\n"})),
        step(
            "move-file",
            "files.move",
            json!({"source": "/workspace/old/keep.txt", "target": "/workspace/new/kept.txt"}),
        ),
        step("move-tree", "files.move", json!({"source": "/workspace/new", "target": "/workspace/moved"})),
        step(
            "move-over",
            "files.move",
            json!({"source": "/workspace/moved/a/b/c.txt", "target": "/workspace/orders.csv", "overwrite": true}),
        ),
        step("copy", "files.copy", json!({"source": "/workspace/report.txt", "target": "/workspace/moved/copy.txt"})),
        step("remove-tree", "files.remove", json!({"path": "/workspace/old", "recursive": true})),
        probe("through-a-link", &["append", "/workspace/latest", "through\n"]),
        probe("link", &["symlink", "moved/copy.txt", "/workspace/newest"]),
        probe("hard-link", &["hardlink", "/workspace/counter.log", "/workspace/moved/counter-too.log"]),
        probe("to-both-names", &["append", "/workspace/shared.txt", "second line\n"]),
        probe("cut", &["set-size", "/workspace/moved/copy.txt", "1"]),
        probe("remove-folder", &["rmdir", "/workspace/empty"]),
        probe("remove-name", &["remove", "/workspace/shared-too.txt"]),
        ask("ask", "go on?"),
        append("count-2", "two\n"),
        with(
            step("draw", "flaky.draw", json!({})),
            json!({"retry": {"attempts": 5, "backoff_ms": 1, "on": ["trapped"]}}),
        ),
        append("count-3", "three, {{steps.ask.by}}\n"),
    ]);
    let plan = json!({"schema": "skillhost.plan/1", "name": "files", "seed": 7, "steps": steps,
                      "output": {"total": "{{steps.sum.total}}", "moved": "{{steps.move-over}}"}});
    Scenario {
        name: "files",
        about: "folders, overwriting, appending, renaming, removing, links, approval",
        plan,
        shows: &["retry", "approval"],
        ends: "completed",
    }
}

/// A step that changes a file and fails, three times; then everything before is taken back.
fn rollback() -> Scenario {
    let fails =
        step("fails", "probe.run", json!({"args": ["append", "/workspace/counter.log", "x\n"], "exit_codes": [9]}));
    let steps = in_order(vec![
        append("count-1", "one\n"),
        with(
            step("remove", "files.remove", json!({"path": "/workspace/old", "recursive": true})),
            json!({"compensate": {"tool": "files.append", "input": {"path": "/workspace/never.txt", "text": "no\n"}}}),
        ),
        with(
            step("look", "files.stat", json!({"path": "/workspace/report.txt"})),
            json!({"compensate": {"tool": "files.append",
                                  "input": {"path": "/workspace/undone.txt", "text": "look {{steps.look.size}}\n"}}}),
        ),
        step("over", "files.write-text", json!({"path": "/workspace/report.txt", "text": "short\n"})),
        step("move", "files.move", json!({"source": "/workspace/orders.csv", "target": "/workspace/empty/orders.csv"})),
        with(fails, json!({"retry": {"attempts": 3, "backoff_ms": 1, "on": ["failed"]}})),
        append("count-2", "never\n"),
    ]);
    let last = json!([{"tool": "files.append", "input": {"path": "/workspace/undone.txt", "text": "all\n"}}]);
    let plan = json!({"schema": "skillhost.plan/1", "name": "rollback", "on_failure": "rollback", "seed": 7,
                      "steps": steps, "compensate": last});
    Scenario {
        name: "rollback",
        about: "a step fails three times; undo and compensation, last one first",
        plan,
        shows: &["retry", "rollback", "undone"],
        ends: "rolled-back",
    }
}

/// Changes of files that are too large to be noted with the change: copied, or held under another name.
fn of_large_files() -> Vec<Value> {
    vec![
        step("over", "files.write-text", json!({"path": "/workspace/large.bin", "text": "small\n"})),
        step("more", "files.append", json!({"path": "/workspace/larger.bin", "text": "more\n"})),
        step("tree", "files.make-dir", json!({"path": "/workspace/new/a", "parents": true})),
        step(
            "move-over",
            "files.move",
            json!({"source": "/workspace/larger.bin", "target": "/workspace/report.txt", "overwrite": true}),
        ),
        step("away", "files.move", json!({"source": "/workspace/large.bin", "target": "/workspace/new/a/large.bin"})),
        step("name", "files.remove", json!({"path": "/workspace/shared-too.txt"})),
        step("remove", "files.remove", json!({"path": "/workspace/report.txt"})),
        append("count", "one\n"),
    ]
}

fn large() -> Scenario {
    let plan = json!({"schema": "skillhost.plan/1", "name": "large", "on_failure": "rollback", "seed": 7,
                      "steps": in_order(of_large_files())});
    let about = "large files changed, replaced, moved and removed";
    Scenario { name: "large", about, plan, shows: &["step-end"], ends: "completed" }
}

fn large_back() -> Scenario {
    let mut steps = of_large_files();
    steps.push(step("fails", "files.read-text", json!({"path": "/workspace/none"})));
    let plan = json!({"schema": "skillhost.plan/1", "name": "large-back", "on_failure": "rollback", "seed": 7,
                      "steps": in_order(steps)});
    let about = "the same, then a step fails and all of it is taken back";
    Scenario { name: "large-back", about, plan, shows: &["rollback", "undone"], ends: "rolled-back" }
}

/// Independent steps, two at a time, then one that needs them all.
fn parallel() -> Scenario {
    let mut steps: Vec<Value> = (0..4)
        .flat_map(|lane| {
            let file = format!("/workspace/lane-{lane}.txt");
            let first = step(&format!("make-{lane}"), "files.write-text", json!({"path": file, "text": "first\n"}));
            let second = step(&format!("more-{lane}"), "files.append", json!({"path": file, "text": "second\n"}));
            [first, with(second, json!({"depends_on": [format!("make-{lane}")]}))]
        })
        .collect();
    let sources: Vec<String> = (0..4).map(|lane| format!("/workspace/lane-{lane}.txt")).collect();
    let all: Vec<String> = (0..4).map(|lane| format!("more-{lane}")).collect();
    steps.push(with(
        step("join", "files.concat", json!({"sources": sources, "output": "/workspace/joined.txt"})),
        json!({"depends_on": all}),
    ));
    let plan = json!({"schema": "skillhost.plan/1", "name": "parallel", "parallel": 2, "seed": 7, "steps": steps,
                      "output": "{{steps.join.bytes}}"});
    Scenario { name: "parallel", about: "two steps at a time, joined", plan, shows: &["step-end"], ends: "completed" }
}

/// Steps that are taken back by steps, one of them twice in a row, and files that are changed again afterwards.
fn undo() -> Scenario {
    let undo = |id: &str, steps: u32| step(id, "sys.undo", json!({ "steps": steps }));
    let steps = in_order(vec![
        append("count-1", "one\n"),
        step("over", "files.write-text", json!({"path": "/workspace/report.txt", "text": "short\n"})),
        step("move", "files.move", json!({"source": "/workspace/old/keep.txt", "target": "/workspace/empty/kept.txt"})),
        step("remove-tree", "files.remove", json!({"path": "/workspace/old", "recursive": true})),
        undo("undo-three", 3),
        append("count-2", "two\n"),
        undo("undo-one", 1),
        append("count-3", "{{steps.undo-one.undone.0.step}}\n"),
    ]);
    let plan = json!({"schema": "skillhost.plan/1", "name": "undo", "seed": 7, "steps": steps,
                      "output": "{{steps.undo-three.undone}}"});
    Scenario {
        name: "undo",
        about: "steps that take back three steps and one",
        plan,
        shows: &["undone"],
        ends: "completed",
    }
}
