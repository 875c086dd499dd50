//! `host exec` from outside: one process for many requests, or one for each. The process is the bench itself under another name, so that
//! nothing else has to be built.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde_json::Value;
use skillhost::clock::Stopwatch;

/// Tells a process of this bench that it is `host`.
const IS_HOST: &str = "BENCH_IS_HOST";

/// A request to the smallest guest.
pub const ADD: &str = r#"{"action":"invoke","handler":"guest.add","event":{"a":1,"b":2}}"#;
/// A request to a skill that is built in: Rust with its standard library, and a pattern to be compiled.
pub const SPLIT: &str = r#"{"action":"invoke","handler":"text.split","event":{"text":"a,b","pattern":","}}"#;

const POLICY: &str = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";

/// Whether this process shall be `host`.
pub fn is_host() -> bool {
    std::env::var_os(IS_HOST).is_some()
}

/// `host`, with the arguments of this process.
pub fn host() -> ExitCode {
    skillhost::cli::main()
}

/// A folder with a guest and a policy, and `host` in it.
pub struct Process {
    folder: tempfile::TempDir,
}

impl Process {
    /// A folder in which everything was compiled before.
    pub fn new(wat: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("guest.wasm"), wat::parse_str(wat).unwrap()).unwrap();
        std::fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
        let process = Self { folder };
        process.ask(ADD);
        process
    }

    /// Has a process of its own answer a request, and gives the time from its start to its end.
    pub fn ask(&self, request: &str) -> f64 {
        let started = Stopwatch::start();
        let mut child = self.exec(&[]);
        child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let took = started.elapsed().as_secs_f64();
        check(&output.stdout);
        took
    }

    /// The time of a process that does nothing.
    pub fn nothing(&self) -> f64 {
        let started = Stopwatch::start();
        let output = self.command().arg("--version").output().unwrap();
        assert!(output.status.success());
        started.elapsed().as_secs_f64()
    }

    fn exec(&self, more: &[&str]) -> Child {
        let mut command = self.command();
        command.args(["exec", "--policy", "policy.toml", "--skill", "guest=guest.wasm"]).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.current_dir(self.folder.path()).env(IS_HOST, "1");
        command
    }
}

/// A process that gives a line for each line.
struct Lines {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    line: String,
}

impl Lines {
    fn of(mut child: Child) -> Self {
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, line: String::new() }
    }

    /// The time from writing `line`, which ends in a line feed, to having read what comes back.
    fn ask(&mut self, line: &str) -> f64 {
        self.line.clear();
        let started = Stopwatch::start();
        self.input.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        self.output.read_line(&mut self.line).unwrap();
        started.elapsed().as_secs_f64()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

/// A process that answers many requests.
pub struct Stream {
    lines: Lines,
    _process: Process,
}

impl Stream {
    /// One that has answered a request to each of the tools.
    pub fn start(wat: &str) -> Self {
        let process = Process::new(wat);
        let mut stream = Self { lines: Lines::of(process.exec(&["--stream"])), _process: process };
        for request in [ADD, SPLIT] {
            stream.ask(request);
        }
        stream
    }

    /// The time from writing a request to having read its answer.
    pub fn ask(&mut self, request: &str) -> f64 {
        let took = self.lines.ask(&format!("{request}\n"));
        check(self.lines.line.as_bytes());
        took
    }
}

/// A process that gives back every line: what it costs that a request goes to another process and its answer comes back.
pub struct Echo(Lines);

impl Echo {
    pub fn start() -> Self {
        Self(Lines::of(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()))
    }

    /// The time from writing a line to having read it.
    pub fn ask(&mut self, request: &str) -> f64 {
        let line = format!("{request}\n");
        let took = self.0.ask(&line);
        assert_eq!(self.0.line, line);
        took
    }
}

fn check(answer: &[u8]) {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    assert_eq!(answer["ok"], true, "{answer:#}");
}
