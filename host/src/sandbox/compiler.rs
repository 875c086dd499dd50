//! Who compiles: this process, or a child of it whose memory and time the operating system bounds.
//!
//! A compiler has no bound of its own on what it takes: a few kilobytes of valid WebAssembly can cost it minutes and gigabytes, or crash it.
//! In a child that is an outcome like every other. In this process the shapes of what is compiled are bounded instead, and more strictly
//! ([`super::component`]).

mod child;
mod serve;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::limits;
use crate::sandbox::CancelToken;
use crate::sandbox::component::{LoadError, Strictness, checked, one_line};
use crate::sandbox::engine::Allocation;

pub use serve::serve;

/// The only argument that a child which compiles is started with. No option or command of `host` looks like it.
pub const CHILD_ARGUMENT: &str = "--compile-for-the-process-that-started-me/1";

/// Compiles components.
#[derive(Debug, Clone, Default)]
pub struct Compiler {
    /// The program of the child; without one, this process compiles.
    program: Option<PathBuf>,
    /// The only variables that it has.
    variables: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    limits: CompileLimits,
    cancel: Option<CancelToken>,
}

/// What the compilation of one component may take in a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of address space.
    pub memory_bytes: u64,
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Time on the clock.
    pub wall: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes: limits::COMPILE_MEMORY_BYTES_MAX,
            cpu: Duration::from_secs(limits::COMPILE_CPU_S_MAX),
            wall: Duration::from_secs(limits::COMPILE_WALL_S_MAX),
        }
    }
}

/// What was compiled.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    /// As it would be serialized, where it is at hand.
    pub(crate) code: Option<Vec<u8>>,
}

impl Compiler {
    /// Compiles in this process: what would take more than a few seconds is refused by its shape, and nothing ends a compilation.
    #[must_use]
    pub fn in_process() -> Self {
        Self::default()
    }

    /// Compiles in a child. `program` answers [`CHILD_ARGUMENT`] as the `host` binary does, or by calling [`serve`]; it is started with an empty
    /// environment.
    #[must_use]
    pub fn child(program: impl Into<PathBuf>) -> Self {
        Self { program: Some(program.into()), ..Self::default() }
    }

    /// Gives the child a variable: a program may not start without one that says where its libraries are.
    #[must_use]
    pub fn variable(mut self, name: impl Into<std::ffi::OsString>, value: impl Into<std::ffi::OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Bounds what the child may take.
    #[must_use]
    pub const fn limits(mut self, limits: CompileLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Ends the child once this is cancelled.
    #[must_use]
    pub fn cancelled_by(mut self, token: CancelToken) -> Self {
        self.cancel = Some(token);
        self
    }

    /// The same that `token` ends as well.
    pub(crate) fn or_cancelled_by<'c>(&'c self, token: Option<&'c CancelToken>) -> Cancels<'c> {
        Cancels([self.cancel.as_ref(), token])
    }

    /// Compiles a component.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        allocation: Allocation,
        bytes: &[u8],
        cancels: Cancels<'_>,
    ) -> Result<Compiled, LoadError> {
        if cancels.is_cancelled() {
            return Err(LoadError::Cancelled);
        }
        let Some(program) = &self.program else {
            let compile = || Component::from_binary(engine, bytes);
            let component = checked(bytes, Strictness::InProcess, compile)?;
            return Ok(Compiled { component, code: None });
        };
        let code = child::compile(program, &self.variables, self.limits, allocation, bytes, cancels)?;
        #[expect(
            unsafe_code,
            reason = "the bytes are those that `Engine::precompile_component` gave in our own child, read from its pipe"
        )]
        // SAFETY: see the reason above. Code of another engine or version is refused by wasmtime's own header check.
        let component = unsafe { Component::deserialize(engine, &code) };
        // Valid, and more than a pool has room for: more memories than any program has.
        let component =
            component.map_err(|error| LoadError::Unsupported { message: one_line(&format!("{error:#}")) })?;
        Ok(Compiled { component, code: Some(code) })
    }
}

/// What ends a compilation: any of these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cancels<'c>([Option<&'c CancelToken>; 2]);

impl Cancels<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.iter().flatten().any(|token| token.is_cancelled())
    }
}

#[cfg(test)]
mod tests;
