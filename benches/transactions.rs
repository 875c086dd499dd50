//! What a transaction costs: steps with each durability beside a bare append and fdatasync of the same disk, steps at one time, and a step
//! whose result is taken from the record beside its execution.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use skillhost::clock::Stopwatch;
use skillhost::durability::Durability;
use skillhost::skills::SkillBytes;
use skillhost::{CompiledCode, GoOnOptions, PlanDocument, PlanFormat, PolicyDocument, RunOptions, SkillHost};

use crate::{Ours, guests, in_steps, plan};

/// A file that is appended to and synced: the least that anything durable costs.
pub struct Disk {
    folder: tempfile::TempDir,
    file: File,
    /// What has the place of a trace and what of a file that is overwritten, and how many journals were made.
    trace: File,
    overwritten: PathBuf,
    journals: usize,
}

impl Disk {
    /// In a fresh folder of the disk that runs are on.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let (file, trace, overwritten) = (file("floor"), file("trace"), folder.path().join("overwritten"));
        Self { folder, file, trace, overwritten, journals: 0 }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Appends 1 KiB and waits for the disk. In seconds.
    pub fn sync(&mut self) -> f64 {
        let started = Stopwatch::start();
        self.file.write_all(&[b'x'; 1024]).unwrap();
        self.file.sync_data().unwrap();
        started.elapsed().as_secs_f64()
    }

    /// Files of which nothing is to be made any more but their content.
    pub fn make_journals(&mut self, count: usize) {
        for n in self.journals..self.journals + count {
            File::create(self.folder.path().join(format!("journal-{n}"))).unwrap();
        }
        File::open(self.folder.path()).unwrap().sync_all().unwrap();
    }

    /// What nobody can leave out who overwrites a file so that it can be put back: the bytes before it are written to a file and synced, the
    /// file is emptied, written and synced, and a line that says so is appended and synced. In seconds.
    pub fn overwrite(&mut self) -> f64 {
        let path = self.folder.path().join(format!("journal-{}", self.journals));
        self.journals += 1;
        let started = Stopwatch::start();
        let mut journal = File::options().write(true).open(path).unwrap();
        journal.write_all(&[b'x'; 400]).unwrap();
        journal.sync_data().unwrap();
        let mut file = File::create(&self.overwritten).unwrap();
        file.write_all(&[b'x'; 64]).unwrap();
        file.sync_all().unwrap();
        self.trace.write_all(&[b'x'; 2048]).unwrap();
        self.trace.sync_data().unwrap();
        started.elapsed().as_secs_f64()
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

/// Steps of one kind.
pub struct Steps {
    ours: Ours,
    plan: PlanDocument,
    steps: usize,
}

impl Steps {
    /// Steps that only compute.
    pub fn pure(durability: Durability, steps: usize) -> Self {
        let plan = plan(steps, "add", &json!({ "a": 1, "b": 2 }));
        Self { ours: Ours::durable(guests::ADD, durability), plan, steps }
    }

    /// Steps that each overwrite a file.
    pub fn mutating(durability: Durability, steps: usize) -> Self {
        let plan = plan(steps, "writes", &json!({ "n": 1, "len": 64 }));
        Self { ours: Ours::durable(guests::WRITES, durability), plan, steps }
    }

    /// What one of them takes. In seconds.
    pub fn run(&self) -> f64 {
        in_steps(&self.ours.keep(&self.plan)).as_secs_f64() / self.steps as f64
    }
}

const POLICY: &str = r#"
schema = "skillhost.policy/1"
[limits]
fuel = 9_000_000_000
deadline_ms = 60_000
[[grant]]
skills = ["csv"]
tools = ["*"]
[[grant]]
skills = ["*"]
tools = ["*"]
clocks = "real"
filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]
"#;

fn host(folder: &Path) -> SkillHost {
    let path = host_tests::repo::component_path("probe");
    SkillHost::builder()
        .policy(PolicyDocument::parse(POLICY).unwrap())
        .workspace(folder.join("workspace"))
        .state(folder.join("state"))
        .compiled_code(CompiledCode::in_folder(folder.join("code")))
        .skill("probe".parse().unwrap(), SkillBytes::File(path))
        .build()
}

fn document(plan: &Value) -> PlanDocument {
    PlanDocument::new(plan.to_string(), PlanFormat::Json, "")
}

/// Four steps that sleep 200 ms each, by a real clock, four at one time: what all of them take together, as the run's steps.
pub fn four_at_one_time() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path());
    let steps: Vec<Value> = (0..4)
        .map(|n| json!({"id": format!("s{n}"), "tool": "probe.run", "input": {"args": ["sleep", "200"]}}))
        .collect();
    let plan = json!({"schema": "skillhost.plan/1", "name": "sleeps", "parallel": 4, "steps": steps});
    let report = host.run(&document(&plan), &RunOptions::default()).unwrap();
    assert_eq!(report.outcome.name(), "completed", "{:?}", report.failed_step());
    in_steps(&report)
}

/// What one more step costs a whole run that executes it, and a whole run that resumes that one and takes its result from the record, reading
/// of the record included. In seconds.
pub fn executed_and_resumed(filters: bool) -> (f64, f64) {
    const STEPS: [usize; 2] = [20, 220];
    let [few, many] = STEPS.map(|steps| runs(steps, filters));
    let one = |few: f64, many: f64| (many - few) / (STEPS[1] - STEPS[0]) as f64;
    (one(few.0, many.0), one(few.1, many.1))
}

/// Steps that compute, or filter a table of 5 000 rows (60 KiB), and one more that fails until a file is there: what the run takes, and the run
/// that resumes it.
fn runs(count: usize, filters: bool) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path());
    let rows: String = (0..5_000).map(|n| format!("region-{},{n}\n", n % 7)).collect();
    let step = |n: usize| match filters {
        true => json!({"id": format!("s{n}"), "tool": "csv.filter",
            "input": {"text": "{{inputs.table}}", "column": "region", "operator": "eq", "value": format!("region-{}", n % 7)}}),
        false => json!({"id": format!("s{n}"), "tool": "json.query-one",
            "input": {"text": n.to_string(), "filter": "[range(5000)] | map(. * 2) | add"}}),
    };
    let mut steps: Vec<Value> = (0..count).map(step).collect();
    steps.push(json!({"id": "last", "tool": "files.read-text", "input": {"path": "/workspace/key.txt"}}));
    let inputs = if filters { json!({"table": format!("region,amount\n{rows}")}) } else { json!({}) };
    let one = json!({"schema": "skillhost.plan/1", "name": "warm", "inputs": inputs, "steps": [step(0)]});
    let plan = document(&json!({"schema": "skillhost.plan/1", "name": "resumed", "inputs": inputs, "steps": steps}));
    // Compiled, and its caches warm.
    host.run(&document(&one), &RunOptions::default()).unwrap();
    let started = Stopwatch::start();
    let report = host.run(&plan, &RunOptions::default()).unwrap();
    let executed = started.elapsed().as_secs_f64();
    assert_eq!(report.outcome.name(), "failed", "{:?}", report.problems);
    std::fs::write(folder.path().join("workspace/key.txt"), "key").unwrap();
    let run = host.store().find(&report.run).unwrap();
    let started = Stopwatch::start();
    let resumed = host.resume(&run, &GoOnOptions::default()).unwrap();
    let took = started.elapsed().as_secs_f64();
    assert_eq!(resumed.outcome.name(), "completed", "{:?}", resumed.failed_step());
    assert_eq!(resumed.steps.iter().filter(|step| step.reused.is_some()).count(), count);
    (executed, took)
}
