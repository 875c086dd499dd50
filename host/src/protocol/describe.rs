//! What can be invoked, without running any of it: read from the components and plans, and what is said of them. What cannot be is listed
//! with the reason: one skill that cannot be loaded hides no other.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::bundle::{Bundle, Export, Kind, Target};
use crate::host::SkillHost;
use crate::id::{SkillName, ToolName};
use crate::limits::LimitsDocument;
use crate::plan::PlanDocument;
use crate::policy::{Verdict, verdict};
use crate::problem::{Problem, suggestion};
use crate::protocol::request::{KINDS, Request};
use crate::protocol::{Code, Detail, Failure, SDK_VERSION};
use crate::skill::{Needs, Skill, Tool, unprovided_imports};
use crate::types::schema::{output_schema, params_schema};

/// The answer to `describe`.
pub(super) fn describe(host: &SkillHost, bundle: Option<&Bundle>, request: &Request) -> Result<Value, Box<Failure>> {
    let mut exports = match bundle {
        Some(bundle) => bundle.exports.values().map(|offered| of_export(host, offered)).collect(),
        None => of_skills(host),
    };
    if let Some(kind) = &request.kind {
        exports.retain(|export| export["kind"] == *kind);
    }
    if let Some(wanted) = &request.handler {
        let names: Vec<String> =
            exports.iter().filter_map(|export| export["name"].as_str().map(str::to_owned)).collect();
        exports.retain(|export| is_called(export, wanted, bundle.is_none()));
        if exports.is_empty() {
            let failure = Failure::new(Detail::HandlerNotFound, format!("there is no export `{wanted}`"));
            return Err(Box::new(failure.hint_of(suggestion(wanted, names.iter().map(String::as_str)))));
        }
    }
    exports.sort_by(|one, other| {
        let key =
            |export: &Value| (export["kind"].as_str().map(str::to_owned), export["name"].as_str().map(str::to_owned));
        key(one).cmp(&key(other))
    });
    // A skill that cannot be loaded is told of, but no tool can be called by its name.
    let is_tool = |export: &&Value| bundle.is_some() || export.get("input_schema").is_some();
    let names = |kind: &str| -> Vec<&Value> {
        exports.iter().filter(|export| export["kind"] == kind).filter(is_tool).map(|export| &export["name"]).collect()
    };
    let servers: Vec<Value> = exports
        .iter()
        .filter(|export| export["kind"] == "mcp")
        .map(|export| json!({ "name": export["name"], "tools": export["tools"] }))
        .collect();
    let errors: Map<String, Value> =
        Detail::ALL.iter().map(|detail| (detail.name().to_owned(), code(*detail))).collect();
    Ok(json!({
        "sdk_version": SDK_VERSION,
        "runtime_version": env!("CARGO_PKG_VERSION"),
        "snapshot_id": request.context.snapshot_id,
        "invokable_kinds": KINDS,
        "tools": names("tool"),
        "agents": names("agent"),
        "flows": names("flow"),
        "routers": names("router"),
        "http_handlers": exports.iter().filter(|export| export["kind"] == "http").map(|export| &export["route"]).collect::<Vec<_>>(),
        "mcp_servers": servers,
        "exports": exports,
        "errors": errors,
    }))
}

/// Whether an export is meant by a name: its own, and of a tool of no bundle an alias; of a skill that cannot be loaded that of any tool.
fn is_called(export: &Value, wanted: &str, by_alias: bool) -> bool {
    let is_alias =
        |aliases: &Value| aliases.as_array().is_some_and(|aliases| aliases.iter().any(|alias| alias == wanted));
    let skill = wanted.split('.').next().unwrap_or_default();
    export["name"] == wanted
        || by_alias && (is_alias(&export["aliases"]) || export.get("input_schema").is_none() && export["name"] == skill)
}

/// Every tool of every skill that the host has, and every skill that it cannot load.
fn of_skills(host: &SkillHost) -> Vec<Value> {
    let mut exports = Vec::new();
    for name in host.skill_names() {
        match host.known_skill(&name) {
            Some(Ok(loaded)) => {
                exports.extend(loaded.skill.tools.values().map(|tool| of_tool(host, &loaded.skill, tool)));
            }
            Some(Err(error)) => exports.push(unusable(json!({ "kind": "tool", "name": name }), &error.problems(""))),
            None => {}
        }
    }
    exports
}

/// What cannot be called, with the reason.
fn unusable(mut export: Value, problems: &[Problem]) -> Value {
    if let Some(members) = export.as_object_mut() {
        let Failure { message, hint, .. } = Failure::of_problems(Detail::SkillInvalid, problems);
        let code = problems.first().map(|problem| problem.code.as_str());
        members.insert("problem".to_owned(), json!({ "code": code, "message": message, "hint": hint }));
        members.insert("granted".to_owned(), json!(false));
    }
    export
}

/// What stands behind an export of a bundle, with what its author says of it.
fn of_export(host: &SkillHost, offered: &Export) -> Value {
    let mut shown = match &offered.target {
        Target::Tool(name) => of_tool_named(host, name),
        Target::Plan(file) => of_plan(host, file),
        Target::Server => json!({}),
    };
    if let (Some(members), Value::Object(said)) = (shown.as_object_mut(), offered.to_json()) {
        for (key, value) in said {
            // What the author of the bundle leaves open is what the skill or the plan says.
            let is_open = value.is_null() || value.as_str().is_some_and(str::is_empty);
            if !(is_open && members.contains_key(&key)) && key != "method" && key != "path" {
                members.insert(key, value);
            }
        }
        if let Some(route) = &offered.route {
            members.insert("route".to_owned(), json!({ "method": route.method, "path": route.path }));
        }
        if offered.kind == Kind::Mcp {
            let mut tools = offered.tools.clone();
            tools.sort();
            members.insert("tools".to_owned(), json!(tools));
        }
    }
    shown
}

/// A tool that an export names, by its own name or an alias.
fn of_tool_named(host: &SkillHost, name: &ToolName) -> Value {
    let missing = |what: String| unusable(json!({}), &[Problem::new("unknown-tool", "", what)]);
    match host.known_skill(name.skill()) {
        None => missing(format!("there is no skill `{}`", name.skill())),
        Some(Err(error)) => unusable(json!({}), &error.problems("")),
        Some(Ok(loaded)) => match loaded.skill.resolve(name.function()) {
            Some(tool) => of_tool(host, &loaded.skill, tool),
            None => missing(format!("the skill `{}` has no tool `{}`", name.skill(), name.function())),
        },
    }
}

/// A plan: what it says of itself, the inputs that it has, and whether the policy lets each of its steps run.
fn of_plan(host: &SkillHost, file: &Path) -> Value {
    let wrong = |problems: Vec<Problem>| {
        let problems: Vec<Problem> = problems.into_iter().map(|problem| problem.in_file(file)).collect();
        unusable(json!({}), &problems)
    };
    let document = match PlanDocument::read(file) {
        Ok(document) => document,
        Err(problem) => return wrong(vec![problem]),
    };
    let checked = match host.check(&document) {
        Ok(Ok(checked)) => checked,
        Ok(Err(problems)) => return wrong(problems),
        Err(error) => return wrong(vec![Problem::new("not-checked", "", error.to_string())]),
    };
    let plan = checked.plan.plan();
    let inputs: Map<String, Value> =
        plan.inputs.iter().map(|(name, default)| (name.clone(), json!({ "default": default }))).collect();
    let explained = checked.explain(&host.policy.policy, &host.principal);
    json!({
        "description": plan.description,
        "version": plan.version,
        "input_schema": { "type": "object", "properties": inputs, "additionalProperties": false },
        "granted": explained.iter().all(|explanation| matches!(explanation.verdict, Verdict::Allowed(_))),
    })
}

fn code(detail: Detail) -> Value {
    let code: Code = detail.meaning().code;
    json!(code.name())
}

fn of_tool(host: &SkillHost, skill: &Skill, tool: &Tool) -> Value {
    let annotations = &tool.annotations;
    let verdict = verdict(&host.policy.policy, &tool.name, &LimitsDocument::default(), Some(skill));
    let aliases: Vec<String> = annotations.aliases.iter().map(|alias| format!("{}.{alias}", skill.name)).collect();
    let export = json!({
        "kind": "tool",
        "name": tool.name.to_string(),
        "description": annotations.description,
        "version": skill.metadata.version,
        "sha256": skill.digest,
        "input_schema": params_schema(&tool.params),
        "output_schema": output_schema(tool.result.ok.as_ref()),
        "aliases": aliases,
        "risk": annotations.risk,
        "read_only": annotations.read_only,
        "idempotent": annotations.idempotent,
        "destructive": annotations.destructive,
        "needs": skill.needs(tool.name.function()).as_ref().map(Needs::to_json),
        "granted": matches!(verdict, Verdict::Allowed(_)),
    });
    match unprovided_imports(skill) {
        missing if missing.is_empty() => export,
        missing => unusable(export, &missing),
    }
}

impl SkillHost {
    /// The names of the skills that it has without a plan: given and built in.
    pub(super) fn skill_names(&self) -> std::collections::BTreeSet<SkillName> {
        let builtin = crate::skills::builtin::names().filter_map(|name| name.parse().ok());
        self.skills.keys().cloned().chain(builtin).collect()
    }
}
