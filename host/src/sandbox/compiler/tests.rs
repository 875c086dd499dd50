use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::clock::Stopwatch;
use crate::sandbox::component::tests::engine;

/// Asks a program that does this, in the words of a shell, to compile.
fn asked(script: &str, limits: CompileLimits, cancel: Option<&CancelToken>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("compiler");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    answered_by(&program, limits, cancel)
}

fn answered_by(program: &Path, limits: CompileLimits, cancel: Option<&CancelToken>) -> String {
    let compiler = Compiler::child(program).limits(limits);
    let cancels = compiler.or_cancelled_by(cancel);
    match compiler.compile(&engine(), Allocation::Pool, b"component", cancels) {
        Ok(_) => "compiled".to_owned(),
        Err(error) => format!("{}: {error}", error.code()),
    }
}

/// Whatever becomes of the child is an answer, and says what it was.
#[test]
fn a_child_that_does_not_answer_is_an_outcome() {
    let answer = |line: &str| format!("printf '%s\\n' '{line}'");
    let code = answer(r#"{"code":{"bytes":4}}"#);
    for (script, said) in [
        ("kill -SEGV $$".to_owned(), "component-compiler-failed: the compiler failed: it was ended by signal 11"),
        ("kill -ABRT $$".to_owned(), "component-compiler-failed: the compiler failed: it was ended by signal 6"),
        ("kill -KILL $$".to_owned(), "component-compiler-failed: the compiler failed: the system has killed it"),
        (
            "kill -XCPU $$".to_owned(),
            "component-too-complex: the component is too complex: compiling it takes more than 120 s of processor",
        ),
        (
            "echo 'memory allocation of 4096 bytes failed' >&2; kill -ABRT $$".to_owned(),
            "component-too-complex: the component is too complex: compiling it takes more than 2048 MiB of memory",
        ),
        (
            "echo 'thread panicked' >&2; exit 101".to_owned(),
            "component-compiler-failed: the compiler failed: it ended with code 101 and no answer: thread panicked",
        ),
        ("exit 0".to_owned(), "component-compiler-failed: the compiler failed: it ended with code 0 and no answer"),
        (
            "exec >&-; exec sleep 1000".to_owned(),
            "component-compiler-failed: the compiler failed: the system has killed it",
        ),
        (answer("no json"), "component-compiler-failed: the compiler failed: it ended with code 0 and no answer"),
        (
            format!("{code}; printf abc"),
            "component-compiler-failed: the compiler failed: it ended with code 0 and no answer",
        ),
        (format!("{code}; printf abcd; exec sleep 1000"), "component-unsupported: "),
        (
            answer(r#"{"code":{"bytes":99999999999}}"#),
            "component-too-complex: the component is too complex: its code has more than",
        ),
        (answer(r#"{"invalid":{"message":"m"}}"#), "component-invalid: the component is not valid: m"),
        (answer(r#"{"uses-async":{"places":["p"]}}"#), "component-uses-async: "),
        ("head -c 3000000 /dev/zero".to_owned(), "component-compiler-failed: the compiler failed: it "),
        (
            "head -c 3000000 /dev/zero >&2; exit 3".to_owned(),
            "component-compiler-failed: the compiler failed: it ended with code 3",
        ),
    ] {
        let answered = asked(&script, CompileLimits::default(), None);
        assert!(answered.starts_with(said), "{script}: {answered}");
    }
    let nobody = answered_by(Path::new("/nonexistent/compiler"), CompileLimits::default(), None);
    assert!(nobody.starts_with(
        "component-compiler-failed: the compiler failed: the program `/nonexistent/compiler` cannot be started"
    ));
}

#[test]
fn one_that_takes_too_long_is_ended() {
    let limits = CompileLimits { wall: Duration::from_millis(200), ..CompileLimits::default() };
    let answered = asked("exec sleep 1000", limits, None);
    assert_eq!(answered, "component-too-complex: the component is too complex: it was not compiled within 0.2 s");
    // Also where it has not even read the component, and says something all the time.
    let answered = asked("while :; do echo; done >&2", limits, None);
    assert!(answered.starts_with("component-too-complex"), "{answered}");
}

#[test]
fn one_that_is_cancelled_is_ended() {
    let token = CancelToken::new();
    let cancelled = token.clone();
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", started.display());
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| asked(&script, CompileLimits::default(), Some(&token)));
        while !started.exists() {
            std::thread::yield_now();
        }
        let since = Stopwatch::start();
        cancelled.cancel();
        let answered = asked.join().unwrap();
        assert!(answered.starts_with("component-compile-cancelled"), "{answered}");
        // It would have gone on for a quarter of an hour.
        assert!(since.elapsed() < Duration::from_secs(60));
    });
    // Nothing of it is left: its number is nobody's, or another's by now.
    let process = fs::read_to_string(started).unwrap();
    let command = fs::read_to_string(format!("/proc/{}/cmdline", process.trim())).unwrap_or_default();
    assert!(!command.starts_with("sleep"), "{command}");
    // What is cancelled before does not start.
    assert!(asked("exit 0", CompileLimits::default(), Some(&cancelled)).starts_with("component-compile-cancelled"));
}

#[test]
fn what_is_asked_and_answered_survives_the_pipe() {
    let order = wire::Order::new(CompileLimits::default(), Allocation::OnDemand, b"12345");
    let read: wire::Order = serde_json::from_str(&serde_json::to_string(&order).unwrap()).unwrap();
    assert_eq!((read.bytes, read.guarded, read.parent), (5, false, std::process::id()));
    for error in [
        LoadError::Corrupt { offset: 7, message: "m".to_owned() },
        LoadError::Invalid { message: "m".to_owned() },
        LoadError::UsesAsync { places: vec!["p".to_owned()] },
        LoadError::Unsupported { message: "m".to_owned() },
        LoadError::TooComplex { message: "m".to_owned() },
    ] {
        let said = error.to_string();
        let line = serde_json::to_string(&wire::Answer::from(error)).unwrap();
        let answer: wire::Answer = serde_json::from_str(&line).unwrap();
        assert_eq!(answer.code_bytes().unwrap_err().to_string(), said);
    }
}
