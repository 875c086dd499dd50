//! From a name to a loaded skill: what the host was given, what the plan names, what is built in, in this order.

pub mod builtin;
mod callees;
pub(crate) mod origins;
pub mod pack;
pub(crate) mod pins;
pub(crate) mod warm;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::component::Component;

use crate::clock::Stopwatch;
use crate::document;
use crate::id::{Digest, SkillName};
use crate::limits;
use crate::plan::draft::Outline;
use crate::policy::Policy;
use crate::problem::{Problem, Problems, pointer_to};
use crate::sandbox::compiler::Compiler;
use crate::sandbox::component::{CacheUse, CompiledCode, LoadError, Loading, load};
use crate::sandbox::engine::SandboxEngine;
use crate::sandbox::{CancelToken, Links, PerLinks, Program, SandboxError};
use crate::skill::{Catalog, Skill, SkillOrigin, SkillOrigins, own, unprovided_imports};
use crate::skills::pins::{Pins, UNPINNED};
use crate::skills::warm::{Stamp, Warm};
use crate::store::RunDir;

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
    programs: PerLinks<Arc<Program>>,
    /// What was spent on it since somebody last asked.
    cost: Mutex<LoadCost>,
}

/// The time that went to making skills ready to be instantiated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LoadCost {
    pub(crate) hash: Duration,
    pub(crate) compile: Duration,
    pub(crate) link: Duration,
}

impl LoadedSkill {
    /// The skill linked with this, once.
    fn program(&self, engine: &SandboxEngine, links: Links) -> Result<Arc<Program>, SandboxError> {
        let link = || {
            let started = Stopwatch::start();
            let program = Program::new(engine, Arc::clone(&self.skill), &self.component, links).map(Arc::new);
            self.cost.lock().unwrap_or_else(PoisonError::into_inner).link += started.elapsed();
            program
        };
        self.programs.get_or_make(links, link).map(Arc::clone)
    }
}

/// The skills that a plan uses.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) catalog: Catalog,
    pub(crate) skills: BTreeMap<SkillName, Arc<LoadedSkill>>,
    /// Where they are from.
    pub(crate) origins: SkillOrigins,
    /// Why skills cannot be used.
    pub(crate) problems: Vec<Problem>,
    /// Skills that could not be loaded or are not those that the plan was written for: what their tools are like is not known.
    pub(crate) unusable: BTreeSet<SkillName>,
    /// The skill that was being compiled when it was cancelled: then nothing that is said of the plan counts.
    pub(crate) cancelled: Option<SkillName>,
}

impl Loaded {
    /// Links each skill with each set of what steps with it may have.
    pub(crate) fn programs(
        &self,
        engine: &SandboxEngine,
        wanted: BTreeSet<(SkillName, Links)>,
    ) -> Result<BTreeMap<(SkillName, Links), Arc<Program>>, SandboxError> {
        let mut programs = BTreeMap::new();
        for (name, links) in wanted {
            if let Some(loaded) = self.skills.get(&name) {
                let program = loaded.program(engine, links)?;
                programs.insert((name, links), program);
            }
        }
        Ok(programs)
    }

    /// What was spent on the skills and nobody has asked for yet: a skill that is kept costs the first run that has it, and no other.
    pub(crate) fn take_cost(&self) -> LoadCost {
        self.skills.values().fold(LoadCost::default(), |sum, skill| {
            let cost = std::mem::take(&mut *skill.cost.lock().unwrap_or_else(PoisonError::into_inner));
            LoadCost { hash: sum.hash + cost.hash, compile: sum.compile + cost.compile, link: sum.link + cost.link }
        })
    }

    /// Keeps in mind that a skill is missing because somebody cancelled.
    fn note_cancelled(&mut self, error: &SandboxError) {
        if let SandboxError::Load { skill, source: LoadError::Cancelled } = error {
            self.cancelled = Some(skill.clone());
        }
    }

    pub(crate) fn add(&mut self, loaded: Arc<LoadedSkill>) {
        self.catalog.insert(loaded.skill.name.clone(), Arc::clone(&loaded.skill));
        self.skills.insert(loaded.skill.name.clone(), loaded);
    }
}

/// How components get compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compiling<'a> {
    pub(crate) code: &'a CompiledCode,
    pub(crate) compiler: &'a Compiler,
}

/// Loads skills for one engine.
#[derive(Debug)]
pub(crate) struct SkillLoader<'a> {
    engine: Arc<SandboxEngine>,
    compiling: Compiling<'a>,
    cancel: Option<&'a CancelToken>,
    warm: Option<&'a Warm>,
    /// One that was loaded for this run already.
    known: Option<&'a Arc<LoadedSkill>>,
    /// Which components there may be.
    pins: Option<Pins<'a>>,
    /// Which of the given skills came with a bundle; `None` where all of them are those that a run has kept.
    bundled: Option<&'a BTreeMap<SkillName, PathBuf>>,
}

impl<'a> SkillLoader<'a> {
    pub(crate) const fn new(engine: Arc<SandboxEngine>, compiling: Compiling<'a>) -> Self {
        Self { engine, compiling, cancel: None, warm: None, known: None, pins: None, bundled: None }
    }

    /// Stops to compile where this is cancelled.
    pub(crate) const fn cancelled_by(mut self, cancel: &'a CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Takes what was loaded before, as long as it is the same.
    pub(crate) const fn warm(mut self, warm: Option<&'a Warm>) -> Self {
        self.warm = warm;
        self
    }

    /// Takes what whoever asks for this run has loaded for it a moment ago.
    pub(crate) const fn known(mut self, known: Option<&'a Arc<LoadedSkill>>) -> Self {
        self.known = known;
        self
    }

    /// Takes for a plan no other components than these.
    pub(crate) const fn pinned(mut self, pins: Option<Pins<'a>>) -> Self {
        self.pins = pins;
        self
    }

    /// Loads for a plan that begins now: where each skill is from is held against the policy. What a run has kept was, when it began.
    pub(crate) const fn beginning(mut self, bundled: &'a BTreeMap<SkillName, PathBuf>) -> Self {
        self.bundled = Some(bundled);
        self
    }

    /// Why a skill that was loaded cannot be used all the same.
    fn refused<'s>(&self, skill: &'s Skill) -> impl Iterator<Item = Problem> + use<'s> {
        unprovided_imports(skill).into_iter().chain(self.pins.and_then(|pins| pins.problem_with(skill)))
    }

    /// Loads one skill.
    pub(crate) fn load(&self, name: &SkillName, source: &SkillBytes) -> Result<Arc<LoadedSkill>, SandboxError> {
        if let Some(known) = self.known.filter(|known| known.skill.name == *name) {
            return Ok(Arc::clone(known));
        }
        let Some(warm) = self.warm else { return self.load_now(name, source).map(Arc::new) };
        // Taken before the bytes are read: what changes meanwhile is loaded again the next time.
        let stamp = Stamp::of(source);
        if let Some(loaded) = warm.get(name, &stamp) {
            return Ok(loaded);
        }
        let loaded = Arc::new(self.load_now(name, source)?);
        warm.keep(name, stamp, &loaded);
        Ok(loaded)
    }

    fn load_now(&self, name: &SkillName, source: &SkillBytes) -> Result<LoadedSkill, SandboxError> {
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
        let with = Loading {
            engine: &self.engine.engine,
            allocation: self.engine.allocation,
            code: self.compiling.code,
            compiler: self.compiling.compiler,
            cancel: self.cancel,
        };
        let loaded = load(with, &bytes, name.clone(), manifest.as_deref()).map_err(failed)?;
        let warning = match &loaded.cache {
            CacheUse::Unusable(reason) => Some(format!("compiled components are not kept: {reason}")),
            _ => None,
        };
        Ok(LoadedSkill {
            skill: Arc::new(loaded.skill),
            bytes,
            manifest,
            component: loaded.component,
            warning,
            programs: PerLinks::default(),
            cost: Mutex::new(LoadCost { hash: loaded.hash, compile: loaded.compile, ..LoadCost::default() }),
        })
    }

    /// The same as [`Self::for_plan`] with what its steps may call under a policy.
    pub(crate) fn for_plan_under(
        &self,
        plan: &Outline<'_>,
        (base, given): (&Path, &BTreeMap<SkillName, SkillBytes>),
        policy: &Policy,
    ) -> Loaded {
        let mut loaded = self.for_plan(plan, base, given);
        self.add_callees(&mut loaded, plan, (base, given), policy);
        if self.bundled.is_some() {
            for policy in std::iter::once(policy).chain(policy.ceiling.as_ref().map(|above| &above.policy)) {
                origins::hold_against(&mut loaded, plan, policy);
            }
        }
        loaded
    }

    /// Where a skill of a plan comes from, in the order that counts.
    fn source<'s>(
        &self,
        name: &SkillName,
        (plan, base, given): (&Outline<'_>, &Path, &'s BTreeMap<SkillName, SkillBytes>),
    ) -> Option<(Cow<'s, SkillBytes>, SkillOrigin)> {
        if let Some(source) = given.get(name) {
            let origin = match self.bundled {
                None => SkillOrigin::Kept,
                Some(bundled) if !bundled.contains_key(name) => SkillOrigin::Given,
                // A bundle has a built-in name for a copy of that skill alone.
                Some(_) if builtin::is_one(name) => SkillOrigin::BuiltIn,
                Some(_) => SkillOrigin::Bundle,
            };
            return Some((Cow::Borrowed(source), origin));
        }
        if let Some(source) = plan.skills.get(name) {
            return Some((Cow::Owned(SkillBytes::File(base.join(&source.path))), SkillOrigin::Plan));
        }
        Some((Cow::Owned(builtin::find(name.as_str())?), SkillOrigin::BuiltIn))
    }

    /// Where a skill is from that was loaded: what a run has kept is as built in as the component that this program has under its name.
    fn known_origin(origin: SkillOrigin, skill: &Skill) -> SkillOrigin {
        let is_ours = || match builtin::find(skill.name.as_str()) {
            Some(SkillBytes::Memory { component, .. }) => Digest::of(&component) == skill.digest,
            _ => false,
        };
        if origin == SkillOrigin::Kept && is_ours() { SkillOrigin::BuiltIn } else { origin }
    }

    /// Loads what the plan uses and what it names. A skill that nobody knows is left out: validation says so with a suggestion.
    fn for_plan(&self, plan: &Outline<'_>, base: &Path, given: &BTreeMap<SkillName, SkillBytes>) -> Loaded {
        let mut loaded = Loaded::default();
        let mut problems = Problems::default();
        if given.keys().any(own::is_own) {
            problems.push(own::reserved(""));
        }
        for (name, pointer) in named(plan) {
            if own::is_own(&name) {
                if plan.skills.contains_key(&name) {
                    problems.push(own::reserved(pointer));
                }
                loaded.origins.insert(name.clone(), SkillOrigin::Host);
                loaded.catalog.insert(name, Arc::clone(own::sys()));
                continue;
            }
            let Some((source, origin)) = self.source(&name, (plan, base, given)) else { continue };
            if origin == SkillOrigin::Plan && builtin::is_one(&name) {
                problems.push(origins::taken(&name, pointer));
                loaded.unusable.insert(name);
                continue;
            }
            match self.load(&name, &source) {
                Ok(skill) => {
                    loaded.origins.insert(name.clone(), Self::known_origin(origin, &skill.skill));
                    for mut problem in self.refused(&skill.skill) {
                        problem.pointer.clone_from(&pointer);
                        problems.push(problem);
                    }
                    loaded.add(skill);
                }
                Err(error) => {
                    loaded.note_cancelled(&error);
                    error.problems(&pointer).into_iter().for_each(|problem| problems.push(problem));
                    loaded.unusable.insert(name);
                }
            }
        }
        loaded.problems = problems.into_vec();
        loaded
    }
}

/// The components that a run kept, by the digests in its header. The host's own skill is none.
pub(crate) fn kept(run: &RunDir, skills: &BTreeMap<SkillName, Digest>) -> BTreeMap<SkillName, SkillBytes> {
    let components = skills.iter().filter(|(name, _)| !own::is_own(name));
    components.map(|(name, digest)| (name.clone(), SkillBytes::File(run.component(digest)))).collect()
}

/// The skills that a plan names, each with the place that problems with it are reported at: where it is declared, else the first tool
/// that it is named by. A skill whose declaration could not be read is not among them.
fn named(plan: &Outline<'_>) -> BTreeMap<SkillName, String> {
    let mut named: BTreeMap<SkillName, String> = BTreeMap::new();
    for (place, tool) in plan.tools() {
        let Some((skill, _)) = tool.split_once('.') else { continue };
        if let Ok(name) = skill.parse()
            && !plan.gaps.has_skill(skill)
        {
            named.entry(name).or_insert(place);
        }
    }
    named.extend(plan.skills.keys().map(|name| (name.clone(), pointer_to("/skills", name.as_str()))));
    named
}

/// The skills that recorded `problems` say to be unusable: see [`Loaded::unusable`].
pub(crate) fn unusable(plan: &Outline<'_>, problems: &[Problem]) -> BTreeSet<SkillName> {
    // These say nothing of the skill that the place names.
    let unlike = ["import-not-provided", UNPINNED, callees::UNKNOWN_CALLEE, origins::ANOTHER_SKILL];
    let is_at = |pointer: &str| {
        let said =
            problems.iter().filter(|problem| is_load_problem(problem) && !unlike.contains(&problem.code.as_str()));
        said.map(|problem| problem.pointer.trim_end_matches("/sha256")).any(|place| place == pointer)
    };
    named(plan).into_iter().filter(|(_, pointer)| is_at(pointer)).map(|(name, _)| name).collect()
}

/// Whether a problem is that a skill cannot be loaded, which does not follow from the plan alone: a replay takes it from the record.
pub(crate) fn is_load_problem(problem: &Problem) -> bool {
    const OTHERS: [&str; 6] = [
        "import-not-provided",
        "reserved-skill",
        "skill-unreadable",
        UNPINNED,
        callees::UNKNOWN_CALLEE,
        origins::ANOTHER_SKILL,
    ];
    problem.code.starts_with("component-")
        || problem.code == "skill-metadata"
        || OTHERS.contains(&problem.code.as_str())
}

/// Where the manifest of a component may be, in this order.
fn manifests(component: &Path) -> [PathBuf; 2] {
    [component.with_extension("toml"), component.with_file_name("skill.toml")]
}

/// The file of the manifest beside a component: `<component>.toml` with the component's own name, else `skill.toml`.
pub(crate) fn manifest_file(component: &Path) -> Option<PathBuf> {
    manifests(component).into_iter().find(|manifest| manifest.is_file())
}

/// The text of the manifest beside a component.
pub(crate) fn manifest_beside(component: &Path) -> Result<Option<String>, Problem> {
    let Some(manifest) = manifest_file(component) else { return Ok(None) };
    let bytes = document::read_limited(&manifest)?;
    let wrong = |_| Problem::new("not-utf8", "", format!("`{}` is not UTF-8", manifest.display()));
    String::from_utf8(bytes).map(Some).map_err(wrong)
}
