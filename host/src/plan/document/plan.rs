//! The keys of a plan itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::keys::{PLAN, SKILL};
use super::{Members, Reader};
use crate::canonical;
use crate::id::{Digest, NAME_FORM, SkillName, is_name};
use crate::limits;
use crate::plan::draft::{Draft, DraftCall, DraftStep};
use crate::plan::flow::OnFailure;
use crate::plan::template::Template;
use crate::plan::{SCHEMA, START_TIME_DEFAULT, SkillSource};
use crate::problem::{Problems, pointer_to, shown};

impl Reader<'_> {
    /// Reads a plan; `None` where nothing of it can be read.
    pub(super) fn plan(mut self, document: &Value) -> Option<Draft> {
        let members = self.object(document, "", "the plan")?;
        if !self.schema(members) {
            // Written for another version: what else it says would be misread.
            return None;
        }
        let meant = self.known_keys(members, &PLAN);
        self.gaps.any_skill = meant.contains("skills");
        let name = self.name(members);
        let version = self.optional_string(members, "version").map(str::to_owned);
        if let Some(version) = version.as_deref().filter(|version| !is_semver(version)) {
            let message = format!("`{}` is not a version", shown(version));
            self.push("bad-version", "/version".to_owned(), message, "write three numbers, such as `1.0.0`");
        }
        let description = self.optional_string(members, "description").map(str::to_owned);
        let tags = self.tags(members);
        let inputs = match members.map.get("inputs") {
            None => (!meant.contains("inputs")).then(Map::new),
            Some(Value::Object(inputs)) => Some(inputs.clone()),
            Some(other) => {
                self.wrong_type("/inputs".to_owned(), "inputs", "an object", other);
                None
            }
        };
        let skills = self.skills(members);
        let seed = self.bounded(members, &PLAN, "seed").unwrap_or(0);
        let start_time = self.start_time(members);
        let on_failure = self.on_failure(members);
        let parallel = self.bounded(members, &PLAN, "parallel");
        let parallel = parallel.and_then(|parallel| u32::try_from(parallel).ok()).unwrap_or(1);
        let deadline_ms = self.bounded(members, &PLAN, "deadline_ms");
        let steps = self.steps(members, parallel);
        let compensate = self.compensations(members);
        let output = members.map.get("output").map(|output| Template::parse(output, "/output", self.problems));
        Some(Draft {
            name,
            version,
            description,
            tags,
            inputs,
            skills,
            seed,
            start_time,
            on_failure,
            parallel,
            deadline_ms,
            steps,
            compensate,
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

    fn tags(&mut self, members: Members<'_>) -> Vec<String> {
        let Some(value) = members.map.get("tags") else { return Vec::new() };
        let Value::Array(items) = value else {
            self.wrong_type("/tags".to_owned(), "tags", "an array of names", value);
            return Vec::new();
        };
        if items.len() > limits::TAGS_MAX {
            let message = format!("the plan has {} tags, more than {}", items.len(), limits::TAGS_MAX);
            self.push("too-many-tags", "/tags".to_owned(), message, "keep those that somebody asks for");
            return Vec::new();
        }
        let mut tags: Vec<String> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let pointer = format!("/tags/{index}");
            match item.as_str() {
                None => self.wrong_type(pointer, "tags", "an array of names", item),
                Some(tag) if !is_name(tag) => {
                    self.push("bad-name", pointer, format!("`{}` is no tag", shown(tag)), NAME_FORM);
                }
                Some(tag) if tags.iter().any(|known| known == tag) => {
                    self.push("duplicate-value", pointer, format!("`{tag}` is there twice"), "keep one of the two");
                }
                Some(tag) => tags.push(tag.to_owned()),
            }
        }
        tags
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
            self.known_keys(members, &SKILL);
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

    fn start_time(&mut self, members: Members<'_>) -> u64 {
        let Some(text) = self.optional_string(members, "start_time") else { return START_TIME_DEFAULT };
        parse_time(text).unwrap_or_else(|reason| {
            let message = format!("`{}` is not a start time: {reason}", shown(text));
            let hint = "write RFC 3339 in whole seconds, such as `2026-01-01T00:00:00Z`";
            self.push("bad-time", "/start_time".to_owned(), message, hint);
            START_TIME_DEFAULT
        })
    }

    fn on_failure(&mut self, members: Members<'_>) -> OnFailure {
        let known = [OnFailure::Stop, OnFailure::Rollback].map(|known| (known.name(), known));
        self.optional_one_of(members, "on_failure", &known).unwrap_or_default()
    }

    fn steps(&mut self, members: Members<'_>, parallel: u32) -> Vec<DraftStep> {
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
        if parallel > 1 && steps.len() > limits::PARALLEL_STEPS_MAX {
            let message = format!(
                "the plan has {} steps and asks to run some of them at one time, which is for {} at the most",
                steps.len(),
                limits::PARALLEL_STEPS_MAX
            );
            self.push("too-many-steps", "/parallel".to_owned(), message, "leave `parallel` out, or split the plan");
        }
        let steps = steps.iter().enumerate();
        steps.map(|(index, step)| self.step(step, &format!("/steps/{index}"), index)).collect()
    }

    /// `compensate` of the plan.
    fn compensations(&mut self, members: Members<'_>) -> Vec<DraftCall> {
        let Some(value) = members.map.get("compensate") else { return Vec::new() };
        let Value::Array(calls) = value else {
            self.wrong_type("/compensate".to_owned(), "compensate", "an array of objects", value);
            return Vec::new();
        };
        if calls.len() > limits::COMPENSATIONS_MAX {
            let message =
                format!("the plan has {} compensations, more than {}", calls.len(), limits::COMPENSATIONS_MAX);
            let hint = "give steps compensations of their own";
            self.push("too-many-compensations", "/compensate".to_owned(), message, hint);
            return Vec::new();
        }
        let calls = calls.iter().enumerate();
        let read = calls.map(|(index, call)| {
            self.compensation(call, &format!("/compensate/{index}"), &format!("compensation {index}"))
        });
        read.collect()
    }
}

/// Semantic Versioning 2.0.0, section 2, 9 and 10.
pub(in crate::plan) fn is_semver(text: &str) -> bool {
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
