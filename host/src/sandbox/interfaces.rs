//! The interfaces a guest can import: one file each, every function behind the gate. What is linked is exactly what is wrapped here.

mod cli;
mod clocks;
mod config;
mod filesystem;
mod http;
mod io;
mod random;
mod skill;
mod sockets;

use wasmtime::component::{HasSelf, Linker};

use crate::sandbox::ctx::SkillCtx;

pub(crate) use cli::{Output, Stdio};
pub(crate) use clocks::GuestClock;
pub(crate) use filesystem::{Descriptors, Directory};
pub(crate) use http::Http;
pub(crate) use random::GuestRandom;
pub use skill::LogRecord;
pub(crate) use skill::{Logs, StepContext};

/// Links every wrapped interface but those that a grant has to name: HTTP and sockets.
pub(crate) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> wasmtime::Result<()> {
    cli::add_to_linker(linker)?;
    clocks::add_to_linker(linker)?;
    config::add_to_linker(linker)?;
    filesystem::add_to_linker(linker)?;
    io::add_to_linker(linker)?;
    random::add_to_linker(linker)?;
    skill::add_to_linker(linker)
}

/// Links HTTP as well: for steps whose grant has `network`.
pub(crate) fn add_http_to_linker(linker: &mut Linker<SkillCtx>) -> wasmtime::Result<()> {
    http::add_to_linker(linker)
}

/// Links sockets as well, all of them closed: for steps whose grant has `sockets`.
pub(crate) fn add_sockets_to_linker(linker: &mut Linker<SkillCtx>) -> wasmtime::Result<()> {
    sockets::add_to_linker(linker)
}

/// The type parameter with which the generated `add_to_linker` functions take `SkillCtx` itself.
type Own = HasSelf<SkillCtx>;
