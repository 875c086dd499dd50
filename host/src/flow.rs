//! What decides about the course of a run: whether a step runs, how long an attempt waits, whether an output is what was expected.
//!
//! Pure: the same plan, seed and outputs give the same answer, in a run and in its replay. Never waits, records or runs anything.

pub mod backoff;
pub mod condition;
pub mod contract;
