//! Which policies the operator trusts although he names them nowhere: `host policy trust`, `host policy distrust`, and the list they keep.
//!
//! The list is `trusted.json` in the configuration folder. An entry is a path and the digest of all that the policy there says, its rules
//! included: any change undoes it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::session::Session;
use crate::id::Digest;
use crate::owned_file::{self, quoted};
use crate::policy::bounds::overreach;
use crate::problem::Problem;
use crate::report::human::{Append as _, counted, harmless};
use crate::store::create_folder;
use crate::{PolicyDocument, json, limits, regular};

const FILE: &str = "trusted.json";
/// Locked by whoever changes the list.
const LOCK: &str = "trusted.lock";
const SCHEMA: &str = "skillhost.trusted/1";

/// Trusts a policy that came with a folder or a bundle, as it is now; any change of it or of its rules undoes that
#[derive(Debug, clap::Args)]
pub(crate) struct Trust {
    /// The policy
    #[arg(required_unless_present = "list")]
    file: Option<PathBuf>,
    /// Lists the policies that are trusted, and whether they are still what they were
    #[arg(long, conflicts_with = "file")]
    list: bool,
}

/// Undoes `host policy trust`
#[derive(Debug, clap::Args)]
pub(crate) struct Distrust {
    /// The policy
    file: PathBuf,
}

/// The policies that are trusted: the digest of each by its path.
#[derive(Debug, Default)]
pub(crate) struct TrustList(BTreeMap<String, Digest>);

impl TrustList {
    /// The list of the user; an empty one where there is none.
    pub(crate) fn read(session: &Session) -> Result<Self, Error> {
        match session.config() {
            Some(config) => Self::in_folder(&config),
            None => Ok(Self::default()),
        }
    }

    fn in_folder(config: &Path) -> Result<Self, Error> {
        let path = config.join(FILE);
        let wrong = |problem: Problem| {
            let hint = problem
                .hint
                .clone()
                .unwrap_or_else(|| format!("mend it, or remove it and trust again: {}", quoted(&path)));
            Error::document(&path.display().to_string(), vec![problem.with_hint(hint)])
        };
        let bytes = match owned_file::read(&path, limits::DOCUMENT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(problem) if problem.code == "no-such-file" && path.symlink_metadata().is_err() => {
                return Ok(Self::default());
            }
            Err(problem) => return Err(wrong(problem)),
        };
        let value = json::parse(&bytes).map_err(wrong)?;
        let damaged = || wrong(Problem::new("bad-list", "", format!("it is no list of trusted policies (`{SCHEMA}`)")));
        let policies = value.get("policies").and_then(Value::as_object);
        let policies =
            policies.filter(|_| value.get("schema").and_then(Value::as_str) == Some(SCHEMA)).ok_or_else(damaged)?;
        let entry = |(path, digest): (&String, &Value)| Some((path.clone(), digest.as_str()?.parse().ok()?));
        policies.iter().map(entry).collect::<Option<_>>().map(Self).ok_or_else(damaged)
    }

    /// Whether the policy at this canonical path is trusted with this digest.
    pub(crate) fn trusts(&self, path: &Path, digest: Digest) -> Result<bool, Error> {
        Ok(path.to_str().and_then(|path| self.0.get(path)).is_some_and(|trusted| *trusted == digest))
    }

    /// Changes the list, whoever else does so at the same time.
    fn change<T>(config: &Path, change: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let failed = |error: io::Error| {
            Error::new(Exit::Internal, format!("cannot write `{}`: {error}", config.join(FILE).display()))
                .hint("the list of trusted policies is in the configuration folder: XDG_CONFIG_HOME says where that is")
        };
        create_folder(config).map_err(failed)?;
        let lock = regular::open_or_create(&config.join(LOCK)).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        let mut list = Self::in_folder(config)?;
        let changed = change(&mut list)?;
        let (path, new) = (config.join(FILE), config.join(format!("{FILE}.new")));
        let written = || {
            let document = json!({ "schema": SCHEMA, "policies": list.0.iter().map(|(path, digest)| (path.clone(), json!(digest.to_string()))).collect::<serde_json::Map<_, _>>() });
            match std::fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = regular::create_new(&new)?;
            file.write_all(format!("{document:#}\n").as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            regular::open_folder(config)?.sync_all()
        };
        written().map_err(failed)?;
        Ok(changed)
    }
}

/// The folder of the list, which has to be somewhere.
fn config(session: &Session) -> Result<PathBuf, Error> {
    session.config().ok_or_else(|| {
        let message = "there is no configuration folder: neither XDG_CONFIG_HOME nor HOME is an absolute path";
        Error::request(message).hint("set HOME, or name the policy where it shall apply: `--policy FILE`")
    })
}

/// A policy's path as the list has it.
fn key(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("the path `{}` is not UTF-8", path.display());
        Error::request(message).hint("a path in the list of trusted policies has to be: move the policy")
    })
}

impl Trust {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let Some(file) = &self.file else { return list(session) };
        let config = config(session)?;
        let name = file.display().to_string();
        // What is read once is what is shown and what is trusted.
        let real = file.canonicalize().unwrap_or_else(|_| file.clone());
        let document = PolicyDocument::read(&real).map_err(|problems| Error::document(&name, problems))?;
        let (path, digest) = (key(&real)?, document.trust_digest());
        TrustList::change(&config, |list| {
            if list.0.len() >= limits::TRUSTED_MAX && !list.0.contains_key(&path) {
                let message = format!("{} policies are trusted; more are not kept", limits::TRUSTED_MAX);
                return Err(Error::request(message)
                    .hint("`host policy trust --list` shows them, `host policy distrust FILE` takes one out"));
            }
            list.0.insert(path.clone(), digest);
            Ok(())
        })?;
        let beyond = overreach(&document.policy, &document.text);
        let mut text = format!("trusted: {} (sha256 {digest})\n", harmless(&path));
        let grants = counted(document.policy.grants.len() as u64, "grant");
        match &document.policy.rules {
            Some(rules) => {
                text.add(format_args!("  {grants}, {}\n", counted(rules.rules().len() as u64, "rule")));
            }
            None => text.add(format_args!("  {grants}\n")),
        }
        if !beyond.is_empty() {
            text += "what it may now, beyond a policy that is not trusted:\n";
            beyond.iter().for_each(|problem| text.add(format_args!("  {}\n", harmless(&problem.to_string()))));
        }
        Ok(Reply::new(text, json!({ "path": path, "digest": digest.to_string(), "beyond": beyond })))
    }
}

impl Distrust {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let config = config(session)?;
        // One that is gone has no canonical path any more.
        let absolute = std::path::absolute(&self.file).unwrap_or_else(|_| self.file.clone());
        let path = key(&self.file.canonicalize().unwrap_or(absolute))?;
        TrustList::change(&config, |list| match list.0.remove(&path) {
            Some(_) => Ok(()),
            None => Err(Error::request(format!("the policy `{path}` is not among those that are trusted"))
                .hint("`host policy trust --list` shows them")),
        })?;
        Ok(Reply::new(format!("no longer trusted: {}\n", harmless(&path)), json!({ "path": path })))
    }
}

fn list(session: &Session) -> Result<Reply, Error> {
    let list = TrustList::read(session)?;
    let mut text = String::new();
    let mut entries = Vec::new();
    for (path, digest) in &list.0 {
        let state = match PolicyDocument::read(Path::new(path)) {
            Ok(document) if document.trust_digest() == *digest => "trusted",
            Ok(_) => "changed since: not trusted",
            Err(problems) if problems.iter().any(|problem| problem.code == "no-such-file") => "gone",
            Err(_) => "not readable as a policy: not trusted",
        };
        text.add(format_args!("{digest}  {}  {state}\n", harmless(path)));
        entries.push(json!({ "path": path, "digest": digest.to_string(), "state": state }));
    }
    if list.0.is_empty() {
        text += "no policy is trusted but those that are named\n";
    }
    Ok(Reply::new(text, json!({ "policies": entries })))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_list_is_the_users_alone_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("a/skillhost");
        assert!(TrustList::in_folder(&config).unwrap().0.is_empty());
        let digest = Digest::of(b"x");
        TrustList::change(&config, |list| {
            list.0.extend((0..limits::TRUSTED_MAX).map(|index| (format!("/p{index}"), digest)));
            Ok(())
        })
        .unwrap();
        let mode = |name: &str| std::fs::metadata(config.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(FILE), mode("."), mode(LOCK)), (0o600, 0o700, 0o600));
        assert!(!config.join("trusted.json.new").exists());
        let list = TrustList::in_folder(&config).unwrap();
        assert_eq!(list.0.len(), limits::TRUSTED_MAX);
        assert!(list.trusts(Path::new("/p0"), digest).unwrap());
        assert!(!list.trusts(Path::new("/p0"), Digest::of(b"y")).unwrap());
        assert!(!list.trusts(Path::new("/q"), digest).unwrap());
    }

    #[test]
    fn a_list_that_others_can_write_or_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (config, file) = (folder.path(), folder.path().join(FILE));
        for text in [
            "",
            "[]",
            "{}",
            r#"{"schema":"skillhost.trusted/2","policies":{}}"#,
            r#"{"schema":"skillhost.trusted/1","policies":{"/p":"x"}}"#,
        ] {
            std::fs::write(&file, text).unwrap();
            let error = TrustList::in_folder(config).unwrap_err();
            assert!(error.first().contains(FILE), "{text}: {}", error.first());
        }
        std::fs::write(&file, r#"{"schema":"skillhost.trusted/1","policies":{}}"#).unwrap();
        assert!(TrustList::in_folder(config).is_ok());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(TrustList::in_folder(config).unwrap_err().first().contains("can be written by others"));
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert!(TrustList::in_folder(config).is_err());
    }
}
