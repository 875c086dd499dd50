//! What a recorded run used, read from its trace alone: tools, folders and paths, requests, clocks, random bytes, variables, limits.
//!
//! Handles are followed from the granted folders through every `open-at`, since a call names a handle and a path below it. Paths are
//! text: where a symbolic link leads is not in a trace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::canonical;
use crate::guest_path;
use crate::id::{Digest, StepId, ToolName};
use crate::limits::{self, StepLimits};
use crate::outcome::{Outcome, RunOutcome};
use crate::trace::TraceError;
use crate::trace::event::{CallEvent, DelegateBegin, Event, Header, StepBegin};
use crate::trace::reader::Reader;

/// What a run used.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What ran on what.
    pub header: Header,
    /// The steps that began, in order.
    pub steps: Vec<StepUsage>,
    /// The steps that the policy denied, with its reasons. Those that ran nevertheless, because denials were only recorded, are not here.
    pub denied: Vec<(StepId, ToolName, String)>,
    /// How the run ended; `None` where it did not.
    pub outcome: Option<RunOutcome>,
}

/// What a step used.
#[derive(Debug, Clone)]
pub struct StepUsage {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// The component.
    pub skill: Digest,
    /// Its input.
    pub input: Value,
    /// Whether somebody was asked for approval and gave it.
    pub approved: bool,
    /// The index of the grant that applied.
    pub grant: u64,
    /// The limits that applied.
    pub limits: StepLimits,
    /// How many calls of tools it is inside of: 0 for what the plan calls. What is called from inside of a step is listed as one that ends
    /// before it.
    pub depth: u64,
    /// The tools that it called from inside, with the first event of each.
    pub calls: BTreeMap<ToolName, u64>,
    /// The guest paths of the folders that it was shown.
    pub folders: BTreeSet<String>,
    /// What it did to files and folders, by guest path.
    pub touched: BTreeMap<String, Touch>,
    /// What it asked of servers.
    pub requests: BTreeMap<Request, Answer>,
    /// How often it read a clock or set a timer.
    pub clocks: u64,
    /// How often it asked for random bytes.
    pub random: u64,
    /// The names of the variables that it was shown, those of a program's own input among them; `None` where it did not look.
    pub env: Option<BTreeSet<String>>,
    /// The settings that it was told of; `None` where it did not ask.
    pub config: Option<BTreeSet<String>>,
    /// Whether it asked for the folder that it starts in, which is the first of the grant: relative paths mean something below it.
    pub asks_where_it_starts: bool,
    /// What it used of its limits, as far as a trace says.
    pub used: Used,
    /// How it ended; `None` where the trace does not say.
    pub outcome: Option<Outcome>,
}

/// What was done to one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touch {
    /// The guest path of the granted folder that it was reached through.
    pub folder: String,
    /// The first event that needed it to be readable.
    pub read: Option<u64>,
    /// The first event that needed it to be writable: also one that failed, unless for want of permission.
    pub write: Option<u64>,
    /// The first event that was refused for want of permission.
    pub refused: Option<u64>,
    /// Whether it was used as a folder.
    pub is_folder: bool,
    /// Whether it came or went in the step, so that it may not have been there before the run.
    pub is_new: bool,
}

/// A request to a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
}

/// What became of the first of equal requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its event.
    pub seq: u64,
    /// Why it was denied, where it was.
    pub denied: Option<String>,
}

/// What a step used of the limits that a trace tells of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Fuel; `None` where the end was not deterministic.
    pub fuel: Option<u64>,
    /// Host calls.
    pub host_calls: u64,
    /// Bytes of the output as canonical JSON.
    pub output_bytes: u64,
    /// Bytes written to stdout or stderr, the larger of both.
    pub stdio_bytes: u64,
    /// Bytes of trace and blobs.
    pub trace_bytes: u64,
}

impl Used {
    /// Each use as (name of the limit, use), as [`StepLimits::entries`] names them.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, Option<u64>); 5] {
        [
            ("fuel", self.fuel),
            ("output_bytes", Some(self.output_bytes)),
            ("stdio_bytes", Some(self.stdio_bytes)),
            ("host_calls", Some(self.host_calls)),
            ("trace_bytes", Some(self.trace_bytes)),
        ]
    }
}

impl Usage {
    /// Reads a trace to its end.
    ///
    /// # Errors
    ///
    /// What [`Reader::next_event`] says, [`TraceError::Truncated`] where there is no header, and [`TraceError::Event`] where the run
    /// touches more than [`limits::LAB_TOUCHED_MAX`] paths, requests and variables.
    pub fn read(reader: &mut Reader) -> Result<Self, TraceError> {
        Self::read_bounded(reader, limits::LAB_TOUCHED_MAX)
    }

    fn read_bounded(reader: &mut Reader, touched_max: usize) -> Result<Self, TraceError> {
        let Some((_, Event::Header(header))) = reader.next_event()? else {
            return Err(TraceError::Truncated { last: None });
        };
        let mut usage = Self { header, steps: Vec::new(), denied: Vec::new(), outcome: None };
        // The step's own tool, and what it called that has not ended.
        let mut open: Vec<Following> = Vec::new();
        let mut touched = 0_usize;
        let mut approved = false;
        while let Some(line) = reader.next_line()? {
            let (seq, bytes) = (line.seq(), line.text().len() as u64 + 1);
            match (line.event()?, open.last_mut()) {
                (Event::Approval(approval), _) => approved = approval.answer.approved,
                (Event::StepBegin(begin), _) => open = vec![Following::new(begin, std::mem::take(&mut approved))],
                (Event::DelegateBegin(begin), Some(caller)) => {
                    let callee = caller.calls((seq, bytes), begin);
                    open.push(callee);
                }
                (Event::DelegateEnd(end), Some(_)) => {
                    if let Some(mut callee) = open.pop() {
                        callee.usage.used.trace_bytes = callee.usage.used.trace_bytes.saturating_add(bytes);
                        if let Some(caller) = open.last_mut() {
                            caller.includes(&callee);
                        }
                        let callee = callee.ended(end.outcome, Some(end.fuel), end.calls);
                        touched += callee.touched.len() + callee.requests.len();
                        usage.steps.push(callee);
                    }
                }
                (Event::Call(call), Some(step)) => {
                    step.call(seq, bytes, &call);
                    let found = step.usage.touched.len()
                        + step.usage.requests.len()
                        + step.usage.env.as_ref().map_or(0, BTreeSet::len)
                        + step.usage.config.as_ref().map_or(0, BTreeSet::len);
                    if touched + found > touched_max {
                        let what = format!("the run touches more than {touched_max} paths, URLs and variables");
                        return Err(TraceError::Event { seq, line: seq.saturating_add(1), what });
                    }
                }
                (Event::StepEnd(end), _) => {
                    // What ended with the step comes before it, as what ended by itself does.
                    while let Some(step) = open.pop() {
                        let step = step.ended(end.outcome.clone(), end.fuel, end.calls);
                        touched += step.touched.len() + step.requests.len();
                        usage.steps.push(step);
                    }
                }
                (Event::Denied(denied), _) => usage.denied.push((denied.step, denied.tool, denied.reason)),
                (Event::RunEnd { outcome, .. }, _) => usage.outcome = Some(outcome),
                _ => {}
            }
        }
        // A run that was killed has a step that never ended: what it did until then counts.
        usage.steps.extend(open.into_iter().rev().map(|step| step.usage));
        Ok(usage)
    }
}

/// A step while its calls are read.
struct Following {
    usage: StepUsage,
    /// Open descriptors: the granted folder they come from, and their path.
    descriptors: BTreeMap<u64, (String, String)>,
    /// Open output streams of stdout and stderr, as the index into `written`.
    outputs: BTreeMap<u64, usize>,
    written: [u64; 2],
}

/// What a function of `wasi:filesystem/types` needs of what it is called on.
const READS: [&str; 9] = [
    "read",
    "read-via-stream",
    "read-directory",
    "stat",
    "metadata-hash",
    "is-same-object",
    "advise",
    "sync",
    "sync-data",
];
const WRITES: [&str; 5] = ["write", "write-via-stream", "append-via-stream", "set-size", "set-times"];
/// The same of the path that they name: the function, the parameters of descriptor and path, and whether it may come or go by it.
const PATHS: [(&str, &str, &str, bool, bool); 12] = [
    ("stat-at", "self", "path", false, false),
    ("readlink-at", "self", "path", false, false),
    ("metadata-hash-at", "self", "path", false, false),
    ("set-times-at", "self", "path", true, false),
    ("create-directory-at", "self", "path", true, true),
    ("unlink-file-at", "self", "path", true, true),
    ("remove-directory-at", "self", "path", true, true),
    ("rename-at", "self", "old-path", true, true),
    ("rename-at", "new-descriptor", "new-path", true, true),
    ("link-at", "self", "old-path", true, true),
    ("link-at", "new-descriptor", "new-path", true, true),
    ("symlink-at", "self", "new-path", true, true),
];
/// How the host says that a grant does not allow something.
const REFUSED: &str = "not-permitted";

impl Following {
    fn new(begin: StepBegin, approved: bool) -> Self {
        let StepBegin { step, tool, skill, grant, limits, input, .. } = begin;
        let usage = StepUsage {
            step,
            tool,
            skill,
            input,
            approved,
            grant,
            limits,
            depth: 0,
            calls: BTreeMap::new(),
            folders: BTreeSet::new(),
            touched: BTreeMap::new(),
            requests: BTreeMap::new(),
            clocks: 0,
            random: 0,
            env: None,
            config: None,
            asks_where_it_starts: false,
            used: Used::default(),
            outcome: None,
        };
        Self { usage, descriptors: BTreeMap::new(), outputs: BTreeMap::new(), written: [0; 2] }
    }

    /// What a tool does that this one calls.
    fn calls(&mut self, (seq, bytes): (u64, u64), begin: DelegateBegin) -> Self {
        self.usage.calls.entry(begin.tool.clone()).or_insert(seq);
        let DelegateBegin { depth, tool, skill, input, grant, rules } = begin;
        let (step, limits) = (self.usage.step.clone(), self.usage.limits);
        let (attempt, key, compensates) = (1, None, false);
        let mut callee = Self::new(
            StepBegin {
                step,
                tool,
                attempt,
                skill,
                input,
                key,
                resolved_from: None,
                compensates,
                grant,
                rules,
                limits,
            },
            false,
        );
        callee.usage.depth = depth;
        callee.usage.used.trace_bytes = bytes;
        callee
    }

    /// What was called is in the same trace.
    const fn includes(&mut self, callee: &Self) {
        let used = &mut self.usage.used.trace_bytes;
        *used = used.saturating_add(callee.usage.used.trace_bytes);
    }

    fn ended(mut self, outcome: Outcome, fuel: Option<u64>, calls: u64) -> StepUsage {
        let used = &mut self.usage.used;
        used.fuel = fuel;
        used.host_calls = calls;
        used.output_bytes = match &outcome {
            Outcome::Completed { output: value } | Outcome::Failed { error: value } => {
                canonical::to_vec(value).len() as u64
            }
            _ => 0,
        };
        used.stdio_bytes = self.written.into_iter().max().unwrap_or_default();
        self.usage.outcome = Some(outcome);
        self.usage
    }

    fn call(&mut self, seq: u64, bytes: u64, call: &CallEvent) {
        self.usage.used.host_calls += 1;
        self.usage.used.trace_bytes =
            self.usage.used.trace_bytes.saturating_add(bytes).saturating_add(blob_bytes(&call.result));
        let Some((interface, function)) = call.function.split_once('#') else { return };
        match interface {
            "wasi:filesystem/preopens" => self.preopens(call),
            "wasi:filesystem/types" => self.filesystem(seq, function, call),
            "wasi:clocks/monotonic-clock" | "wasi:clocks/wall-clock" => self.usage.clocks += 1,
            "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => self.usage.random += 1,
            "wasi:cli/environment" if function == "get-environment" => self.environment(call),
            "wasi:cli/environment" if function == "initial-cwd" => self.usage.asks_where_it_starts = true,
            "wasi:config/store" => self.config(function, call),
            "wasi:cli/stdout" => self.output(0, call),
            "wasi:cli/stderr" => self.output(1, call),
            "wasi:io/streams" => self.stream(function, call),
            "wasi:http/outgoing-handler" => self.request(seq, call),
            _ => {}
        }
    }

    fn preopens(&mut self, call: &CallEvent) {
        for pair in call.result.get("ok").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(handle), Some(guest)) =
                (pair.get(0).and_then(Value::as_u64), pair.get(1).and_then(Value::as_str))
            {
                self.descriptors.insert(handle, (guest.to_owned(), guest_path::join("/", guest)));
                self.usage.folders.insert(guest.to_owned());
            }
        }
    }

    fn filesystem(&mut self, seq: u64, function: &str, call: &CallEvent) {
        if function == "[resource-drop]descriptor" {
            if let Some(handle) = handle(call, "self") {
                self.descriptors.remove(&handle);
            }
            return;
        }
        let Some(method) = function.strip_prefix("[method]descriptor.") else { return };
        if method == "open-at" {
            return self.open(seq, call);
        }
        let is_write = WRITES.contains(&method);
        if (is_write || READS.contains(&method))
            && let Some((folder, path)) = handle(call, "self").and_then(|handle| self.descriptors.get(&handle)).cloned()
        {
            let touch = self.touch(seq, folder, path, is_write, &call.result);
            touch.is_folder |= method == "read-directory";
        }
        for (_, descriptor, path, is_write, is_new) in PATHS.into_iter().filter(|(name, ..)| *name == method) {
            if let Some((folder, path)) = self.path(call, descriptor, path) {
                let touch = self.touch(seq, folder, path, is_write, &call.result);
                touch.is_new |= is_new && call.result.get("ok").is_some();
            }
        }
    }

    fn open(&mut self, seq: u64, call: &CallEvent) {
        let Some((folder, path)) = self.path(call, "self", "path") else { return };
        let has = |parameter: &str, flag: &str| {
            let flags = call.params.get(parameter).and_then(Value::as_array);
            flags.is_some_and(|flags| flags.iter().any(|found| found.as_str() == Some(flag)))
        };
        let (creates, truncates) = (has("open-flags", "create"), has("open-flags", "truncate"));
        let is_write = creates || truncates || has("flags", "write");
        let touch = self.touch(seq, folder.clone(), path.clone(), is_write, &call.result);
        touch.is_folder |= has("open-flags", "directory");
        touch.is_new |= creates;
        if let Some(handle) = call.result.get("ok").and_then(Value::as_u64) {
            self.descriptors.insert(handle, (folder, path));
        }
    }

    /// The granted folder and the path that a call names by a descriptor and a path below it.
    fn path(&self, call: &CallEvent, descriptor: &str, path: &str) -> Option<(String, String)> {
        let (folder, base) = self.descriptors.get(&handle(call, descriptor)?)?;
        // A path of more than 4 KiB is recorded by its digest: that it lies below the descriptor is all that is known.
        let path = call.params.get(path).and_then(Value::as_str).unwrap_or_default();
        Some((folder.clone(), guest_path::join(base, path)))
    }

    fn touch(&mut self, seq: u64, folder: String, path: String, is_write: bool, result: &Value) -> &mut Touch {
        let touch = self.usage.touched.entry(path).or_default();
        touch.folder = folder;
        let is_refused = result.get("err").and_then(Value::as_str) == Some(REFUSED);
        let slot = match (is_refused, is_write) {
            (true, _) => &mut touch.refused,
            (false, true) => &mut touch.write,
            (false, false) => &mut touch.read,
        };
        slot.get_or_insert(seq);
        touch
    }

    fn environment(&mut self, call: &CallEvent) {
        let pairs = call.result.get("ok").and_then(Value::as_array).into_iter().flatten();
        let names = pairs.filter_map(|pair| pair.get(0).and_then(Value::as_str)).map(str::to_owned);
        self.usage.env.get_or_insert_default().extend(names);
    }

    /// A key that was asked for and is not there is no use of it.
    fn config(&mut self, function: &str, call: &CallEvent) {
        let told = self.usage.config.get_or_insert_default();
        match (function, call.result.get("ok")) {
            ("get", Some(Value::String(_) | Value::Object(_))) => {
                told.extend(call.params.get("key").and_then(Value::as_str).map(str::to_owned));
            }
            ("get-all", Some(Value::Array(pairs))) => {
                told.extend(pairs.iter().filter_map(|pair| pair.get(0).and_then(Value::as_str)).map(str::to_owned));
            }
            _ => {}
        }
    }

    fn output(&mut self, index: usize, call: &CallEvent) {
        if let Some(handle) = call.result.get("ok").and_then(Value::as_u64) {
            self.outputs.insert(handle, index);
        }
    }

    fn stream(&mut self, function: &str, call: &CallEvent) {
        let Some(stream) = handle(call, "self") else { return };
        if function == "[resource-drop]output-stream" {
            self.outputs.remove(&stream);
            return;
        }
        let written = call.params.get("contents").map(payload_bytes).unwrap_or_default();
        let output = self.outputs.get(&stream).and_then(|index| self.written.get_mut(*index));
        if let Some(output) = output {
            *output = output.saturating_add(written);
        }
    }

    fn request(&mut self, seq: u64, call: &CallEvent) {
        let text = |member: &str| call.result.get(member).and_then(Value::as_str).map(str::to_owned);
        if let (Some(method), Some(url)) = (text("method"), text("url")) {
            let answer = Answer { seq, denied: text("denied") };
            self.usage.requests.entry(Request { method, url }).or_insert(answer);
        }
    }
}

/// A handle in a call's parameters.
fn handle(call: &CallEvent, parameter: &str) -> Option<u64> {
    call.params.get(parameter).and_then(Value::as_u64)
}

/// The length of bytes in a call: base64, or a reference with its length.
fn payload_bytes(value: &Value) -> u64 {
    match value {
        Value::String(base64) => {
            let padding = base64.bytes().rev().take_while(|byte| *byte == b'=').count();
            (base64.len() / 4 * 3).saturating_sub(padding) as u64
        }
        other => other.get("len").and_then(Value::as_u64).unwrap_or_default(),
    }
}

/// The bytes of the blobs that a result refers to.
fn blob_bytes(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(blob_bytes).fold(0, u64::saturating_add),
        Value::Object(members) if members.contains_key("sha256") => {
            members.get("len").and_then(Value::as_u64).unwrap_or_default()
        }
        Value::Object(members) => members.values().map(blob_bytes).fold(0, u64::saturating_add),
        _ => 0,
    }
}

#[cfg(test)]
pub(super) mod tests;
