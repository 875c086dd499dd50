//! What can be invoked, without running any of it: read from the components and what is said of them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::bundle::{Bundle, Kind, Target};
use crate::host::SkillHost;
use crate::id::SkillName;
use crate::limits::LimitsDocument;
use crate::policy::{Verdict, verdict};
use crate::protocol::request::{KINDS, Request};
use crate::protocol::{Code, Detail, Failure, SDK_VERSION};
use crate::skill::{Skill, Tool};
use crate::types::schema::{output_schema, params_schema};

/// The answer to `describe`.
pub(super) fn describe(host: &SkillHost, bundle: Option<&Bundle>, request: &Request) -> Result<Value, Box<Failure>> {
    let mut exports = match bundle {
        Some(bundle) => of_bundle(host, bundle)?,
        None => of_skills(host)?,
    };
    if let Some(kind) = &request.kind {
        exports.retain(|export| export["kind"] == *kind);
    }
    if let Some(wanted) = &request.handler {
        exports.retain(|export| export["name"] == *wanted);
        if exports.is_empty() {
            return Err(Box::new(Failure::new(Detail::HandlerNotFound, format!("there is no export `{wanted}`"))));
        }
    }
    exports.sort_by(|one, other| {
        let key =
            |export: &Value| (export["kind"].as_str().map(str::to_owned), export["name"].as_str().map(str::to_owned));
        key(one).cmp(&key(other))
    });
    let names = |kind: &str| -> Vec<&Value> {
        exports.iter().filter(|export| export["kind"] == kind).map(|export| &export["name"]).collect()
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

/// Every tool of every skill that the host has.
fn of_skills(host: &SkillHost) -> Result<Vec<Value>, Box<Failure>> {
    let mut exports = Vec::new();
    for name in host.skill_names() {
        if let Some(skill) = loaded(host, &name)? {
            exports.extend(skill.tools.values().map(|tool| export(host, &skill, tool)));
        }
    }
    Ok(exports)
}

fn loaded(host: &SkillHost, name: &SkillName) -> Result<Option<Arc<Skill>>, Box<Failure>> {
    let skill = host.known_skill(name).transpose();
    let skill = skill.map(|loaded| loaded.map(|loaded| Arc::clone(&loaded.skill)));
    Ok(skill.map_err(|error| Failure::new(Detail::SkillInvalid, error.to_string()).hint_of(error.hint()))?)
}

/// What a bundle offers, with what its author says of it and what the component says of its tool.
fn of_bundle(host: &SkillHost, bundle: &Bundle) -> Result<Vec<Value>, Box<Failure>> {
    let mut exports = Vec::new();
    for offered in bundle.exports.values() {
        let mut shown = json!({});
        if let Target::Tool(name) = &offered.target {
            let skill = loaded(host, name.skill())?;
            let Some((skill, tool)) = skill.as_ref().and_then(|skill| Some((skill, skill.tool(name.function())?)))
            else {
                let message = format!("the export `{}` is the tool `{name}`, which does not exist", offered.name);
                return Err(Box::new(Failure::new(Detail::BundleInvalid, message)));
            };
            shown = export(host, skill, tool);
        }
        let Some(members) = shown.as_object_mut() else { continue };
        let mut put = |key: &str, value: Value| drop(members.insert(key.to_owned(), value));
        put("kind", json!(offered.kind.name()));
        put("name", json!(offered.name));
        put("tags", json!(offered.tags));
        put("allowed_actions", json!(offered.allowed_actions));
        if !offered.description.is_empty() {
            put("description", json!(offered.description));
        }
        if let Some(version) = &offered.version {
            put("version", json!(version));
        }
        if let Some(schema) = &offered.output_schema {
            put("output_schema", schema.clone());
        }
        if let Some(route) = &offered.route {
            put("route", json!({ "method": route.method, "path": route.path }));
        }
        if offered.kind == Kind::Mcp {
            let mut tools = offered.tools.clone();
            tools.sort();
            put("tools", json!(tools));
        }
        exports.push(shown);
    }
    Ok(exports)
}

fn code(detail: Detail) -> Value {
    let code: Code = detail.meaning().code;
    json!(code.name())
}

fn export(host: &SkillHost, skill: &Skill, tool: &Tool) -> Value {
    let annotations = &tool.annotations;
    let verdict = verdict(&host.policy.policy, &tool.name, &LimitsDocument::default(), Some(skill));
    json!({
        "kind": "tool",
        "name": tool.name.to_string(),
        "description": annotations.description,
        "version": skill.metadata.version,
        "sha256": skill.digest,
        "input_schema": params_schema(&tool.params),
        "output_schema": output_schema(tool.result.ok.as_ref()),
        "read_only": annotations.read_only,
        "idempotent": annotations.idempotent,
        "destructive": annotations.destructive,
        "granted": matches!(verdict, Verdict::Allowed(_)),
    })
}

impl SkillHost {
    /// The names of the skills that it has without a plan: given and built in.
    fn skill_names(&self) -> std::collections::BTreeSet<SkillName> {
        let builtin = crate::skills::builtin::names().filter_map(|name| name.parse().ok());
        self.skills.keys().cloned().chain(builtin).collect()
    }
}
