//! The tests of `host skill check`: plans of a folder that somebody else may have made, run so that nothing but a throw-away copy of their own
//! workspace is at stake.
//!
//! The skill's own `policy.toml` is one that nobody named: bounded until it is trusted, and below the operator's.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::plan_source::read_json;
use crate::cli::policy_source::InForce;
use crate::cli::session::{Session, SkillArgs};
use crate::cli::skill::{file_name, files_in};
use crate::id::SkillName;
use crate::outcome::RunOutcome;
use crate::problem::shown;
use crate::report::human::harmless;
use crate::sandbox::OwnFiles;
use crate::scratch::{Bounds, Scratch};
use crate::skills::SkillBytes;
use crate::{PlanDocument, Report, RunOptions, canonical, clock};

/// What the folder of a skill's tests has them work in.
const WORKSPACE: &str = "workspace";

/// A test of a skill that was run.
pub(super) struct Tested {
    pub(super) plan: String,
    pub(super) report: Report,
    /// How its output is not what was expected.
    pub(super) drift: Option<String>,
}

/// A folder for copies that nobody else can have made.
struct Copies(PathBuf);

impl Copies {
    fn create(session: &Session) -> Result<Self, Error> {
        let parent = &session.env().temporary;
        let failed = |error: std::io::Error| {
            Error::new(Exit::Internal, format!("cannot make a folder for the tests in `{}`: {error}", parent.display()))
                .hint("name one that can be written to with TMPDIR")
        };
        let name: String = clock::entropy().map_err(failed)?.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = parent.join(format!("skillhost-check-{name}"));
        // Never one that is there already.
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // What is left behind is in a folder for such things.
        let _tried: std::io::Result<()> = fs::remove_dir_all(&self.0);
    }
}

/// Runs the plans in `tests` of a skill's folder, each on a copy of `tests/workspace` of its own.
pub(super) fn run(
    session: &Session,
    skill: &Path,
    (name, source): (&SkillName, &SkillBytes),
    (grant, operators): (&str, Option<&Path>),
) -> Result<Vec<Tested>, Error> {
    let tests = skill.join("tests");
    let plans = if skill.is_dir() { files_in(&tests, &["json", "yaml", "yml"])? } else { Vec::new() };
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let InForce { document, origin } = session.policy_of_skill(skill, grant, operators)?;
    let workspace = tests.join(WORKSPACE);
    let original = match workspace.symlink_metadata() {
        Ok(found) if found.is_dir() => Some(workspace.as_path()),
        Ok(_) => {
            let message = format!("`{}` is no folder: a link could lead anywhere", workspace.display());
            return Err(Error::request(message).hint("put the files of the tests into that folder itself"));
        }
        Err(_) => None,
    };
    let copies = Copies::create(session)?;
    let mut done = Vec::new();
    for plan in plans {
        let plan_document = PlanDocument::read(&plan);
        let plan_document =
            plan_document.map_err(|problem| Error::document(&plan.display().to_string(), vec![problem]))?;
        let mut scratch = Scratch::create(&copies.0, Bounds::PREVIEW).map_err(crate::Error::from)?;
        let (own, goes_on) = (OwnFiles::look(&session.builder(&SkillArgs::default()).build().own_paths()), || true);
        let copied = scratch.copy(original, Path::new(WORKSPACE), (&own, &goes_on)).map_err(crate::Error::from)?;
        let (copy, _) = copied;
        let host = session
            .builder(&SkillArgs::default())
            .skill(name.clone(), source.clone())
            .policy(document.clone())
            .policy_origin(origin.clone())
            .durability(session.durability())
            .workspace(copy)
            .build();
        let report = host.run(&plan_document, &RunOptions::default())?;
        session.warn(&report);
        let expected = tests.join("expected").join(file_name(&plan)).with_extension("json");
        let drift = if expected.is_file() && report.outcome == RunOutcome::Completed {
            let expected = read_json(&expected)?;
            let (expected, found) = (canonical::to_string(&expected), canonical::to_string(&report.output));
            let differs = expected != found;
            differs.then(|| format!("the output is {}, and {} was expected", shown(&found), shown(&expected)))
        } else {
            None
        };
        done.push(Tested { plan: harmless(&file_name(&plan)), report, drift });
    }
    Ok(done)
}
