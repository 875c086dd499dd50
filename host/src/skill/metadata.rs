//! `skill.toml`.

/// What `skill.toml` says of the skill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `version`.
    pub version: Option<String>,
    /// `description`.
    pub description: Option<String>,
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
