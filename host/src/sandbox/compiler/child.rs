//! The side of the parent: starts the child, hands the component over, and takes what comes back, in time, within bounds, or not at all.
//! Whatever happens to the child is an answer.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::wire::{Answer, Order};
use super::{CHILD_ARGUMENT, Cancels, CompileLimits};
use crate::clock::Stopwatch;
use crate::limits;
use crate::sandbox::component::LoadError;
use crate::sandbox::engine::Allocation;

/// How often it is asked whether somebody has cancelled.
const ASKED_EVERY: Duration = Duration::from_millis(10);
/// What is kept of the child's complaints: the message of a panic.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;

/// What the system says of an allocation that the child's limit forbids, in the words of Rust and of Linux.
const OUT_OF_MEMORY: [&str; 3] = ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"];

/// Compiles in a child of this process.
pub(super) fn compile(
    program: &Path,
    variables: &[(OsString, OsString)],
    limits: CompileLimits,
    allocation: Allocation,
    component: &[u8],
    cancels: Cancels<'_>,
) -> Result<Vec<u8>, LoadError> {
    let started = Stopwatch::start();
    let mut command = Command::new(program);
    command.arg(CHILD_ARGUMENT).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    // Ctrl-C is for the parent, which then ends the child.
    command.process_group(0);
    if program.is_absolute() {
        command.current_dir("/");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawned = command.spawn().map_err(|error| LoadError::CompilerFailed {
        message: format!("the program `{}` cannot be started: {error}", program.display()),
    })?;
    let mut child = Killed(spawned);
    let order = Order::new(limits, allocation, component);
    std::thread::scope(|scope| {
        let (stdin, stdout, stderr) = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        // Each pipe has a thread: a child that does not read, or says more than a pipe holds, must not keep this one waiting.
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let failed =
            |error: io::Error| LoadError::CompilerFailed { message: format!("no thread can be started: {error}") };
        let (read, answer) = sync_channel(1);
        let (said, complaint) = sync_channel(1);
        let write = move || {
            // A child that has ended without reading says why.
            let line = serde_json::to_vec(&order).unwrap_or_default();
            stdin.map_or(Ok(()), |mut stdin| {
                stdin.write_all(&line).and_then(|()| stdin.write_all(b"\n")).and_then(|()| stdin.write_all(component))
            })
        };
        let started_all = spawn("component")
            .spawn_scoped(scope, write)
            .and_then(|_| {
                let read_answer = move || drop(read.send(stdout.map(read_answer)));
                spawn("compiled").spawn_scoped(scope, read_answer)
            })
            .and_then(|_| spawn("complaint").spawn_scoped(scope, move || drop(said.send(stderr.map(read_complaint)))));
        let answer = started_all.map_err(failed).and_then(|_| wait(&answer, limits.wall, started, cancels));
        // From here on nothing waits for the child: it has answered, or it is ended.
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                child.end();
                return Err(error);
            }
        };
        if let Some(Ok(code)) = answer {
            child.end_of_itself();
            return code;
        }
        // There is no answer: how it ended says why.
        let status = child.end_of_itself();
        let complaint = complaint.recv().ok().flatten().unwrap_or_default();
        Err(why(status, &complaint, limits))
    })
}

/// A child that does not outlive this.
struct Killed(Child);

impl Killed {
    fn end(&mut self) -> Option<ExitStatus> {
        // One that has ended already cannot be killed.
        drop(self.0.kill());
        self.0.wait().ok()
    }

    /// The end of a child that has closed its answer: it is about to end, and is given a moment.
    fn end_of_itself(&mut self) -> Option<ExitStatus> {
        let since = Stopwatch::start();
        while since.elapsed() < Duration::from_millis(limits::COMPILER_END_MS_MAX) {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Some(status);
            }
            crate::clock::pause(Duration::from_millis(1));
        }
        self.end()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.end();
    }
}

/// The child's whole answer; an error where it breaks off.
type Read1 = io::Result<Result<Vec<u8>, LoadError>>;

fn wait(
    answer: &Receiver<Option<Read1>>,
    within: Duration,
    started: Stopwatch,
    cancels: Cancels<'_>,
) -> Result<Option<Read1>, LoadError> {
    loop {
        match answer.recv_timeout(ASKED_EVERY) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if cancels.is_cancelled() {
            return Err(LoadError::Cancelled);
        }
        if started.elapsed() >= within {
            let message = format!("it was not compiled within {} s", within.as_secs_f64());
            return Err(LoadError::TooComplex { message });
        }
    }
}

/// Reads an answer: a line and as many bytes as it says.
fn read_answer(mut stdout: impl Read) -> Read1 {
    let mut line = Vec::new();
    // One byte at a time, a few times: what follows is the code.
    loop {
        let mut byte = [0];
        stdout.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        line.extend(byte);
        if line.len() > limits::COMPILER_LINE_BYTES_MAX {
            return Err(io::Error::other("its answer has no end"));
        }
    }
    let answer: Answer = serde_json::from_slice(&line).map_err(io::Error::other)?;
    let bytes = match answer.code_bytes() {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(error)),
    };
    if bytes > limits::COMPILED_BYTES_MAX {
        let message = format!("its code has more than {} bytes", limits::COMPILED_BYTES_MAX);
        return Ok(Err(LoadError::TooComplex { message }));
    }
    let mut code = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    stdout.take(bytes).read_to_end(&mut code)?;
    if code.len() as u64 != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Ok(code))
}

fn read_complaint(mut stderr: impl Read) -> String {
    let mut bytes = Vec::new();
    drop(stderr.by_ref().take(COMPLAINT_BYTES_MAX).read_to_end(&mut bytes));
    // The rest is read too, so that the child does not wait for a reader.
    drop(io::copy(&mut stderr, &mut io::sink()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Why a child has not answered.
fn why(status: Option<ExitStatus>, complaint: &str, limits: CompileLimits) -> LoadError {
    use std::os::unix::process::ExitStatusExt as _;

    let memory = || LoadError::TooComplex {
        message: format!("compiling it takes more than {} MiB of memory", limits.memory_bytes >> 20),
    };
    if OUT_OF_MEMORY.iter().any(|said| complaint.contains(said)) {
        return memory();
    }
    let first = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if first.is_empty() { first } else { format!(": {}", first.chars().take(300).collect::<String>()) };
    let Some(status) = status else {
        return LoadError::CompilerFailed { message: format!("nobody knows how it ended{said}") };
    };
    match status.signal() {
        Some(signal) if signal == rustix::process::Signal::XCPU.as_raw() => LoadError::TooComplex {
            message: format!("compiling it takes more than {} s of processor time", limits.cpu.as_secs().max(1)),
        },
        // The system ends processes where memory is short.
        Some(signal) if signal == rustix::process::Signal::KILL.as_raw() => {
            LoadError::CompilerFailed { message: format!("the system has killed it{said}") }
        }
        Some(signal) => LoadError::CompilerFailed { message: format!("it was ended by signal {signal}{said}") },
        None => {
            let code = status.code().unwrap_or_default();
            LoadError::CompilerFailed { message: format!("it ended with code {code} and no answer{said}") }
        }
    }
}
