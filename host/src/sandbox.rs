//! Runs one step in one fresh sandbox: a new `wasmtime::Store` and instance that hold what the policy granted and nothing else, stopped
//! by fuel, deadline and memory, every host call through the gate.
//!
//! Owns wasmtime. Decides nothing about policy: it takes an authorized step. Nothing of an invocation outlives it.

mod bindings;
pub mod cancel;
pub mod compiler;
pub mod component;
pub mod convert;
mod ctx;
mod delegate;
pub mod directories;
mod egress;
pub mod engine;
mod ground;
mod interfaces;
mod invoke;
mod own_files;
mod program;
pub(crate) mod runtime;
mod stop;
mod table;
pub mod tape;
mod undo;
mod walk;
mod wire;

pub use cancel::CancelToken;
pub(crate) use delegate::{Chosen, Delegate, Scene};
pub use directories::Directories;
pub(crate) use egress::{Post, PostError, Reach, post};
pub use egress::{Resolve, ResolveError, Resolving, Secrets};
pub(crate) use ground::{Ground, check as check_folder};
pub use interfaces::LogRecord;
pub(crate) use invoke::causes;
pub use invoke::{Divergence, Invocation, Invoked, RunDeadline, SandboxError};
pub(crate) use own_files::{OwnFiles, OwnPaths};
pub(crate) use program::PerLinks;
pub use program::{Links, Program};
pub(crate) use undo::Undo;
