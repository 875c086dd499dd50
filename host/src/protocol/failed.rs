//! From what went wrong to the failure of an answer: which row of the table it is, where it happened and what to do.

use serde_json::{Value, json};

use crate::canonical;
use crate::host::{Error, SkillHost};
use crate::id::{Digest, SkillName};
use crate::limits::LimitKind;
use crate::outcome::{self, Outcome, RunOutcome};
use crate::plan::one_call;
use crate::policy::{Denial, Why};
use crate::problem::{Problem, pointer_to, suggestion};
use crate::protocol::code::Detail;
use crate::protocol::event_fault::of_the_event;
use crate::protocol::invoke::Call;
use crate::protocol::response::Failure;
use crate::report::{Report, StepReport, json as report_json};
use crate::sandbox::SandboxError;
use crate::sandbox::component::LoadError;
use crate::skill::own;
use crate::skills::pins::UNPINNED;
use crate::skills::{SkillBytes, is_load_problem, manifest_file};
use crate::types::one_of;

/// Why a run did not complete.
pub(super) fn failure(host: &SkillHost, call: &Call, report: &Report) -> Failure {
    let name = &call.name;
    match report.outcome {
        RunOutcome::Refused => match &call.tool {
            Some((tool, _)) => {
                let tool = tool.to_string();
                let problems = report.problems.iter().cloned().map(|problem| one_call::of_the_call(problem, &tool));
                of_problems(&problems.collect::<Vec<_>>(), Detail::RequestInvalid)
            }
            None => match of_the_event(host, call, &report.problems) {
                Some(problems) => Failure::of_problems(Detail::ParamInvalid, &problems),
                None => {
                    let failure = of_problems(&report.problems, Detail::PlanInvalid);
                    let file = call.file.as_ref().map(|file| file.display().to_string());
                    failure.with("document", json!(file))
                }
            },
        },
        RunOutcome::Denied => of_denials(&report.denials),
        RunOutcome::Paused => {
            let needed = report.pending.as_ref().map(|pending| pending.needs_approval.clone()).unwrap_or_default();
            let run = &report.run;
            Failure::new(Detail::ApprovalRequired, format!("`{name}` waits for approval"))
                .hint(format!(
                    "`host approve {run} --by NAME` lets it run and goes on; `host reject {run} --by NAME` ends it"
                ))
                .with("needs_approval", json!(needed))
                .with("run", run.as_str())
        }
        _ => {
            let failure = match report.failed_step() {
                _ if report.failure.is_some() => of_failure(report.failure.as_ref()),
                Some(step) => of_step(host, call, step),
                None if !report.denials.is_empty() => of_denials(&report.denials),
                None => Failure::new(Detail::Cancelled, format!("`{name}` was cancelled")),
            };
            let Some(rollback) = &report.rollback else { return failure };
            let told = json!({ "because": rollback.because, "left": rollback.left });
            let failure = failure.with("rollback", told);
            if report.outcome == RunOutcome::RollbackIncomplete { not_taken_back(failure, report) } else { failure }
        }
    }
}

/// The failure of a run that could not be taken back: what made it fail is told as before, but what is left of it matters more.
fn not_taken_back(failure: Failure, report: &Report) -> Failure {
    let detail = Detail::RollbackIncomplete;
    let message = format!("{}; not all of what was done before could be taken back", failure.message);
    let hint = if report.is_kept() {
        format!(
            "`error.details.rollback.left` is left to do by hand, or mend what is in the way: `host rollback {}` then does the rest",
            report.run
        )
    } else {
        detail.meaning().hint.to_owned()
    };
    Failure { detail, message, hint, ..failure }
}

fn of_problems(problems: &[Problem], otherwise: Detail) -> Failure {
    let all = |is: &dyn Fn(&Problem) -> bool| !problems.is_empty() && problems.iter().all(is);
    let detail = if all(&|problem| problem.code == "import-not-provided") {
        Detail::ImportNotProvided
    } else if all(&|problem| problem.code == UNPINNED) {
        Detail::BundleInvalid
    } else if all(&|problem| problem.code == "unknown-tool") {
        Detail::HandlerNotFound
    } else if problems.iter().any(is_load_problem) {
        Detail::SkillInvalid
    } else if otherwise == Detail::RequestInvalid
        && all(&|problem| !problem.pointer.starts_with("/steps") && problem.code != "bad-template")
        || all(&|problem| problem.code == "unknown-input" || problem.pointer.starts_with("/inputs"))
    {
        Detail::ParamInvalid
    } else {
        otherwise
    };
    Failure::of_problems(detail, problems)
}

fn of_denials(denials: &[Denial]) -> Failure {
    let Some(first) = denials.first() else {
        return Failure::new(Detail::PolicyDenied, "the policy does not allow it");
    };
    let detail = match first.why {
        Why::Budget => Detail::BudgetExceeded,
        Why::Rejected => Detail::ApprovalRejected,
        _ => Detail::PolicyDenied,
    };
    let message = format!("`{}` is denied: {}", first.tool, first.reason);
    let denials: Vec<Value> = denials.iter().map(report_json::denial).collect();
    Failure::new(detail, message).hint(first.hint.clone()).with("denials", denials)
}

/// The host could not go on.
fn of_failure(failure: Option<&outcome::Failure>) -> Failure {
    let Some(failure) = failure else { return Failure::new(Detail::Internal, "the run failed") };
    let detail = match failure.code.as_str() {
        _ if !failure.is_of_host => Detail::ParamInvalid,
        "directory" => Detail::PolicyInvalid,
        "skill" => Detail::SkillInvalid,
        "journal" | "in-use" | "scratch" => Detail::StateError,
        _ => Detail::Internal,
    };
    let told = Failure::new(detail, failure.told().to_owned()).hint_of(failure.hint.clone());
    if failure.pointer.is_empty() { told } else { told.with("pointer", failure.pointer.as_str()) }
}

fn of_step(host: &SkillHost, call: &Call, step: &StepReport) -> Failure {
    let tool = &step.tool;
    let Some(outcome) = &step.outcome else { return Failure::new(Detail::Internal, "a step did not run") };
    let place = |backtrace: &[String]| {
        json!({
            "step": call.tool.is_none().then_some(&step.id),
            "skill": tool.skill(),
            "component": component(host, call, step),
            "export": tool.function(),
            "function": backtrace.first(),
        })
    };
    match outcome {
        Outcome::Completed { .. } => Failure::new(Detail::Internal, format!("`{tool}` completed")),
        Outcome::Failed { error } => {
            let drifted = step.drifted;
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            let said = match (error, text("code"), text("message")) {
                (Value::String(text), ..) => text.clone(),
                (_, Some(code), Some(message)) => format!("{code}: {message}"),
                (_, _, Some(message)) => message.to_owned(),
                _ => canonical::to_string(error),
            };
            let detail = if drifted { Detail::OutputDrift } else { Detail::SkillError };
            Failure::new(detail, format!("`{tool}` failed: {said}"))
                .with("exception_type", "error")
                .with("error", error.clone())
                .with("location", place(&[]))
        }
        Outcome::Trapped { message, backtrace } => {
            let message = message.trim_start_matches("wasm trap: ");
            let mut failure = Failure::new(Detail::Trap, format!("`{tool}` trapped: {message}"))
                .with("exception_type", "trap")
                .with("location", place(backtrace))
                .with("traceback", json!(backtrace));
            if !step.stderr.is_empty() {
                failure = failure.with("stderr", step.stderr.as_str());
            }
            failure
        }
        Outcome::LimitExceeded { limit, allowed, backtrace } => {
            Failure::new(of_limit(*limit), format!("`{tool}` exceeded its limit `{}` of {allowed}", limit.name()))
                .with("exception_type", "limit-exceeded")
                .with("limit", limit.name())
                .with("allowed", *allowed)
                .with("location", place(backtrace))
                .with("traceback", json!(backtrace))
        }
        Outcome::Conflict { path, with } => {
            Failure::new(Detail::SkillError, format!("`{tool}` touched `{path}`, which `{with}` touches as well"))
        }
        Outcome::Cancelled => Failure::new(Detail::Cancelled, format!("`{tool}` was cancelled")),
    }
}

/// The digest of the component that has the tool of a step. A report does not say it: the plan is looked at once more, as it was run.
fn component(host: &SkillHost, call: &Call, step: &StepReport) -> Option<Digest> {
    let name = step.tool.skill();
    match &call.tool {
        _ if own::is_own(name) => None,
        Some((_, loaded)) => Some(loaded.skill.digest),
        None => {
            let checked = host.check_with(&call.document, &call.inputs).ok()?.ok()?;
            checked.catalog.get(name).map(|skill| skill.digest)
        }
    }
}

const fn of_limit(limit: LimitKind) -> Detail {
    match limit {
        LimitKind::Fuel => Detail::FuelExhausted,
        LimitKind::Deadline | LimitKind::RunDeadline => Detail::Deadline,
        LimitKind::Memory => Detail::MemoryLimit,
        LimitKind::Output | LimitKind::Stdio => Detail::OutputLimit,
        LimitKind::HostCalls | LimitKind::Trace => Detail::EventsLimit,
        _ => Detail::OtherLimit,
    }
}

/// Why a skill cannot be used, with the file that it is in: a line is no place without it.
pub(super) fn of_skill(host: &SkillHost, name: &SkillName, error: &SandboxError) -> Box<Failure> {
    let failure = of_sandbox(error);
    let Some(SkillBytes::File(file)) = host.skills.get(name) else { return failure };
    let about_manifest = matches!(error, SandboxError::Load { source: LoadError::Metadata { .. }, .. });
    let file = if about_manifest { manifest_file(file).unwrap_or_else(|| file.clone()) } else { file.clone() };
    let shown = file.display().to_string();
    let message = if failure.message.contains(&shown) {
        failure.message.clone()
    } else {
        format!("`{shown}`: {}", failure.message)
    };
    Box::new(Failure { message, ..*failure }.with("document", shown))
}

fn of_sandbox(error: &SandboxError) -> Box<Failure> {
    let detail = match error {
        SandboxError::Unreadable { .. } | SandboxError::Load { .. } | SandboxError::Link { .. } => Detail::SkillInvalid,
        SandboxError::NotGranted { .. } => Detail::PolicyDenied,
        SandboxError::Directory { .. }
        | SandboxError::LinkedDirectory { .. }
        | SandboxError::LinkedWorkspace { .. }
        | SandboxError::OwnDirectory { .. } => Detail::PolicyInvalid,
        SandboxError::Input { .. } => Detail::ParamInvalid,
        SandboxError::Trace(_) | SandboxError::Journal(_) => Detail::StateError,
        SandboxError::Engine { .. } | SandboxError::Exhausted { .. } => Detail::Internal,
    };
    Box::new(Failure::new(detail, error.to_string()).hint_of(error.hint()))
}

/// Why the host could not run it.
pub(super) fn of_host(error: &Error) -> Box<Failure> {
    let detail = match error {
        Error::Sandbox(error) => return of_sandbox(error),
        Error::Bundle(error) => return Box::new(Failure::of_bundle(error)),
        Error::Policy(problems) => return Box::new(Failure::of_problems(Detail::PolicyInvalid, problems)),
        Error::Resolve(problem) => {
            return Box::new(Failure::of_problems(Detail::ParamInvalid, std::slice::from_ref(problem)));
        }
        Error::NotTaken { name, taken } => return Box::new(not_taken(error, name, taken)),
        Error::Trace(_) | Error::Store(_) | Error::Journal(_) | Error::Workspace { .. } | Error::Scratch(_) => {
            Detail::StateError
        }
        _ => Detail::Internal,
    };
    Box::new(Failure::new(detail, error.to_string()))
}

fn not_taken(error: &Error, name: &str, taken: &[String]) -> Failure {
    let names = || taken.iter().map(String::as_str);
    let hint = match suggestion(name, names()) {
        Some(hint) => hint,
        None if taken.is_empty() => "a grant takes one by `env = { NAME = { request = \"NAME\" } }`".to_owned(),
        None => one_of("taken are", names()),
    };
    let pointer = pointer_to("/meta/env", name);
    Failure::new(Detail::CapabilityDenied, error.to_string()).hint(hint).with("pointer", pointer)
}

impl Failure {
    /// The same with another hint where there is one.
    pub(super) fn hint_of(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}
