//! Invocations of real and hand-written components against a tape in memory.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::clock::Stopwatch;
use crate::id::Digest;
use crate::policy::{Access, Preopen};
use crate::sandbox::Links;
use crate::sandbox::component::{ComponentCache, load};
use crate::trace::{Call, RecordedCall, TraceSink, TraceSource};

type Blobs = BTreeMap<Digest, Vec<u8>>;
type Calls = Vec<(String, Vec<u8>, Vec<u8>)>;

/// Calls and blobs in memory; clones share them.
#[derive(Default, Clone)]
struct Memory(Arc<Mutex<(Calls, Blobs)>>);

impl TraceSink for Memory {
    fn call(&mut self, call: Call<'_>) -> Result<(), TraceError> {
        self.0.lock().unwrap().0.push((call.function.to_owned(), call.params.to_vec(), call.result.to_vec()));
        Ok(())
    }

    fn delegated(&mut self, event: &crate::trace::event::Event) -> Result<(), TraceError> {
        panic!("nothing may be called: {event:?}")
    }

    fn blob(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), TraceError> {
        self.0.lock().unwrap().1.insert(digest, bytes.to_vec());
        Ok(())
    }

    fn bytes_in_step(&self) -> u64 {
        0
    }
}

struct Playback(Memory, usize);

impl TraceSource for Playback {
    fn next_call(&mut self) -> Result<Option<RecordedCall>, TraceError> {
        let memory = self.0.0.lock().unwrap();
        let Some((function, params, result)) = memory.0.get(self.1).cloned() else { return Ok(None) };
        let result = serde_json::from_slice(&result).unwrap();
        self.1 += 1;
        Ok(Some(RecordedCall { seq: self.1 as u64, function, params, result }))
    }

    fn delegated(&mut self) -> Result<Option<(u64, crate::trace::event::Event)>, TraceError> {
        Ok(None)
    }

    fn has_call(&mut self) -> Result<bool, TraceError> {
        Ok(self.1 < self.0.0.lock().unwrap().0.len())
    }

    fn take_delegated(&mut self) -> Result<(), TraceError> {
        Ok(())
    }

    fn blob(&mut self, digest: Digest) -> Result<Vec<u8>, TraceError> {
        Ok(self.0.0.lock().unwrap().1[&digest].clone())
    }
}

struct Bench {
    sandbox: SandboxEngine,
    program: Program,
    grant: Grant,
    limits: StepLimits,
    folder: tempfile::TempDir,
    undo: Option<Undo>,
}

fn bench(name: &str, bytes: &[u8]) -> Bench {
    let sandbox = SandboxEngine::new().unwrap();
    let loaded = load(&sandbox.engine, bytes, name.parse().unwrap(), None, &ComponentCache::none()).unwrap();
    let program = Program::new(&sandbox, Arc::new(loaded.skill), &loaded.component, Links::Local).unwrap();
    let grant = Grant {
        skills: vec![],
        tools: vec![],
        filesystem: vec![Preopen {
            host: "{workspace}".to_owned(),
            guest: "/workspace".to_owned(),
            access: Access::ReadWrite,
        }],
        network: vec![],
        clocks: Clocks::Virtual,
        random: Random::Seeded,
        env: BTreeMap::new(),
        config: BTreeMap::new(),
        calls: vec![],
        approval: None,
        limits: StepLimits::DEFAULT,
    };
    Bench { sandbox, program, grant, limits: StepLimits::DEFAULT, folder: tempfile::tempdir().unwrap(), undo: None }
}

impl Bench {
    fn invoke(&self, tool: &str, input: &Value, tape: Tape) -> Invoked {
        self.try_invoke(tool, input, tape).unwrap()
    }

    fn try_invoke(&self, tool: &str, input: &Value, tape: Tape) -> Result<Invoked, SandboxError> {
        let step = "s".parse().unwrap();
        let directories = Directories::open([&self.grant], self.folder.path()).unwrap();
        let invocation = Invocation {
            tool: self.program.skill().tool(tool).unwrap(),
            input,
            grant: &self.grant,
            workspace: self.folder.path(),
            directories: &directories,
            reach: None,
            undo: self.undo.as_ref(),
            delegate: None,
            limits: self.limits,
            run_deadline: None,
            plan: "p",
            request: &Arc::default(),
            step: &step,
            attempt: 1,
            seed: 7,
            start_time: 1_767_225_600,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.sandbox.invoke(&self.program, invocation, tape, &CancelToken::new()))
    }

    /// Runs live, then replays with the workspace gone; both must end alike.
    fn both(&self, tool: &str, input: &Value) -> (Outcome, Calls) {
        let memory = Memory::default();
        let live = self.invoke(tool, input, Tape::Record(Box::new(memory.clone())));
        let outcome = live.end.unwrap();
        let source = Box::new(Playback(memory.clone(), 0));
        let replayed = Tape::Replay { source, outcome: outcome.clone(), calls: live.calls, replaced: vec![] };
        let replayed = self.invoke(tool, input, replayed);
        assert_eq!(replayed.end.as_ref(), Ok(&outcome));
        assert_eq!((replayed.calls, replayed.fuel), (live.calls, live.fuel));
        let calls = memory.0.lock().unwrap().0.clone();
        for (function, params, result) in &calls {
            for bytes in [params, result] {
                let value: Value = serde_json::from_slice(bytes).unwrap();
                assert_eq!(canonical::to_vec(&value), *bytes, "{function} is canonical");
            }
        }
        (outcome, calls)
    }
}

const FILES: &[u8] = include_bytes!("../../../../guest-skills/components/files.wasm");

#[test]
fn a_file_is_written_read_and_listed_and_each_replays_without_the_folder() {
    let bench = bench("files", FILES);
    let text = "grüße ".repeat(20_000);
    let (outcome, _) = bench.both("write-text", &json!({"path": "/workspace/a.txt", "text": text}));
    assert!(outcome.is_completed(), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(bench.folder.path().join("a.txt")).unwrap(), text);
    let (outcome, calls) = bench.both("read-text", &json!({"path": "/workspace/a.txt"}));
    assert_eq!(outcome, Outcome::Completed { output: json!(text) });
    assert!(
        calls.iter().any(|(function, ..)| function.ends_with("input-stream.blocking-read")),
        "read through a stream"
    );
    let (outcome, _) = bench.both("list", &json!({"path": "/workspace"}));
    assert!(outcome.is_completed(), "{outcome:?}");
    let (outcome, _) = bench.both("read-text", &json!({"path": "/workspace/none.txt"}));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
}

#[test]
fn a_full_pool_is_an_error_of_the_host() {
    let bench = bench("files", FILES);
    let engine = &bench.sandbox.engine;
    // A component of no code takes a place in the pool all the same.
    let component = wasmtime::component::Component::new(engine, wat::parse_str("(component)").unwrap()).unwrap();
    let linker = wasmtime::component::Linker::<()>::new(engine);
    let mut store = Store::new(engine, ());
    while linker.instantiate(&mut store, &component).is_ok() {}
    let invoke = || bench.try_invoke("list", &json!({"path": "/workspace"}), Tape::Record(Box::new(Memory::default())));
    let ended = invoke();
    assert!(matches!(ended, Err(SandboxError::Exhausted { .. })), "{ended:?}");
    drop(store);
    assert!(invoke().unwrap().end.unwrap().is_completed());
}

/// A tool without imports that never returns.
const SPIN: &str = r#"(component
    (core module $m (func (export "go") (loop $again (br $again))))
    (core instance $i (instantiate $m))
    (func (export "go") (canon lift (core func $i "go"))))"#;

#[test]
fn a_replay_does_not_spin_until_the_deadline_again() {
    let mut bench = bench("spin", &wat::parse_str(SPIN).unwrap());
    bench.limits.deadline_ms = 600_000;
    bench.limits.fuel = limits::FUEL_MAX;
    let deadline = LimitHit::new(LimitKind::Deadline, bench.limits.deadline_ms).outcome(Vec::new());
    for outcome in [deadline, Outcome::Cancelled] {
        let watch = Stopwatch::start();
        let source = Box::new(Playback(Memory::default(), 0));
        let _ticking = bench.sandbox.ticking();
        let replayed = bench.invoke(
            "go",
            &json!({}),
            Tape::Replay { source, outcome: outcome.clone(), calls: 0, replaced: vec![] },
        );
        assert_eq!((replayed.end, replayed.fuel), (Ok(outcome), None));
        assert!(watch.elapsed() < Duration::from_secs(60), "{:?}", watch.elapsed());
    }
}

/// The static check denies such a step before; nothing that it misses is linked either.
#[test]
fn http_is_not_linked_without_a_grant() {
    let text = r#"(component (import "wasi:http/types@0.2.0" (instance (export "http-error-code" (func)))))"#;
    let sandbox = SandboxEngine::new().unwrap();
    let bytes = wat::parse_str(text).unwrap();
    let loaded = load(&sandbox.engine, &bytes, "h".parse().unwrap(), None, &ComponentCache::none()).unwrap();
    let skill = Arc::new(loaded.skill);
    let linked = |links| Program::new(&sandbox, Arc::clone(&skill), &loaded.component, links).map(|_| ()).unwrap_err();
    let error = linked(Links::Local);
    assert!(matches!(error, SandboxError::NotGranted { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("network = ["));
    // With one, the interface is there, and is not the one that this component says.
    assert!(matches!(linked(Links::Network), SandboxError::Link { .. }));
}

/// A new journal of what is done in the workspace.
fn journaled(bench: &mut Bench, journals: &Path) {
    let root = std::fs::File::open(bench.folder.path()).unwrap();
    let root = crate::journal::Root::new("/workspace".to_owned(), root).unwrap();
    let folder = journals.join("s.1");
    let journal = crate::journal::Journal::create(&folder, 0, vec![root], crate::durability::Durability::Full).unwrap();
    bench.undo = Some(Undo::new(journal));
}

#[test]
fn a_guest_does_not_see_the_journal_and_is_undone() {
    let calls =
        [("write-text", json!({"path": "/workspace/a.txt", "text": "new"})), ("list", json!({"path": "/workspace"}))];
    for (tool, input) in calls {
        let journals = tempfile::tempdir().unwrap();
        let mut bench = bench("files", FILES);
        let old = bench.folder.path().join("a.txt");
        std::fs::write(&old, "old").unwrap();
        let without = bench.both(tool, &input);
        std::fs::write(&old, "old").unwrap();
        journaled(&mut bench, journals.path());
        let memory = Memory::default();
        let invoked = bench.invoke(tool, &input, Tape::Record(Box::new(memory.clone())));
        assert_eq!((invoked.end.unwrap(), memory.0.lock().unwrap().0.clone()), without);
        bench.undo.as_ref().unwrap().with(|journal| journal.undo(None)).unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "old");
    }
}

#[test]
fn without_room_for_the_journal_the_run_ends_and_nothing_is_changed() {
    let journals = tempfile::tempdir().unwrap();
    let mut bench = bench("files", FILES);
    std::fs::write(bench.folder.path().join("a.txt"), "old").unwrap();
    journaled(&mut bench, journals.path());
    bench.undo.as_ref().unwrap().with(|journal| journal.fail_after(0));
    let input = json!({"path": "/workspace/a.txt", "text": "new"});
    let ended = bench.try_invoke("write-text", &input, Tape::Record(Box::new(Memory::default())));
    assert!(matches!(ended, Err(SandboxError::Journal(_))), "{ended:?}");
    assert_eq!(std::fs::read_to_string(bench.folder.path().join("a.txt")).unwrap(), "old");
}

#[test]
fn a_step_that_changes_too_much_ends_by_its_limit() {
    let journals = tempfile::tempdir().unwrap();
    let mut bench = bench("files", FILES);
    journaled(&mut bench, journals.path());
    bench.undo.as_ref().unwrap().with(|journal| journal.bound_records(1));
    let input = json!({"path": "/workspace/a.txt", "text": "new"});
    let ended = bench.invoke("write-text", &input, Tape::Record(Box::new(Memory::default()))).end.unwrap();
    assert!(matches!(ended, Outcome::LimitExceeded { limit: LimitKind::Journal, allowed: 1, .. }), "{ended:?}");
    assert!(!bench.folder.path().join("a.txt").exists());
}
