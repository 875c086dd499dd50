//! From a plan's text to a plan that may run: nothing of a guest runs here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::reuse::Earlier;
use crate::bundle::Bundle;
use crate::host::{Error, RunOptions, SkillHost};
use crate::id::{Digest, SkillName, SnapshotId, StepId};
use crate::limits;
use crate::plan::PlanDocument;
use crate::plan::draft::{Draft, Outline};
use crate::policy::explain::{Explanation, explain};
use crate::policy::{Access, AuthorizedPlan, Denial, Grant, Policy, Principal, WORKSPACE, authorize, authorize_logged};
use crate::problem::{Problem, Problems};
use crate::run::request::Asked;
use crate::sandbox::Reach;
use crate::sandbox::SandboxError;
use crate::sandbox::component::LoadError;
use crate::sandbox::engine::{self, SandboxEngine};
use crate::skill::{Catalog, SkillOrigin, SkillOrigins};
use crate::skills::{Loaded, LoadedSkill, SkillLoader};
use crate::store::Place;
use crate::trace::event::Header;
use crate::validate::{ValidPlan, all_problems, validate};

/// How far a plan came.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It is not valid.
    Refused {
        /// Why.
        problems: Vec<Problem>,
    },
    /// It is valid; the policy does not allow all of it.
    Denied {
        /// The plan.
        checked: Checked,
        /// Why.
        denials: Vec<Denial>,
    },
    /// It may run.
    Ready {
        /// The plan.
        checked: Checked,
        /// What each step was granted.
        authorized: AuthorizedPlan,
        /// What would have been denied, where denials stop nothing.
        would_deny: Vec<Denial>,
    },
}

/// A valid plan.
#[derive(Debug)]
pub struct Checked {
    /// The plan.
    pub plan: ValidPlan,
    /// Where its skills are from.
    pub skills: SkillOrigins,
    /// The skills at hand.
    pub(crate) catalog: Catalog,
}

impl Checked {
    /// The digest of one of its skills.
    #[must_use]
    pub fn digest_of(&self, skill: &SkillName) -> Option<Digest> {
        self.catalog.get(skill).map(|skill| skill.digest)
    }

    pub(crate) fn explain(&self, policy: &Policy, principal: &Principal) -> Vec<Explanation> {
        let asked = Asked::of(&self.plan);
        let (input, compensations) = (|step: &StepId| asked.known_input(step), asked.compensations());
        // Whether somebody can be asked is not known here; that somebody has to be is what is shown.
        explain(policy, &asked.caller(principal, &self.catalog, true, &input, &compensations), asked.explained())
    }
}

/// A plan with its skills.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) engine: Arc<SandboxEngine>,
    pub(crate) loaded: Loaded,
    pub(crate) stage: Stage,
    /// The digest of the policy that decided.
    pub(crate) policy: Digest,
    /// The digest of its rules.
    pub(crate) rules: Option<Digest>,
    /// In whose name it runs.
    pub(crate) principal: Principal,
    /// Whether denials are recorded and stop nothing.
    pub(crate) log_only: bool,
    /// The bundle that the skills are from.
    pub(crate) snapshot: Option<SnapshotId>,
    /// Labels of the run: those of the policy, then those of the plan.
    pub(crate) tags: Vec<String>,
    /// The plan's name and digest where it could be read.
    read: Option<Read>,
}

#[derive(Debug)]
struct Read {
    name: String,
    digest: Digest,
    inputs: Map<String, Value>,
    seed: u64,
    start_time: u64,
}

impl Prepared {
    pub(crate) fn plan_name(&self) -> &str {
        self.read.as_ref().map_or("", |read| read.name.as_str())
    }

    /// The skills that were loaded, with where each is from and its digest.
    pub(crate) fn skills(&self) -> Vec<(SkillName, SkillOrigin, Digest)> {
        let Loaded { origins, catalog, .. } = &self.loaded;
        let skills = catalog.iter().filter_map(|(name, skill)| Some((name.clone(), *origins.get(name)?, skill.digest)));
        skills.collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.loaded.skills.values().filter_map(|loaded| loaded.warning.clone()).collect()
    }
}

/// Reads, loads, validates and authorizes.
pub(crate) fn prepare(
    host: &SkillHost,
    document: &PlanDocument,
    options: &RunOptions,
    known: Option<&Arc<LoadedSkill>>,
) -> Result<Prepared, Error> {
    let principal = options.principal.as_ref().unwrap_or(&host.principal);
    let log_only = options.log_only;
    let engine = host.engine()?;
    let loader = SkillLoader::new(Arc::clone(&engine), host.compiling())
        .warm(host.warm.as_deref())
        .known(known)
        .cancelled_by(&options.cancel)
        .pinned(host.bundle.as_deref().and_then(Bundle::pins));
    let no_bundle = BTreeMap::new();
    let loader = loader.beginning(host.bundle.as_ref().map_or(&no_bundle, |bundle| &bundle.skills));
    let given = Given {
        inputs: &options.inputs,
        policy: &host.policy.policy,
        principal,
        has_approver: host.can_ask(),
        log_only,
        replaced: &[],
        snapshot: host.bundle.as_ref().map(|bundle| bundle.id),
    };
    let at = (document.base(), &host.skills);
    let prepared = prepare_with(engine, document, &given, |plan| loader.for_plan_under(plan, at, &host.policy.policy))?;
    if let Some(skill) = prepared.loaded.cancelled.clone() {
        return Err(SandboxError::Load { skill, source: LoadError::Cancelled }.into());
    }
    // What was loaded is what the id says.
    host.check_bundle()?;
    if let (Some(request), Stage::Ready { authorized, .. }) = (&options.request, &prepared.stage) {
        takes_all(authorized, &request.env)?;
    }
    Ok(prepared)
}

/// What a request says and nobody would be told is a mistake of whoever sent it.
fn takes_all(authorized: &AuthorizedPlan, said: &BTreeMap<String, String>) -> Result<(), Error> {
    if said.is_empty() {
        return Ok(());
    }
    let taken: BTreeSet<&str> = authorized.grants().flat_map(Grant::asks_of_request).collect();
    match said.keys().find(|name| !taken.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            Err(Error::NotTaken { name: name.clone(), taken: taken.into_iter().map(str::to_owned).collect() })
        }
    }
}

/// What is said beside the plan.
pub(crate) struct Given<'a> {
    pub(crate) inputs: &'a Map<String, Value>,
    pub(crate) policy: &'a Policy,
    /// In whose name the plan runs.
    pub(crate) principal: &'a Principal,
    /// Whether somebody can be asked for approval.
    pub(crate) has_approver: bool,
    /// Whether denials are recorded and stop nothing. Nobody is asked for approval then: that it is needed is one of them.
    pub(crate) log_only: bool,
    /// Skills that a replay takes from elsewhere: their pins do not count.
    pub(crate) replaced: &'a [SkillName],
    /// The bundle that the skills are from.
    pub(crate) snapshot: Option<SnapshotId>,
}

/// The same with skills from elsewhere: a replay loads those that the run kept.
pub(crate) fn prepare_with(
    engine: Arc<SandboxEngine>,
    document: &PlanDocument,
    given: &Given<'_>,
    load: impl FnOnce(&Outline<'_>) -> Loaded,
) -> Result<Prepared, Error> {
    let Given { inputs, policy, principal, has_approver, log_only, replaced, snapshot } = *given;
    let mut tags = policy.audit.tags.clone();
    let prepared = |engine, loaded, (read, tags), stage| Prepared {
        engine,
        loaded,
        stage,
        policy: policy.digest,
        rules: policy.rules.as_ref().map(|rules| rules.digest()),
        principal: principal.clone(),
        log_only,
        snapshot,
        tags,
        read,
    };
    let refused = |engine, loaded, read, problems| prepared(engine, loaded, read, Stage::Refused { problems });
    let mut draft = match document.draft() {
        Ok(draft) => draft,
        Err(problems) => return Ok(refused(engine, Loaded::default(), (None, tags), problems)),
    };
    // With inputs that the plan does not declare, so that a replay refuses them as well.
    let mut all_inputs = draft.inputs().cloned().unwrap_or_default();
    all_inputs.extend(inputs.clone());
    draft.override_inputs(inputs.clone());
    draft.unpin(replaced);
    let more: Vec<String> = draft.tags().iter().filter(|tag| !tags.contains(tag)).cloned().collect();
    tags.extend(more);
    let read = Read {
        name: draft.name().to_owned(),
        digest: draft.digest(),
        inputs: all_inputs,
        seed: draft.seed(),
        start_time: draft.start_time(),
    };
    let loaded = load(&draft.outline());
    let plan = match validated(draft, &loaded) {
        Ok(plan) => plan,
        Err(problems) => return Ok(refused(engine, loaded, (Some(read), tags), problems)),
    };
    let authorized = {
        let asked = Asked::of(&plan);
        let (input, compensations) = (|step: &StepId| asked.known_input(step), asked.compensations());
        let caller = asked.caller(principal, &loaded.catalog, has_approver && !log_only, &input, &compensations);
        let requests = asked.steps();
        if log_only {
            authorize_logged(policy, &caller, requests)
        } else {
            authorize(policy, &caller, requests).map(|authorized| (authorized, Vec::new()))
        }
    };
    let (catalog, skills) = (loaded.catalog.clone(), loaded.origins.clone());
    let stage = match authorized {
        Ok((authorized, would_deny)) => {
            Stage::Ready { checked: Checked { plan, skills, catalog }, authorized, would_deny }
        }
        Err(denials) => Stage::Denied { checked: Checked { plan, skills, catalog }, denials },
    };
    Ok(prepared(engine, loaded, (Some(read), tags), stage))
}

/// The valid plan, or what is wrong with the document, with its skills and with its meaning in one report.
fn validated(draft: Draft, loaded: &Loaded) -> Result<ValidPlan, Vec<Problem>> {
    let plan = draft.into_plan();
    let plan = match plan {
        Ok(plan) if loaded.problems.is_empty() => return validate(plan, &loaded.catalog),
        plan => plan,
    };
    // What is wrong with skills comes first into a report that may be full: a replay takes it from the record and finds the rest.
    let mut problems = Problems::default();
    loaded.problems.iter().for_each(|problem| problems.push(problem.clone()));
    if loaded.problems.len() > limits::PROBLEMS_MAX {
        return Err(loaded.problems.clone());
    }
    if problems.is_full() {
        problems.skip();
        return Err(problems.into_vec());
    }
    let check = |outline: &Outline<'_>, problems| all_problems(outline, &loaded.catalog, &loaded.unusable, problems);
    Err(match plan {
        Ok(plan) => check(&plan.outline(), problems),
        Err(draft) => {
            problems.append(draft.problems().clone());
            check(&draft.outline(), problems)
        }
    })
}

/// The header of the run's trace.
pub(crate) fn header(document: &PlanDocument, prepared: &Prepared) -> Header {
    let read = prepared.read.as_ref();
    Header {
        plan_name: prepared.plan_name().to_owned(),
        plan: read.map_or_else(|| document.digest(), |read| read.digest),
        policy: prepared.policy,
        rules: prepared.rules,
        principal: prepared.principal.clone(),
        log_only: prepared.log_only,
        skills: prepared.loaded.catalog.iter().map(|(name, skill)| (name.clone(), skill.digest)).collect(),
        inputs: read.map(|read| read.inputs.clone()).unwrap_or_default(),
        seed: read.map_or(0, |read| read.seed),
        snapshot: prepared.snapshot,
        start_time: read.map_or(0, |read| read.start_time),
        tags: prepared.tags.clone(),
        host: env!("CARGO_PKG_VERSION").to_owned(),
        engine: engine::identity().to_owned(),
    }
}

/// Creates the workspace where a step may write into it, so that a first run needs no preparation. Happens after the plan was found valid
/// and allowed, and never for another directory of a grant.
pub(crate) fn create_workspace(host: &SkillHost, authorized: &AuthorizedPlan) -> Result<(), Error> {
    let mut preopens = authorized.grants().flat_map(|grant| &grant.filesystem);
    if preopens.any(|preopen| preopen.host.starts_with(WORKSPACE) && preopen.access == Access::ReadWrite) {
        let path = host.workspace.clone();
        std::fs::create_dir_all(&path).map_err(|source| Error::Workspace { path, source })?;
    }
    Ok(())
}

/// How the run reaches servers, where the policy grants that to anything. Nothing is asked yet; what the policy names and the surroundings
/// do not have is refused, whether or not this plan needs it: a plan must not begin that cannot go on.
pub(crate) fn open_reach(host: &SkillHost) -> Result<Option<Reach>, Error> {
    let policy = &host.policy.policy;
    let problems = host.secrets.missing(policy);
    if !problems.is_empty() {
        return Err(Error::Policy(problems));
    }
    if policy.grants.iter().all(|grant| grant.network.is_empty()) {
        return Ok(None);
    }
    let reach = Reach::open(&policy.network, host.resolver.clone(), host.secrets.clone());
    reach.map(Some).map_err(|problem| Error::Policy(vec![problem]))
}

impl Place {
    /// Where runs of `host` take place.
    pub(crate) fn of(
        host: &SkillHost,
        document: &PlanDocument,
        earlier: Option<&Earlier>,
        options: &RunOptions,
    ) -> Self {
        let absolute = |path: &std::path::Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self {
            workspace: absolute(&host.workspace),
            base: absolute(document.base()),
            continues: earlier.map(|earlier| (earlier.run.clone(), earlier.purpose.name().to_owned())),
            policy: host.policy_origin.file.as_deref().map(absolute),
            decided: Some(host.policy_origin.clone()),
            request: options.request.as_deref().cloned(),
            bundle: host.bundle.as_ref().map(|bundle| absolute(&bundle.root)),
            key: options.key.clone(),
            workspace_is_default: !host.workspace_is_named,
            folders: BTreeMap::new(),
        }
    }
}
