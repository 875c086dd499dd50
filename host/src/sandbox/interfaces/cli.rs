//! `wasi:cli`: environment, arguments, exit and stdio. All ours: the guest sees what the policy and the step say, nothing of the
//! process it runs in, and there is never a terminal.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, StreamError, StreamResult,
};

use super::Own;
use crate::limits::{self, LimitKind};
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::stop::LimitHit;
use crate::sandbox::table::{gated, table};

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    environment::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    exit::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    stdin::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    stdout::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    stderr::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    terminal_input::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    terminal_output::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    terminal_stdin::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    terminal_stdout::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    terminal_stderr::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)
}

/// What a guest sees of the command line it seems to run on.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    pub(crate) env: Vec<(String, String)>,
    pub(crate) args: Vec<String>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// What a guest wrote to one of its outputs, shared by all streams it opened on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit_bytes: u64,
}

impl Output {
    pub(crate) fn bounded(limit_bytes: u64) -> Self {
        Self { bytes: Arc::default(), limit_bytes }
    }

    /// The last `bytes_max` bytes as text. What is no UTF-8 is replaced; a character that the cut went through is left out.
    pub(crate) fn tail(&self, bytes_max: usize) -> String {
        let written = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = written.len().saturating_sub(bytes_max);
        if from > 0 {
            let continues = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
            from += written.iter().skip(from).take(3).take_while(continues).count();
        }
        String::from_utf8_lossy(written.get(from..).unwrap_or_default()).into_owned()
    }

    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut written = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if (written.len() as u64).saturating_add(bytes.len() as u64) > self.limit_bytes {
            return Err(StreamError::Trap(LimitHit::new(LimitKind::Stdio, self.limit_bytes).into()));
        }
        written.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    /// Not what is left: a guest that writes more shall be stopped by the limit, not wait for room that never comes.
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::READ_BYTES_MAX)
    }
}

/// The bytes of stdin that were not read yet, shared by all streams that a guest opened on it: what one has read, no other reads again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Input(Arc<Mutex<Bytes>>);

impl From<Vec<u8>> for Input {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(bytes.into())))
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if left.is_empty() {
            return Err(StreamError::Closed);
        }
        let size = size.min(left.len()).min(limits::READ_BYTES_MAX);
        Ok(left.split_to(size))
    }
}

impl Live {
    fn environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.stdio.env.clone())
    }

    fn arguments(&mut self) -> Result<Vec<String>> {
        Ok(self.stdio.args.clone())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        // The first granted directory, so that relative paths of a program mean something. One that is relative itself needs no help.
        let mut folders = self.directories.iter().map(|directory| &directory.guest);
        Ok(folders.find(|guest| guest.starts_with('/')).cloned())
    }

    fn stdin(&mut self) -> Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(self.stdio.stdin.clone());
        Ok(self.table.push(stream)?)
    }

    fn stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(self.stdio.stdout.clone());
        Ok(self.table.push(stream)?)
    }

    fn stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(self.stdio.stderr.clone());
        Ok(self.table.push(stream)?)
    }

    fn no_terminal<T>(&mut self) -> Result<Option<Resource<T>>> {
        Ok(None)
    }

    fn drop_terminal<T: Send + 'static>(&mut self, terminal: Resource<T>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

table! { impl environment::Host as "wasi:cli/environment#" via |live| live.cli();
    ours(environment) fn get_environment = "get-environment"() -> Result<Vec<(String, String)>>;
    ours(arguments) fn get_arguments = "get-arguments"() -> Result<Vec<String>>;
    ours(initial_cwd) fn initial_cwd = "initial-cwd"() -> Result<Option<String>>;
}

table! { impl stdin::Host as "wasi:cli/stdin#" via |live| live.cli();
    ours(stdin) fn get_stdin = "get-stdin"() -> Result<Resource<DynInputStream>>;
}

table! { impl stdout::Host as "wasi:cli/stdout#" via |live| live.cli();
    ours(stdout) fn get_stdout = "get-stdout"() -> Result<Resource<DynOutputStream>>;
}

table! { impl stderr::Host as "wasi:cli/stderr#" via |live| live.cli();
    ours(stderr) fn get_stderr = "get-stderr"() -> Result<Resource<DynOutputStream>>;
}

impl terminal_input::Host for SkillCtx {}
table! { impl terminal_input::HostTerminalInput as "wasi:cli/terminal-input#[resource-drop]" via |live| live.cli();
    ours(drop_terminal) fn drop = "terminal-input"(this "self": Resource<terminal_input::TerminalInput>) -> Result<()>;
}

impl terminal_output::Host for SkillCtx {}
table! { impl terminal_output::HostTerminalOutput as "wasi:cli/terminal-output#[resource-drop]" via |live| live.cli();
    ours(drop_terminal) fn drop = "terminal-output"(this "self": Resource<terminal_output::TerminalOutput>) -> Result<()>;
}

table! { impl terminal_stdin::Host as "wasi:cli/terminal-stdin#" via |live| live.cli();
    ours(no_terminal) fn get_terminal_stdin = "get-terminal-stdin"() -> Result<Option<Resource<terminal_input::TerminalInput>>>;
}

table! { impl terminal_stdout::Host as "wasi:cli/terminal-stdout#" via |live| live.cli();
    ours(no_terminal) fn get_terminal_stdout = "get-terminal-stdout"() -> Result<Option<Resource<terminal_output::TerminalOutput>>>;
}

table! { impl terminal_stderr::Host as "wasi:cli/terminal-stderr#" via |live| live.cli();
    ours(no_terminal) fn get_terminal_stderr = "get-terminal-stderr"() -> Result<Option<Resource<terminal_output::TerminalOutput>>>;
}

/// Exits are recorded as calls that end the guest: the record has the code in the parameters, so a replay exits as well.
impl exit::Host for SkillCtx {
    fn exit(&mut self, status: Result<(), ()>) -> Result<()> {
        let recorded: Result<()> = gated!(self, "wasi:cli/exit#exit", [status "status"], |_live| Ok(()));
        recorded?;
        Err(wasmtime::format_err!(I32Exit(i32::from(status.is_err()))))
    }

    fn exit_with_code(&mut self, status_code: u8) -> Result<()> {
        let recorded: Result<()> =
            gated!(self, "wasi:cli/exit#exit-with-code", [status_code "status-code"], |_live| Ok(()));
        recorded?;
        Err(wasmtime::format_err!(I32Exit(i32::from(status_code))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_whole_characters() {
        let written = |bytes: &[u8]| {
            let mut output = Output::bounded(100);
            output.write(Bytes::copy_from_slice(bytes)).unwrap();
            output
        };
        assert_eq!(written(b"").tail(3), "");
        assert_eq!(written(b"abc").tail(3), "abc");
        assert_eq!(written(b"abcd").tail(3), "bcd");
        assert_eq!(written("aüb".as_bytes()).tail(2), "b");
        assert_eq!(written("aüb".as_bytes()).tail(3), "üb");
        assert_eq!(written(b"a\xffb").tail(2), "\u{fffd}b");
        assert_eq!(written(b"a\x80\x80\x80\x80b").tail(5), "\u{fffd}b");
    }
}
