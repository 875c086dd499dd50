//! From a request to a plan of one step, and from what became of it to an answer.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::context::RequestContext;
use crate::host::{Error, Keep, RunOptions, SkillHost};
use crate::id::ToolName;
use crate::limits::LimitKind;
use crate::outcome::{Outcome, RunOutcome};
use crate::plan::one_call;
use crate::policy::network::Scheme;
use crate::policy::{Decision, Denial, Grant, Why, decide};
use crate::problem::Problem;
use crate::protocol::code::Detail;
use crate::protocol::request::{Action, Request, add_legacy_context};
use crate::protocol::response::{Facts, Failure};
use crate::report::{Report, StepReport, json as report_json};
use crate::sandbox::{CancelToken, SandboxError};
use crate::skill::{Skill, Tool};
use crate::skills::is_load_problem;
use crate::types::Ty;

/// What an answer is made of.
pub(super) type Answered = (Result<Value, Box<Failure>>, Facts);

/// Calls what a request names.
pub(super) fn invoke(host: &SkillHost, request: &mut Request, keep: Keep, cancel: &CancelToken) -> Answered {
    match call(host, request, keep, cancel) {
        Ok(answered) => answered,
        Err(failure) => (Err(failure), Facts::default()),
    }
}

fn call(host: &SkillHost, request: &mut Request, keep: Keep, cancel: &CancelToken) -> Result<Answered, Box<Failure>> {
    if let Some(kind) = request.kind.as_deref().filter(|kind| *kind != "tool") {
        let what = request.handler.as_deref().unwrap_or_default();
        return Err(failed(Detail::HandlerNotFound, format!("there is no export `{what}` of kind `{kind}`")));
    }
    let Some(handler) = request.handler.clone() else {
        let failure = Failure::new(Detail::RequestInvalid, "the request says not what is to be called");
        return Err(Box::new(failure.hint("give `handler`, such as `text.split`")));
    };
    let Ok(name) = handler.parse::<ToolName>() else {
        return Err(failed(
            Detail::HandlerNotFound,
            format!("there is no tool `{handler}`: its name would be `skill.tool`"),
        ));
    };
    let skill = match host.known_skill(name.skill()) {
        None => return Err(failed(Detail::SkillNotFound, format!("there is no skill `{}`", name.skill()))),
        Some(Err(error)) => return Err(of_sandbox(&error)),
        Some(Ok(skill)) => skill,
    };
    let Some(tool) = skill.tool(name.function()) else {
        return Err(failed(
            Detail::HandlerNotFound,
            format!("the skill `{}` has no tool `{}`", name.skill(), name.function()),
        ));
    };
    may_have(host, request, &name)?;
    let input = input(request, tool);
    if !input.is_object() {
        let failure = Failure::new(Detail::ParamInvalid, "the event is not an object");
        return Err(Box::new(failure.hint("give an object with a member for each parameter")));
    }
    let document = one_call::document(&name, input, Some(request.timeout_ms));
    let context = RequestContext { timeout_ms: Some(request.timeout_ms), ..request.context.clone() };
    let options =
        RunOptions { keep, request: Some(Arc::new(context)), cancel: cancel.clone(), ..RunOptions::default() };
    let report = host.run(&document, &options).map_err(|error| of_host(&error))?;
    Ok(answered(&name, &skill, report))
}

fn failed(detail: Detail, message: String) -> Box<Failure> {
    Box::new(Failure::new(detail, message))
}

/// What the tool is given. A tool whose parameters are `event`, or `event` and `context`, is given both whole; any other one the members of
/// the event.
fn input(request: &mut Request, tool: &Tool) -> Value {
    let has = |name: &str| tool.params.iter().any(|(param, _)| param == name);
    let mut event = request.event.take().filter(|event| !event.is_null()).unwrap_or_else(|| json!({}));
    if request.legacy
        && !has("ctx")
        && let Some(ctx) = event.as_object_mut().and_then(|members| members.remove("ctx"))
    {
        add_legacy_context(&mut request.context, &ctx);
    }
    let is_event = |(param, _): &(String, Ty)| param == "event" || param == "context";
    if request.action != Action::Execute || !has("event") || !tool.params.iter().all(is_event) {
        return event;
    }
    let given = |(param, ty): &(String, Ty)| {
        let value = if param == "event" { event.clone() } else { json!(request.context) };
        let value = match ty {
            Ty::String if !value.is_string() => json!(crate::canonical::to_string(&value)),
            _ => value,
        };
        (param.clone(), value)
    };
    tool.params.iter().map(given).collect::<Map<String, Value>>().into()
}

/// Whether the request lets the tool have what it is granted.
fn may_have(host: &SkillHost, request: &Request, tool: &ToolName) -> Result<(), Box<Failure>> {
    let Some(capabilities) = &request.capabilities else { return Ok(()) };
    let says = |key: &str| capabilities.get(key).and_then(Value::as_bool);
    for key in ["subprocess", "ctypes", "signal", "resource"] {
        if says(key) == Some(true) {
            return Err(failed(Detail::CapabilityDenied, format!("no component has the capability `{key}`")));
        }
    }
    let Decision::Allow { grant: Grant { network, .. }, .. } = decide(&host.policy.policy, tool) else { return Ok(()) };
    if network.is_empty() {
        return Ok(());
    }
    let denied = if says("network") != Some(true) {
        "is granted a network, and the request does not let it have one"
    } else if says("outbound_https_only") != Some(false) && network.iter().any(|rule| rule.scheme != Scheme::Https) {
        "is granted a network without TLS, and the request does not let it have one"
    } else {
        return Ok(());
    };
    Err(failed(Detail::CapabilityDenied, format!("`{tool}` {denied}")))
}

fn answered(tool: &ToolName, skill: &Skill, mut report: Report) -> Answered {
    let facts = Facts {
        fuel: report.cost().fuel,
        host_calls: report.cost().calls,
        logs: report.steps.iter_mut().flat_map(|step| std::mem::take(&mut step.logs)).collect(),
        tool: Some(tool.to_string()),
        trace_head: Some(report.head),
        run: report.is_kept().then(|| report.run.clone()),
        warnings: std::mem::take(&mut report.warnings),
    };
    let result = match report.outcome {
        RunOutcome::Completed => Ok(std::mem::take(&mut report.output)),
        _ => Err(Box::new(failure(tool, skill, &report))),
    };
    (result, facts)
}

/// Why a run did not complete.
fn failure(tool: &ToolName, skill: &Skill, report: &Report) -> Failure {
    match report.outcome {
        RunOutcome::Refused => {
            let problems = report.problems.iter().cloned().map(|problem| one_call::of_the_call(problem, tool));
            of_problems(&problems.collect::<Vec<_>>())
        }
        RunOutcome::Denied => of_denials(&report.denials),
        RunOutcome::Paused => {
            let needed = report.pending.as_ref().map(|pending| pending.needs_approval.clone()).unwrap_or_default();
            let run = &report.run;
            Failure::new(Detail::ApprovalRequired, format!("`{tool}` waits for approval"))
                .hint(format!(
                    "`host approve {run} --by NAME` lets it run and goes on; `host reject {run} --by NAME` ends it"
                ))
                .with("needs_approval", json!(needed))
                .with("run", run.as_str())
        }
        _ => match report.failed_step() {
            Some(step) => of_step(tool, skill, step),
            None => Failure::new(Detail::Cancelled, "it was cancelled"),
        },
    }
}

fn of_problems(problems: &[Problem]) -> Failure {
    let all = |is: &dyn Fn(&Problem) -> bool| !problems.is_empty() && problems.iter().all(is);
    let detail = if all(&|problem| problem.code == "import-not-provided") {
        Detail::ImportNotProvided
    } else if all(&|problem| problem.code == "unknown-tool") {
        Detail::HandlerNotFound
    } else if problems.iter().any(is_load_problem) {
        Detail::SkillInvalid
    } else if all(&|problem| !problem.pointer.starts_with("/steps") && problem.code != "bad-template") {
        Detail::ParamInvalid
    } else {
        Detail::RequestInvalid
    };
    Failure::of_problems(detail, problems)
}

fn of_denials(denials: &[Denial]) -> Failure {
    let Some(first) = denials.first() else {
        return Failure::new(Detail::PolicyDenied, "the policy does not allow it");
    };
    let detail = match first.why {
        Why::Rejected => Detail::ApprovalRejected,
        _ => Detail::PolicyDenied,
    };
    let message = format!("`{}` is denied: {}", first.tool, first.reason);
    let denials: Vec<Value> = denials.iter().map(report_json::denial).collect();
    Failure::new(detail, message).hint(first.hint.clone()).with("denials", denials)
}

fn of_step(tool: &ToolName, skill: &Skill, step: &StepReport) -> Failure {
    let Some(outcome) = &step.outcome else { return Failure::new(Detail::Internal, "a step did not run") };
    let place = |backtrace: &[String]| json!({ "skill": tool.skill(), "component": skill.digest, "export": tool.function(), "function": backtrace.first() });
    match outcome {
        Outcome::Completed { .. } => Failure::new(Detail::Internal, format!("`{tool}` completed")),
        Outcome::Failed { error } => {
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            let said = match (error, text("code"), text("message")) {
                (Value::String(text), ..) => text.clone(),
                (_, Some(code), Some(message)) => format!("{code}: {message}"),
                (_, _, Some(message)) => message.to_owned(),
                _ => crate::canonical::to_string(error),
            };
            Failure::new(Detail::SkillError, format!("`{tool}` failed: {said}"))
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

fn of_sandbox(error: &SandboxError) -> Box<Failure> {
    let detail = match error {
        SandboxError::Unreadable { .. } | SandboxError::Load { .. } | SandboxError::Link { .. } => Detail::SkillInvalid,
        SandboxError::NotGranted { .. } => Detail::PolicyDenied,
        SandboxError::Directory { .. } => Detail::PolicyInvalid,
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
        Error::Policy(problems) => return Box::new(Failure::of_problems(Detail::PolicyInvalid, problems)),
        Error::Resolve(problem) => {
            return Box::new(Failure::of_problems(Detail::ParamInvalid, std::slice::from_ref(problem)));
        }
        Error::Trace(_) | Error::Store(_) | Error::Journal(_) | Error::Workspace { .. } | Error::Scratch(_) => {
            Detail::StateError
        }
        _ => Detail::Internal,
    };
    failed(detail, error.to_string())
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
