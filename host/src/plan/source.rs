//! The document a plan is read from: its bytes are what a run keeps, its folder is what relative component paths start from.

use std::path::{Path, PathBuf};

use crate::document;
use crate::id::Digest;
use crate::plan::Plan;
use crate::plan::document::read;
use crate::plan::draft::Draft;
use crate::plan::one_call::OneCall;
use crate::problem::Problem;

/// A plan's text, not yet read.
#[derive(Debug, Clone)]
pub struct PlanDocument {
    bytes: Vec<u8>,
    format: PlanFormat,
    base: PathBuf,
    /// What the bytes say, where whoever wrote them knows.
    known: Option<Box<OneCall>>,
}

/// How a plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFormat {
    /// JSON.
    Json,
    /// YAML of the same shape.
    Yaml,
}

impl PlanFormat {
    /// The file name's ending.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

impl PlanDocument {
    /// Takes a plan's text. Components that it names by relative paths are looked for below `base`.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>, format: PlanFormat, base: impl Into<PathBuf>) -> Self {
        Self { bytes: bytes.into(), format, base: base.into(), known: None }
    }

    /// The document that calls one tool.
    pub(super) fn known(bytes: Vec<u8>, call: OneCall) -> Self {
        Self { known: Some(Box::new(call)), ..Self::new(bytes, PlanFormat::Json, "") }
    }

    #[cfg(test)]
    pub(super) const fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Reads a plan file: YAML where its name ends in `.yaml` or `.yml`, else JSON.
    ///
    /// # Errors
    ///
    /// A problem where there is no such file, it is too large or not readable. What is in it is not looked at.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let bytes = document::read_limited(path)?;
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let format = if yaml { PlanFormat::Yaml } else { PlanFormat::Json };
        Ok(Self::new(bytes, format, path.parent().unwrap_or_else(|| Path::new(""))))
    }

    /// The text's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How it is written.
    #[must_use]
    pub const fn format(&self) -> PlanFormat {
        self.format
    }

    /// The same document with relative component paths starting elsewhere.
    #[must_use]
    pub fn at(mut self, base: impl Into<PathBuf>) -> Self {
        self.base = base.into();
        self
    }

    /// Where relative component paths start.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The digest of the text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Reads the plan.
    ///
    /// # Errors
    ///
    /// All that is wrong with the document.
    pub fn plan(&self) -> Result<Plan, Vec<Problem>> {
        self.draft()?.into_plan().map_err(|draft| draft.into_problems().into_vec())
    }

    /// Reads as much of the plan as can be read.
    ///
    /// # Errors
    ///
    /// What is wrong with a document of which nothing can be read.
    pub(crate) fn draft(&self) -> Result<Draft, Vec<Problem>> {
        if let Some(call) = &self.known {
            return Ok(call.draft());
        }
        let value = match self.format {
            PlanFormat::Json => crate::json::parse(&self.bytes),
            PlanFormat::Yaml => crate::json::parse_yaml(&self.bytes),
        };
        read(&value.map_err(|problem| vec![problem])?)
    }
}
