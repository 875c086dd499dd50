//! From a request to a plan of one step, and from what became of it to an answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::bundle::{Bundle, Kind};
use crate::canonical;
use crate::clock::Stopwatch;
use crate::context::{RequestContext, RequestKey};
use crate::host::{Error, Keep, RunOptions, SkillHost};
use crate::id::ToolName;
use crate::json;
use crate::limits::LimitKind;
use crate::outcome::{Outcome, RunOutcome};
use crate::plan::{PlanDocument, PlanFormat, one_call};
use crate::policy::network::Scheme;
use crate::policy::{Decision, Denial, Grant, Why, decide};
use crate::problem::Problem;
use crate::protocol::code::Detail;
use crate::protocol::loading::Loading;
use crate::protocol::request::{Request, add_legacy_context};
use crate::protocol::response::{Acted, Facts, Failure};
use crate::protocol::target::{Callee, Wanted, resolve};
use crate::report::{Report, StepReport, json as report_json};
use crate::sandbox::{CancelToken, SandboxError};
use crate::skill::Tool;
use crate::skills::{LoadedSkill, is_load_problem};
use crate::types::Ty;

/// What an answer is made of.
pub(super) type Answered = (Result<Value, Box<Failure>>, Facts);

/// What a run is made of.
struct Call {
    document: PlanDocument,
    inputs: Map<String, Value>,
    kind: Kind,
    name: String,
    /// The tool, where it is one, with its skill.
    tool: Option<(ToolName, Arc<LoadedSkill>)>,
}

/// Calls what a request names.
pub(super) fn invoke(
    host: &SkillHost,
    bundle: Option<&Bundle>,
    request: &mut Request,
    (keep, key): (Keep, Option<RequestKey>),
    loading: &mut Loading,
    cancel: &CancelToken,
) -> Answered {
    let started = Stopwatch::start();
    let call = resolve(bundle, request).and_then(|wanted| prepare(host, request, wanted, loading));
    let load = ("load", started.elapsed());
    let call = match call {
        Ok(call) => call,
        Err(failure) => return (Err(failure), Facts { timings: vec![load], ..Facts::default() }),
    };
    let context = RequestContext { timeout_ms: Some(request.timeout_ms), ..request.context.clone() };
    let options = RunOptions {
        inputs: call.inputs.clone(),
        keep,
        request: Some(Arc::new(context)),
        key,
        cancel: cancel.clone(),
        ..RunOptions::default()
    };
    let known = call.tool.as_ref().map(|(_, known)| known);
    match host.run_with(&call.document, &options, known) {
        Ok(report) => {
            let mut timings = vec![load];
            timings.extend(timed(&report));
            let (result, facts) = answered(&call, report);
            (result, Facts { timings, ..facts })
        }
        Err(error) => (Err(of_host(&error)), Facts { acted: Acted::Maybe, ..Facts::default() }),
    }
}

fn prepare(
    host: &SkillHost,
    request: &mut Request,
    wanted: Wanted,
    loading: &mut Loading,
) -> Result<Call, Box<Failure>> {
    match &wanted.callee {
        Callee::Tool(tool) => one_tool(host, request, tool.clone(), wanted, loading),
        Callee::Plan(file) => flow(request, file, &wanted),
    }
}

/// A plan of one step.
fn one_tool(
    host: &SkillHost,
    request: &mut Request,
    name: ToolName,
    wanted: Wanted,
    loading: &mut Loading,
) -> Result<Call, Box<Failure>> {
    let loaded = match loading.skill(host, name.skill(), request.timeout_ms).transpose()? {
        None => return Err(failed(Detail::SkillNotFound, format!("there is no skill `{}`", name.skill()))),
        Some(Err(error)) => return Err(of_sandbox(&error)),
        Some(Ok(loaded)) => loaded,
    };
    let Some(tool) = loaded.skill.tool(name.function()) else {
        let message = format!("the skill `{}` has no tool `{}`", name.skill(), name.function());
        return Err(failed(Detail::HandlerNotFound, message));
    };
    may_have(host, request, &name)?;
    let Wanted { kind, name: export, event, whole, output_schema, .. } = wanted;
    let input = input(request, tool, event, whole);
    if !input.is_object() {
        let failure = Failure::new(Detail::ParamInvalid, "the event is not an object");
        return Err(Box::new(failure.hint("give an object with a member for each parameter")));
    }
    let document = match output_schema {
        None => one_call::ready(&name, input, request.timeout_ms),
        schema => one_call::document(&name.to_string(), input, Some(request.timeout_ms), schema),
    };
    Ok(Call { document, inputs: Map::new(), kind, name: export, tool: Some((name, loaded)) })
}

/// The plan of a flow, with the event as its inputs. It is run as it is written, but for the time that it may take.
fn flow(request: &Request, file: &Path, wanted: &Wanted) -> Result<Call, Box<Failure>> {
    let wrong = |problem: Problem| Box::new(Failure::of_problems(Detail::PlanInvalid, &[problem]));
    let Some(inputs) = wanted.event.as_object() else {
        let failure = Failure::new(Detail::ParamInvalid, "the event is not an object");
        return Err(Box::new(failure.hint("give an object with a member for each input of the plan")));
    };
    if request.capabilities.is_some() {
        let failure =
            Failure::new(Detail::CapabilityDenied, "the capabilities of a flow are those that its steps are granted");
        return Err(Box::new(failure.hint("leave `meta.capabilities` out: the policy says what each step gets")));
    }
    let read = PlanDocument::read(file).map_err(wrong)?;
    let value = match read.format() {
        PlanFormat::Json => json::parse(read.bytes()),
        PlanFormat::Yaml => json::parse_yaml(read.bytes()),
    };
    let mut value = value.map_err(wrong)?;
    if let Some(plan) = value.as_object_mut() {
        let own = plan.get("deadline_ms").and_then(Value::as_u64).unwrap_or(u64::MAX);
        plan.insert("deadline_ms".to_owned(), json!(own.min(request.timeout_ms)));
    }
    let document = PlanDocument::new(canonical::to_vec(&value), PlanFormat::Json, read.base());
    Ok(Call { document, inputs: inputs.clone(), kind: wanted.kind, name: wanted.name.clone(), tool: None })
}

fn failed(detail: Detail, message: String) -> Box<Failure> {
    Box::new(Failure::new(detail, message))
}

/// What the tool is given. A tool whose parameters are the `whole` one, or that and `context`, is given both whole; any other one the members
/// of the event.
fn input(request: &mut Request, tool: &Tool, mut event: Value, whole: Option<&str>) -> Value {
    let has = |name: &str| tool.params.iter().any(|(param, _)| param == name);
    if request.legacy
        && !has("ctx")
        && let Some(ctx) = event.as_object_mut().and_then(|members| members.remove("ctx"))
    {
        add_legacy_context(&mut request.context, &ctx);
    }
    let Some(whole) = whole.filter(|whole| has(whole)) else { return event };
    if !tool.params.iter().all(|(param, _)| param == whole || param == "context") {
        return event;
    }
    let given = |(param, ty): &(String, Ty)| {
        let value = if param == whole { event.clone() } else { json!(request.context) };
        let value = match ty {
            Ty::String if !value.is_string() => json!(canonical::to_string(&value)),
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

/// Where the time of a run went: what made its components ready, the phases of its pipeline, and the calls of its guests, which are a part of
/// the steps.
fn timed(report: &Report) -> Vec<(&'static str, Duration)> {
    let phase = |of: &'static str, name: &'static str| {
        let found = report.phases.iter().find(|(phase, _)| *phase == of);
        found.map(|(_, us)| (name, Duration::from_micros(*us)))
    };
    let call = report.steps.iter().map(|step| step.duration_us).sum();
    let parts = report.parts.iter().map(|(part, us)| (*part, Duration::from_micros(*us)));
    let phases = [
        phase("store", "store"),
        phase("load and validate", "validate"),
        phase("steps", "run"),
        Some(("call", Duration::from_micros(call))),
        phase("finish", "record"),
    ];
    parts.chain(phases.into_iter().flatten()).collect()
}

fn answered(call: &Call, mut report: Report) -> Answered {
    let waits = report.outcome == RunOutcome::Paused;
    let facts = Facts {
        fuel: report.cost().fuel,
        host_calls: report.cost().calls,
        logs: report.steps.iter_mut().flat_map(|step| std::mem::take(&mut step.logs)).collect(),
        resource: Some((call.kind.name(), call.name.clone())),
        trace_head: Some(report.head),
        run: report.is_kept().then(|| report.run.clone()),
        warnings: std::mem::take(&mut report.warnings),
        acted: if waits || report.steps.iter().any(|step| step.attempts > 0) { Acted::Yes } else { Acted::No },
        keyed: None,
        timings: Vec::new(),
    };
    let result = match report.outcome {
        RunOutcome::Completed if call.kind.gives_object() && !report.output.is_object() => {
            let message = format!("the {} `{}` gave something else than an object", call.kind, call.name);
            Err(failed(Detail::OutputInvalid, message))
        }
        RunOutcome::Completed => Ok(std::mem::take(&mut report.output)),
        _ => Err(Box::new(failure(call, &report))),
    };
    (result, facts)
}

/// Why a run did not complete.
fn failure(call: &Call, report: &Report) -> Failure {
    let name = &call.name;
    match report.outcome {
        RunOutcome::Refused => match &call.tool {
            Some((tool, _)) => {
                let tool = tool.to_string();
                let problems = report.problems.iter().cloned().map(|problem| one_call::of_the_call(problem, &tool));
                of_problems(&problems.collect::<Vec<_>>(), Detail::RequestInvalid)
            }
            None => of_problems(&report.problems, Detail::PlanInvalid),
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
                Some(step) => of_step(call, step),
                None if !report.denials.is_empty() => of_denials(&report.denials),
                None => Failure::new(Detail::Cancelled, format!("`{name}` was cancelled")),
            };
            match &report.rollback {
                Some(rollback) => {
                    failure.with("rollback", json!({ "because": rollback.because, "left": rollback.left }))
                }
                None => failure,
            }
        }
    }
}

fn of_problems(problems: &[Problem], otherwise: Detail) -> Failure {
    let all = |is: &dyn Fn(&Problem) -> bool| !problems.is_empty() && problems.iter().all(is);
    let detail = if all(&|problem| problem.code == "import-not-provided") {
        Detail::ImportNotProvided
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

fn of_step(call: &Call, step: &StepReport) -> Failure {
    let tool = &step.tool;
    let Some(outcome) = &step.outcome else { return Failure::new(Detail::Internal, "a step did not run") };
    let place = |backtrace: &[String]| {
        json!({
            "step": call.tool.is_none().then_some(&step.id),
            "skill": tool.skill(),
            "component": call.tool.as_ref().map(|(_, loaded)| loaded.skill.digest),
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
        Error::Bundle(error) => return Box::new(Failure::of_bundle(error)),
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
