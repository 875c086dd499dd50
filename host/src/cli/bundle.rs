//! `host bundle`: makes bundles, and says what they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::bundle::{self, Difference, Kind, Snapshot, Verified};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::id::is_name;
use crate::report::human::{Append as _, counted, harmless};

/// Folders of skills, plans and a policy that are one thing with one id
#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    New(New),
    Verify(Verify),
    Id(Id),
    Diff(Diff),
}

/// Makes a bundle that works at once, with a skill, a plan and a policy
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The folder, which must not be there yet
    dir: PathBuf,
    /// What it is called; the default is the name of the folder
    #[arg(long)]
    name: Option<String>,
}

/// Checks a bundle: everything loads, what it exports is there and of the right type, its plans are valid, its claims consistent
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The folder [env: HOST_BUNDLE_ROOT] [default: the current folder]
    dir: Option<PathBuf>,
}

/// Says the id of a bundle: the same for the same files on every machine
#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// The folder [env: HOST_BUNDLE_ROOT] [default: the current folder]
    dir: Option<PathBuf>,
    /// Lists the files with the sha256 of each
    #[arg(long)]
    files: bool,
}

/// Shows which files are different between two bundles; exits with 1 where any is
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The one folder
    from: PathBuf,
    /// The other folder [env: HOST_BUNDLE_ROOT] [default: the current folder]
    to: Option<PathBuf>,
}

impl Bundle {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::New(new) => new.execute(),
            Self::Verify(verify) => verify.execute(session),
            Self::Id(id) => id.execute(session),
            Self::Diff(diff) => diff.execute(session),
        }
    }
}

impl New {
    fn execute(&self) -> Result<Reply, Error> {
        let own = || self.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = self.name.clone().unwrap_or_else(own);
        if !is_name(&name) {
            return Err(Error::request(format!("`{name}` cannot be the name of a bundle"))
                .hint(format!("{}; say another with `--name`", crate::id::NAME_FORM)));
        }
        bundle::create(&self.dir, &name)?;
        let opened = bundle::Bundle::open(&self.dir)?;
        let dir = self.dir.display().to_string();
        let shown = harmless(&dir);
        let text = format!(
            "made the bundle `{name}` in {shown}\n  host bundle verify {shown}\n  host run --bundle {shown} {}\n",
            harmless(&self.dir.join("plans/hello.json").to_string_lossy())
        );
        Ok(Reply::new(text, json!({ "name": name, "root": dir.to_string(), "snapshot_id": opened.id })))
    }
}

impl Verify {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let bundle = Arc::new(bundle::Bundle::open(session.bundle_root(self.dir.as_deref()))?);
        let host = session.builder(&SkillArgs::default()).bundle(Arc::clone(&bundle)).build();
        let Verified { skills, plans, problems, warnings } = bundle::verify(&bundle, &host)?;
        warnings.iter().for_each(|warning| session.output.say("warning", warning));
        let mut text = String::new();
        if problems.is_empty() {
            let counts = Kind::ALL.map(|kind| (kind, bundle.exports_of(kind).count()));
            let exports = counts.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{kind} {count}"));
            let exports = exports.collect::<Vec<_>>().join(", ");
            text.add(format_args!(
                "ok: bundle `{}` {}\n  id       {}\n  skills   {}\n  plans    {plans}\n  exports  {}\n",
                harmless(&bundle.name),
                harmless(&bundle.version),
                bundle.id,
                skills.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                if exports.is_empty() { "none" } else { &exports },
            ));
        }
        let skills = skills.iter().map(|(name, skill)| json!({ "name": name, "sha256": skill.digest }));
        let result = json!({
            "name": bundle.name,
            "version": bundle.version,
            "snapshot_id": bundle.id,
            "skills": skills.collect::<Vec<_>>(),
            "plans": plans,
            "exports": bundle.exports.values().map(bundle::Export::to_json).collect::<Vec<_>>(),
            "problems": problems,
            "warnings": warnings,
        });
        let failure = (!problems.is_empty()).then(|| Error::problems(Exit::SkillLoad, problems));
        Ok(Reply::new(text, result).meta("snapshot_id", bundle.id.to_string()).failure(failure))
    }
}

impl Id {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let root = session.bundle_root(self.dir.as_deref());
        let bundle = bundle::Bundle::open(&root)?;
        let mut text = format!("{}\n", bundle.id);
        let mut files = Vec::new();
        for (path, entry) in &bundle.snapshot.entries {
            if self.files {
                text.add(format_args!("{}  {:<10} {}\n", entry.digest, entry.kind.name(), harmless(path)));
            }
            files.push(json!({
                "path": path,
                "sha256": entry.digest,
                "size_bytes": entry.size_bytes,
                "kind": entry.kind.name(),
            }));
        }
        let result = json!({ "name": bundle.name, "snapshot_id": bundle.id, "files": files });
        Ok(Reply::new(text, result).meta("snapshot_id", bundle.id.to_string()))
    }
}

impl Diff {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let take = |root: &Path| -> Result<Snapshot, Error> { Ok(bundle::Bundle::open(root)?.snapshot) };
        let (from, to) = (take(&self.from)?, take(&session.bundle_root(self.to.as_deref()))?);
        let difference = Difference::between(&from, &to);
        let mut lines: Vec<(&str, &str, &str)> = Vec::new();
        lines.extend(difference.added.iter().map(|path| (path.as_str(), "+", "")));
        lines.extend(difference.removed.iter().map(|path| (path.as_str(), "-", "")));
        for changed in &difference.changed {
            let kind = if changed.from.kind == changed.to.kind { "" } else { changed.to.kind.name() };
            lines.push((&changed.path, "~", kind));
        }
        lines.sort_unstable();
        let mut text = String::new();
        for (path, sign, kind) in &lines {
            let kind = if kind.is_empty() { String::new() } else { format!("  (now {kind})") };
            text.add(format_args!("{sign} {}{kind}\n", harmless(path)));
        }
        if lines.is_empty() {
            session.note("the two are the same");
        }
        // As `host trace diff` and every `diff` there is.
        let failure = (!lines.is_empty()).then(|| {
            Error::new(Exit::Unexpected, format!("the two are different: {}", counted(lines.len() as u64, "path")))
        });
        let changed: Vec<Value> = difference
            .changed
            .iter()
            .map(|changed| {
                json!({
                    "path": changed.path,
                    "from": { "sha256": changed.from.digest, "kind": changed.from.kind.name() },
                    "to": { "sha256": changed.to.digest, "kind": changed.to.kind.name() },
                })
            })
            .collect();
        Ok(Reply::new(
            text,
            json!({
                "from": from.id,
                "to": to.id,
                "added": difference.added,
                "removed": difference.removed,
                "changed": changed,
            }),
        )
        .failure(failure))
    }
}
