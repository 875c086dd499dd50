//! `host skill`: the way of an author from nothing to a component that says what it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::CompiledCode;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::inspect::{name_of, to_json, to_text};
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::cli::skill_tests::{self, Tested};
use crate::document;
use crate::host;
use crate::id::SkillName;
use crate::limits;
use crate::policy::grant_for;
use crate::report::human::{Append as _, harmless, thousands};
use crate::report::json as report_json;
use crate::sandbox::SandboxError;
use crate::sandbox::component::LoadError;
use crate::scaffold::{self, NewFile};
use crate::skill::templates::{self, Language, Template};
use crate::skill::{Metadata, Skill, own, unprovided_imports};
use crate::skills::{SkillBytes, manifest_beside, manifest_file, pack};

/// Makes, checks and packs skills
#[derive(Debug, Subcommand)]
pub(crate) enum SkillCommand {
    New(New),
    Check(Check),
    Pack(Pack),
}

/// Makes the folder of a new skill: contract, code, metadata, policy, test and a script that builds it
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// What the skill is called
    name: SkillName,
    /// The language of its code
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    lang: Language,
    /// The folder, which must not be there yet; the default is the skill's name below the current folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Checks a skill: what it exports and imports, what it says of itself, what it needs granted; of a folder also its tests, which it runs on copies of their workspace
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// A component file, or a folder with one, and with plans in `tests`, their outputs in `tests/expected` and a `policy.toml` where it has them
    #[arg(value_name = "FILE|DIR")]
    skill: PathBuf,
    /// What its tests may touch at the most [env: HOST_POLICY] [default: the user's own policy, if there is one]; its own `policy.toml` is within
    /// bounds until it is trusted
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Writes a component that carries its `skill.toml` and the comments of its WIT
#[derive(Debug, clap::Args)]
pub(crate) struct Pack {
    /// The component
    file: PathBuf,
    /// The metadata [default: what lies beside the component, else what it carries]
    #[arg(long, value_name = "FILE")]
    skill_toml: Option<PathBuf>,
    /// The WIT whose comments it shall carry: a folder or a file [default: what it carries]
    #[arg(long, value_name = "DIR")]
    wit: Option<PathBuf>,
    /// Where to; what is there is replaced
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

impl SkillCommand {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::New(new) => new.execute(),
            Self::Check(check) => check.execute(session),
            Self::Pack(pack) => pack.execute(session),
        }
    }
}

impl New {
    fn execute(&self) -> Result<Reply, Error> {
        if self.name.as_str() == "host" || own::is_own(&self.name) {
            let message = format!("no skill can be called `{}`", self.name);
            return Err(Error::request(message).hint("choose another name"));
        }
        let dir = self.dir.clone().unwrap_or_else(|| PathBuf::from(self.name.as_str()));
        let templates = templates::files(&self.name, self.lang);
        let file = |template: &Template| {
            let executable = template.executable;
            NewFile { path: template.path.to_owned(), content: template.content.clone(), executable }
        };
        let files: Vec<NewFile<'_>> = templates.iter().map(file).collect();
        scaffold::create(&dir, &files)?;
        let shown = harmless(&dir.to_string_lossy());
        let mut text = format!("made the skill `{}` in {shown}\n", self.name);
        for Template { path, .. } in &templates {
            text.add(format_args!("  {path}\n"));
        }
        text.add(format_args!("next, with {}:\n  {shown}/build\n  host skill check {shown}\n", self.lang.needs()));
        let paths: Vec<&str> = templates.iter().map(|file| file.path).collect();
        Ok(Reply::new(text, json!({ "name": self.name, "root": dir.display().to_string(), "files": paths })))
    }
}

impl Check {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let file = component_of(&self.skill)?;
        let name = name_of(&file)?;
        // A mistake in the metadata is one of that file, where there is one.
        let metadata = manifest_file(&file).unwrap_or_else(|| file.clone());
        let source = SkillBytes::File(file);
        let inspected = session.builder(&SkillArgs::default()).build().inspect(&name, &source);
        let skill = inspected.map_err(|error| match error {
            host::Error::Sandbox(SandboxError::Load { source: LoadError::Metadata { problems }, .. }) => {
                Error::document(&metadata.display().to_string(), problems).of_kind(Exit::SkillLoad)
            }
            error => error.into(),
        })?;
        let problems = unprovided_imports(&skill);
        let grant = grant_for(&skill);
        let advice = advice(&skill);
        let mut text = to_text(&skill, None, &session.output.look);
        text.add(format_args!("\npolicy\n"));
        for line in grant.lines() {
            text.add(format_args!(
                "{}\n",
                if line.is_empty() { String::new() } else { format!("  {}", harmless(line)) }
            ));
        }
        if !advice.is_empty() {
            text += "\nadvice\n";
            advice.iter().for_each(|line| text.add(format_args!("  {}\n", harmless(line))));
        }
        let source = (&name, &source);
        let tested = if problems.is_empty() {
            skill_tests::run(session, &self.skill, source, (&grant, self.policy.as_deref()))
        } else {
            Ok(Vec::new())
        };
        // What the skill is can be said although its tests may not run.
        let (tests, refused) = match tested {
            Ok(tests) => (tests, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut failure =
            (!problems.is_empty()).then(|| Error::problems(Exit::SkillLoad, problems.clone())).or(refused);
        if !tests.is_empty() {
            text += "\ntests\n";
        }
        let mut list: Vec<Value> = Vec::new();
        for Tested { plan, report, drift } in &tests {
            let cost = report.cost();
            let outcome = if drift.is_some() { "unexpected output" } else { report.outcome.name() };
            text.add(format_args!("  {plan}  {outcome}  fuel {}  calls {}\n", thousands(cost.fuel), cost.calls));
            let mut value = report_json::report(report);
            if let Some(members) = value.as_object_mut() {
                members.insert("file".to_owned(), json!(plan));
                members.insert("fuel".to_owned(), json!(cost.fuel));
                members.insert("drift".to_owned(), json!(drift));
            }
            list.push(value);
            let drifted = drift.as_ref().map(|drift| Error::new(Exit::SkillFailed, format!("{plan}: {drift}")));
            let failed = Error::of_report(report).map(|error| error.in_file(plan));
            failure = failure.or_else(|| failed.or(drifted));
        }
        let result = json!({
            "skill": to_json(&skill, None),
            "grant": grant,
            "advice": advice,
            "problems": problems,
            "tests": list,
        });
        Ok(Reply::new(text, result).failure(failure))
    }
}

/// The component: the file itself, or of a folder the only one, or the one that `skill.toml` there is named after: what `pack` has written
/// beside it is not what was built.
fn component_of(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let found = files_in(path, &["wasm"])?;
    match found.as_slice() {
        [file] => return Ok(file.clone()),
        [] => {
            return Err(Error::new(Exit::SkillLoad, format!("there is no component in `{}`", path.display()))
                .hint("build it first: `./build` in the folder of a new skill"));
        }
        _ => {}
    }
    let names: Vec<String> = found.iter().map(|file| format!("`{}`", harmless(&file_name(file)))).collect();
    let names = names.join(" and ");
    let several = |hint: String| {
        let message = format!("there are several components in `{}`: {names}", path.display());
        Err(Error::new(Exit::SkillLoad, message).hint(hint))
    };
    let manifest = path.join("skill.toml");
    if !manifest.is_file() {
        return several("give the file that is meant, or write its name as `name` into a `skill.toml`".to_owned());
    }
    let wrong = |problems| Error::document(&manifest.display().to_string(), problems).of_kind(Exit::SkillLoad);
    let text = document::read_limited(&manifest).map_err(|problem| wrong(vec![problem]))?;
    let name = Metadata::parse(&String::from_utf8_lossy(&text)).map_err(wrong)?.name.unwrap_or_default();
    match found.into_iter().find(|file| file.file_stem().is_some_and(|stem| stem.to_string_lossy() == name)) {
        Some(file) => Ok(file),
        None => several(format!(
            "none is called as `{}` says (`{name}.wasm`): give the file that is meant",
            manifest.display()
        )),
    }
}

/// The files of a folder with one of these endings, sorted; none where there is no such folder.
pub(super) fn files_in(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let failed =
        |error: &std::io::Error| Error::new(Exit::Request, format!("cannot read `{}`: {error}", folder.display()));
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))?.take(limits::BUNDLE_ENTRIES_MAX) {
        let path = entry.map_err(|error| failed(&error))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| endings.contains(&ending)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What would make the skill easier to use.
fn advice(skill: &Skill) -> Vec<String> {
    let mut lines = Vec::new();
    if skill.tools.is_empty() {
        lines.push("it exports no tools: export a function, or `wasi:cli/run`".to_owned());
    }
    if skill.metadata.name.is_none() {
        lines.push("it has no metadata: write a `skill.toml` beside it".to_owned());
    }
    let without = |what: &dyn Fn(&crate::skill::Tool) -> bool| {
        let names: Vec<&str> =
            skill.tools.iter().filter(|(_, tool)| what(tool)).map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    lines.extend(
        without(&|tool| tool.annotations.description.is_none()).map(|names| format!("no description: {names}")),
    );
    lines.extend(
        without(&|tool| tool.annotations.risk.is_none()).map(|names| format!("no risk, which counts as high: {names}")),
    );
    lines
}

impl Pack {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let document_error = |path: &Path, problem| Error::document(&path.display().to_string(), vec![problem]);
        let bytes = document::read_bounded(&self.file, limits::COMPONENT_BYTES_MAX);
        let bytes = bytes.map_err(|problem| document_error(&self.file, problem))?;
        let manifest = match &self.skill_toml {
            Some(path) => {
                let text = document::read_limited(path).map_err(|problem| document_error(path, problem))?;
                let not_utf8 = |_| Error::request(format!("`{}` is not UTF-8", path.display()));
                Some(String::from_utf8(text).map_err(not_utf8)?)
            }
            None => manifest_beside(&self.file).map_err(|problem| document_error(&self.file, problem))?,
        };
        let docs = self.wit.as_deref().map(pack::wit_docs).transpose();
        let docs = docs.map_err(|error| Error::request(error.to_string()).hint("give the folder with `world.wit`"))?;
        let name = name_of(&self.file)?;
        let host = session.builder(&SkillArgs::default()).compiled_code(CompiledCode::nowhere()).build();
        let packed = pack::pack(&bytes, manifest.as_deref(), docs.as_deref());
        // What it carries is read from what is written: it has to fit the component.
        let source = SkillBytes::Memory { component: packed.clone().into(), manifest: None };
        let skill = host.inspect(&name, &source)?;
        scaffold::replace(&self.out, &packed)?;
        let described = skill.tools.values().filter(|tool| tool.annotations.description.is_some()).count();
        let text = format!(
            "{}: {}{}, {described} of {} tools described\nsha256 {}\n",
            harmless(&self.out.to_string_lossy()),
            harmless(skill.metadata.name.as_deref().unwrap_or("no metadata")),
            skill.metadata.version.as_deref().map(|version| format!(" {}", harmless(version))).unwrap_or_default(),
            skill.tools.len(),
            skill.digest,
        );
        let tools: BTreeMap<&str, Option<&str>> =
            skill.tools.iter().map(|(name, tool)| (name.as_str(), tool.annotations.description.as_deref())).collect();
        let result = json!({
            "file": self.out.display().to_string(),
            "sha256": skill.digest,
            "size_bytes": skill.size_bytes,
            "name": skill.metadata.name,
            "version": skill.metadata.version,
            "tools": tools,
        });
        Ok(Reply::new(text, result))
    }
}
