//! Where a policy is from, and how far its word goes for that: what a run, a report and a continuation know of the policy beside its text.

use std::fmt;
use std::path::PathBuf;

use crate::id::Digest;

/// Who has chosen a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicySource {
    /// The program that embeds the library gave it.
    Given,
    /// `--policy FILE`.
    Named,
    /// `HOST_POLICY`.
    Environment,
    /// The bundle that the skills are from. Nobody named it.
    Bundle,
    /// `policies/default.toml` of the current folder. Nobody named it.
    Folder,
    /// The user's own, in the configuration folder.
    User,
    /// There is none: nothing is granted.
    #[default]
    None,
}

impl PolicySource {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Named => "named",
            Self::Environment => "environment",
            Self::Bundle => "bundle",
            Self::Folder => "folder",
            Self::User => "user",
            Self::None => "none",
        }
    }

    /// Whether the operator has chosen it. What came with a folder is the word of whoever made the folder.
    #[must_use]
    pub const fn is_operators(self) -> bool {
        match self {
            Self::Given | Self::Named | Self::Environment | Self::User | Self::None => true,
            Self::Bundle | Self::Folder => false,
        }
    }
}

/// How far a policy's word goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As far as it says: the operator has chosen it, or trusts these bytes of it.
    #[default]
    Trusted,
    /// As far as a stranger's may go: see [`crate::policy::bounds`].
    Bounded,
}

impl Standing {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Bounded => "bounded",
        }
    }
}

/// Where a policy is from.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOrigin {
    /// Who has chosen it.
    pub source: PolicySource,
    /// How far its word goes.
    pub standing: Standing,
    /// Its file, as it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The folder in which it was found, as an absolute path, where nobody named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_in: Option<PathBuf>,
    /// The file of the operator's policy above it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<PathBuf>,
}

impl PolicyOrigin {
    /// The same for programs, as far as it is known without the policy's text.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let Self { source, standing, file, ceiling, .. } = self;
        let path = |path: &PathBuf| path.display().to_string();
        serde_json::json!({
            "source": source.name(),
            "standing": standing.name(),
            "file": file.as_ref().map(path),
            "ceiling": ceiling.as_ref().map(path),
        })
    }
}

/// The policy that decided about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedBy {
    /// Where it is from.
    pub origin: PolicyOrigin,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The digest of the operator's policy above it, where there is one.
    pub ceiling: Option<Digest>,
}

impl DecidedBy {
    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let Self { origin: PolicyOrigin { source, standing, file, ceiling: above, .. }, digest, ceiling } = self;
        let path = |path: &PathBuf| path.display().to_string();
        let mut value = serde_json::json!({
            "source": source.name(),
            "standing": standing.name(),
            "file": file.as_ref().map(path),
            "sha256": (*source != PolicySource::None).then(|| digest.to_string()),
        });
        if let (Some(ceiling), serde_json::Value::Object(members)) = (ceiling, &mut value) {
            let above = serde_json::json!({ "file": above.as_ref().map(path), "sha256": ceiling.to_string() });
            members.insert("ceiling".to_owned(), above);
        }
        value
    }
}

/// One line for people.
impl fmt::Display for DecidedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin: PolicyOrigin { source, standing, file, ceiling: above, .. }, digest: own, ceiling } = self;
        if *source == PolicySource::None {
            return f.write_str("none: nothing is granted");
        }
        if let Some(file) = file {
            write!(f, "{} ", file.display())?;
        }
        let digest = |digest: &Digest| digest.to_string().chars().take(12).collect::<String>();
        write!(f, "({}, {}) {}", source.name(), standing.name(), digest(own))?;
        if let Some(ceiling) = ceiling {
            f.write_str(" below ")?;
            if let Some(above) = above {
                write!(f, "{} ", above.display())?;
            }
            f.write_str(&digest(ceiling))?;
        }
        Ok(())
    }
}
