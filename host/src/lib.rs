//! Runs WebAssembly-component skills for plans: granted, limited, traced, replayable.

pub mod canonical;
pub mod clock;
pub mod document;
pub mod id;
pub mod json;
pub mod limits;
pub mod outcome;
pub mod problem;
pub mod types;

pub mod plan;
pub mod policy;
pub mod skill;
pub mod trace;
pub mod validate;

pub mod sandbox;
pub mod store;
