//! A request: read strictly, every mistake in one report. What its members mean is in [`SHAPE`] alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::context::RequestContext;
use crate::json;
use crate::limits;
use crate::policy::secrets::{VARIABLE_HINT, is_variable};
use crate::problem::{Problem, Problems, pointer_to, shown};
use crate::protocol::SCHEMA_VERSION;
use crate::protocol::code::Detail;
use crate::protocol::response::Failure;
use crate::protocol::shape::{Field, Form, Shape};

/// What a request can ask for.
pub const ACTIONS: [&str; 3] = ["describe", "invoke", "execute"];
/// The kinds of what can be invoked.
pub const KINDS: [&str; 6] = ["tool", "agent", "flow", "router", "http", "mcp"];
/// The methods of a request to an `http` export.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const ID: Form = Form::Text(limits::REQUEST_ID_BYTES_MAX);
const NAME: Form = Form::Text(limits::NAME_BYTES_MAX * 2);

/// The whole request.
pub const SHAPE: Shape = Shape {
    open: true,
    fields: &[
        Field::new(
            "schema_version",
            Form::Any,
            "The version of the protocol: `v1`, which is also meant where it is absent.",
        ),
        Field::new("action", Form::Word(&ACTIONS), "What is asked for.").required(),
        Field::new("kind", Form::Word(&KINDS), "The kind of what is invoked; `tool` where it is absent."),
        Field::new("handler", NAME, "What is invoked, such as `text.split`."),
        Field::new("name", NAME, "The older name of `handler`."),
        Field::new("event", Form::Any, "The input."),
        Field::new(
            "payload",
            Form::Any,
            "The older name of `event`; its member `ctx` is read as the request's where the tool has none of that name.",
        ),
        Field::new("http", Form::Object(&HTTP), "The request to an export of kind `http`."),
        Field::new("mcp", Form::Object(&MCP), "The call of a tool of an export of kind `mcp`."),
        Field::new("ctx", Form::Object(&CTX), "Who asks."),
        Field::new("meta", Form::Object(&META), "How it shall be done."),
    ],
};

const HTTP: Shape = Shape {
    open: false,
    fields: &[
        Field::new("method", Form::Word(&METHODS), "The method.").required(),
        Field::new("path", Form::Text(limits::URL_BYTES_MAX), "The path, from `/` on.").required(),
        Field::new("query", Form::Members, "The query's members."),
        Field::new("headers", Form::Texts, "The headers."),
        Field::new("body", Form::Any, "The body."),
    ],
};

const MCP: Shape = Shape {
    open: false,
    fields: &[
        Field::new("server", NAME, "The server's name.").required(),
        Field::new("tool", NAME, "The tool's name.").required(),
        Field::new("args", Form::Members, "The tool's arguments."),
    ],
};

const CTX: Shape = Shape {
    open: true,
    fields: &[
        Field::new("request_id", ID, "The request; `meta.request_id` counts before it."),
        Field::new("trace_id", ID, "The caller's trace; `meta.trace_id` counts before it."),
        Field::new("tenant_id", ID, "The tenant."),
        Field::new("workspace_id", ID, "The workspace."),
        Field::new("project_id", ID, "The project."),
        Field::new("user_id", ID, "The user."),
    ],
};

const META: Shape = Shape {
    open: false,
    fields: &[
        Field::new("request_id", ID, "The request. The host makes one where there is none."),
        Field::new("trace_id", ID, "The caller's trace. The host makes one where there is none."),
        Field::new(
            "timeout_ms",
            Form::Integer(1, limits::DEADLINE_MS_MAX),
            "The time it may take; 30000 where it is absent. The policy may give less.",
        ),
        Field::new(
            "idempotency_key",
            ID,
            "Of two requests with one key that ask for the same the second is given the answer of the first; one that asks for something else is refused.",
        ),
        Field::new(
            "capabilities",
            Form::Object(&CAPABILITIES),
            "What the tool may have at most; what it has is the policy's affair.",
        ),
        Field::new(
            "env",
            Form::Texts,
            "Variables for the environment of guests whose grant takes them from the request; any other is denied.",
        ),
    ],
};

const CAPABILITIES: Shape = Shape {
    open: false,
    fields: &[
        Field::new("network", Form::Flag, "Where it is `false`, a tool that is granted a network is denied."),
        Field::new(
            "outbound_https_only",
            Form::Flag,
            "Where it is `true`, which it is where it is absent, a tool that is granted a network without TLS is denied.",
        ),
        Field::new("subprocess", Form::Flag, "No component has it: `true` is denied."),
        Field::new("ctypes", Form::Flag, "No component has it: `true` is denied."),
        Field::new("signal", Form::Flag, "No component has it: `true` is denied."),
        Field::new("resource", Form::Flag, "No component has it: `true` is denied."),
    ],
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// What there is.
    Describe,
    /// One of the exports.
    Invoke,
    /// A tool by its full name, or the default one.
    Execute,
}

impl Action {
    /// As requests write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Invoke => "invoke",
            Self::Execute => "execute",
        }
    }
}

/// A request that was read.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub action: Action,
    /// `kind`, where it is given.
    pub kind: Option<String>,
    /// `handler` or `name`.
    pub handler: Option<String>,
    /// `event` or `payload`.
    pub event: Option<Value>,
    /// Whether the event came as `payload`.
    pub legacy: bool,
    /// `http`.
    pub http: Option<Map<String, Value>>,
    /// `mcp`.
    pub mcp: Option<Map<String, Value>>,
    /// Who asks.
    pub context: RequestContext,
    /// `meta.timeout_ms`.
    pub timeout_ms: u64,
    /// `meta.idempotency_key`.
    pub idempotency_key: Option<String>,
    /// `meta.capabilities`.
    pub capabilities: Option<Map<String, Value>>,
}

/// A request that cannot be answered as it was meant, with what could be read of who asks.
pub type Refused = Box<(Failure, RequestContext)>;

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it as one failure, and the ids that could be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() > limits::EXEC_REQUEST_BYTES_MAX {
            return Err(too_large());
        }
        match json::parse(bytes) {
            Ok(value) => Self::of(value),
            Err(problem) => Err(refused(&[problem], RequestContext::default())),
        }
    }

    /// Reads a request that is JSON.
    ///
    /// # Errors
    ///
    /// As for [`Self::parse`].
    pub fn of(mut value: Value) -> Result<Self, Refused> {
        let mut problems = Problems::default();
        SHAPE.check(&value, "", "the request", &mut problems);
        let version = value.get("schema_version").unwrap_or(&Value::Null);
        if !version.is_null() && version != SCHEMA_VERSION {
            let message = format!("`schema_version` is {version}; this host answers `{SCHEMA_VERSION}`");
            let hint = format!("send `\"schema_version\": \"{SCHEMA_VERSION}\"`");
            problems.push(Problem::new("wrong-version", "/schema_version", message).with_hint(hint));
        }
        let handler = value.get(either(&value, "handler", "name", &mut problems));
        let handler = handler.and_then(Value::as_str).map(str::to_owned);
        let event = either(&value, "event", "payload", &mut problems);
        let mut context = context(&value);
        let meta = |key: &str| value.get("meta").and_then(|meta| meta.get(key));
        let action = value.get("action").and_then(Value::as_str);
        let describes = action == Some(Action::Describe.name());
        let idempotency_key = meta("idempotency_key").and_then(Value::as_str);
        if idempotency_key.is_some() && describes {
            let message = "`describe` does nothing that a second request could do again".to_owned();
            let problem = Problem::new("key-without-effect", "/meta/idempotency_key", message);
            problems.push(problem.with_hint("leave `idempotency_key` out"));
        }
        context.env = variables(meta("env"), &mut problems);
        if !context.env.is_empty() && describes {
            let problem =
                Problem::new("env-without-effect", "/meta/env", "`describe` runs no guest that could be told it");
            problems.push(problem.with_hint("leave `env` out"));
        }
        if !problems.is_empty() {
            return Err(refused(&problems.into_vec(), context));
        }
        let action = match action {
            Some("describe") => Action::Describe,
            Some("execute") => Action::Execute,
            _ => Action::Invoke,
        };
        let timeout_ms = meta("timeout_ms").and_then(Value::as_u64).unwrap_or(limits::DEADLINE_MS_DEFAULT);
        let idempotency_key = idempotency_key.map(str::to_owned);
        let capabilities = meta("capabilities").and_then(Value::as_object).cloned();
        let kind = value.get("kind").and_then(Value::as_str).map(str::to_owned);
        let legacy = value.get("event").is_none() && value.get("payload").is_some();
        // What may be large is moved.
        let mut take = |key: &str| value.get_mut(key).map(Value::take);
        let mut object = |key: &str| match take(key) {
            Some(Value::Object(members)) => Some(members),
            _ => None,
        };
        let (http, mcp) = (object("http"), object("mcp"));
        Ok(Self {
            action,
            kind,
            handler,
            legacy,
            event: take(event),
            http,
            mcp,
            context,
            timeout_ms,
            idempotency_key,
            capabilities,
        })
    }
}

/// The refusal of a request that is too large, of which nothing is read.
#[must_use]
pub fn too_large() -> Refused {
    let message = format!("the request is larger than {} bytes", limits::EXEC_REQUEST_BYTES_MAX);
    let problem = Problem::new("request-too-large", "", message).with_hint("put large data into files that tools read");
    refused(&[problem], RequestContext::default())
}

fn refused(problems: &[Problem], context: RequestContext) -> Refused {
    Box::new((Failure::of_problems(Detail::RequestInvalid, problems), context))
}

/// The one key or the other, whichever is there.
fn either(value: &Value, key: &'static str, older: &'static str, problems: &mut Problems) -> &'static str {
    let (new, old) = (value.get(key), value.get(older));
    if new.is_some() && old.is_some() {
        let message = format!("the request has both `{key}` and `{older}`, which mean the same");
        problems
            .push(Problem::new("ambiguous-request", format!("/{older}"), message).with_hint(format!("keep `{key}`")));
    }
    if new.is_none() && old.is_some() { older } else { key }
}

/// `meta.env`.
fn variables(env: Option<&Value>, problems: &mut Problems) -> BTreeMap<String, String> {
    let members = env.and_then(Value::as_object).into_iter().flatten();
    let env: BTreeMap<String, String> =
        members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    for (name, value) in &env {
        let pointer = || pointer_to("/meta/env", name);
        if !is_variable(name) {
            let message = format!("`{}` is no name of an environment variable", shown(name));
            problems.push(Problem::new("bad-env", pointer(), message).with_hint(VARIABLE_HINT));
        } else if value.contains('\0') {
            let message = format!("the value of `{}` holds a NUL", shown(name));
            problems.push(Problem::new("bad-env", pointer(), message).with_hint("leave the NUL out"));
        }
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::REQUEST_ENV_BYTES_MAX {
        let message = format!("`env` has {bytes} bytes; at most {} are read", limits::REQUEST_ENV_BYTES_MAX);
        problems.push(Problem::new("env-too-large", "/meta/env", message).with_hint("put large data into the event"));
    }
    env
}

/// What a request says of who asks, as far as it is said rightly.
fn context(value: &Value) -> RequestContext {
    let (ctx, meta) = (value.get("ctx"), value.get("meta"));
    let text = |object: Option<&Value>, key: &str| {
        let text = object.and_then(|object| object.get(key)).and_then(Value::as_str);
        let fits = |text: &&str| {
            !text.is_empty() && text.len() <= limits::REQUEST_ID_BYTES_MAX && !text.chars().any(char::is_control)
        };
        text.filter(fits).map(str::to_owned)
    };
    RequestContext {
        request_id: text(meta, "request_id").or_else(|| text(ctx, "request_id")),
        trace_id: text(meta, "trace_id").or_else(|| text(ctx, "trace_id")),
        tenant_id: text(ctx, "tenant_id"),
        workspace_id: text(ctx, "workspace_id"),
        project_id: text(ctx, "project_id"),
        user_id: text(ctx, "user_id"),
        snapshot_id: None,
        timeout_ms: None,
        env: BTreeMap::new(),
    }
}

/// Reads a document that says who asks: what `ctx` of a request says.
///
/// # Errors
///
/// All that is wrong with it.
pub fn known_context(value: &Value) -> Result<RequestContext, Vec<Problem>> {
    let mut problems = Problems::default();
    CTX.check(value, "", "the context", &mut problems);
    if problems.is_empty() { Ok(context(&json!({ "ctx": value }))) } else { Err(problems.into_vec()) }
}

/// Puts the context of a legacy payload's `ctx` where the request has none of its own.
pub(super) fn add_legacy_context(context: &mut RequestContext, ctx: &Value) {
    let RequestContext { request_id, trace_id, tenant_id, workspace_id, project_id, user_id, .. } =
        self::context(&json!({ "ctx": ctx }));
    let fill = |to: &mut Option<String>, from: Option<String>| {
        if to.is_none() {
            *to = from;
        }
    };
    fill(&mut context.request_id, request_id);
    fill(&mut context.trace_id, trace_id);
    fill(&mut context.tenant_id, tenant_id);
    fill(&mut context.workspace_id, workspace_id);
    fill(&mut context.project_id, project_id);
    fill(&mut context.user_id, user_id);
}
