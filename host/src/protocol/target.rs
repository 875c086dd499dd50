//! What a request names: a tool or a plan, by the exports of the bundle or, without one, by the names of all tools.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::bundle::{Bundle, BundleError, Export, Kind, Target};
use crate::id::ToolName;
use crate::problem::suggestion;
use crate::protocol::code::Detail;
use crate::protocol::request::{Action, Request};
use crate::protocol::response::Failure;

/// What is to be called, and with what.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) callee: Callee,
    /// What it is to its caller.
    pub(super) kind: Kind,
    /// Its name to its caller.
    pub(super) name: String,
    /// The input.
    pub(super) event: Value,
    /// The parameter that takes the input whole, where the tool has it.
    pub(super) whole: Option<&'static str>,
    /// What the export says of its output.
    pub(super) output_schema: Option<Value>,
}

/// What stands behind it.
#[derive(Debug)]
pub(super) enum Callee {
    /// A tool.
    Tool(ToolName),
    /// The file of a plan.
    Plan(PathBuf),
}

/// Finds what a request names.
pub(super) fn resolve(bundle: Option<&Bundle>, request: &mut Request) -> Result<Wanted, Box<Failure>> {
    let event = request.event.take().filter(|event| !event.is_null()).unwrap_or_else(|| json!({}));
    if request.action == Action::Execute {
        let default = bundle.and_then(|bundle| bundle.handler.clone());
        let name = request.handler.clone().or(default).ok_or_else(|| no_default(bundle))?;
        return Ok(tool(Kind::Tool, &name, parse(&name)?, event, Some("event")));
    }
    let kind = request.kind.as_deref().and_then(|kind| kind.parse().ok()).unwrap_or(Kind::Tool);
    match (kind, bundle) {
        (Kind::Http, Some(bundle)) => http(bundle, request),
        (Kind::Mcp, Some(bundle)) => mcp(bundle, request),
        (Kind::Tool, None) => {
            let name = request.handler.clone().ok_or_else(nothing_named)?;
            Ok(tool(kind, &name, parse(&name)?, event, None))
        }
        (kind, None) => {
            let message = format!("there is no export of the kind `{kind}` without a bundle");
            let failure = Failure::new(Detail::HandlerNotFound, message);
            Err(Box::new(failure.hint("name a bundle with `--bundle DIR`; without one there are tools alone")))
        }
        (kind, Some(bundle)) => {
            let name = request.handler.clone().ok_or_else(nothing_named)?;
            let export = bundle.export(kind, &name).ok_or_else(|| no_export(bundle, kind, &name))?;
            of_export(bundle, export, event, None)
        }
    }
}

fn nothing_named() -> Box<Failure> {
    let failure = Failure::new(Detail::RequestInvalid, "the request does not say what to call");
    Box::new(failure.hint("give `handler`, such as `text.split`; the action `describe` lists what there is"))
}

/// `execute` calls by itself what the bundle names for that, and there is none.
fn no_default(bundle: Option<&Bundle>) -> Box<Failure> {
    let (message, hint) = match bundle {
        Some(_) => (
            "the request has no `handler`, and the bundle names none",
            "give `handler`, such as `text.split`, or write the default one as `handler` in `bundle.toml`",
        ),
        None => (
            "the request has no `handler`, and without a bundle there is no default one",
            "give `handler`, such as `text.split`",
        ),
    };
    Box::new(Failure::new(Detail::HandlerNotFound, message).hint(hint))
}

/// What is nearly called so, or is of another kind, is told and not taken.
fn no_export(bundle: &Bundle, kind: Kind, name: &str) -> Box<Failure> {
    let failure = Failure::new(Detail::HandlerNotFound, format!("there is no export `{name}` of the kind `{kind}`"));
    let other = Kind::ALL.into_iter().find(|other| bundle.export(*other, name).is_some());
    let hint = match other {
        Some(other) => Some(format!("it is of the kind `{other}`: send `\"kind\": \"{other}\"`")),
        None if kind == Kind::Http => {
            let routes: Vec<String> =
                bundle.exports_of(kind).filter_map(|export| export.route.as_ref().map(ToString::to_string)).collect();
            suggestion(name, routes.iter().map(String::as_str))
        }
        None => suggestion(name, bundle.exports_of(kind).map(|export| export.name.as_str())),
    };
    Box::new(failure.hint_of(hint))
}

fn parse(name: &str) -> Result<ToolName, Box<Failure>> {
    let none = format!("there is no tool `{name}`: its name would be `skill.tool`");
    name.parse().map_err(|_| Box::new(Failure::new(Detail::HandlerNotFound, none)))
}

fn tool(kind: Kind, name: &str, tool: ToolName, event: Value, whole: Option<&'static str>) -> Wanted {
    Wanted { callee: Callee::Tool(tool), kind, name: name.to_owned(), event, whole, output_schema: None }
}

fn of_export(
    bundle: &Bundle,
    export: &Export,
    event: Value,
    whole: Option<&'static str>,
) -> Result<Wanted, Box<Failure>> {
    let callee = match &export.target {
        Target::Tool(tool) => Callee::Tool(tool.clone()),
        Target::Plan(file) => Callee::Plan(file.clone()),
        // Its tools are called by `mcp`, not by its name: `mcp` asks for these.
        Target::Server => return Err(no_export(bundle, Kind::Tool, &export.name)),
    };
    let (kind, name, output_schema) = (export.kind, export.name.clone(), export.output_schema.clone());
    Ok(Wanted { callee, kind, name, event, whole, output_schema })
}

/// The export that answers a method and path. A GET is given all of the request, any other method the body.
fn http(bundle: &Bundle, request: &Request) -> Result<Wanted, Box<Failure>> {
    let Some(http) = &request.http else {
        let failure = Failure::new(Detail::RequestInvalid, "a request of the kind `http` needs the member `http`");
        return Err(Box::new(failure.hint("give `http` with `method` and `path`")));
    };
    let text = |key: &str| http.get(key).and_then(Value::as_str).unwrap_or_default();
    let (method, path) = (text("method"), text("path"));
    let answers =
        |export: &&Export| export.route.as_ref().is_some_and(|route| route.method == method && route.path == path);
    let export = bundle.exports_of(Kind::Http).find(answers);
    let export = export.ok_or_else(|| no_export(bundle, Kind::Http, &format!("{method} {path}")))?;
    if method == "GET" {
        of_export(bundle, export, Value::Object(http.clone()), Some("request"))
    } else {
        of_export(bundle, export, http.get("body").cloned().unwrap_or_default(), Some("body"))
    }
}

/// The tool that a server offers.
fn mcp(bundle: &Bundle, request: &Request) -> Result<Wanted, Box<Failure>> {
    let Some(mcp) = &request.mcp else {
        let failure = Failure::new(Detail::RequestInvalid, "a request of the kind `mcp` needs the member `mcp`");
        return Err(Box::new(failure.hint("give `mcp` with `server`, `tool` and `args`")));
    };
    let text = |key: &str| mcp.get(key).and_then(Value::as_str).unwrap_or_default();
    let (server, name) = (text("server"), text("tool"));
    let offered = bundle.export(Kind::Mcp, server).ok_or_else(|| no_export(bundle, Kind::Mcp, server))?;
    if !offered.tools.iter().any(|tool| tool == name) {
        let message = format!("the server `{server}` does not offer the tool `{name}`");
        return Err(Box::new(Failure::new(Detail::ToolNotOffered, message)));
    }
    let export = bundle.export(Kind::Tool, name).ok_or_else(|| no_export(bundle, Kind::Tool, name))?;
    let args = mcp.get("args").cloned().filter(|args| !args.is_null());
    of_export(bundle, export, args.unwrap_or_else(|| Value::Object(Map::new())), None)
}

impl Failure {
    /// Why a bundle cannot be used.
    #[must_use]
    pub fn of_bundle(error: &BundleError) -> Self {
        let detail = match error {
            BundleError::NotFound { .. } => Detail::BundleNotFound,
            BundleError::Changed { .. } | BundleError::Unsteady { .. } => Detail::BundleChanged,
            _ => Detail::BundleInvalid,
        };
        Self::new(detail, error.to_string()).hint(error.hint()).with("problems", json!(error.problems()))
    }
}
