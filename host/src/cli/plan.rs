//! `host plan import`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::json;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::policy_lab::write_new;
use crate::cli::reply::{Form, Reply};
use crate::cli::session::Session;
use crate::id::ToolName;
use crate::plan::import::{self, Change, Dialect, ImportOptions};
use crate::report::human::{counted, harmless};
use crate::{canonical, document, json as reader};

/// Works on plans without running them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Plan {
    Import(Import),
}

/// Writes a workflow or plan of another system as a plan of this host, and says everything that it changed
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The document: a JSON file where its name ends in `.json`, else YAML
    file: PathBuf,
    /// The notation; found out from the document where it is not given
    #[arg(long, value_name = "NAME")]
    dialect: Option<Notation>,
    /// Takes the tool for the capability, in place of what is known for it; may be given several times
    #[arg(long, value_name = "CAPABILITY=SKILL.TOOL", value_parser = mapped)]
    map: Vec<(String, ToolName)>,
    /// The keys of what a mapped capability gives, so that `{{key}}` can be told from others; may be given several times
    #[arg(long, value_name = "CAPABILITY=KEY,…", value_parser = given)]
    gives: Vec<(String, BTreeSet<String>)>,
    /// Leaves a workflow's `policy` out, which is refused otherwise: see `host policy import`
    #[arg(long)]
    drop_policy: bool,
    /// Writes the plan to a file that is not there yet, in place of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A notation on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Notation {
    /// Workflows: steps with `capability`, `inputs`, `compensation`
    AiFirst,
    /// Plans: steps with `skill_name` and `params`
    Avatar,
}

impl Plan {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::Import(import) => import.execute(session),
        }
    }
}

impl Import {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let name = self.file.display().to_string();
        let bytes = document::read_limited(&self.file).map_err(|problem| Error::document(&name, vec![problem]))?;
        let is_json = self.file.extension().is_some_and(|extension| extension == "json");
        let read = if is_json { reader::parse(&bytes) } else { reader::parse_yaml(&bytes) };
        let read = read.map_err(|problem| Error::document(&name, vec![problem]))?;
        let imported = import::import(&read, &self.options()?).map_err(|mut problems| {
            reader::locate(&bytes, &mut problems);
            Error::document(&name, problems)
        })?;
        let text = imported.text();
        for change in &imported.changes {
            session.output.say("changed", &said(change));
        }
        let count = counted(imported.changes.len() as u64, "change");
        let mut result = json!({
            "dialect": imported.dialect.name(),
            "plan": imported.plan,
            "changes": imported.changes,
        });
        let Some(out) = &self.out else { return Ok(Reply::document(Form::Json, text, result)) };
        write_new(out, &text, false)?;
        let out = out.display().to_string();
        if let Some(members) = result.as_object_mut() {
            members.insert("file".to_owned(), out.as_str().into());
        }
        Ok(Reply::new(format!("{}: the plan, with {count}\n", harmless(&out)), result))
    }

    fn options(&self) -> Result<ImportOptions, Error> {
        let stem = self.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("plan");
        Ok(ImportOptions {
            dialect: self.dialect.map(|dialect| match dialect {
                Notation::AiFirst => Dialect::AiFirst,
                Notation::Avatar => Dialect::Avatar,
            }),
            name: stem.to_owned(),
            map: once(&self.map, "--map")?,
            gives: once(&self.gives, "--gives")?,
            drop_policy: self.drop_policy,
        })
    }
}

/// Each capability may be named once.
fn once<T: Clone>(pairs: &[(String, T)], option: &str) -> Result<BTreeMap<String, T>, Error> {
    let mut found = BTreeMap::new();
    for (capability, value) in pairs {
        if found.insert(capability.clone(), value.clone()).is_some() {
            return Err(Error::new(Exit::Request, format!("`{option}` names `{capability}` twice")));
        }
    }
    Ok(found)
}

/// A change on one line.
pub(crate) fn said(change: &Change) -> String {
    let short = |value: &serde_json::Value| {
        let text = canonical::to_string(value);
        let mut short: String = text.chars().take(60).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        short
    };
    let Change { pointer, was, now, why } = change;
    match (was.is_null(), now.is_null()) {
        (true, true) => format!("{pointer}: left out null: {why}"),
        (true, false) => format!("{pointer}: added {}: {why}", short(now)),
        (false, true) => format!("{pointer}: left out {}: {why}", short(was)),
        (false, false) if was == now => format!("{pointer}: {}: {why}", short(was)),
        (false, false) => format!("{pointer}: {} is {} now: {why}", short(was), short(now)),
    }
}

fn mapped(text: &str) -> Result<(String, ToolName), String> {
    let (capability, tool) = pair(text, "CAPABILITY=SKILL.TOOL, such as `cloud.db.create=cloud.create-db`")?;
    Ok((capability.to_owned(), tool.parse().map_err(|error: crate::id::IdError| error.to_string())?))
}

fn given(text: &str) -> Result<(String, BTreeSet<String>), String> {
    let (capability, keys) = pair(text, "CAPABILITY=KEY,KEY, such as `cloud.db.create=database_name`")?;
    Ok((capability.to_owned(), keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect()))
}

fn pair<'t>(text: &'t str, form: &str) -> Result<(&'t str, &'t str), String> {
    text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| format!("expected {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_or_refused() {
        let (capability, tool) = mapped("cloud.db.create=cloud.create-db").unwrap();
        assert_eq!((capability.as_str(), tool.to_string().as_str()), ("cloud.db.create", "cloud.create-db"));
        assert!(mapped("cloud.db.create").unwrap_err().contains("expected"));
        assert!(mapped("a=b").unwrap_err().contains("tool name"));
        assert!(mapped("=a.b").is_err());
        assert_eq!(given("a.b=x,y,").unwrap().1, ["x".to_owned(), "y".to_owned()].into());
        assert_eq!(given("a.b=").unwrap().1, BTreeSet::new());
    }
}
