//! Invocations of real and hand-written components against a tape in memory.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::clock::Stopwatch;
use crate::id::Digest;
use crate::policy::{Access, Preopen, Sockets};
use crate::sandbox::Links;
use crate::sandbox::compiler::Compiler;
use crate::sandbox::component::{CompiledCode, Loaded, Loading, load};
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
    bench_with(name, bytes, None)
}

fn bench_with(name: &str, bytes: &[u8], sockets: Option<Sockets>) -> Bench {
    let grant = Grant {
        filesystem: vec![Preopen {
            host: "{workspace}".to_owned(),
            guest: "/workspace".to_owned(),
            access: Access::ReadWrite,
        }],
        sockets,
        ..Grant::empty()
    };
    let sandbox = SandboxEngine::new().unwrap();
    let loaded = loaded(&sandbox, bytes, name);
    let program = Program::new(&sandbox, Arc::new(loaded.skill), &loaded.component, Links::of(&grant)).unwrap();
    Bench { sandbox, program, grant, limits: StepLimits::DEFAULT, folder: tempfile::tempdir().unwrap(), undo: None }
}

fn loaded(sandbox: &SandboxEngine, bytes: &[u8], name: &str) -> Loaded {
    let (code, compiler) = (CompiledCode::nowhere(), Compiler::in_process());
    let with = Loading {
        engine: &sandbox.engine,
        allocation: sandbox.allocation,
        code: &code,
        compiler: &compiler,
        cancel: None,
    };
    load(with, bytes, name.parse().unwrap(), None).unwrap()
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
        let replayed =
            Tape::Replay { source, outcome: outcome.clone(), by_host: false, calls: live.calls, replaced: vec![] };
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
fn a_full_pool_is_the_hosts_failure() {
    let bench = bench("files", FILES);
    let engine = &bench.sandbox.engine;
    // A component of no code takes a place in the pool all the same.
    let component = wasmtime::component::Component::new(engine, wat::parse_str("(component)").unwrap()).unwrap();
    let linker = wasmtime::component::Linker::<()>::new(engine);
    let mut store = Store::new(engine, ());
    while linker.instantiate(&mut store, &component).is_ok() {}
    let invoke = || bench.try_invoke("list", &json!({"path": "/workspace"}), Tape::Record(Box::new(Memory::default())));
    let failure = invoke().unwrap().failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.is_of_host), ("exhausted", true));
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
            Tape::Replay { source, outcome: outcome.clone(), by_host: false, calls: 0, replaced: vec![] },
        );
        assert_eq!((replayed.end, replayed.fuel), (Ok(outcome), None));
        assert!(watch.elapsed() < Duration::from_secs(60), "{:?}", watch.elapsed());
    }
}

/// The static check denies such a step before; nothing that it misses is linked either.
#[test]
fn http_and_sockets_are_not_linked_without_a_grant() {
    let (http, sockets) = (Links { http: true, ..Links::NONE }, Links { sockets: true, ..Links::NONE });
    for (import, function, own, other, line) in [
        ("wasi:http/types@0.2.0", "http-error-code", http, sockets, "network = ["),
        ("wasi:sockets/instance-network@0.2.0", "instance-network", sockets, http, "sockets = \"closed\""),
    ] {
        let text = format!(r#"(component (import "{import}" (instance (export "{function}" (func)))))"#);
        let sandbox = SandboxEngine::new().unwrap();
        let bytes = wat::parse_str(text).unwrap();
        let loaded = loaded(&sandbox, &bytes, "h");
        let skill = Arc::new(loaded.skill);
        let linked =
            |links| Program::new(&sandbox, Arc::clone(&skill), &loaded.component, links).map(|_| ()).unwrap_err();
        for links in [Links::NONE, other] {
            let error = linked(links);
            assert!(matches!(error, SandboxError::NotGranted { .. }), "{error:?}");
            assert!(error.to_string().contains(import), "{error}");
            assert!(error.hint().unwrap().contains(line), "{error:?}");
        }
        // With one, the interface is there, and is not the one that this component says.
        for links in [own, Links { http: true, sockets: true }] {
            assert!(matches!(linked(links), SandboxError::Link { .. }));
        }
    }
}

/// Asks for a socket; where it gets one, whether that listens, or drops it at once.
const SOCKET: &str = r#"(component
    (import "wasi:sockets/network@0.2.0" (instance $network
        (type $codes (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
            "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable"
            "address-in-use" "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted"
            "datagram-too-large" "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
        (export "error-code" (type (eq $codes)))
        (type $families (enum "ipv4" "ipv6"))
        (export "ip-address-family" (type (eq $families)))))
    (alias export $network "error-code" (type $code))
    (alias export $network "ip-address-family" (type $family))
    (import "wasi:sockets/tcp@0.2.0" (instance $tcp
        (export "tcp-socket" (type $socket (sub resource)))
        (export "[method]tcp-socket.is-listening" (func (param "self" (borrow $socket)) (result bool)))))
    (alias export $tcp "tcp-socket" (type $socket))
    (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
        (alias outer 1 $code (type $code))
        (export "error-code" (type $code-here (eq $code)))
        (alias outer 1 $family (type $family))
        (export "ip-address-family" (type $family-here (eq $family)))
        (alias outer 1 $socket (type $socket))
        (export "tcp-socket" (type $socket-here (eq $socket)))
        (export "create-tcp-socket" (func (param "address-family" $family-here)
            (result (result (own $socket-here) (error $code-here)))))))
    (core module $memory (memory (export "memory") 1))
    (core instance $libc (instantiate $memory))
    (alias core export $libc "memory" (core memory $memory))
    (alias export $create "create-tcp-socket" (func $create))
    (alias export $tcp "[method]tcp-socket.is-listening" (func $listens))
    (core func $create (canon lower (func $create) (memory $memory)))
    (core func $listens (canon lower (func $listens)))
    (core func $drop (canon resource.drop $socket))
    (core module $guest
        (import "h" "memory" (memory 1))
        (import "h" "create" (func $create (param i32 i32)))
        (import "h" "listens" (func $listens (param i32) (result i32)))
        (import "h" "drop" (func $drop (param i32)))
        (func (export "ask") (result i32)
            (call $create (i32.const 0) (i32.const 0))
            (if (result i32) (i32.load8_u (i32.const 0))
                (then (i32.load8_u (i32.const 4)))
                (else (call $listens (i32.load (i32.const 4))))))
        (func (export "forget") (call $create (i32.const 0) (i32.const 0)) (call $drop (i32.load (i32.const 4)))))
    (core instance $guest (instantiate $guest (with "h" (instance
        (export "memory" (memory $memory)) (export "create" (func $create))
        (export "listens" (func $listens)) (export "drop" (func $drop))))))
    (func (export "ask") (result u32) (canon lift (core func $guest "ask")))
    (func (export "forget") (canon lift (core func $guest "forget"))))"#;

#[test]
fn a_socket_that_only_a_forged_record_gives_is_of_no_use() {
    let bench = bench_with("sockets", &wat::parse_str(SOCKET).unwrap(), Some(Sockets::Closed));
    // The second of the error codes.
    let (outcome, calls) = bench.both("ask", &json!({}));
    assert_eq!(outcome, Outcome::Completed { output: json!(1) });
    let [(name, params, _)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(name, "wasi:sockets/tcp-create-socket#create-tcp-socket");
    for tool in ["ask", "forget"] {
        let forged = Memory::default();
        forged.0.lock().unwrap().0.push((name.clone(), params.clone(), b"{\"ok\":7}".to_vec()));
        let (source, outcome) = (Box::new(Playback(forged, 0)), Outcome::Completed { output: json!(0) });
        let tape = Tape::Replay { source, outcome, by_host: false, calls: 1, replaced: vec![] };
        let ended = bench.invoke(tool, &json!({}), tape).end.unwrap();
        let Outcome::Trapped { message, .. } = &ended else { panic!("{tool}: {ended:?}") };
        assert_eq!(message, "unreachable: no socket exists", "{tool}");
    }
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
