//! `host replay`.

use serde_json::json;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::runs::find_run;
use crate::cli::session::{Session, SkillArgs};
use crate::limits::StepLimits;
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
    /// The most that a step may use where RUN is a folder that is not one of your runs, such as `fuel=5000000000`; may be given several
    /// times [default: the limits that hold where a policy says none]
    #[arg(long = "limit", value_name = "NAME=N", value_parser = limit_pair)]
    limits: Vec<(String, u64)>,
}

fn limit_pair(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=N, such as `fuel=5000000000`")?;
    let value = value.replace('_', "").parse().map_err(|_| format!("`{value}` is no number"))?;
    if StepLimits::DEFAULT.with(name, value).is_none() {
        let names = StepLimits::DEFAULT.entries().map(|(name, _)| name).join(", ");
        return Err(format!("there is no limit `{name}`; there are {names}"));
    }
    Ok((name.to_owned(), value))
}

impl Replay {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        self.skills.check_names()?;
        let host = session.builder(&SkillArgs::default()).build();
        let run = find_run(host.store(), &self.run)?;
        // A trace that was changed is told as such, not as a divergence.
        let verified = verify::verify(run.path())?;
        let skills = self.skills.skills.iter().map(|(name, file)| (name.clone(), SkillBytes::File(file.clone())));
        let ceiling = (!session.has_run(&run)).then(|| self.ceiling());
        let report = host.replay(&run, &ReplayOptions { skills: skills.collect(), ceiling })?;
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

impl Replay {
    /// What a stranger's record may cost.
    fn ceiling(&self) -> StepLimits {
        let given = self.limits.iter();
        given.fold(StepLimits::DEFAULT, |limits, (name, value)| limits.with(name, *value).unwrap_or(limits))
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
