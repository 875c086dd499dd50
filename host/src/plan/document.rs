//! From a document's value to a draft of a plan: every key is checked, every mistake is in the report, and what is around it is read on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::draft::{Draft, DraftStep, Gaps};
use super::template::Template;
use super::{SCHEMA, START_TIME_DEFAULT, SkillSource};
use crate::canonical;
use crate::id::{Digest, SkillName, StepId};
use crate::limits::{self, LimitsDocument};
use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};
use crate::types::check::integer;
use crate::types::one_of;

/// The largest seed: every JSON reader keeps it exact.
const SEED_MAX: u64 = (1 << 53) - 1;

const PLAN_KEYS: [&str; 11] = [
    "schema",
    "name",
    "version",
    "description",
    "inputs",
    "skills",
    "seed",
    "start_time",
    "on_failure",
    "steps",
    "output",
];
const SKILL_KEYS: [&str; 2] = ["path", "sha256"];
const STEP_KEYS: [&str; 6] = ["id", "tool", "description", "input", "depends_on", "limits"];

/// Reads on after mistakes: the draft has them beside what could be read.
///
/// # Errors
///
/// What is wrong with a document of which nothing can be read.
pub(super) fn read(document: &Value) -> Result<Draft, Vec<Problem>> {
    let mut problems = Problems::default();
    match (Reader { problems: &mut problems, gaps: Gaps::default() }).plan(document) {
        Some(draft) => Ok(Draft { problems, ..draft }),
        None => Err(problems.into_vec()),
    }
}

/// An object of the document and its place.
#[derive(Clone, Copy)]
struct Members<'d> {
    map: &'d Map<String, Value>,
    pointer: &'d str,
    /// What it is, for messages.
    what: &'d str,
}

struct Reader<'p> {
    problems: &'p mut Problems,
    gaps: Gaps,
}

impl Reader<'_> {
    fn push(&mut self, code: &str, pointer: String, message: String, hint: impl Into<String>) {
        self.problems.push(Problem::new(code, pointer, message).with_hint(hint));
    }

    fn object<'d>(&mut self, value: &'d Value, pointer: &'d str, what: &'d str) -> Option<Members<'d>> {
        let Value::Object(map) = value else {
            let message = format!("{what} must be an object, got {}", kind(value));
            self.problems.push(Problem::new("wrong-type", pointer, message));
            return None;
        };
        Some(Members { map, pointer, what })
    }

    /// Reports other keys. Gives the absent keys that they may have been meant for: what these say is not known then.
    fn known_keys<'k>(&mut self, members: Members<'_>, known: &[&'k str]) -> BTreeSet<&'k str> {
        let absent = || known.iter().copied().filter(|known| !members.map.contains_key(*known));
        let mut meant = BTreeSet::new();
        for key in members.map.keys().filter(|key| !known.contains(&key.as_str())) {
            if self.problems.is_full() {
                self.problems.skip();
                break;
            }
            meant.extend(absent().filter(|known| suggestion(key, [*known]).is_some()));
            let known = known.iter().copied();
            let hint = suggestion(key, known.clone()).unwrap_or_else(|| one_of("known are", known));
            let message = format!("{} has no key `{}`", members.what, shown(key));
            self.push("unknown-key", pointer_to(members.pointer, key), message, hint);
        }
        meant
    }

    fn required<'d>(&mut self, members: Members<'d>, key: &str) -> Option<&'d Value> {
        let value = members.map.get(key);
        if value.is_none() {
            let message = format!("{} lacks the key `{key}`", members.what);
            self.push("missing-key", pointer_to(members.pointer, key), message, format!("add `{key}`"));
        }
        value
    }

    fn wrong_type(&mut self, pointer: String, key: &str, expected: &str, value: &Value) {
        self.problems.push(Problem::new(
            "wrong-type",
            pointer,
            format!("`{key}` must be {expected}, got {}", kind(value)),
        ));
    }

    fn string<'d>(&mut self, members: Members<'d>, key: &str, value: &'d Value) -> Option<&'d str> {
        if value.as_str().is_none() {
            self.wrong_type(pointer_to(members.pointer, key), key, "a string", value);
        }
        value.as_str()
    }

    fn optional_string<'d>(&mut self, members: Members<'d>, key: &str) -> Option<&'d str> {
        members.map.get(key).and_then(|value| self.string(members, key, value))
    }

    fn required_string<'d>(&mut self, members: Members<'d>, key: &str) -> Option<&'d str> {
        self.required(members, key).and_then(|value| self.string(members, key, value))
    }

    fn plan(mut self, document: &Value) -> Option<Draft> {
        let members = self.object(document, "", "the plan")?;
        if !self.schema(members) {
            // Written for another version: what else it says would be misread.
            return None;
        }
        let meant = self.known_keys(members, &PLAN_KEYS);
        self.gaps.any_skill = meant.contains("skills");
        let name = self.name(members);
        let version = self.optional_string(members, "version").map(str::to_owned);
        if let Some(version) = version.as_deref().filter(|version| !is_semver(version)) {
            let message = format!("`{}` is not a version", shown(version));
            self.push("bad-version", "/version".to_owned(), message, "write three numbers, such as `1.0.0`");
        }
        let description = self.optional_string(members, "description").map(str::to_owned);
        let inputs = match members.map.get("inputs") {
            None => (!meant.contains("inputs")).then(Map::new),
            Some(Value::Object(inputs)) => Some(inputs.clone()),
            Some(other) => {
                self.wrong_type("/inputs".to_owned(), "inputs", "an object", other);
                None
            }
        };
        let skills = self.skills(members);
        let seed = self.bounded(members, "seed", 0, SEED_MAX).unwrap_or(0);
        let start_time = self.start_time(members);
        self.on_failure(members);
        let steps = self.steps(members);
        let output = members.map.get("output").map(|output| Template::parse(output, "/output", self.problems));
        Some(Draft {
            name,
            version,
            description,
            inputs,
            skills,
            seed,
            start_time,
            steps,
            output,
            digest: Digest::of(&canonical::to_vec(document)),
            gaps: self.gaps,
            problems: Problems::default(),
        })
    }

    /// Whether the document may be read on.
    fn schema(&mut self, members: Members<'_>) -> bool {
        let Some(schema) = self.required_string(members, "schema") else { return true };
        if schema == SCHEMA {
            return true;
        }
        let known_name = SCHEMA.split('/').next();
        let (message, hint) = if schema.split('/').next() == known_name {
            (
                format!("the plan is of version `{}`, which is not known", shown(schema)),
                format!("this version reads `{SCHEMA}`"),
            )
        } else {
            (format!("`{}` is not the schema of a plan", shown(schema)), format!("write `{SCHEMA}`"))
        };
        self.push("wrong-schema", "/schema".to_owned(), message, hint);
        false
    }

    fn name(&mut self, members: Members<'_>) -> Option<String> {
        let name = self.required_string(members, "name")?;
        if name.trim().is_empty() || name.len() > limits::NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message = format!("`{}` is not a name", shown(name));
            let hint = format!("a plan's name is a text of 1 to {} bytes on one line", limits::NAME_BYTES_MAX);
            self.push("bad-name", "/name".to_owned(), message, hint);
        }
        Some(name.to_owned())
    }

    fn skills(&mut self, members: Members<'_>) -> BTreeMap<SkillName, SkillSource> {
        let mut skills = BTreeMap::new();
        let Some(value) = members.map.get("skills") else { return skills };
        let Some(members) = self.object(value, "/skills", "`skills`") else {
            self.gaps.any_skill = true;
            return skills;
        };
        for (name, source) in members.map {
            let pointer = pointer_to("/skills", name);
            let what = format!("the skill `{}`", shown(name));
            let skill = SkillName::new(name.as_str());
            if let Err(error) = &skill {
                let hint = "tools are named `skill.function` after it";
                self.push("bad-name", pointer.clone(), error.to_string(), hint);
            }
            self.gaps.skills.insert(name.clone());
            let Some(members) = self.object(source, &pointer, &what) else { continue };
            self.known_keys(members, &SKILL_KEYS);
            let mut path = self.required_string(members, "path");
            if path.take_if(|path| path.is_empty() || path.contains('\0')).is_some() {
                let message = format!("the path of {what} is empty or holds a zero byte");
                self.push("bad-path", pointer_to(&pointer, "path"), message, "write the path of a component");
            }
            let digest = self.optional_string(members, "sha256").map(str::parse::<Digest>);
            if let Some(Err(error)) = &digest {
                let hint = "`sha256sum` prints it for a file";
                self.push("bad-digest", pointer_to(&pointer, "sha256"), error.to_string(), hint);
            }
            if let (Ok(skill), Some(path)) = (skill, path) {
                let sha256 = digest.and_then(Result::ok);
                self.gaps.skills.remove(name);
                skills.insert(skill, SkillSource { path: PathBuf::from(path), sha256 });
            }
        }
        skills
    }

    fn bounded(&mut self, members: Members<'_>, key: &str, min: u64, max: u64) -> Option<u64> {
        let value = members.map.get(key)?;
        let pointer = || pointer_to(members.pointer, key);
        let Some(number) = value.as_number() else {
            self.wrong_type(pointer(), key, "an integer", value);
            return None;
        };
        match integer(number).map(u64::try_from) {
            Some(Ok(integer)) if (min..=max).contains(&integer) => Some(integer),
            _ => {
                let message = format!("`{key}` must be an integer from {min} to {max}, got `{number}`");
                self.problems.push(Problem::new("out-of-range", pointer(), message));
                None
            }
        }
    }

    fn start_time(&mut self, members: Members<'_>) -> u64 {
        let Some(text) = self.optional_string(members, "start_time") else { return START_TIME_DEFAULT };
        parse_time(text).unwrap_or_else(|reason| {
            let message = format!("`{}` is not a start time: {reason}", shown(text));
            let hint = "write RFC 3339 in whole seconds, such as `2026-01-01T00:00:00Z`";
            self.push("bad-time", "/start_time".to_owned(), message, hint);
            START_TIME_DEFAULT
        })
    }

    fn on_failure(&mut self, members: Members<'_>) {
        match self.optional_string(members, "on_failure") {
            None | Some("stop") => {}
            Some("rollback") => {
                let message = "`rollback` is not known to this version".to_owned();
                let hint = "this version does not roll back: write `stop`, after which no further step runs";
                self.push("unknown-value", "/on_failure".to_owned(), message, hint);
            }
            Some(other) => {
                let message = format!("`on_failure` cannot be `{}`", shown(other));
                self.push("unknown-value", "/on_failure".to_owned(), message, "write `stop` or leave it out");
            }
        }
    }

    fn steps(&mut self, members: Members<'_>) -> Vec<DraftStep> {
        let Some(value) = self.required(members, "steps") else {
            self.gaps.any_step = true;
            return Vec::new();
        };
        let Value::Array(steps) = value else {
            self.wrong_type("/steps".to_owned(), "steps", "an array", value);
            self.gaps.any_step = true;
            return Vec::new();
        };
        if steps.is_empty() {
            self.push("no-steps", "/steps".to_owned(), "the plan has no steps".to_owned(), "add at least one");
        }
        if steps.len() > limits::STEPS_MAX {
            let message = format!("the plan has {} steps, more than {}", steps.len(), limits::STEPS_MAX);
            self.push("too-many-steps", "/steps".to_owned(), message, "split it into several plans");
            self.gaps.any_step = true;
            return Vec::new();
        }
        let steps = steps.iter().enumerate();
        steps.map(|(index, step)| self.step(step, &format!("/steps/{index}"), index)).collect()
    }

    fn step(&mut self, step: &Value, pointer: &str, index: usize) -> DraftStep {
        let id = step.get("id").and_then(Value::as_str);
        let what = id.map_or_else(|| format!("step {index}"), |id| format!("step `{}`", shown(id)));
        let Some(members) = self.object(step, pointer, &what) else {
            self.gaps.any_step = true;
            return DraftStep::default();
        };
        let meant = self.known_keys(members, &STEP_KEYS);
        let id = self.required_string(members, "id");
        self.gaps.any_step |= id.is_none();
        let id = id.and_then(|id| {
            let read = StepId::new(id);
            if let Err(error) = &read {
                self.push("bad-name", pointer_to(pointer, "id"), error.to_string(), "such as `read-1`");
                self.gaps.steps.insert(id.to_owned());
            }
            read.ok()
        });
        let tool = self.required_string(members, "tool");
        let description = self.optional_string(members, "description");
        let empty = Value::Object(Map::new());
        let input = members.map.get("input").or_else(|| (!meant.contains("input")).then_some(&empty));
        let input = input.and_then(|input| {
            let pointer = pointer_to(pointer, "input");
            let template = Template::parse(input, &pointer, self.problems);
            if !input.is_object() {
                self.wrong_type(pointer, "input", "an object", input);
                return None;
            }
            Some(template)
        });
        let depends_on = self.depends_on(members);
        let limits = self.limits(members);
        DraftStep {
            id,
            tool: tool.map(str::to_owned),
            description: description.map(str::to_owned),
            input,
            depends_on,
            limits,
        }
    }

    fn depends_on(&mut self, members: Members<'_>) -> Vec<(usize, String)> {
        let Some(value) = members.map.get("depends_on") else { return Vec::new() };
        let pointer = pointer_to(members.pointer, "depends_on");
        let Value::Array(ids) = value else {
            self.wrong_type(pointer, "depends_on", "an array of step ids", value);
            return Vec::new();
        };
        let mut seen = BTreeSet::new();
        let mut depends_on = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            let Some(id) = id.as_str() else {
                self.wrong_type(pointer, "depends_on", "an array of step ids", id);
                continue;
            };
            if !seen.insert(id) {
                let message = format!("`{}` is there twice", shown(id));
                self.push("duplicate-dependency", pointer, message, "keep one of the two");
                continue;
            }
            depends_on.push((index, id.to_owned()));
        }
        depends_on
    }

    fn limits(&mut self, members: Members<'_>) -> LimitsDocument {
        let mut asked = LimitsDocument::default();
        let Some(value) = members.map.get("limits") else { return asked };
        let pointer = pointer_to(members.pointer, "limits");
        let what = format!("`limits` of {}", members.what);
        let Some(members) = self.object(value, &pointer, &what) else { return asked };
        let bounds: [(&str, &mut Option<u64>, u64); 7] = [
            ("fuel", &mut asked.fuel, limits::FUEL_MAX),
            ("deadline_ms", &mut asked.deadline_ms, limits::DEADLINE_MS_MAX),
            ("memory_bytes", &mut asked.memory_bytes, limits::MEMORY_BYTES_MAX),
            ("output_bytes", &mut asked.output_bytes, limits::OUTPUT_BYTES_MAX),
            ("stdio_bytes", &mut asked.stdio_bytes, limits::STDIO_BYTES_MAX),
            ("host_calls", &mut asked.host_calls, limits::HOST_CALLS_MAX),
            ("trace_bytes", &mut asked.trace_bytes, limits::TRACE_BYTES_MAX),
        ];
        self.known_keys(members, &bounds.each_ref().map(|(key, ..)| *key));
        for (key, limit, max) in bounds {
            *limit = self.bounded(members, key, 1, max);
        }
        asked
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Semantic Versioning 2.0.0, section 2, 9 and 10.
pub(super) fn is_semver(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let identifier = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| identifier(part) && (!digits(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(identifier))
}

/// RFC 3339 (`2026-01-01T00:00:00Z`) to seconds since 1970.
fn parse_time(text: &str) -> Result<u64, &'static str> {
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(b, form)| match form {
                b'0' => b.is_ascii_digit(),
                b'+' => b == b'+' || b == b'-',
                form => b == form,
            })
    };
    if !shape(text, "0000-00-00T00:00:00Z") && !shape(text, "0000-00-00T00:00:00+00:00") {
        return Err("not of the form `YYYY-MM-DDTHH:MM:SSZ` or with an offset such as `+02:00`");
    }
    // The form allows for a leap second, which no clock here can show.
    if text.get(17..19) == Some("60") {
        return Err("leap seconds are not known");
    }
    let timestamp: jiff::Timestamp = text.parse().map_err(|_| "there is no such date or time")?;
    u64::try_from(timestamp.as_second()).map_err(|_| "it is before 1970")
}
