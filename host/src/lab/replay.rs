//! What another policy would have said of recorded runs: for every step, and for everything that it touched. Nothing runs.
//!
//! What a run did under its own policy is taken for what it would do; a tool that gets another answer may go another way, and of that
//! nothing is known. So no finding means that the recorded run passes, not that every run does.

use std::fmt;

use http::{Method, Uri};
use serde_json::{Value, json};

use super::Recorded;
use super::usage::{Request, StepUsage, Touch};
use crate::guest_path;
use crate::id::{StepId, ToolName};
use crate::limits::{self, LimitKind, LimitsDocument, StepLimits};
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::network::{self, Target};
use crate::policy::place::with_places;
use crate::policy::{
    Access, Caller, Clocks, Decision, Demands, Exhausted, Grant, Policy, Preopen, Random, Spent, StepRequest,
    authorize, decide,
};
use crate::skill::Catalog;

/// What the other policy changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// What was done would be denied.
    Denies,
    /// What was denied would be allowed.
    Allows,
    /// It would be done, but to something else.
    Differs,
}

impl Change {
    /// The change's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denies => "denies",
            Self::Allows => "allows",
            Self::Differs => "differs",
        }
    }
}

/// One thing that would be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The run.
    pub run: String,
    /// The step.
    pub step: String,
    /// Its tool.
    pub tool: ToolName,
    /// The first event that is concerned; `None` where it is the step as a whole.
    pub seq: Option<u64>,
    /// What changes.
    pub change: Change,
    /// What was done or denied.
    pub what: String,
    /// Why it changes: lower case, no final period.
    pub why: String,
}

/// What a policy says of recorded runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The first [`limits::LAB_FINDINGS_MAX`], in the order of the runs and their steps.
    pub findings: Vec<Finding>,
    /// How many there are of each change, those that are not kept among them.
    pub denies: u64,
    /// See [`Self::denies`].
    pub allows: u64,
    /// See [`Self::denies`].
    pub differs: u64,
    /// Steps that were looked at.
    pub steps: u64,
    /// What could not be looked at.
    pub notes: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}, step `{}` ({}): {}: {}", self.run, self.step, self.tool, self.what, with_places(&self.why))
    }
}

impl Finding {
    /// The finding for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "run": self.run,
            "step": self.step,
            "tool": self.tool.to_string(),
            "seq": self.seq,
            "change": self.change.name(),
            "what": self.what,
            "why": self.why,
        })
    }
}

impl Comparison {
    fn push(&mut self, finding: Finding) {
        let count = match finding.change {
            Change::Denies => &mut self.denies,
            Change::Allows => &mut self.allows,
            Change::Differs => &mut self.differs,
        };
        *count += 1;
        if self.findings.len() < limits::LAB_FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Holds recorded runs against a policy.
#[must_use]
pub fn compare<'r>(runs: impl IntoIterator<Item = &'r Recorded>, policy: &Policy) -> Comparison {
    let mut comparison = Comparison::default();
    for run in runs {
        comparison.notes.extend(run.notes.iter().cloned());
        if run.usage.outcome == Some(RunOutcome::Refused) {
            comparison.notes.push(format!("run {}: it was refused before any policy was asked", run.run));
        }
        for (step, tool, reason) in &run.usage.denied {
            comparison.steps += 1;
            if allows(policy, (step, tool), run, None).is_ok() {
                let finding = finding(
                    run,
                    step.as_str(),
                    tool,
                    None,
                    Change::Allows,
                    "the step",
                    format!("denied was: {reason}"),
                );
                comparison.push(finding);
            }
        }
        for (step, tool) in run.unused_compensations() {
            if let Err(reason) = allows(policy, (step, tool), run, None) {
                let what = "what would take the step back";
                comparison.push(finding(run, step.as_str(), tool, None, Change::Denies, what, reason));
            }
        }
        let (mut spent, mut index) = (Spent::default(), 0);
        for step in &run.usage.steps {
            let mut asked = Asked { run, step, comparison: &mut comparison };
            asked.all(policy);
            // What was called from inside of a step is part of it.
            if step.depth > 0 {
                continue;
            }
            asked.budget(policy, index, &spent);
            spent.add(step.used.fuel, step.used.host_calls);
            comparison.steps += 1;
            index += 1;
        }
    }
    comparison
}

fn finding(
    run: &Recorded,
    step: &str,
    tool: &ToolName,
    seq: Option<u64>,
    change: Change,
    what: impl Into<String>,
    why: impl Into<String>,
) -> Finding {
    Finding {
        run: run.run.clone(),
        step: step.to_owned(),
        tool: tool.clone(),
        seq,
        change,
        what: what.into(),
        why: why.into(),
    }
}

/// The grant under which a step would run and why somebody would have to approve it, or why it would not run. Where the skill is not
/// known, neither its needs nor the rules are asked.
fn allows<'p>(
    policy: &'p Policy,
    (step, tool): (&StepId, &ToolName),
    run: &Recorded,
    input: Option<&Value>,
) -> Result<(usize, &'p Grant, Vec<String>), String> {
    let (index, grant) = match decide(policy, tool) {
        Decision::Deny { reason } => return Err(reason.text(policy, tool)),
        Decision::Allow { index, grant } => (index, grant),
    };
    let Some(skill) = run.skill(tool) else { return Ok((index, grant, Vec::new())) };
    let header = &run.usage.header;
    let input = |_: &StepId| input.cloned();
    let caller = Caller {
        principal: &header.principal,
        plan_name: &header.plan_name,
        plan: header.plan,
        has_approver: true,
        input: &input,
        catalog: &Catalog::new(),
        compensations: &[],
    };
    let limits = &LimitsDocument::NONE;
    let request = StepRequest { step, tool, limits, skill, demands: Demands::default() };
    match authorize(policy, &caller, [request]) {
        Err(denials) => Err(denials.into_iter().next().map(|denial| denial.reason).unwrap_or_default()),
        Ok(plan) => {
            let permission = plan.steps().first().and_then(|step| step.permission.clone()).unwrap_or_default();
            Ok((index, grant, permission.needs_approval))
        }
    }
}

/// The folder of a grant that a guest path lies in.
pub(super) fn folder_of<'g>(grant: &'g Grant, path: &str) -> Option<&'g Preopen> {
    grant.filesystem.iter().find(|preopen| guest_path::below(path, &preopen.guest).is_some())
}

/// Where a guest path lies on the host, as the policy writes it.
pub(super) fn host_path(preopen: &Preopen, path: &str) -> String {
    let host = preopen.host.trim_end_matches('/');
    match guest_path::below(path, &preopen.guest) {
        Some("") | None => host.to_owned(),
        Some(below) => format!("{host}/{below}"),
    }
}

/// The rule of a grant that allows a request, and the place that it is for. Addresses are looked at when it is sent, not here.
pub(super) fn permitted(grant: &Grant, request: &Request) -> Result<(usize, Target), String> {
    let method: Method = request.method.parse().map_err(|_| "its method is none".to_owned())?;
    let uri: Uri = request.url.parse().map_err(|_| "its url is none".to_owned())?;
    network::permit(&grant.network, &method, &uri).map_err(|refused| refused.to_string())
}

/// One step that is held against a policy.
struct Asked<'a> {
    run: &'a Recorded,
    step: &'a StepUsage,
    comparison: &'a mut Comparison,
}

impl Asked<'_> {
    fn say(&mut self, seq: Option<u64>, change: Change, what: impl Into<String>, why: impl Into<String>) {
        let StepUsage { step, tool, .. } = self.step;
        let finding = finding(self.run, step.as_str(), tool, seq, change, what, why);
        self.comparison.push(finding);
    }

    fn all(&mut self, policy: &Policy) {
        let StepUsage { step, tool, input, .. } = self.step;
        let (index, grant, needs_approval) = match allows(policy, (step, tool), self.run, Some(input)) {
            Ok(allowed) => allowed,
            Err(reason) => return self.say(None, Change::Denies, "the step", reason),
        };
        if !needs_approval.is_empty() && !self.step.approved {
            let why = format!("approval would be asked for ({})", needs_approval.join(", "));
            self.say(None, Change::Differs, "the step", why);
        }
        let run = self.run;
        let old = run.old_grant(self.step);
        for (path, touch) in &self.step.touched {
            self.path(index, grant, old, path, touch);
        }
        for (called, seq) in &self.step.calls {
            if !grant.calls.iter().any(|pattern| pattern.names(called)) {
                let why = format!("grant {index} does not list it in `calls`");
                self.say(Some(*seq), Change::Denies, format!("call of `{called}`"), why);
            }
        }
        self.requests(index, grant);
        let real = |grant: &Grant| (grant.clocks == Clocks::Real, grant.random == Random::Real);
        let (had, has) = (old.map_or((false, false), real), real(grant));
        for (used, had, has, what, key) in [
            (self.step.clocks, had.0, has.0, "real clocks", "clocks = \"real\""),
            (self.step.random, had.1, has.1, "real random bytes", "random = \"real\""),
        ] {
            if used > 0 && had && !has {
                self.say(None, Change::Denies, what, format!("grant {index} has no `{key}`"));
            } else if used > 0 && !had && has {
                self.say(None, Change::Differs, what, format!("grant {index} has `{key}`"));
            }
        }
        // What a program's own input gives is not the policy's.
        let granted = |name: &&String| old.is_none_or(|old| old.env.contains_key(*name));
        for name in self.step.env.iter().flatten().filter(granted) {
            if !grant.env.contains_key(name) {
                let what = format!("the environment variable `{name}`");
                self.say(None, Change::Denies, what, format!("grant {index} does not list it in `env`"));
            }
        }
        for key in self.step.config.iter().flatten().filter(|key| !grant.config.contains_key(*key)) {
            let what = format!("the setting `{key}`");
            self.say(None, Change::Denies, what, format!("grant {index} does not list it in `config`"));
        }
        self.limits(index, grant);
    }

    fn path(&mut self, index: usize, grant: &Grant, old: Option<&Grant>, path: &str, touch: &Touch) {
        let needed = touch.write.map(|seq| ("write", seq)).or(touch.read.map(|seq| ("read", seq)));
        let Some(preopen) = folder_of(grant, path) else {
            if let Some((verb, seq)) = needed {
                let why = format!("no folder of grant {index} holds it");
                self.say(Some(seq), Change::Denies, format!("{verb} {path}"), why);
            }
            return;
        };
        let may_write = preopen.access == Access::ReadWrite;
        match (touch.write, touch.refused) {
            (Some(seq), _) if !may_write => {
                let why = format!("grant {index} gives `{}` read-only", preopen.guest);
                self.say(Some(seq), Change::Denies, format!("write {path}"), why);
            }
            (None, Some(seq)) if may_write => {
                let why = format!("grant {index} gives `{}` read-write", preopen.guest);
                self.say(Some(seq), Change::Allows, format!("write {path}"), why);
            }
            _ => {}
        }
        if let (Some((verb, seq)), Some(was)) = (needed, old.and_then(|old| folder_of(old, path))) {
            let (was, is) = (host_path(was, path), host_path(preopen, path));
            if was != is {
                self.say(
                    Some(seq),
                    Change::Differs,
                    format!("{verb} {path}"),
                    format!("it is `{is}`, and was `{was}`"),
                );
            }
        }
    }

    fn requests(&mut self, index: usize, grant: &Grant) {
        for (request, answer) in &self.step.requests {
            let what = format!("{} {}", request.method, request.url);
            match (permitted(grant, request), &answer.denied) {
                (Err(why), None) => self.say(Some(answer.seq), Change::Denies, what, format!("grant {index}: {why}")),
                (Ok((rule, _)), Some(reason)) => {
                    let why = format!("rule {rule} of grant {index} allows it; denied was: {reason}");
                    self.say(Some(answer.seq), Change::Allows, what, why);
                }
                _ => {}
            }
        }
    }

    /// Whether the budget of the run lasts until here, and for this step.
    fn budget(&mut self, policy: &Policy, index: usize, spent: &Spent) {
        if let Some(amount) = policy.run.steps.filter(|amount| index as u64 >= *amount) {
            return self.say(None, Change::Denies, "the step", Exhausted { key: "steps", amount }.reason());
        }
        // No limit of its own, so that what is left is all that is asked for.
        match spent.limits(&policy.run, StepLimits::MAX) {
            Err(exhausted) => self.say(None, Change::Denies, "the step", exhausted.reason()),
            Ok(left) => {
                let used = [
                    ("fuel", self.step.used.fuel, left.fuel),
                    ("host_calls", Some(self.step.used.host_calls), left.host_calls),
                ];
                for (key, used, left) in used {
                    if let Some(used) = used.filter(|used| *used > left) {
                        self.say(
                            None,
                            Change::Denies,
                            format!("{key} {used}"),
                            format!("the run's budget of `{key}` leaves {left}"),
                        );
                    }
                }
            }
        }
    }

    fn limits(&mut self, index: usize, grant: &Grant) {
        // A plan's step may have lowered its own limits: what it was left is all that is compared with what it used.
        let allowed = grant.limits.entries();
        for (name, used) in self.step.used.entries() {
            let limit = allowed.iter().find(|(key, _)| *key == name).map(|(_, limit)| *limit);
            if let (Some(used), Some(limit)) = (used, limit)
                && used > limit
            {
                self.say(None, Change::Denies, format!("{name} {used}"), format!("grant {index} allows {limit}"));
            }
        }
        if let Some(Outcome::LimitExceeded { limit, allowed: was, .. }) = &self.step.outcome {
            let is = allowed.iter().find(|(key, _)| *key == limit.name()).map(|(_, limit)| *limit);
            if let Some(is) = is
                && is > *was
                && limit.is_policy_key()
            {
                let why = format!("grant {index} allows {is}, and it ended at {was}");
                self.say(None, Change::Allows, format!("more {}", LimitKind::name(*limit)), why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
