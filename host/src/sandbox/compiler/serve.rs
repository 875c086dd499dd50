//! The side of the child: bounds itself, reads a component, compiles it, answers, and is gone. Opens no file and knows nothing else.

use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};
use wasmtime::Engine;

use super::wire::{Answer, Order};
use crate::limits;
use crate::sandbox::component::{LoadError, Strictness, checked};
use crate::sandbox::engine::{Allocation, compiling_engine};

/// Compiles one component for the process that has started this one with [`super::CHILD_ARGUMENT`] alone: reads it from `stdin` and answers on
/// `stdout`. From then on this process is bounded in memory and time; end it afterwards.
///
/// # Errors
///
/// Where this process cannot be bounded, or nobody asks or listens.
pub fn serve(mut stdin: impl Read, mut stdout: impl Write) -> io::Result<()> {
    // Dies with the one that started it, which may be gone already.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let order = read_order(&mut stdin)?;
    let parent = getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
    if u32::try_from(parent).unwrap_or_default() != order.parent {
        return Err(io::Error::other("the process that wanted it is gone"));
    }
    bound(&order)?;
    let mut component = Vec::with_capacity(usize::try_from(order.bytes).unwrap_or_default());
    stdin.take(order.bytes).read_to_end(&mut component)?;
    if component.len() as u64 != order.bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match compile(&component, Allocation::guarded(order.guarded)) {
        Ok(code) => {
            answer(&mut stdout, &Answer::Code { bytes: code.len() as u64 })?;
            stdout.write_all(&code)?;
        }
        Err(error) => answer(&mut stdout, &Answer::from(error))?,
    }
    stdout.flush()
}

/// Reads the line that comes before the component.
fn read_order(stdin: &mut impl Read) -> io::Result<Order> {
    let mut line = Vec::new();
    // One byte at a time: what is behind the line is the component.
    let mut byte = [0];
    while line.len() < limits::COMPILER_LINE_BYTES_MAX && stdin.read(&mut byte)? > 0 && byte != *b"\n" {
        line.extend(byte);
    }
    let order: Order = serde_json::from_slice(&line).map_err(io::Error::other)?;
    if order.bytes > limits::COMPONENT_BYTES_MAX {
        return Err(io::Error::other("the component is too large"));
    }
    Ok(order)
}

/// Bounds this process for good.
fn bound(order: &Order) -> io::Result<()> {
    // Each with what may not be passed even by one that does not heed the first: at the end of its time a process is told, then killed.
    let bounds = [
        // It has no file to write.
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
        (Resource::Cpu, order.cpu_s, order.cpu_s.saturating_add(2)),
        (Resource::As, order.memory_bytes, order.memory_bytes),
    ];
    for (resource, current, maximum) in bounds {
        // What is lower already stays.
        let there = getrlimit(resource);
        let lower = |there: Option<u64>, bound: u64| Some(there.map_or(bound, |there| there.min(bound)));
        setrlimit(resource, Rlimit { current: lower(there.current, current), maximum: lower(there.maximum, maximum) })?;
    }
    Ok(())
}

fn compile(component: &[u8], allocation: Allocation) -> Result<Vec<u8>, LoadError> {
    let engine: Engine = compiling_engine(allocation)
        .map_err(|error| LoadError::CompilerFailed { message: format!("the engine cannot start: {error:#}") })?;
    checked(component, Strictness::Bounded, || engine.precompile_component(component))
}

fn answer(stdout: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stdout.write_all(&line)
}
