//! What a compiling child is told and what it answers. Both ends are one version of one program.

use serde::{Deserialize, Serialize};

use super::CompileLimits;
use crate::sandbox::component::LoadError;
use crate::sandbox::engine::Allocation;

/// The first line on the child's stdin; the component is the rest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The process that reads the answer.
    pub(super) parent: u32,
    pub(super) memory_bytes: u64,
    pub(super) cpu_s: u64,
    pub(super) guarded: bool,
    pub(super) bytes: u64,
}

impl Order {
    pub(super) fn new(limits: CompileLimits, allocation: Allocation, bytes: &[u8]) -> Self {
        Self {
            parent: std::process::id(),
            memory_bytes: limits.memory_bytes,
            // A whole second is the least that the system counts.
            cpu_s: limits.cpu.as_secs().max(1),
            guarded: allocation.is_guarded(),
            bytes: bytes.len() as u64,
        }
    }
}

/// The first line of the child's answer; compiled code is the rest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Answer {
    Code { bytes: u64 },
    Corrupt { offset: usize, message: String },
    Invalid { message: String },
    UsesAsync { places: Vec<String> },
    Unsupported { message: String },
    TooComplex { message: String },
    Failed { message: String },
}

impl From<LoadError> for Answer {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Corrupt { offset, message } => Self::Corrupt { offset, message },
            LoadError::Invalid { message } => Self::Invalid { message },
            LoadError::UsesAsync { places } => Self::UsesAsync { places },
            LoadError::Unsupported { message } => Self::Unsupported { message },
            LoadError::TooComplex { message } => Self::TooComplex { message },
            other => Self::Failed { message: other.to_string() },
        }
    }
}

impl Answer {
    /// How many bytes of code follow, or why none do.
    pub(super) fn code_bytes(self) -> Result<u64, LoadError> {
        Err(match self {
            Self::Code { bytes } => return Ok(bytes),
            Self::Corrupt { offset, message } => LoadError::Corrupt { offset, message },
            Self::Invalid { message } => LoadError::Invalid { message },
            Self::UsesAsync { places } => LoadError::UsesAsync { places },
            Self::Unsupported { message } => LoadError::Unsupported { message },
            Self::TooComplex { message } => LoadError::TooComplex { message },
            Self::Failed { message } => LoadError::CompilerFailed { message },
        })
    }
}
