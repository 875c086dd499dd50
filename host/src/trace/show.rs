//! Events for people: one line each. Pure; what guests put into a trace cannot reach the terminal as control characters.
//!
//! Handles are numbers that are given again after a drop, so each is shown with its type and, from its second life on, the number of
//! that life: `descriptor#3`, then `descriptor#3.2`.

mod handles;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::Value;

use super::TraceError;
use super::event::{
    ApprovalEvent, CallEvent, DelegateBegin, DeniedEvent, Event, Flow, FlowEvent, Header, Kind, StepBegin,
};
use super::flow::{Contract, Reused};
use super::line::Line;
use super::redact;
use crate::canonical;
use crate::harmless;
use crate::id::{Digest, StepId};
use crate::outcome::Outcome;
use crate::policy::place::{self, with_places};

/// Characters of one value that are shown unless everything is.
const VALUE_CHARS_MAX: usize = 80;
/// Characters of a line's values together.
const LINE_CHARS_MAX: usize = 240;
/// Hex digits of a digest that are shown unless everything is.
const DIGEST_CHARS: usize = 12;

/// What is shown and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Shows values, digests and names of functions whole.
    pub full: bool,
    /// Only events of this step.
    pub step: Option<StepId>,
    /// Only host calls of functions whose name begins so; `wasi:` may be left out.
    pub interface: Option<String>,
    /// Only events of this kind.
    pub kind: Option<Kind>,
    /// The lines as they are in the file.
    pub json: bool,
}

/// Renders the lines of one trace, in their order.
#[derive(Debug)]
pub struct Renderer {
    options: Options,
    /// The step that runs.
    step: Option<StepId>,
    lives: Lives,
    /// Those of the tools that called and wait, the step's own first.
    waiting: Vec<Lives>,
}

/// How often each handle of the running step was given out.
type Lives = BTreeMap<u64, u64>;

impl Renderer {
    /// Starts at the beginning of a trace.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, step: None, lives: Lives::new(), waiting: Vec::new() }
    }

    /// Appends the next line as it is shown, with its newline; nothing where the options leave it out. Every line must be given, also
    /// those that are left out: handles are followed through all of them.
    ///
    /// # Errors
    ///
    /// [`TraceError::Event`] when a member is not of its type.
    pub fn render(&mut self, line: &Line<'_>, out: &mut String) -> Result<(), TraceError> {
        let event = line.event()?;
        if let Event::StepBegin(begin) = &event {
            self.step = Some(begin.step.clone());
            self.lives.clear();
            self.waiting.clear();
        }
        // What a tool has open is its own.
        if event.kind() == Kind::DelegateBegin {
            self.waiting.push(std::mem::take(&mut self.lives));
        }
        if let Event::Call(call) = &event {
            handles::given_out(call, |handle| *self.lives.entry(handle).or_default() += 1);
        }
        let step = match &event {
            Event::Denied(DeniedEvent { step, .. })
            | Event::WouldDeny(DeniedEvent { step, .. })
            | Event::Approval(ApprovalEvent { step, .. })
            | Event::Flow(FlowEvent { step: Some(step), .. }) => Some(step.clone()),
            _ => self.step.clone(),
        };
        if self.shows(&event, step.as_ref()) {
            if self.options.json {
                out.push_str(line.text());
            } else {
                let mut text = String::new();
                let named = step.as_ref().map_or("", StepId::as_str);
                // Writing to a string cannot fail.
                let _: fmt::Result = write!(text, "{:>6}  {named:<12}  ", line.seq());
                text.push_str(&"  ".repeat(self.depth(&event)));
                let _: fmt::Result = self.event(&event, &mut text);
                out.push_str(&harmless::line(text.trim_end()));
            }
            out.push('\n');
        }
        match event.kind() {
            Kind::StepEnd => self.step = None,
            Kind::DelegateEnd => self.lives = self.waiting.pop().unwrap_or_default(),
            _ => {}
        }
        Ok(())
    }

    /// How many calls of other tools an event is inside of.
    fn depth(&self, event: &Event) -> usize {
        let open = self.waiting.len();
        if matches!(event.kind(), Kind::DelegateBegin | Kind::DelegateEnd) { open.saturating_sub(1) } else { open }
    }

    fn shows(&self, event: &Event, step: Option<&StepId>) -> bool {
        let Options { step: wanted, interface, kind, .. } = &self.options;
        let in_interface = |interface: &String| match event {
            Event::Call(call) => {
                let function = call.function.as_str();
                function.starts_with(interface)
                    || function.strip_prefix("wasi:").is_some_and(|function| function.starts_with(interface))
            }
            _ => false,
        };
        kind.is_none_or(|kind| kind == event.kind())
            && wanted.as_ref().is_none_or(|wanted| step == Some(wanted))
            && interface.as_ref().is_none_or(in_interface)
    }

    fn event(&self, event: &Event, out: &mut String) -> fmt::Result {
        match event {
            Event::Header(header) => self.header(header, out),
            Event::Refused { problems } => {
                write!(out, "refused: {} problem{}", problems.len(), if problems.len() == 1 { "" } else { "s" })?;
                problems.iter().try_for_each(|problem| write!(out, "; {problem}"))
            }
            Event::Denied(DeniedEvent { tool, reason, .. }) => write!(out, "denied {tool}: {reason}"),
            Event::WouldDeny(DeniedEvent { tool, reason, .. }) => {
                write!(out, "would deny {tool}, and only records it: {reason}")
            }
            Event::Approval(ApprovalEvent { tool, needs_approval, answer, .. }) => {
                let outcome = if answer.approved { "approved" } else { "rejected" };
                write!(out, "{outcome} {tool} by {} (needed: {})", answer.by, with_places(&needs_approval.join(", ")))?;
                if answer.reason.is_empty() { Ok(()) } else { write!(out, ": {}", answer.reason) }
            }
            Event::StepBegin(begin) => self.step_begin(begin, out),
            Event::Call(call) => self.call(call, out),
            Event::DelegateBegin(begin) => self.delegate_begin(begin, out),
            Event::DelegateEnd(end) => {
                write!(out, "{} ", end.tool)?;
                self.ended(&end.outcome, (end.calls, Some(end.fuel)), out)
            }
            Event::StepEnd(end) => self.ended(&end.outcome, (end.calls, end.fuel), out),
            Event::Flow(event) => self.flow(&event.flow, out),
            Event::RunEnd { outcome, output, steps } => {
                write!(out, "run {} after {steps} step{}", outcome.name(), if *steps == 1 { "" } else { "s" })?;
                if output.is_null() { Ok(()) } else { write!(out, ": {}", self.value(output)) }
            }
        }
    }

    fn header(&self, header: &Header, out: &mut String) -> fmt::Result {
        let name = if header.plan_name.is_empty() { "(unnamed)" } else { &header.plan_name };
        write!(out, "plan `{name}` {}  policy {}", self.digest(header.plan), self.digest(header.policy))?;
        if let Some(rules) = header.rules {
            write!(out, "  rules {}", self.digest(rules))?;
        }
        if !header.principal.is_default() {
            write!(out, "  as {}", header.principal)?;
        }
        if header.log_only {
            write!(out, "  LOG ONLY")?;
        }
        for (skill, digest) in &header.skills {
            write!(out, "  skill {skill}@{}", self.digest(*digest))?;
        }
        if let Some(snapshot) = header.snapshot {
            write!(out, "  bundle {}", self.digest(*snapshot.digest()))?;
        }
        if !header.tags.is_empty() {
            write!(out, "  tags {}", header.tags.join(", "))?;
        }
        if !header.inputs.is_empty() {
            write!(out, "  inputs {}", self.value(&Value::Object(header.inputs.clone())))?;
        }
        let Header { seed, start_time, host, engine, .. } = header;
        write!(out, "  seed {seed}  start {start_time}  host {host}  runtime {engine}")
    }

    fn step_begin(&self, begin: &StepBegin, out: &mut String) -> fmt::Result {
        let verb = if begin.compensates { "compensate" } else { "begin" };
        write!(out, "{verb} {}({})", begin.tool, self.value(&begin.input))?;
        if let Some(alias) = &begin.resolved_from {
            write!(out, "  called as {alias}")?;
        }
        if begin.attempt > 1 {
            write!(out, "  attempt {}", begin.attempt)?;
        }
        write!(out, "  skill {}  {}", self.digest(begin.skill), place::grant(begin.grant))?;
        if !begin.rules.is_empty() {
            write!(out, "  rules {}", begin.rules.join(", "))?;
        }
        if self.options.full {
            for (name, limit) in begin.limits.entries() {
                write!(out, "  {name} {limit}")?;
            }
        }
        Ok(())
    }

    fn delegate_begin(&self, begin: &DelegateBegin, out: &mut String) -> fmt::Result {
        write!(out, "call {}({})", begin.tool, self.value(&begin.input))?;
        write!(out, "  skill {}  {}", self.digest(begin.skill), place::grant(begin.grant))?;
        if begin.rules.is_empty() { Ok(()) } else { write!(out, "  rules {}", begin.rules.join(", ")) }
    }

    fn ended(&self, outcome: &Outcome, (calls, fuel): (u64, Option<u64>), out: &mut String) -> fmt::Result {
        write!(out, "{}", outcome.name())?;
        let frames = match outcome {
            Outcome::Completed { output: value } | Outcome::Failed { error: value } => {
                write!(out, ": {}", self.value(value))?;
                [].as_slice()
            }
            Outcome::Trapped { message, backtrace } => {
                write!(out, ": {message}")?;
                backtrace
            }
            Outcome::LimitExceeded { limit, allowed, backtrace } => {
                write!(out, ": {} beyond {allowed}", limit.name())?;
                backtrace
            }
            Outcome::Conflict { path, with } => {
                write!(out, ": `{path}`, which step `{with}` touches as well")?;
                &[]
            }
            Outcome::Cancelled => &[],
        };
        let shown = if self.options.full { frames } else { frames.get(..1).unwrap_or_default() };
        shown.iter().try_for_each(|frame| write!(out, "  at {frame}"))?;
        write!(out, "  ({calls} call{}", if calls == 1 { "" } else { "s" })?;
        match fuel {
            Some(fuel) => write!(out, ", fuel {fuel})"),
            None => write!(out, ")"),
        }
    }

    fn flow(&self, flow: &Flow, out: &mut String) -> fmt::Result {
        match flow {
            Flow::Continues(from) => {
                write!(out, "{}: continues the run with head {}", from.why, self.digest(from.head))
            }
            Flow::Skipped(skipped) => write!(out, "skipped: {}", skipped.reason),
            Flow::Reused(reused) => {
                let Reused { tool, fingerprint, output, calls, fuel, .. } = reused;
                write!(out, "reused {tool}: {}  (saved {calls} calls, fuel {fuel})", self.value(output))?;
                write!(out, "  fingerprint {}", self.digest(*fingerprint))
            }
            Flow::Retry(retry) => {
                write!(out, "attempt {} after {} ms, because it {}", retry.attempt, retry.wait_ms, retry.because)
            }
            Flow::Contract(Contract { drift, decision, reason, .. }) => {
                write!(out, "output drift ({drift}, {decision}): {reason}")
            }
            Flow::Undone(undone) => {
                let changes = undone.changes.iter().map(|change| format!("{} {}", change.change, change.path));
                write!(out, "undone: {}", self.cut(changes.collect::<Vec<_>>().join(", "), LINE_CHARS_MAX))?;
                if !undone.conflicts.is_empty() {
                    write!(out, "; left as somebody else changed it: {}", undone.conflicts.join(", "))?;
                }
                if undone.failed.is_empty() { Ok(()) } else { write!(out, "; {}", undone.failed.join("; ")) }
            }
            Flow::ApprovalRequest(request) => {
                write!(out, "waits for approval (needed: {})", with_places(&request.needs_approval.join(", ")))?;
                if request.message.is_empty() { Ok(()) } else { write!(out, ": {}", request.message) }
            }
            Flow::Rollback(rollback) => write!(out, "rolling back: {}", rollback.because),
            Flow::Failed(failed) => {
                write!(out, "failed ({}): {}", failed.code, failed.message)?;
                if failed.pointer.is_empty() { Ok(()) } else { write!(out, "  at {}", failed.pointer) }
            }
        }
    }

    fn call(&self, call: &CallEvent, out: &mut String) -> fmt::Result {
        let redacted = redact::redacted(call);
        let call = redacted.as_ref().unwrap_or(call);
        let function = if self.options.full { call.function.clone() } else { short_function(&call.function) };
        let mut arguments = String::new();
        for (name, value) in call.params.as_object().into_iter().flatten() {
            let separator = if arguments.is_empty() { "" } else { ", " };
            let value = match handles::of_parameter(&call.function, name) {
                Some(resource) => self.handles(value, resource),
                None => self.value(value),
            };
            write!(arguments, "{separator}{name}: {value}")?;
        }
        let mut results = ["ok", "err", "trap"].into_iter().map(|case| (case, call.result.get(case)));
        let (case, value) = results.find_map(|(case, value)| Some((case, value?))).unwrap_or(("", &Value::Null));
        let value = match handles::of_result(&call.function, case) {
            Some(resource) => self.handles(value, resource),
            None if value.is_null() => String::new(),
            None => self.value(value),
        };
        write!(
            out,
            "{function}({}) -> {case} {}",
            self.cut(arguments, LINE_CHARS_MAX),
            self.cut(value, LINE_CHARS_MAX)
        )?;
        self.request(&call.result, out)
    }

    /// What stands beside the answer of a request: what was asked for, and why it was decided so.
    fn request(&self, result: &Value, out: &mut String) -> fmt::Result {
        let text = |name: &str| result.get(name).and_then(Value::as_str);
        if let (Some(method), Some(url)) = (text("method"), text("url")) {
            write!(out, "  {method} {}", self.cut(url.to_owned(), LINE_CHARS_MAX))?;
        }
        if let Some(rule) = result.get("rule").and_then(Value::as_u64) {
            write!(out, " by rule {rule}")?;
        }
        match text("denied") {
            Some(reason) => write!(out, " denied: {reason}"),
            None => Ok(()),
        }
    }

    /// A value in which each number outside of objects is a handle.
    fn handles(&self, value: &Value, resource: &str) -> String {
        match value {
            Value::Number(number) => {
                let life = number.as_u64().and_then(|handle| self.lives.get(&handle)).copied().unwrap_or(1);
                if life > 1 { format!("{resource}#{number}.{life}") } else { format!("{resource}#{number}") }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.handles(item, resource)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(members) if members.len() == 1 => {
                let members = members.iter().map(|(case, value)| format!("{case}: {}", self.handles(value, resource)));
                format!("{{{}}}", members.collect::<String>())
            }
            value => self.value(value),
        }
    }

    fn value(&self, value: &Value) -> String {
        let mut text = String::new();
        self.write_value(value, &mut text);
        self.cut(text, VALUE_CHARS_MAX)
    }

    fn write_value(&self, value: &Value, out: &mut String) {
        // Nothing beyond what the end of the line cuts off is worth writing.
        if !self.options.full && out.len() > LINE_CHARS_MAX * 4 {
            return;
        }
        if let Some((digest, bytes)) = super::verify::reference(value) {
            let _: fmt::Result = write!(out, "<{bytes} bytes sha256:{}>", self.digest(digest));
            return;
        }
        if let (Some(Value::String(digest)), Some(bytes)) = (value.get("blake3"), value.get("len")) {
            let _: fmt::Result = write!(out, "<{bytes} bytes blake3:{}>", self.shortened(digest));
            return;
        }
        match value {
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    self.write_value(item, out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    out.push_str(name);
                    out.push_str(": ");
                    self.write_value(value, out);
                }
                out.push('}');
            }
            scalar => out.push_str(&canonical::to_string(scalar)),
        }
    }

    fn cut(&self, text: String, chars: usize) -> String {
        if self.options.full {
            return text;
        }
        match text.char_indices().nth(chars) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }

    fn digest(&self, digest: Digest) -> String {
        self.shortened(&digest.to_string())
    }

    fn shortened(&self, hex: &str) -> String {
        match hex.get(..DIGEST_CHARS) {
            Some(start) if !self.options.full => format!("{start}…"),
            _ => hex.to_owned(),
        }
    }
}

/// `wasi:filesystem/types#[method]descriptor.write` as `descriptor.write`, `wasi:random/random#get-random-u64` as `random.get-random-u64`.
fn short_function(function: &str) -> String {
    let (interface, name) = function.split_once('#').unwrap_or(("", function));
    if let Some(method) = name.strip_prefix("[method]").or_else(|| name.strip_prefix("[static]")) {
        return method.to_owned();
    }
    if let Some(resource) = name.strip_prefix("[resource-drop]") {
        return format!("{resource}.drop");
    }
    if let Some(resource) = name.strip_prefix("[constructor]") {
        return format!("{resource}.new");
    }
    match interface.rsplit(['/', ':']).next() {
        Some(interface) if !interface.is_empty() => format!("{interface}.{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
