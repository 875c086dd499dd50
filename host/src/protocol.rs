//! The JSON protocol of `host exec`: one request in, one answer out, whatever happens.
//!
//! Owns the form of requests and answers, the table of errors, and what a session keeps from one request to the next. Runs nothing itself: a
//! request becomes a plan of one step, which goes through the same pipeline as any other. Never prints; `cli/exec.rs` does.

pub mod code;
mod describe;
mod event_fault;
mod failed;
mod invoke;
mod keyed;
mod loading;
pub mod request;
pub mod response;
pub mod schema;
pub mod session;
pub mod shape;
mod target;

pub use code::{Code, Detail};
pub use request::Request;
pub use response::{Failure, Response};
pub use session::{Session, Settings};

/// The version of the protocol, as requests and answers name it.
pub const SCHEMA_VERSION: &str = "v1";

/// The version of the WIT package `skillhost:skill`: what skills are built against.
pub const SDK_VERSION: &str = crate::skill::OWN_VERSION;
