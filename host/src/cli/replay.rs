//! `host replay`.

use serde_json::json;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::runs::find_run;
use crate::cli::session::{Session, SkillArgs};
use crate::replay::{Diverged, ReplayOptions, ReplayReport};
use crate::report::human::thousands;
use crate::skills::SkillBytes;
use crate::trace::verify;

/// Runs a recorded run again without any effect: host calls are answered from the record, and everything is compared with it
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// A run: its id or the beginning of it, `last`, its folder, or a `trace_*.json` of the demo
    run: String,
    /// Takes another component than the recorded one: does it behave the same on the recorded answers?
    #[command(flatten)]
    skills: SkillArgs,
}

impl Replay {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        self.skills.check_names()?;
        let host = session.builder(&SkillArgs::default()).build();
        let run = find_run(host.store(), &self.run)?;
        // A trace that was changed is told as such, not as a divergence.
        let verified = verify::verify(run.path())?;
        let skills = self.skills.skills.iter().map(|(name, file)| (name.clone(), SkillBytes::File(file.clone())));
        let report = host.replay(&run, &ReplayOptions { skills: skills.collect() })?;
        let failure = report.divergence.as_ref().map(|diverged| diverged_error(diverged, run.id()));
        let text = if failure.is_none() { format!("{}\n", line(&report)) } else { String::new() };
        let result = json!({
            "run": run.id(),
            "steps": report.steps,
            "calls": report.calls,
            "divergences": u64::from(report.divergence.is_some()),
            "divergence": report.divergence.as_ref().map(|diverged| {
                json!({ "step": diverged.step, "seq": diverged.seq, "what": diverged.what })
            }),
        });
        Ok(Reply::new(text, result)
            .meta("run_id", run.id())
            .meta("trace_head", verified.head.to_string())
            .failure(failure))
    }
}

/// What a replay found, in one line that programs may look for.
pub(crate) fn line(report: &ReplayReport) -> String {
    let divergences = u64::from(report.divergence.is_some());
    format!("replayed {} steps, {} host calls, {divergences} divergences", report.steps, report.calls)
}

fn diverged_error(diverged: &Diverged, run: &str) -> Error {
    let step = diverged.step.as_ref().map(|step| format!(" in step `{step}`")).unwrap_or_default();
    let event = diverged.seq.map(|seq| format!(" at event {}", thousands(seq))).unwrap_or_default();
    let error = Error::new(Exit::Diverged, format!("the replay diverged{step}{event}: {}", diverged.what));
    error.hint(format!("`host trace show {run}` shows the recorded events")).detail("step", diverged.step.clone())
}
