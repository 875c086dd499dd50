//! A policy with its text: how it is read, and what identifies it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::id::Digest;
use crate::limits;
use crate::owned_file;
use crate::policy::{Ceiling, Policy};
use crate::problem::{Problem, shown};

/// A policy with the bytes that it was read from, which every run keeps.
#[derive(Debug, Clone)]
pub struct PolicyDocument {
    /// The policy.
    pub policy: Policy,
    /// Its text; empty where nothing was given and so nothing is granted.
    pub text: String,
    /// The files that it was read from: itself and its rules. No grant reaches them.
    pub files: Vec<PathBuf>,
}

impl PolicyDocument {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// All that is wrong with the document. One that names `rules` is refused: see [`Self::parse_with_rules`].
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Ok(Self { policy: Policy::parse(text)?, text: text.to_owned(), files: Vec::new() })
    }

    /// Reads a policy and its rules.
    ///
    /// # Errors
    ///
    /// All that is wrong with either.
    pub fn parse_with_rules(text: &str, rules: &str) -> Result<Self, Vec<Problem>> {
        Ok(Self { policy: Policy::parse_with_rules(text, rules)?, text: text.to_owned(), files: Vec::new() })
    }

    /// Reads a policy. Where it names `rules`, `load` gives their text: see [`Policy::parse_with`].
    ///
    /// # Errors
    ///
    /// All that is wrong with either, and what `load` says.
    pub fn parse_with(text: &str, load: impl FnOnce(&str) -> Result<String, Problem>) -> Result<Self, Vec<Problem>> {
        Ok(Self { policy: Policy::parse_with(text, load)?, text: text.to_owned(), files: Vec::new() })
    }

    /// Reads the policy of a file, with the rules beside it that it names. Neither counts where another user owns it or others can write it or
    /// put another one in its place: what it says is what may be done here.
    ///
    /// # Errors
    ///
    /// All that is wrong with either.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::read_by(
            path,
            |bytes_max| owned_file::read(path, bytes_max),
            |rules, bytes_max| owned_file::read(&folder.join(rules), bytes_max),
        )
    }

    /// Reads the policy that is `inside` of a folder and that nobody named. The same, and nothing of `inside` and of the rules' path may be a
    /// link: a folder must not borrow the policy of another one.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub fn read_in_place(folder: &Path, inside: &Path) -> Result<Self, Vec<Problem>> {
        let beside = inside.parent().unwrap_or(Path::new(""));
        let read = |inside: &Path, bytes_max| owned_file::read_in_place(folder, inside, bytes_max);
        Self::read_by(
            &folder.join(inside),
            |bytes_max| read(inside, bytes_max),
            |rules, bytes_max| read(&beside.join(rules), bytes_max),
        )
    }

    fn read_by(
        path: &Path,
        policy: impl FnOnce(u64) -> Result<Vec<u8>, Problem>,
        rules: impl FnOnce(&str, u64) -> Result<Vec<u8>, Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let not_utf8 = |file: &Path, pointer: &str| {
            Problem::new("not-utf8", pointer, format!("`{}` is not UTF-8", shown(&file.display().to_string())))
        };
        let bytes = policy(limits::DOCUMENT_BYTES_MAX).map_err(|problem| vec![problem])?;
        let text = String::from_utf8(bytes).map_err(|_| vec![not_utf8(path, "")])?;
        let mut files = vec![path.to_owned()];
        let document = Self::parse_with(&text, |name| {
            files.push(path.with_file_name(name));
            let bytes = rules(name, limits::RULES_BYTES_MAX as u64).map_err(|problem| {
                let hint = problem.hint.as_deref().filter(|_| problem.code != "no-such-file");
                let hint = hint.unwrap_or("the rules of a policy lie beside it, where its `rules` says").to_owned();
                Problem { pointer: "/rules".to_owned(), hint: Some(hint), ..problem }
            })?;
            String::from_utf8(bytes).map_err(|_| not_utf8(&path.with_file_name(name), "/rules"))
        })?;
        Ok(Self { files, ..document })
    }

    /// The same policy below the operator's: what it gives must lie within what that one gives.
    ///
    /// # Errors
    ///
    /// As [`Policy::under`].
    pub fn under(self, operators: Self) -> Result<Self, Vec<Problem>> {
        let files = self.files.into_iter().chain(operators.files).collect();
        let ceiling = Arc::new(Ceiling { policy: operators.policy, text: operators.text });
        Ok(Self { policy: self.policy.under(ceiling, &self.text)?, text: self.text, files })
    }

    /// The digest of all that the policy says, its rules included: who trusts it trusts these bytes and no others.
    #[must_use]
    pub fn trust_digest(&self) -> Digest {
        let mut bytes = b"skillhost.trust/1\n".to_vec();
        for text in [Some(self.text.as_str()), self.rules()] {
            bytes.extend(text.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
            bytes.extend(text.unwrap_or_default().as_bytes());
        }
        Digest::of(&bytes)
    }

    /// The text of the policy's rules, where it has any.
    #[must_use]
    pub fn rules(&self) -> Option<&str> {
        self.policy.rules.as_ref().map(|rules| rules.text())
    }

    /// The policy that grants nothing.
    #[must_use]
    pub fn deny_all() -> Self {
        Self { policy: Policy::deny_all(), text: String::new(), files: Vec::new() }
    }
}
