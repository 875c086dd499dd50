//! From a name to a loaded skill: what the host was given, what the plan names, what is built in, in this order.

pub mod builtin;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::Component;

use crate::document;
use crate::id::{Digest, SkillName};
use crate::limits;
use crate::plan::Plan;
use crate::problem::{Problem, Problems, pointer_to};
use crate::sandbox::component::{CacheUse, ComponentCache, LoadError, load};
use crate::sandbox::engine::SandboxEngine;
use crate::sandbox::{Program, SandboxError};
use crate::skill::{Catalog, Skill, unprovided_imports};

/// A skill that is not loaded yet.
#[derive(Debug, Clone)]
pub enum SkillBytes {
    /// A component file, with a `skill.toml` or `<name>.toml` beside it where there is one.
    File(PathBuf),
    /// The component's bytes and the text of its `skill.toml`.
    Memory {
        /// The component.
        component: Cow<'static, [u8]>,
        /// `skill.toml`; without it, the one that the component carries counts.
        manifest: Option<Cow<'static, str>>,
    },
}

/// A loaded skill, ready to be linked.
#[derive(Debug)]
pub(crate) struct LoadedSkill {
    pub(crate) skill: Arc<Skill>,
    pub(crate) bytes: Cow<'static, [u8]>,
    pub(crate) manifest: Option<Cow<'static, str>>,
    component: Component,
    pub(crate) warning: Option<String>,
}

/// The skills that a plan uses.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) catalog: Catalog,
    pub(crate) skills: BTreeMap<SkillName, LoadedSkill>,
}

impl Loaded {
    /// Links the skills.
    pub(crate) fn programs(&self, engine: &SandboxEngine) -> Result<BTreeMap<SkillName, Program>, SandboxError> {
        let program = |(name, loaded): (&SkillName, &LoadedSkill)| {
            Ok((name.clone(), Program::new(engine, Arc::clone(&loaded.skill), &loaded.component)?))
        };
        self.skills.iter().map(program).collect()
    }

    pub(crate) fn add(&mut self, loaded: LoadedSkill) {
        self.catalog.insert(loaded.skill.name.clone(), Arc::clone(&loaded.skill));
        self.skills.insert(loaded.skill.name.clone(), loaded);
    }
}

/// Loads skills for one engine.
#[derive(Debug)]
pub(crate) struct SkillLoader<'a> {
    engine: Arc<SandboxEngine>,
    cache: &'a ComponentCache,
}

impl<'a> SkillLoader<'a> {
    pub(crate) const fn new(engine: Arc<SandboxEngine>, cache: &'a ComponentCache) -> Self {
        Self { engine, cache }
    }

    /// Loads one skill.
    pub(crate) fn load(&self, name: &SkillName, source: &SkillBytes) -> Result<LoadedSkill, SandboxError> {
        let (bytes, manifest) = match source {
            SkillBytes::Memory { component, manifest } => (component.clone(), manifest.clone()),
            SkillBytes::File(path) => {
                let wrong =
                    |problem: Problem| SandboxError::Unreadable { skill: name.clone(), problem: Box::new(problem) };
                let bytes = document::read_bounded(path, limits::COMPONENT_BYTES_MAX).map_err(wrong)?;
                let manifest = manifest_beside(path).map_err(wrong)?;
                (Cow::Owned(bytes), manifest.map(Cow::Owned))
            }
        };
        let failed = |source: LoadError| SandboxError::Load { skill: name.clone(), source };
        let loaded =
            load(&self.engine.engine, &bytes, name.clone(), manifest.as_deref(), self.cache).map_err(failed)?;
        let warning = match &loaded.cache {
            CacheUse::Unusable(reason) => Some(format!("compiled components are not kept: {reason}")),
            _ => None,
        };
        Ok(LoadedSkill { skill: Arc::new(loaded.skill), bytes, manifest, component: loaded.component, warning })
    }

    /// Loads what the plan uses and what it names. A skill that nobody knows is left out: validation says so with a suggestion.
    pub(crate) fn for_plan(
        &self,
        plan: &Plan,
        base: &Path,
        given: &BTreeMap<SkillName, SkillBytes>,
    ) -> Result<Loaded, (Loaded, Vec<Problem>)> {
        let mut loaded = Loaded::default();
        let mut problems = Problems::default();
        let used =
            plan.steps.iter().filter_map(|step| step.tool.split_once('.')).filter_map(|(skill, _)| skill.parse().ok());
        let names: std::collections::BTreeSet<SkillName> = used.chain(plan.skills.keys().cloned()).collect();
        for name in names {
            let pinned = plan.skills.get(&name);
            let source = match (given.get(&name), pinned) {
                (Some(given), _) => given.clone(),
                (None, Some(source)) => SkillBytes::File(base.join(&source.path)),
                (None, None) => match builtin::find(name.as_str()) {
                    Some(builtin) => builtin,
                    None => continue,
                },
            };
            let pointer = if pinned.is_some() { pointer_to("/skills", name.as_str()) } else { String::new() };
            match self.load(&name, &source) {
                Ok(skill) => {
                    check_pin(&skill.skill, pinned.and_then(|pinned| pinned.sha256), &pointer, &mut problems);
                    for mut problem in unprovided_imports(&skill.skill) {
                        problem.pointer.clone_from(&pointer);
                        problems.push(problem);
                    }
                    loaded.add(skill);
                }
                Err(error) => error.problems(&pointer).into_iter().for_each(|problem| problems.push(problem)),
            }
        }
        if problems.is_empty() { Ok(loaded) } else { Err((loaded, problems.into_vec())) }
    }
}

/// Whether a problem is that a skill cannot be loaded, which does not follow from the plan alone: a replay takes it from the record.
pub(crate) fn is_load_problem(problem: &Problem) -> bool {
    const OTHERS: [&str; 3] = ["import-not-provided", "skill-digest", "skill-unreadable"];
    problem.code.starts_with("component-")
        || problem.code == "skill-metadata"
        || OTHERS.contains(&problem.code.as_str())
}

fn check_pin(skill: &Skill, pin: Option<Digest>, pointer: &str, problems: &mut Problems) {
    if let Some(pin) = pin
        && pin != skill.digest
    {
        let message = format!("skill `{}` has the digest {}, the plan pins {pin}", skill.name, skill.digest);
        let hint = "check where the component comes from; write its digest into the plan if it is the one you mean";
        problems.push(Problem::new("skill-digest", format!("{pointer}/sha256"), message).with_hint(hint));
    }
}

/// The manifest beside a component: `<component>.toml` with the component's own name, else `skill.toml`.
fn manifest_beside(component: &Path) -> Result<Option<String>, Problem> {
    for manifest in [component.with_extension("toml"), component.with_file_name("skill.toml")] {
        if manifest.is_file() {
            let bytes = document::read_limited(&manifest)?;
            let wrong = |_| Problem::new("not-utf8", "", format!("`{}` is not UTF-8", manifest.display()));
            return String::from_utf8(bytes).map(Some).map_err(wrong);
        }
    }
    Ok(None)
}
