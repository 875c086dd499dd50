//! `host demo`: three plans and what became of them, from any folder, with what is built in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::id::Digest;
use crate::outcome::RunOutcome;
use crate::regular;
use crate::replay::ReplayOptions;
use crate::report::human::{Append as _, Look, Tone, bytes, counted, harmless, thousands};
use crate::report::{Report, human, json as report_json};
use crate::store::RunDir;
use crate::{PlanDocument, PlanFormat, PolicyDocument, RunOptions, SkillHost};

/// The schema name of the summaries that are written beside the copies of the runs.
const ARTIFACT_SCHEMA: &str = "skillhost.artifact/1";
const POLICY: &str = include_str!("demo/policy.toml");
const SALES: &str = include_str!("demo/sales.csv");
const VICTIM: &str = "this file must survive\n";

/// Runs three plans: one that succeeds, one that is refused, one that the policy stops; keeps their traces and replays them
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// The folder to work in, which may be no link; the demo writes to `demo/` and `artifacts/` below it
    #[arg(long, value_name = "DIR", default_value = "workspace")]
    workspace: PathBuf,
}

/// One plan of the demo.
struct Case {
    /// The name of its artifact.
    name: &'static str,
    plan: &'static str,
    expected: &'static str,
    /// What happened, and whether it is what was expected.
    judge: fn(&Report, &Files, &Files) -> (String, bool),
}

/// Files by name with their content's digest.
type Files = BTreeMap<String, Digest>;

const CASES: [Case; 3] = [
    Case {
        name: "success",
        plan: include_str!("demo/success.json"),
        expected: "completed: 3 steps ran, demo/report.txt is written",
        judge: |report, _, after| {
            let ran = ran(report);
            let written = after.contains_key("report.txt");
            let wrote = if written { "demo/report.txt is written" } else { "demo/report.txt is not there" };
            let actual = format!("{}: {} ran, {wrote}", report.outcome.name(), counted(ran, "step"));
            (actual, report.outcome == RunOutcome::Completed && ran == 3 && written)
        },
    },
    Case {
        name: "missing_param",
        plan: include_str!("demo/missing_param.json"),
        expected: "refused: step `second` lacks the parameter `text`, no file changed",
        judge: |report, before, after| {
            let found = report.problems.iter().find(|problem| {
                problem.code == "missing-param"
                    && problem.message.contains("`second`")
                    && problem.message.contains("`text`")
            });
            let found = found.map_or("no word of the parameter", |_| "step `second` lacks the parameter `text`");
            let actual = format!("{}: {found}, {}", report.outcome.name(), changed(before, after));
            (actual, report.outcome == RunOutcome::Refused && found.starts_with("step") && before == after)
        },
    },
    Case {
        name: "policy_block",
        plan: include_str!("demo/policy_block.json"),
        expected: "denied: step `wipe` (files.remove), 0 steps ran, 0 fuel, no file changed",
        judge: |report, before, after| {
            let denied: Vec<String> =
                report.denials.iter().map(|denial| format!("step `{}` ({})", denial.step, denial.tool)).collect();
            let fuel: u64 = report.steps.iter().filter_map(|step| step.fuel).sum();
            let denied = denied.join(", ");
            let (ran, outcome) = (ran(report), report.outcome);
            let actual = format!(
                "{}: {denied}, {} ran, {} fuel, {}",
                outcome.name(),
                counted(ran, "step"),
                thousands(fuel),
                changed(before, after)
            );
            let as_expected = denied == "step `wipe` (files.remove)" && ran == 0 && fuel == 0 && before == after;
            (actual, outcome == RunOutcome::Denied && as_expected && after.contains_key("victim.txt"))
        },
    },
];

fn ran(report: &Report) -> u64 {
    report.steps.iter().filter(|step| step.outcome.is_some()).count() as u64
}

fn changed(before: &Files, after: &Files) -> &'static str {
    if before == after { "no file changed" } else { "files changed" }
}

/// What became of one case.
struct Done {
    case: &'static Case,
    report: Report,
    actual: String,
    replay: String,
    as_expected: bool,
    artifact: PathBuf,
}

impl Demo {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let folder = self.workspace.join("demo");
        // Whoever made the current folder could have made it.
        if let Some(link) = [&self.workspace, &folder].into_iter().find(|path| path.is_symlink()) {
            let message = format!("the folder `{}` is a link, and the demo writes there", link.display());
            return Err(Error::new(Exit::Denied, message).hint("name the folder that it leads to with `--workspace`"));
        }
        prepare(&folder).map_err(|error| cannot("prepare", &folder, &error))?;
        let policy = PolicyDocument::parse(POLICY).map_err(|problems| Error::document("demo policy", problems))?;
        let builder = session.builder(&SkillArgs::default()).policy(policy).workspace(&self.workspace);
        let host = builder.build();
        let mut cases = Vec::new();
        for case in &CASES {
            cases.push(self.case(&host, case, &folder)?);
        }
        let failed = cases.iter().filter(|done| !done.as_expected).count() as u64;
        let mut text: String = cases.iter().map(|done| done.text(&session.output.look)).collect();
        text += &listing(&folder).map_err(|error| cannot("list", &folder, &error))?;
        if failed == 0 {
            text.add(format_args!("\nall {} cases ended as expected\n", CASES.len()));
        }
        let failure = (failed > 0).then(|| {
            Error::new(
                Exit::Unexpected,
                format!("{} of the demo ended otherwise than expected", counted(failed, "case")),
            )
        });
        let cases: Vec<Value> = cases.iter().map(Done::to_json).collect();
        Ok(Reply::new(text, json!({ "cases": cases })).failure(failure))
    }

    fn case(&self, host: &SkillHost, case: &'static Case, folder: &Path) -> Result<Done, Error> {
        let files = |what| files_in(folder).map_err(|error| cannot(what, folder, &error));
        let before = files("read")?;
        let plan = PlanDocument::new(case.plan, PlanFormat::Json, "");
        let report = host.run(&plan, &RunOptions::default())?;
        let after = files("read")?;
        let (actual, mut as_expected) = (case.judge)(&report, &before, &after);
        let (artifact, copy) = self.keep(case, &report)?;
        let replayed = host.replay(&copy, &ReplayOptions::default())?;
        as_expected &= replayed.divergence.is_none();
        let replay = crate::cli::replay::line(&replayed);
        Ok(Done { case, report, actual, replay, as_expected, artifact })
    }

    /// Copies the run beside a summary of it.
    fn keep(&self, case: &Case, report: &Report) -> Result<(PathBuf, RunDir), Error> {
        let artifacts = self.workspace.join("artifacts");
        let summary = artifacts.join(format!("trace_{}.json", case.name));
        let copy = artifacts.join(case.name);
        let document = json!({
            "schema": ARTIFACT_SCHEMA,
            "case": case.name,
            "plan": report.plan,
            "outcome": report.outcome.name(),
            "head": report.head.to_string(),
            "events": report.events,
            "steps": ran(report),
            "problems": report.problems,
            "denials": report.denials.iter().map(report_json::denial).collect::<Vec<_>>(),
            "run": format!("{}/", case.name),
        });
        let failed = |error: io::Error| cannot("write", &artifacts, &error);
        fs::create_dir_all(&artifacts).and_then(|()| remove_old_copy(&copy)).map_err(failed)?;
        let copy = RunDir::open(&report.folder)?.copy_to(&copy)?;
        fs::write(&summary, format!("{}\n", human::pretty(&document))).map_err(failed)?;
        Ok((summary, copy))
    }
}

impl Done {
    fn text(&self, look: &Look) -> String {
        let (tone, verdict) =
            if self.as_expected { (Tone::Good, "as expected") } else { (Tone::Bad, "NOT as expected") };
        format!(
            "{}: {}\n  expected  {}\n  actual    {}\n  replay    {}\n  artifact  {}\n\n",
            look.paint(Tone::Strong, self.case.name),
            look.paint(tone, verdict),
            self.case.expected,
            harmless(&self.actual),
            harmless(&self.replay),
            harmless(&self.artifact.to_string_lossy()),
        )
    }

    fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("case".to_owned(), json!(self.case.name));
        out.insert("as_expected".to_owned(), json!(self.as_expected));
        out.insert("expected".to_owned(), json!(self.case.expected));
        out.insert("actual".to_owned(), json!(self.actual));
        out.insert("replay".to_owned(), json!(self.replay));
        out.insert("artifact".to_owned(), json!(self.artifact.display().to_string()));
        out.insert("report".to_owned(), report_json::report(&self.report));
        Value::Object(out)
    }
}

/// Makes the demo's own folder as it is at the start, so that every demo has the same traces.
fn prepare(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for written in ["report.txt", "must-not-exist.txt", "neither.txt"] {
        match fs::remove_file(folder.join(written)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::write(folder.join("sales.csv"), SALES)?;
    fs::write(folder.join("victim.txt"), VICTIM)
}

fn files_in(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.insert(entry.file_name().to_string_lossy().into_owned(), Digest::of(&regular::read(&entry.path())?));
        }
    }
    Ok(files)
}

/// Names, sizes and first lines.
fn listing(folder: &Path) -> io::Result<String> {
    let mut text = format!("{}\n", harmless(&folder.to_string_lossy()));
    for name in files_in(folder)?.keys() {
        let content = regular::read(&folder.join(name))?;
        let preview = String::from_utf8_lossy(&content);
        let preview = crate::problem::shown(preview.lines().next().unwrap_or_default());
        text.add(format_args!("  {:<12} {:>7}  {preview}\n", harmless(name), bytes(content.len() as u64)));
    }
    Ok(text)
}

/// Removes what an earlier demo left; a folder that is not the copy of a run is left alone.
fn remove_old_copy(copy: &Path) -> io::Result<()> {
    if !copy.exists() {
        return Ok(());
    }
    if !copy.join(crate::trace::TRACE_FILE).is_file() {
        let message = format!("`{}` is there and is no copy of a run", copy.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    fs::remove_dir_all(copy)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(Exit::Internal, format!("cannot {what} `{}`: {error}", path.display()))
        .hint("name another folder with `--workspace`")
}
