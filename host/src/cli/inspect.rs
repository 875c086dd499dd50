//! `host inspect`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs, read_policy};
use crate::id::SkillName;
use crate::limits::LimitsDocument;
use crate::policy::{Hints, Policy, Verdict, place, verdict};
use crate::problem::suggestion;
use crate::report::human::{Append as _, Look, Tone, bytes, harmless, pretty};
use crate::skill::{
    Annotations, Export, Import, Need, Needs, OutputKind, Risk, SideEffects, Skill, SkillOrigin, Tool, ToolResult, own,
};
use crate::skills::{SkillBytes, builtin};
use crate::types::Ty;
use crate::types::schema::{output_schema, params_schema};

/// A signature that is longer is shown over several lines.
const LINE_CHARS: usize = 100;

/// Shows what a skill is: its tools, what they take and give, and what it needs to be granted; runs none of its code
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// A component file or the name of a built-in skill
    skill: String,
    /// Shows the JSON Schema of each tool's input and output
    #[arg(long, conflicts_with = "policy")]
    schema: bool,
    /// Shows what this policy means for each tool: its grant, what it may touch, what it lacks
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Inspect {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let (skill, origin) = if self.skill == own::NAME && !Path::new(&self.skill).is_file() {
            (Arc::clone(own::sys()), SkillOrigin::Host)
        } else {
            let (name, source) = self.find()?;
            let origin =
                if matches!(source, SkillBytes::Memory { .. }) { SkillOrigin::BuiltIn } else { SkillOrigin::Given };
            let host = session.builder(&SkillArgs::default()).build();
            (host.inspect(&name, &source).map_err(Error::from)?, origin)
        };
        let policy = self.policy.as_deref().map(read_policy).transpose()?.map(|document| document.policy);
        let policy = policy.as_ref();
        let mut json = to_json(&skill, policy);
        if let Some(members) = json.as_object_mut() {
            members.insert("origin".to_owned(), json!(origin.name()));
        }
        let text = if self.schema {
            let tools = skill.tools.iter().map(|(name, tool)| (name.clone(), schemas(tool)));
            format!("{}\n", pretty(&Value::Object(tools.collect())))
        } else {
            let text = to_text(&skill, policy, &session.output.look);
            // Beside what else identifies it.
            text.replacen("\nsize    ", &format!("\norigin  {}\nsize    ", origin.name()), 1)
        };
        Ok(Reply::new(text, json))
    }

    /// A file where there is one; else a built-in skill.
    fn find(&self) -> Result<(SkillName, SkillBytes), Error> {
        let path = Path::new(&self.skill);
        if path.is_file() {
            return Ok((name_of(path)?, SkillBytes::File(path.to_owned())));
        }
        if let (Some(bytes), Ok(name)) = (builtin::find(&self.skill), SkillName::new(self.skill.as_str())) {
            return Ok((name, bytes));
        }
        let names: Vec<&str> = builtin::names().chain([own::NAME]).collect();
        let hint = suggestion(&self.skill, names.iter().copied())
            .unwrap_or_else(|| format!("give a `.wasm` file or one of {}", names.join(", ")));
        Err(Error::new(Exit::SkillLoad, format!("`{}` is neither a file nor a built-in skill", self.skill)).hint(hint))
    }
}

/// The name of a component file, where it is one that a skill can have.
pub(crate) fn name_of(path: &Path) -> Result<SkillName, Error> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let clean: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    SkillName::new(clean.as_str())
        .or_else(|_| SkillName::new(format!("skill-{clean}")))
        .map_err(|error| Error::new(Exit::Request, error.to_string()).hint("rename the file"))
}

pub(crate) fn to_text(skill: &Skill, policy: Option<&Policy>, look: &Look) -> String {
    let strong = |text: &str| look.paint(Tone::Strong, text);
    let metadata = &skill.metadata;
    let version = metadata.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut out = format!("{}{}\n", strong(skill.name.as_str()), harmless(&version));
    if let Some(description) = &metadata.description {
        out.add(format_args!("{}\n", harmless(description.trim())));
    }
    if let Some(author) = &metadata.author {
        out.add(format_args!("by {}\n", harmless(author)));
    }
    out.add(format_args!("\nsha256  {}\nsize    {}\n", skill.digest, bytes(skill.size_bytes)));
    out.add(format_args!("\n{}\n", strong("tools")));
    for (name, tool) in &skill.tools {
        out += &tool_text(tool, look);
        if let Some(needs) = skill.needs(name) {
            out.add(format_args!(
                "      {}\n",
                look.paint(Tone::Dim, &format!("needs {}", harmless(&needs_text(&needs))))
            ));
        }
        if let Some(policy) = policy {
            out += &verdict_text(&verdict_of(policy, tool, skill), look);
        }
    }
    if skill.tools.is_empty() {
        out += "  none\n";
    }
    if !skill.not_tools.is_empty() {
        out.add(format_args!("\n{}\n", strong("exported, but not tools")));
        for (name, reason) in &skill.not_tools {
            out.add(format_args!("  {}: {}\n", harmless(name), harmless(reason)));
        }
    }
    out.add(format_args!("\n{}\n", strong("imports")));
    for import in &skill.imports {
        let needs = needs(import);
        let needs =
            if import.needs == Need::NotProvided { look.paint(Tone::Bad, needs) } else { look.paint(Tone::Dim, needs) };
        out.add(format_args!("  {:<42} {needs}\n", harmless(&import.name)));
    }
    if skill.imports.is_empty() {
        out += "  none\n";
    }
    out
}

fn tool_text(tool: &Tool, look: &Look) -> String {
    let params = tool.params.iter().map(|(name, ty)| harmless(&format!("{name}: {ty:.200}")));
    let params: Vec<String> = params.collect();
    let result = match &tool.result {
        ToolResult { ok: Some(ok), fallible: true, .. } => format!(" -> {ok:.400}, or an error"),
        ToolResult { ok: Some(ok), .. } => format!(" -> {ok:.400}"),
        ToolResult { fallible: true, .. } => " -> nothing, or an error".to_owned(),
        ToolResult { .. } => String::new(),
    };
    let name = tool.name.to_string();
    let result = harmless(&result);
    let line = format!("({}){result}", params.join(", "));
    let painted = look.paint(Tone::Good, &name);
    let mut out = if name.len() + line.len() + 2 <= look.width.unwrap_or(LINE_CHARS).min(LINE_CHARS) {
        format!("  {painted}{line}\n")
    } else {
        let params: String = params.iter().map(|param| format!("    {param},\n")).collect();
        format!("  {painted}(\n{params}  ){result}\n")
    };
    if let Some(description) = &tool.annotations.description {
        out.add(format_args!("      {}\n", harmless(description.trim())));
    }
    let annotations = annotations_text(&tool.annotations);
    if !annotations.is_empty() {
        out.add(format_args!(
            "      {}\n",
            look.paint(Tone::Dim, &harmless(&format!("claims {}", annotations.join(", "))))
        ));
    }
    for line in review_text(&tool.annotations) {
        out.add(format_args!("      {}\n", look.paint(Tone::Dim, &harmless(&line))));
    }
    out
}

/// What a tool says for a reviewer.
fn review_text(annotations: &Annotations) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(annotations.risk_reason.as_ref().map(|reason| format!("reason for the risk: {reason}")));
    if let Some(SideEffects { reversible, scope, description }) = &annotations.side_effects {
        let reversible = reversible.map(|can| if can { "reversible" } else { "not reversible" }.to_owned());
        let parts = [reversible, scope.as_ref().map(|scope| format!("in {scope}")), description.clone()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        lines.push(format!("side effects: {}", if parts.is_empty() { "some".to_owned() } else { parts.join("; ") }));
    }
    lines
}

/// What the policy means for a tool that a plan calls without limits of its own.
fn verdict_of(policy: &Policy, tool: &Tool, skill: &Skill) -> Verdict {
    verdict(policy, &tool.name, &LimitsDocument::default(), Some(skill))
}

fn verdict_text(verdict: &Verdict, look: &Look) -> String {
    let (heading, tone) = match verdict {
        Verdict::Allowed(allowed) => (format!("allowed by {}", place::grant(allowed.grant_index as u64)), Tone::Good),
        Verdict::Denied { .. } => ("denied".to_owned(), Tone::Bad),
    };
    let mut out = format!("      {}\n", look.paint(tone, &heading));
    for line in verdict.to_string().lines() {
        out.add(format_args!("      {}\n", harmless(line)));
    }
    out
}

fn needs_text(needs: &Needs) -> String {
    let real = [(needs.clocks, "real clocks"), (needs.random, "real randomness")];
    let mut texts: Vec<String> = needs.filesystem.iter().map(|need| format!("a {} folder", need.name())).collect();
    texts.extend(needs.network.iter().cloned());
    texts.extend(real.iter().filter(|(needed, _)| *needed).map(|(_, text)| (*text).to_owned()));
    texts.extend(needs.env.iter().map(|name| format!("${name}")));
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}

fn annotations_text(annotations: &Annotations) -> Vec<String> {
    let mut texts = Vec::new();
    texts.extend(annotations.risk.map(|risk| format!("{} risk", risk_name(risk))));
    let flags = [
        (annotations.read_only, "read-only"),
        (annotations.idempotent, "idempotent"),
        (annotations.destructive, "destructive"),
    ];
    texts.extend(flags.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned()));
    if !annotations.aliases.is_empty() {
        texts.push(format!("also called {}", annotations.aliases.join(", ")));
    }
    texts.extend(annotations.compensation.as_ref().map(|tool| format!("undone by {tool}")));
    texts
}

const fn risk_name(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
        Risk::Critical => "critical",
    }
}

const fn output_name(output: OutputKind) -> &'static str {
    match output {
        OutputKind::Text => "text",
        OutputKind::Json => "json",
        OutputKind::Bytes => "bytes",
        OutputKind::None => "none",
    }
}

const fn needs(import: &Import) -> &'static str {
    match import.needs {
        Need::Nothing => "needs nothing",
        Need::Filesystem => "sees the folders that a grant lists in `filesystem`",
        Need::Clocks => "virtual time, or real with `clocks = \"real\"`",
        Need::Random => "seeded bytes, or real with `random = \"real\"`",
        Need::Environment => "sees the variables that a grant lists in `env`",
        Need::Config => "is told the settings that a grant lists in `config`",
        Need::Network => "sends what a grant's `network` allows; without one it is not there",
        Need::Sockets => "is there where a grant has `sockets = \"closed\"`, and reaches nothing",
        Need::Calls => "calls the tools that a grant lists in `calls`",
        Need::NotProvided => "is not provided: the skill cannot be loaded",
    }
}

/// The schemas of a tool.
fn schemas(tool: &Tool) -> Value {
    let mut schemas = json!({ "input": params_schema(&tool.params), "output": output_schema(tool.result.ok.as_ref()) });
    if let (Some(members), true) = (schemas.as_object_mut(), tool.result.fallible) {
        members.insert("error".to_owned(), output_schema(tool.result.err.as_ref()));
    }
    schemas
}

/// What is known of a skill, for programs.
pub(crate) fn to_json(skill: &Skill, policy: Option<&Policy>) -> Value {
    let tool = |(name, tool): (&String, &Arc<Tool>)| {
        let mut value = tool_json(tool);
        if let Some(members) = value.as_object_mut() {
            members.insert("claims".to_owned(), Hints::claimed(skill, &tool.annotations).to_json());
            members.insert("needs".to_owned(), skill.needs(name).as_ref().map_or(Value::Null, Needs::to_json));
            let verdict = policy.map(|policy| verdict_of(policy, tool, skill).to_json());
            members.extend(verdict.map(|verdict| ("policy".to_owned(), verdict)));
        }
        (name.clone(), value)
    };
    let tools: Map<String, Value> = skill.tools.iter().map(tool).collect();
    let not_tools = skill.not_tools.iter().map(|(name, reason)| json!({ "export": name, "reason": reason }));
    let imports = skill.imports.iter().map(
        |import| json!({ "name": import.name, "provided": import.needs != Need::NotProvided, "needs": needs(import) }),
    );
    json!({
        "name": skill.name.as_str(),
        "version": skill.metadata.version,
        "description": skill.metadata.description,
        "author": skill.metadata.author,
        "sha256": skill.digest.to_string(),
        "size_bytes": skill.size_bytes,
        "tools": tools,
        "not_tools": not_tools.collect::<Vec<_>>(),
        "imports": imports.collect::<Vec<_>>(),
    })
}

fn tool_json(tool: &Tool) -> Value {
    let ty = |ty: &Option<Ty>| ty.as_ref().map(ToString::to_string);
    let params: Vec<Value> =
        tool.params.iter().map(|(name, ty)| json!({ "name": name, "type": ty.to_string() })).collect();
    let export = match &tool.export {
        Export::Function { interface, function } => json!({ "interface": interface, "function": function }),
        Export::Command { interface } => json!({ "interface": interface }),
        Export::Host(_) => Value::Null,
    };
    let annotations = &tool.annotations;
    json!({
        "name": tool.name.to_string(),
        "description": annotations.description,
        "params": params,
        "result": { "ok": ty(&tool.result.ok), "err": ty(&tool.result.err), "fallible": tool.result.fallible },
        "schemas": schemas(tool),
        "export": export,
        "annotations": {
            "risk": annotations.risk.map(risk_name),
            "risk_reason": annotations.risk_reason,
            "side_effects": annotations.side_effects.as_ref().map(|effects| json!({
                "reversible": effects.reversible,
                "scope": effects.scope,
                "description": effects.description,
            })),
            "read_only": annotations.read_only,
            "idempotent": annotations.idempotent,
            "destructive": annotations.destructive,
            "compensation": annotations.compensation,
            "aliases": annotations.aliases,
            "output": annotations.output.map(output_name),
        },
    })
}
