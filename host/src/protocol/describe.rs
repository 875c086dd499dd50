//! What can be invoked, without running any of it: read from the components and what is said of them.

use serde_json::{Map, Value, json};

use crate::host::SkillHost;
use crate::id::SkillName;
use crate::limits::LimitsDocument;
use crate::policy::{Verdict, verdict};
use crate::protocol::request::{KINDS, Request};
use crate::protocol::{Code, Detail, Failure, SDK_VERSION};
use crate::skill::{Skill, Tool};
use crate::types::schema::{output_schema, params_schema};

/// The answer to `describe`.
pub(super) fn describe(host: &SkillHost, request: &Request) -> Result<Value, Box<Failure>> {
    let mut exports: Vec<Value> = Vec::new();
    for name in host.skill_names() {
        let skill = host.known_skill(&name).transpose();
        let skill =
            skill.map_err(|error| Failure::new(Detail::SkillInvalid, error.to_string()).hint_of(error.hint()))?;
        if let Some(skill) = skill {
            exports.extend(skill.tools.values().map(|tool| export(host, &skill, tool)));
        }
    }
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
        "http_handlers": [],
        "mcp_servers": [],
        "exports": exports,
        "errors": errors,
    }))
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
