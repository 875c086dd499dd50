//! Which policy decides, who has chosen it, and how far its word goes for that.
//!
//! The order: `--policy`, `HOST_POLICY`, the bundle's own, `policies/default.toml` of the current folder, the user's own. The first, the second
//! and the last are the operator's. What came with a folder is a stranger's until it is trusted: it is bounded ([`crate::policy::bounds`]), and
//! where it says more, nothing runs.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cli::trust::TrustList;
use crate::owned_file::quoted;
use crate::policy::bounds::{BEYOND, overreach};
use crate::policy::{PolicyOrigin, PolicySource, Standing};
use crate::problem::{Problem, shown};
use crate::store::Place;
use crate::{Bundle, PolicyDocument};

/// The policy of the current folder.
pub(crate) const DEFAULT_POLICY: &str = "policies/default.toml";
/// The policy of the user, in the configuration folder.
const USER_POLICY: &str = "policy.toml";

/// The policy that decides.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) document: PolicyDocument,
    pub(crate) origin: PolicyOrigin,
}

/// Where a policy is.
#[derive(Debug, PartialEq, Eq)]
enum At {
    /// In this file, which somebody has named.
    File(PathBuf),
    /// Inside of a folder, where it was found.
    Inside { folder: PathBuf, path: PathBuf },
}

impl At {
    fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Inside { folder, path } => folder.join(path),
        }
    }

    /// `path` as one that was found in `folder`.
    fn found(folder: &Path, path: &Path) -> Self {
        match path.strip_prefix(folder) {
            Ok(inside) => Self::Inside { folder: folder.to_owned(), path: inside.to_owned() },
            // What lies elsewhere was found where it lies.
            Err(_) => Self::Inside {
                folder: path.parent().unwrap_or(Path::new("")).to_owned(),
                path: path.file_name().map(PathBuf::from).unwrap_or_default(),
            },
        }
    }
}

impl InForce {
    /// The same below the operator's policy in this file.
    pub(crate) fn below(self, above: PathBuf) -> Result<Self, Error> {
        let operators = PolicyDocument::read(&above);
        let operators = operators.map_err(|problems| Error::document(&above.display().to_string(), problems))?;
        let Self { document, origin } = self;
        let document = document.under(operators).map_err(|mut problems| {
            for problem in &mut problems {
                let hint = format!(
                    "your own policy `{}` is above this one: add it there, or name this one with `--policy`",
                    above.display()
                );
                problem.hint = Some(hint);
            }
            let name = origin.file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
            Error::document(&name, problems).of_kind(Exit::Denied)
        })?;
        Ok(Self { document, origin: PolicyOrigin { ceiling: Some(above), ..origin } })
    }
}

impl Session {
    /// The policy that applies to something new.
    pub(crate) fn policy(&self, given: Option<&Path>, bundle: Option<&Bundle>) -> Result<InForce, Error> {
        let environment = self.env().policy.as_ref().map(PathBuf::from);
        if let Some(path) = given {
            return self.in_force(PolicySource::Named, &At::File(path.to_owned()));
        }
        if let Some(path) = environment {
            return self.in_force(PolicySource::Environment, &of_environment(path)?);
        }
        if let Some((bundle, path)) = bundle.and_then(|bundle| Some((bundle, bundle.policy.as_ref()?))) {
            return self.in_force(PolicySource::Bundle, &At::found(&bundle.root, path));
        }
        if is_there(Path::new(DEFAULT_POLICY))? {
            return self.in_force(PolicySource::Folder, &At::found(Path::new(""), Path::new(DEFAULT_POLICY)));
        }
        if let Some(path) = self.user_policy()? {
            return self.in_force(PolicySource::User, &At::File(path));
        }
        self.note(&format!(
            "no policy was found, so nothing is granted; name one with `--policy FILE` or HOST_POLICY, or write `{DEFAULT_POLICY}`"
        ));
        Ok(InForce { document: PolicyDocument::deny_all(), origin: PolicyOrigin::default() })
    }

    /// The policy under which a run goes on: the one that is named now, else the one that it began with, as it is today and judged as it would
    /// be today. That its path was kept names it in nobody's name.
    pub(crate) fn policy_of(&self, place: Option<&Place>, given: Option<&Path>) -> Result<InForce, Error> {
        let Some((place, path)) =
            place.and_then(|place| Some((place, place.policy.as_ref()?))).filter(|_| given.is_none())
        else {
            return self.policy(given, None);
        };
        let decided = place.decided.as_ref();
        let source = decided.map_or(PolicySource::Folder, |decided| decided.source);
        let at = match decided.and_then(|decided| decided.found_in.as_deref()) {
            None if source.is_operators() => At::File(path.clone()),
            found_in => At::found(found_in.unwrap_or(Path::new("")), path),
        };
        self.in_force(source, &at)
    }

    /// The user's own policy, where there is one. Where that cannot be said nothing runs.
    fn user_policy(&self) -> Result<Option<PathBuf>, Error> {
        let Some(path) = self.config().map(|config| config.join(USER_POLICY)) else { return Ok(None) };
        Ok(is_there(&path)?.then_some(path))
    }

    /// The policy of a skill's folder, under which its tests run: its own `policy.toml`, else what the skill says that it needs. Nobody named
    /// either; the operator's is above both.
    pub(crate) fn policy_of_skill(&self, skill: &Path, needs: &str, given: Option<&Path>) -> Result<InForce, Error> {
        let environment = || self.env().policy.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
        let named = given.map(Path::to_owned).or_else(environment);
        let above = || named.map_or_else(|| self.user_policy(), |named| Ok(Some(named)));
        let own = skill.join(USER_POLICY);
        if is_there(&own)? {
            return self.judged(PolicySource::Folder, &At::found(skill, &own), above);
        }
        let document = PolicyDocument::parse(needs).map_err(|problems| Error::problems(Exit::Internal, problems))?;
        let beyond = overreach(&document.policy, &document.text);
        if !beyond.is_empty() {
            let message = "the tests need more than a skill of somebody else may have, and there is no `policy.toml` to be trusted";
            let hint = format!(
                "write what the skill needs (see below) to {}, read it, and `host policy trust {0}`",
                quoted(&own)
            );
            let first = Problem::new(BEYOND, "", message).with_hint(hint);
            return Err(Error::problems(Exit::Denied, std::iter::once(first).chain(beyond).collect()));
        }
        let origin =
            PolicyOrigin { source: PolicySource::Folder, standing: Standing::Bounded, ..PolicyOrigin::default() };
        let in_force = InForce { document, origin };
        match above()? {
            Some(above) => in_force.below(above),
            None => Ok(in_force),
        }
    }

    /// Reads a policy and says how far its word goes.
    fn in_force(&self, source: PolicySource, at: &At) -> Result<InForce, Error> {
        self.judged(source, at, || self.user_policy())
    }

    /// The same below what is above one that nobody named.
    fn judged(
        &self,
        source: PolicySource,
        at: &At,
        above: impl FnOnce() -> Result<Option<PathBuf>, Error>,
    ) -> Result<InForce, Error> {
        let path = at.path();
        let document = match at {
            At::File(path) => PolicyDocument::read(path),
            At::Inside { folder, path } => PolicyDocument::read_in_place(folder, path),
        };
        let document = document.map_err(|mut problems| {
            for hint in
                problems.iter_mut().filter(|_| matches!(at, At::Inside { .. })).filter_map(|one| one.hint.as_mut())
            {
                hint.push_str("; or name another policy with `--policy FILE`");
            }
            Error::document(&path.display().to_string(), problems)
        })?;
        let standing = match at {
            At::File(_) if source.is_operators() => Standing::Trusted,
            _ => self.standing(source, at, &document)?,
        };
        if self.output.look.verbose {
            self.note(&format!("the policy is `{}` ({}, {})", path.display(), source.name(), standing.name()));
        }
        let found_in = match at {
            At::Inside { folder, .. } if folder.as_os_str().is_empty() => std::path::absolute(".").ok(),
            At::Inside { folder, .. } => std::path::absolute(folder).ok(),
            At::File(_) => None,
        };
        let origin = PolicyOrigin { source, standing, file: Some(path), found_in, ceiling: None };
        let mut in_force = InForce { document, origin };
        if !(matches!(at, At::File(_)) && source.is_operators())
            && let Some(above) = above()?
        {
            in_force = in_force.below(above)?;
        }
        Ok(in_force)
    }

    /// How far the word of a policy goes that nobody has named.
    fn standing(&self, source: PolicySource, at: &At, document: &PolicyDocument) -> Result<Standing, Error> {
        let path = at.path();
        let beyond = overreach(&document.policy, &document.text);
        let is_trusted = || {
            let At::Inside { folder, path: inside } = at else { return Ok(false) };
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let Ok(folder) = folder.canonicalize() else { return Ok(false) };
            TrustList::read(self)?.trusts(&folder.join(inside), document.trust_digest())
        };
        match is_trusted() {
            Ok(true) => Ok(Standing::Trusted),
            _ if beyond.is_empty() => Ok(Standing::Bounded),
            Ok(false) => Err(untrusted(source, &path, beyond)),
            Err(error) => Err(error),
        }
    }
}

/// The policy that the environment names. A relative path means another file in every folder, so that each folder could have its own: what is
/// found there was named by nobody.
fn of_environment(path: PathBuf) -> Result<At, Error> {
    if path.is_absolute() {
        return Ok(At::File(path));
    }
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        let message =
            format!("HOST_POLICY is `{}`, which is another file in each folder", shown(&path.display().to_string()));
        return Err(Error::request(message).hint("give it an absolute path, or name the policy with `--policy FILE`"));
    }
    Ok(At::Inside { folder: PathBuf::new(), path: plain(&path) })
}

/// A relative path without `.`.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

/// Whether something is there, even if it is nothing that can be read.
fn is_there(path: &Path) -> Result<bool, Error> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => {
            let message = format!("whether there is a policy `{}` cannot be said: {error}", path.display());
            Err(Error::request(message).hint("name a policy with `--policy FILE`, or mend the folder's permissions"))
        }
    }
}

/// Why a policy is not used that nobody named, with each of its lines that are more than it may say.
fn untrusted(source: PolicySource, path: &Path, beyond: Vec<Problem>) -> Error {
    let from = match source {
        PolicySource::Bundle => "it came with the bundle",
        PolicySource::Environment => "HOST_POLICY names it by a relative path, which any folder can have",
        _ => "it came with the folder",
    };
    let message =
        format!("this policy is not trusted ({from}), and it says more than such a policy may: nothing runs under it");
    let file = quoted(path);
    let hint =
        format!("read it; then `host policy trust {file}` trusts these bytes of it, or take out what is named below");
    let first = Problem::new(BEYOND, "", message).with_hint(hint);
    let problems = std::iter::once(first).chain(beyond).collect();
    Error::document(&path.display().to_string(), problems).of_kind(Exit::Denied)
}
