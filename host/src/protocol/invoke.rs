//! From a request to a plan of one step, and from what became of it to an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::bundle::{Bundle, Kind};
use crate::canonical;
use crate::clock::Stopwatch;
use crate::context::{RequestContext, RequestKey};
use crate::flow::contract;
use crate::host::{Keep, RunOptions, SkillHost};
use crate::id::{SkillName, ToolName};
use crate::json;
use crate::outcome::RunOutcome;
use crate::plan::{Expect, ExpectKind, ExpectMode, OutputSchema, PlanDocument, PlanFormat, one_call};
use crate::policy::network::Scheme;
use crate::policy::{Decision, decide};
use crate::problem::{Problem, suggestion};
use crate::protocol::code::Detail;
use crate::protocol::failed::{failure, of_host, of_skill};
use crate::protocol::loading::Loading;
use crate::protocol::request::{Request, add_legacy_context};
use crate::protocol::response::{Acted, Facts, Failure};
use crate::protocol::target::{Callee, Wanted, resolve};
use crate::report::Report;
use crate::sandbox::CancelToken;
use crate::skill::{Skill, Tool};
use crate::skills::LoadedSkill;
use crate::types::Ty;

/// What an answer is made of.
pub(super) type Answered = (Result<Value, Box<Failure>>, Facts);

/// What a run is made of.
pub(super) struct Call {
    pub(super) document: PlanDocument,
    pub(super) inputs: Map<String, Value>,
    kind: Kind,
    pub(super) name: String,
    /// The tool by its own name, where it is one, with its skill.
    pub(super) tool: Option<(ToolName, Arc<LoadedSkill>)>,
    /// The file of the plan, where it is one.
    pub(super) file: Option<PathBuf>,
    /// What the export of a plan says of its output. That of a tool is a part of the plan of one step.
    output_schema: Option<Value>,
    /// The time that it can take: what was asked for, or what the policy or the plan gives where that is less.
    timeout_ms: u64,
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
        Err(failure) => {
            // Where the bundle has changed that is why, whatever it looks like: a component that is not there any more.
            let changed = bundle.and_then(|bundle| bundle.check_unchanged().err());
            let failure = changed.map_or(failure, |error| Box::new(Failure::of_bundle(&error)));
            return (Err(failure), Facts { timings: vec![load], ..Facts::default() });
        }
    };
    let timeout_ms = Some(call.timeout_ms);
    let context = RequestContext { timeout_ms, ..request.context.clone() };
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
            let (result, facts) = answered(host, &call, report);
            (result, Facts { timings, ..facts })
        }
        Err(error) => (Err(of_host(&error)), Facts { acted: Acted::Maybe, timeout_ms, ..Facts::default() }),
    }
}

fn prepare(
    host: &SkillHost,
    request: &mut Request,
    wanted: Wanted,
    loading: &mut Loading,
) -> Result<Call, Box<Failure>> {
    match &wanted.callee {
        Callee::Tool(tool) => {
            let tool = tool.clone();
            one_tool(host, request, &tool, wanted, loading)
        }
        Callee::Plan(file) => flow(host, request, file, &wanted, loading),
    }
}

/// A plan of one step.
fn one_tool(
    host: &SkillHost,
    request: &mut Request,
    name: &ToolName,
    wanted: Wanted,
    loading: &mut Loading,
) -> Result<Call, Box<Failure>> {
    let loaded = match loading.skill(host, name.skill(), request.timeout_ms).transpose()? {
        None => {
            let failure = Failure::new(Detail::SkillNotFound, format!("there is no skill `{}`", name.skill()));
            let names = host.skill_names();
            return Err(Box::new(
                failure.hint_of(suggestion(name.skill().as_str(), names.iter().map(SkillName::as_str))),
            ));
        }
        Some(Err(error)) => return Err(of_skill(host, name.skill(), &error)),
        Some(Ok(loaded)) => loaded,
    };
    let skill = &loaded.skill;
    let Some(tool) = skill.resolve(name.function()) else {
        let message = format!("the skill `{}` has no tool `{}`", name.skill(), name.function());
        return Err(Box::new(Failure::new(Detail::HandlerNotFound, message).hint_of(near(skill, name))));
    };
    may_have(host, request, &tool.name)?;
    let Wanted { kind, name: export, event, whole, output_schema, .. } = wanted;
    let input = input(request, tool, event, whole);
    if !input.is_object() {
        let failure = Failure::new(Detail::ParamInvalid, "the event is not an object");
        return Err(Box::new(failure.hint("give an object with a member for each parameter")));
    }
    let document = match output_schema {
        None => one_call::ready(name, input, request.timeout_ms),
        schema => one_call::document(&name.to_string(), input, Some(request.timeout_ms), schema),
    };
    let timeout_ms = time_of(host, &tool.name, request.timeout_ms);
    let tool = Some((tool.name.clone(), Arc::clone(&loaded)));
    Ok(Call { document, inputs: Map::new(), kind, name: export, tool, file: None, output_schema: None, timeout_ms })
}

/// What to do where a skill has no tool of that name: what it nearly is, or why an export is none.
fn near(skill: &Skill, name: &ToolName) -> Option<String> {
    if let Some((_, reason)) = skill.not_tools.iter().find(|(function, _)| function == name.function()) {
        return Some(format!("it is exported but not a tool: {reason}"));
    }
    let names: Vec<String> = skill.names().map(|known| format!("{}.{known}", skill.name)).collect();
    suggestion(&name.to_string(), names.iter().map(String::as_str))
}

/// The time that a call of a tool can take.
fn time_of(host: &SkillHost, tool: &ToolName, asked: u64) -> u64 {
    let policy = &host.policy.policy;
    let granted = match decide(policy, tool) {
        Decision::Allow { grant, .. } => grant.limits.deadline_ms,
        Decision::Deny { .. } => policy.limits.deadline_ms,
    };
    asked.min(granted).min(policy.run.deadline_ms.unwrap_or(u64::MAX))
}

/// The plan of a flow, with the event as its inputs. It is run as it is written, but for the time that it may take.
fn flow(
    host: &SkillHost,
    request: &Request,
    file: &Path,
    wanted: &Wanted,
    loading: &mut Loading,
) -> Result<Call, Box<Failure>> {
    let started = Stopwatch::start();
    let wrong = |problem: Problem| Box::new(Failure::of_file(Detail::PlanInvalid, file, problem));
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
    let brought = |skill: &str| value.get("skills").is_some_and(|skills| skills.get(skill).is_some());
    let skills: BTreeSet<&str> = called_skills(&value).filter(|&skill| !brought(skill)).collect();
    for skill in skills.into_iter().filter_map(|skill| skill.parse::<SkillName>().ok()) {
        let left = request.timeout_ms.saturating_sub(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
        // What is wrong with one is told when the plan is validated.
        drop(loading.skill(host, &skill, left).transpose()?);
    }
    let mut timeout_ms = request.timeout_ms;
    if let Some(plan) = value.as_object_mut() {
        let own = plan.get("deadline_ms").and_then(Value::as_u64).unwrap_or(u64::MAX);
        timeout_ms = timeout_ms.min(own);
        plan.insert("deadline_ms".to_owned(), json!(timeout_ms));
    }
    let timeout_ms = timeout_ms.min(host.policy.policy.run.deadline_ms.unwrap_or(u64::MAX));
    let document = PlanDocument::new(canonical::to_vec(&value), PlanFormat::Json, read.base());
    let (inputs, name, output_schema) = (inputs.clone(), wanted.name.clone(), wanted.output_schema.clone());
    let file = Some(file.to_owned());
    Ok(Call { document, inputs, kind: wanted.kind, name, tool: None, file, output_schema, timeout_ms })
}

/// The skills that the calls of a plan name, in its order.
fn called_skills(plan: &Value) -> impl Iterator<Item = &str> {
    let listed = |key: &str| plan.get(key).and_then(Value::as_array).into_iter().flatten();
    let calls = listed("steps").flat_map(|step| [Some(step), step.get("compensate")]).flatten();
    let tools = calls.chain(listed("compensate")).filter_map(|call| call.get("tool").and_then(Value::as_str));
    tools.filter_map(|tool| tool.split('.').next())
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
        let who = || RequestContext { env: BTreeMap::new(), ..request.context.clone() };
        let value = if param == whole { event.clone() } else { json!(who()) };
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
            let failure = Failure::new(Detail::CapabilityDenied, format!("no component has the capability `{key}`"));
            let hint = format!("no component can have it, whatever the policy says: leave `{key}` out, or say `false`");
            return Err(Box::new(failure.hint(hint)));
        }
    }
    let Decision::Allow { grant, .. } = decide(&host.policy.policy, tool) else { return Ok(()) };
    let network = &grant.network;
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

fn answered(host: &SkillHost, call: &Call, mut report: Report) -> Answered {
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
        timeout_ms: Some(call.timeout_ms),
    };
    let result = match report.outcome {
        RunOutcome::Completed => given(call, std::mem::take(&mut report.output)),
        _ => Err(Box::new(failure(host, call, &report))),
    };
    (result, facts)
}

/// What a run gave, as an export of this kind gives it.
fn given(call: &Call, output: Value) -> Result<Value, Box<Failure>> {
    let Call { kind, name, output_schema, .. } = call;
    if let Some(schema) = output_schema {
        let wrong = |problem| Box::new(Failure::of_problems(Detail::BundleInvalid, &[problem]));
        let schema = OutputSchema::compile(schema, "").map_err(wrong)?;
        let expect = Expect { kind: ExpectKind::Value, schema: Some(schema), mode: ExpectMode::Strict };
        let drift = contract::check(&expect, &output).map_err(|too_much| {
            let message = format!("what the {kind} `{name}` gave is not looked at: {too_much}");
            Box::new(Failure::new(Detail::OutputDrift, message))
        })?;
        if let Some(drift) = drift {
            let message = format!("the {kind} `{name}` gave what its `output_schema` does not allow: {drift}");
            return Err(Box::new(Failure::new(Detail::OutputDrift, message).with("pointer", drift.pointer)));
        }
    }
    match output {
        // Routers were written that give the bare name.
        Value::String(route) if *kind == Kind::Router => Ok(json!({ "route": route })),
        output if kind.gives_object() && !output.is_object() => {
            Err(failed(Detail::OutputInvalid, format!("the {kind} `{name}` gave something else than an object")))
        }
        output => Ok(output),
    }
}
