//! A report as JSON for programs: the `result` of `host run --json`.

use serde_json::{Map, Value, json};

use crate::diff::{Change, Node};
use crate::id::{Digest, SkillName};
use crate::outcome::{Failure, Outcome};
use crate::policy::{Denial, Missing};
use crate::report::{DryRun, Rehearsed, Report, StepReport};
use crate::skill::SkillOrigin;

/// The report of a run. Members that say nothing (`problems` of a plan that was not refused) are left out.
#[must_use]
pub fn report(report: &Report) -> Value {
    let mut out = Map::new();
    if report.is_kept() {
        out.insert("run".to_owned(), json!(report.run));
    }
    out.insert("plan".to_owned(), json!(report.plan));
    if let Some(snapshot) = report.snapshot {
        out.insert("snapshot_id".to_owned(), json!(snapshot));
    }
    let skill = |(name, origin, digest): &(SkillName, SkillOrigin, Digest)| json!({ "name": name, "origin": origin.name(), "sha256": digest.to_string() });
    out.insert("skills".to_owned(), report.skills.iter().map(skill).collect());
    if let Some(policy) = &report.policy {
        out.insert("policy".to_owned(), policy.to_json());
    }
    if !report.tags.is_empty() {
        out.insert("tags".to_owned(), json!(report.tags));
    }
    out.insert("outcome".to_owned(), json!(report.outcome.name()));
    out.insert("output".to_owned(), report.output.clone());
    out.insert("steps".to_owned(), report.steps.iter().map(|one| step(one, report)).collect());
    if !report.problems.is_empty() {
        out.insert("problems".to_owned(), json!(report.problems));
    }
    if !report.denials.is_empty() {
        out.insert("denials".to_owned(), report.denials.iter().map(denial).collect());
    }
    let cost = report.cost();
    if cost.reused > 0 {
        out.insert(
            "cost".to_owned(),
            json!({
                "executed": { "fuel": cost.fuel, "calls": cost.calls },
                "saved": { "fuel": cost.saved_fuel, "calls": cost.saved_calls, "steps": cost.reused },
            }),
        );
    }
    if let Some(pending) = &report.pending {
        out.insert(
            "pending".to_owned(),
            json!({
                "step": pending.step.as_str(),
                "tool": pending.tool.to_string(),
                "needs_approval": pending.needs_approval,
                "subject": pending.subject.to_string(),
                "message": pending.message,
            }),
        );
    }
    if let Some(Failure { code, message, pointer, is_of_host, .. }) = &report.failure {
        let pointer = Some(pointer).filter(|pointer| !pointer.is_empty());
        let failure = json!({ "code": code, "message": message, "pointer": pointer, "host": is_of_host });
        out.insert("failure".to_owned(), failure);
    }
    if let Some(rollback) = &report.rollback {
        out.insert("rollback".to_owned(), json!({ "because": rollback.because, "left": rollback.left }));
    }
    if report.log_only {
        out.insert("log_only".to_owned(), json!(true));
        out.insert("would_deny".to_owned(), report.would_deny.iter().map(denial).collect());
    }
    if let Some(rehearsed) = &report.dry_run {
        dry_run(rehearsed, &mut out);
    } else {
        let trace = json!({
            "folder": report.folder.display().to_string(),
            "events": report.events,
            "head": report.head.to_string(),
        });
        out.insert("trace".to_owned(), trace);
    }
    let phases = report.phases.iter().map(|(name, us)| json!({ "phase": name, "duration_us": us }));
    out.insert("phases".to_owned(), phases.collect());
    if !report.warnings.is_empty() {
        out.insert("warnings".to_owned(), json!(report.warnings));
    }
    Value::Object(out)
}

/// What a dry run has found out.
fn dry_run(dry_run: &DryRun, out: &mut Map<String, Value>) {
    let DryRun { approvals, network, changes } = dry_run;
    out.insert("dry_run".to_owned(), json!(true));
    let approval = |one: &Rehearsed| json!({ "step": one.step.as_str(), "needs_approval": one.needs_approval });
    out.insert("needs_approval".to_owned(), approvals.iter().map(approval).collect());
    out.insert("without_network".to_owned(), network.iter().map(|step| json!(step.as_str())).collect());
    out.insert("changes".to_owned(), changes.list.iter().map(change).collect());
    if changes.more > 0 {
        out.insert("more_changes".to_owned(), json!(changes.more));
    }
    if !changes.notices.is_empty() {
        out.insert("notices".to_owned(), json!(changes.notices));
    }
}

fn change(change: &Change) -> Value {
    let mut out = Map::new();
    out.insert("path".to_owned(), json!(change.path));
    out.insert("change".to_owned(), json!(change.what.name()));
    if let Some(node) = change.after.as_ref().or(change.before.as_ref()) {
        out.insert("kind".to_owned(), json!(node.kind.name()));
    }
    let mode = |node: &Option<Node>| node.as_ref().map(|node| format!("{:04o}", node.mode));
    if let (Some(before), Some(after)) = (mode(&change.before), mode(&change.after))
        && before != after
    {
        out.insert("mode".to_owned(), json!({ "before": before, "after": after }));
    }
    out.insert("diff".to_owned(), json!(change.diff));
    Value::Object(out)
}

fn step(step: &StepReport, report: &Report) -> Value {
    let mut out = Map::new();
    out.insert("id".to_owned(), json!(step.id.as_str()));
    out.insert("tool".to_owned(), json!(step.tool.to_string()));
    let Some(ended) = &step.outcome else {
        let outcome = match &step.skipped {
            Some(reason) => {
                out.insert("reason".to_owned(), json!(reason));
                "skipped"
            }
            None if step.awaits_approval => "awaits-approval",
            None if report.denies(step) => "denied",
            None => "not-run",
        };
        out.insert("outcome".to_owned(), json!(outcome));
        return Value::Object(out);
    };
    out.append(&mut outcome(ended));
    if step.attempts > 1 {
        out.insert("attempts".to_owned(), json!(step.attempts));
    }
    if let Some(saved) = &step.reused {
        out.insert("reused".to_owned(), json!({ "fuel": saved.fuel, "calls": saved.calls }));
    }
    if let Some(why) = &step.ran_again {
        out.insert("ran_again".to_owned(), json!(why));
    }
    if step.undone {
        out.insert("undone".to_owned(), json!(true));
    }
    out.insert("calls".to_owned(), json!(step.calls));
    out.insert("fuel".to_owned(), json!(step.fuel));
    out.insert("memory_bytes".to_owned(), json!(step.memory_bytes));
    out.insert("duration_us".to_owned(), json!(step.duration_us));
    if !step.stderr.is_empty() {
        out.insert("stderr".to_owned(), json!(step.stderr));
    }
    Value::Object(out)
}

/// How a step ended: `outcome`, and what belongs to that outcome.
#[must_use]
pub fn outcome(outcome: &Outcome) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    put("outcome", json!(outcome.name()));
    match outcome {
        Outcome::Completed { output } => put("output", output.clone()),
        Outcome::Failed { error } => put("error", error.clone()),
        Outcome::Trapped { message, backtrace } => {
            put("message", json!(message));
            put("backtrace", json!(backtrace));
        }
        Outcome::LimitExceeded { limit, allowed, backtrace } => {
            put("limit", json!(limit.name()));
            put("allowed", json!(allowed));
            put("backtrace", json!(backtrace));
        }
        Outcome::Conflict { path, with } => {
            put("path", json!(path));
            put("with", json!(with));
        }
        Outcome::Cancelled => {}
    }
    out
}

/// A denial.
#[must_use]
pub fn denial(denial: &Denial) -> Value {
    json!({
        "step": denial.step.as_str(),
        "tool": denial.tool.to_string(),
        "why": denial.why.name(),
        "rules": denial.rules,
        "needs_approval": denial.needs_approval,
        "reason": denial.reason,
        "hint": denial.hint,
        "missing": denial.missing.iter().map(Missing::to_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use crate::limits::LimitKind;
    use crate::outcome::RunOutcome;
    use crate::problem::Problem;

    fn sample() -> Report {
        let base = StepReport {
            outcome: Some(Outcome::Completed { output: json!("x") }),
            calls: 2,
            fuel: Some(3),
            memory_bytes: 4,
            duration_us: 5,
            instantiate_us: 0,
            ..StepReport::of("a".parse().unwrap(), "files.read-text".parse().unwrap())
        };
        let limit = Outcome::LimitExceeded { limit: LimitKind::Fuel, allowed: 9, backtrace: vec!["f".to_owned()] };
        let steps = vec![
            base.clone(),
            StepReport { id: "b".parse().unwrap(), outcome: Some(limit), stderr: "e\n".to_owned(), ..base.clone() },
            StepReport { id: "c".parse().unwrap(), outcome: None, ..base },
        ];
        Report {
            run: "r".to_owned(),
            folder: "runs/r".into(),
            plan: "p".to_owned(),
            snapshot: None,
            skills: Vec::new(),
            policy: None,
            tags: vec!["soc2".to_owned()],
            outcome: RunOutcome::Failed,
            output: Value::Null,
            steps,
            problems: Vec::new(),
            denials: Vec::new(),
            log_only: false,
            would_deny: Vec::new(),
            pending: None,
            rollback: None,
            failure: None,
            dry_run: None,
            head: Digest::of(b""),
            events: 7,
            phases: vec![("store", 1)],
            parts: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn each_outcome_brings_what_belongs_to_it() {
        let value = report(&sample());
        assert_eq!(
            value["steps"][0],
            json!({"id": "a", "tool": "files.read-text", "outcome": "completed", "output": "x", "calls": 2, "fuel": 3, "memory_bytes": 4, "duration_us": 5})
        );
        assert_eq!(value["steps"][1]["limit"], "fuel");
        assert_eq!(value["steps"][1]["allowed"], 9);
        assert_eq!(value["steps"][1]["stderr"], "e\n");
        assert_eq!(value["steps"][2], json!({"id": "c", "tool": "files.read-text", "outcome": "not-run"}));
        assert_eq!(value["trace"]["events"], 7);
        assert!(value.get("problems").is_none() && value.get("denials").is_none() && value.get("warnings").is_none());
    }

    #[test]
    fn problems_and_denials_are_told_with_their_hints() {
        let mut given = sample();
        given.problems.push(Problem::new("missing-param", "/steps/0/input/x", "m").with_hint("h"));
        given.denials.push(Denial {
            step: "a".parse().unwrap(),
            tool: "files.remove".parse().unwrap(),
            why: crate::policy::Why::Forbidden,
            rules: vec!["no".to_owned()],
            needs_approval: Vec::new(),
            reason: "r".to_owned(),
            hint: "h".to_owned(),
            missing: Vec::new(),
        });
        let value = report(&given);
        assert_eq!(value["problems"][0]["hint"], "h");
        assert_eq!(
            value["denials"],
            json!([{
                "step": "a", "tool": "files.remove", "why": "forbidden", "rules": ["no"], "needs_approval": [],
                "reason": "r", "hint": "h", "missing": [],
            }])
        );
        assert_eq!(
            (&value["steps"][0]["outcome"], &value["steps"][2]["outcome"]),
            (&json!("completed"), &json!("not-run"))
        );
        given.denials[0].step = "c".parse().unwrap();
        assert_eq!(report(&given)["steps"][2]["outcome"], "denied");
    }
}
