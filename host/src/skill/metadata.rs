//! `skill.toml`.

use std::collections::BTreeMap;

use super::Tool;
use crate::problem::Problem;

/// What `skill.toml` says of the skill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `name`.
    pub name: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `[tools.<tool>]`.
    pub tools: BTreeMap<String, Annotations>,
}

impl Metadata {
    /// Reads the text of a `skill.toml`.
    ///
    /// # Errors
    ///
    /// All mistakes in it.
    pub fn parse(_text: &str) -> Result<Self, Vec<Problem>> {
        Ok(Self::default())
    }

    /// Holds the metadata against the tools that the component exports.
    #[must_use]
    pub fn check(&self, _tools: &BTreeMap<String, Tool>) -> Vec<Problem> {
        Vec::new()
    }
}

/// What `skill.toml` says of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    /// `description`.
    pub description: Option<String>,
    /// `risk`; `None` counts as high.
    pub risk: Option<Risk>,
    /// `read_only`.
    pub read_only: bool,
    /// `idempotent`.
    pub idempotent: bool,
    /// `destructive`.
    pub destructive: bool,
    /// `compensation`: a tool of the same skill.
    pub compensation: Option<String>,
    /// `output`.
    pub output: Option<OutputKind>,
}

/// How much harm a tool can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `critical`.
    Critical,
}

/// What kind of output a tool says it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// `text`.
    Text,
    /// `json`.
    Json,
    /// `bytes`.
    Bytes,
    /// `none`.
    None,
}
