//! The policy lab: what recorded runs used, what another policy would have said of them, and the smallest policy that they need.
//!
//! Reads traces and the documents beside them. Nothing of a guest runs and nothing acts; components are loaded to see what their tools
//! declare. Of what a trace does not hold (memory, wall time) nothing is said.

pub mod replay;
pub mod suggest;
pub mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::host::{Error, SkillHost};
use crate::id::{SkillName, StepId, ToolName};
use crate::policy::Policy;
use crate::skill::{Skill, own};
use crate::skills::{SkillBytes, SkillLoader};
use crate::store::RunDir;
use crate::trace::reader::Reader;

pub use replay::{Change, Comparison, Finding};
pub use suggest::{SuggestError, Suggestion};
pub use usage::{StepUsage, Usage};

/// A recorded run as the lab sees it.
#[derive(Debug)]
pub struct Recorded {
    /// The run's id.
    pub run: String,
    /// What it used.
    pub usage: Usage,
    /// The policy it ran under; `None` where the run's folder has none that can be read.
    pub policy: Option<Policy>,
    /// The skills it ran, as far as their components were kept and can be loaded.
    pub skills: BTreeMap<SkillName, Arc<Skill>>,
    /// What its plan declares to take steps back, whether it came to that or not: the step and the tool. Those that end a rollback are called
    /// `compensate-0` and so on.
    pub compensations: Vec<(StepId, ToolName)>,
    /// What could not be looked at.
    pub notes: Vec<String>,
}

impl Recorded {
    /// Reads a run's folder.
    ///
    /// # Errors
    ///
    /// [`Error::Trace`] where the trace is not what was recorded, or touches more than the lab holds; [`Error::Sandbox`] where the
    /// engine cannot start. A component or policy that is not there is a note.
    pub fn read(host: &SkillHost, run: &RunDir) -> Result<Self, Error> {
        let usage = Usage::read(&mut Reader::open(&run.trace())?)?;
        let mut recorded = Self {
            run: run.id().to_owned(),
            usage,
            policy: None,
            skills: BTreeMap::new(),
            compensations: Vec::new(),
            notes: Vec::new(),
        };
        match (run.policy_text(), run.rules_text()) {
            (Ok(text), Ok(None)) if text.is_empty() => recorded.policy = Some(Policy::deny_all()),
            (Ok(text), Ok(rules)) => {
                let policy =
                    rules.map_or_else(|| Policy::parse(&text), |rules| Policy::parse_with_rules(&text, &rules));
                match policy {
                    Ok(policy) => recorded.policy = Some(policy),
                    Err(_) => recorded.note("the policy that it kept cannot be read"),
                }
            }
            _ => recorded.note("it kept no policy"),
        }
        let loader = SkillLoader::new(host.engine()?, host.compiling());
        for (name, digest) in recorded.usage.header.skills.clone() {
            if own::is_own(&name) {
                recorded.skills.insert(name, Arc::clone(own::sys()));
                continue;
            }
            let path = run.component(&digest);
            match path.is_file().then(|| loader.load(&name, &SkillBytes::File(path))) {
                Some(Ok(loaded)) => {
                    recorded.skills.insert(name, std::sync::Arc::clone(&loaded.skill));
                }
                Some(Err(error)) => recorded.note(&format!("what its skill `{name}` needs is not known: {error}")),
                None => recorded.note(&format!("what its skill `{name}` needs is not known: it kept no component")),
            }
        }
        recorded.declared(run);
        Ok(recorded)
    }

    /// Takes from the plan what would take its steps back: nothing runs that is not allowed with them.
    fn declared(&mut self, run: &RunDir) {
        let draft = match run.plan_document() {
            Ok(document) => document.draft(),
            Err(_) => return self.note("it kept no plan: what takes its steps back is not known"),
        };
        // One that cannot be read was refused, which is said of the run.
        let Ok(draft) = draft else { return };
        let outline = draft.outline();
        let of_steps = outline.steps.iter().filter_map(|step| Some((step.id?.clone(), step.compensate?.tool?)));
        let last = outline.compensate.iter().enumerate();
        let last = last.filter_map(|(index, call)| Some((StepId::of_compensation(index), call.tool?)));
        for (step, tool) in of_steps.chain(last) {
            let Ok(name) = tool.parse::<ToolName>() else { continue };
            let resolved = self.skills.get(name.skill()).and_then(|skill| skill.resolve(name.function()));
            let name = resolved.map_or(name, |tool| tool.name.clone());
            self.compensations.push((step, name));
        }
    }

    /// The compensations whose tools no step of the run called: nothing is known of them but that they have to be allowed.
    pub(crate) fn unused_compensations(&self) -> impl Iterator<Item = &(StepId, ToolName)> {
        // A run in which nothing began was not allowed, or needs nothing.
        let has_begun = !self.usage.steps.is_empty();
        let called = |tool: &ToolName| self.usage.steps.iter().any(|step| step.tool == *tool);
        self.compensations.iter().filter(move |(_, tool)| has_begun && !called(tool))
    }

    fn note(&mut self, text: &str) {
        self.notes.push(format!("run {}: {text}", self.run));
    }

    /// The skill that has a step's tool.
    fn skill(&self, tool: &ToolName) -> Option<&Skill> {
        self.skills.get(tool.skill()).map(Arc::as_ref)
    }

    /// The grant that a step ran under, where it is known.
    fn old_grant(&self, step: &StepUsage) -> Option<&crate::policy::Grant> {
        self.policy.as_ref()?.grants.get(usize::try_from(step.grant).ok()?).map(Arc::as_ref)
    }
}
