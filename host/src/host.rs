//! The facade: configuration in, reports out.

mod own;
mod policy_document;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::bundle::{Bundle, BundleError};
use crate::context::{RequestContext, RequestKey};
use crate::durability::Durability;
use crate::id::{SkillName, StepId};
use crate::journal::JournalError;
use crate::notify::Operator;
use crate::observe::{Observer, Observers};
use crate::plan::PlanDocument;
use crate::policy::explain::Explanation;
use crate::policy::{ApprovalAnswer, Approve, DecidedBy, Policy, PolicyOrigin, PolicySource, Principal};
use crate::problem::{Problem, shown};
use crate::replay::{ReplayOptions, ReplayReport};
use crate::report::Report;
use crate::run::Rehearsal;
use crate::sandbox::compiler::Compiler;
use crate::sandbox::component::CompiledCode;
use crate::sandbox::engine::{Allocation, SandboxEngine};
use crate::sandbox::{CancelToken, Resolve, SandboxError, Secrets};
use crate::scratch::ScratchError;
use crate::skill::Skill;
use crate::skills::warm::{Stamp, Warm};
use crate::skills::{Compiling, LoadedSkill, SkillBytes, SkillLoader, builtin};
use crate::store::{RunDir, RunStore, StoreError};
use crate::trace::TraceError;
use crate::{replay, run};
pub use policy_document::PolicyDocument;

/// What `{workspace}` means where nobody says it.
const DEFAULT_WORKSPACE: &str = "workspace";

/// Runs plans.
///
/// Made by [`SkillHost::builder`], which does no I/O; the engine starts with the first use. May be shared between threads; every run has
/// its own sandbox. The methods block: in an async program, call them through its way to run blocking work.
#[derive(Debug)]
pub struct SkillHost {
    pub(crate) policy: PolicyDocument,
    pub(crate) principal: Principal,
    pub(crate) approver: Option<Approver>,
    /// Whether a run waits where somebody has to approve and nobody is there.
    pub(crate) pauses: bool,
    pub(crate) durability: Durability,
    pub(crate) policy_origin: PolicyOrigin,
    pub(crate) operator: Operator,
    pub(crate) workspace: PathBuf,
    /// Whether somebody named the workspace.
    pub(crate) workspace_is_named: bool,
    /// Further files and folders that no grant reaches.
    protected: Vec<PathBuf>,
    pub(crate) store: RunStore,
    pub(crate) skills: BTreeMap<SkillName, SkillBytes>,
    pub(crate) secrets: Secrets,
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    pub(crate) observers: Observers,
    code: CompiledCode,
    compiler: Compiler,
    /// Skills that stay loaded, where they shall.
    pub(crate) warm: Option<Arc<Warm>>,
    /// Where the skills are from, if from a bundle.
    pub(crate) bundle: Option<Arc<Bundle>>,
    engine: OnceLock<Arc<SandboxEngine>>,
    /// What stands in for the real things in a dry run.
    pub(crate) rehearsal: Option<Arc<Rehearsal>>,
}

/// Whoever is asked for approval.
#[derive(Clone)]
pub(crate) struct Approver(Arc<dyn Approve>);

impl std::fmt::Debug for Approver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an approver")
    }
}

impl std::ops::Deref for Approver {
    type Target = dyn Approve;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Configures a [`SkillHost`]. Where nothing is said:
///
/// - the policy grants nothing: every plan is denied;
/// - plans run in the name of `user:local`, and nobody can be asked for approval: what needs it is denied;
/// - what a step did is on the disk before the next begins;
/// - the skills are the ones that are built in, and what a plan itself names;
/// - `{workspace}` is `workspace` below the current folder, and state is kept in `.skillhost` below it;
/// - compiled components are kept nowhere: every host compiles what it loads;
/// - no secret has a value, and names are looked up as the policy says, else as the system does;
/// - a guest has no directory, no network, no environment, virtual clocks and seeded random bytes;
/// - the limits are those of [`crate::limits::StepLimits::DEFAULT`].
#[derive(Debug)]
pub struct SkillHostBuilder {
    policy: PolicyDocument,
    principal: Principal,
    approver: Option<Approver>,
    pauses: bool,
    durability: Durability,
    policy_origin: Option<PolicyOrigin>,
    operator: Operator,
    workspace: PathBuf,
    workspace_is_named: bool,
    protected: Vec<PathBuf>,
    state: PathBuf,
    skills: BTreeMap<SkillName, SkillBytes>,
    secrets: Secrets,
    resolver: Option<Arc<dyn Resolve>>,
    observers: Observers,
    code: CompiledCode,
    compiler: Compiler,
    warm: bool,
    bundle: Option<Arc<Bundle>>,
}

impl Default for SkillHostBuilder {
    fn default() -> Self {
        Self {
            policy: PolicyDocument::deny_all(),
            principal: Principal::default(),
            approver: None,
            pauses: false,
            durability: Durability::Full,
            policy_origin: None,
            operator: Operator::default(),
            workspace: PathBuf::from(DEFAULT_WORKSPACE),
            workspace_is_named: false,
            protected: Vec::new(),
            state: PathBuf::from(".skillhost"),
            skills: BTreeMap::new(),
            secrets: Secrets::default(),
            resolver: None,
            observers: Observers::default(),
            code: CompiledCode::nowhere(),
            compiler: Compiler::in_process(),
            warm: false,
            bundle: None,
        }
    }
}

impl SkillHostBuilder {
    /// What tools may touch.
    #[must_use]
    pub fn policy(mut self, policy: PolicyDocument) -> Self {
        self.policy = policy;
        self
    }

    /// In whose name plans run: what the policy's rules call the principal.
    #[must_use]
    pub fn principal(mut self, principal: Principal) -> Self {
        self.principal = principal;
        self
    }

    /// Who is asked where a step needs approval, once for each such step, right before it would run.
    #[must_use]
    pub fn approver(mut self, approver: impl Approve + 'static) -> Self {
        self.approver = Some(Approver(Arc::new(approver)));
        self
    }

    /// Whether a run pauses where a step needs approval and there is no approver, until [`SkillHost::go_on`] is given an answer. Default:
    /// no, such a step is denied.
    #[must_use]
    pub const fn pauses(mut self, pauses: bool) -> Self {
        self.pauses = pauses;
        self
    }

    /// Who is told that a run waits where neither plan nor policy says it, and what messages are signed with.
    #[must_use]
    pub fn operator(mut self, operator: Operator) -> Self {
        self.operator = operator;
        self
    }

    /// How much is done so that a step survives a power failure. Default: [`Durability::Full`].
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Where the policy is from: every report says it. It is kept beside each run, so that whoever goes on with one finds the policy of today
    /// and knows how far its word goes. Default: given by this program.
    #[must_use]
    pub fn policy_origin(mut self, origin: PolicyOrigin) -> Self {
        self.policy_origin = Some(origin);
        self
    }

    /// The directory that `{workspace}` means in the policy. It may be a link; the default may not, since whoever made the current folder
    /// could have made it.
    #[must_use]
    pub fn workspace(mut self, path: impl Into<PathBuf>) -> Self {
        self.workspace = path.into();
        self.workspace_is_named = true;
        self
    }

    /// The workspace of a run that goes on, where nobody named it then.
    #[cfg(feature = "cli")]
    pub(crate) fn unnamed_workspace(mut self, path: PathBuf) -> Self {
        self.workspace = path;
        self.workspace_is_named = false;
        self
    }

    /// A file or folder that no grant reaches, whether it is there or not, beside those that are the host's own anyway: the state folder, compiled
    /// code, the policy with its rules, what it names of secrets and certificates, and the running program.
    #[must_use]
    pub fn protect(mut self, path: impl Into<PathBuf>) -> Self {
        self.protected.push(path.into());
        self
    }

    /// The folder for runs. No grant reaches it.
    #[must_use]
    pub fn state(mut self, path: impl Into<PathBuf>) -> Self {
        self.state = path.into();
        self
    }

    /// Offers a skill under `name`, before what a plan names and what is built in.
    #[must_use]
    pub fn skill(mut self, name: SkillName, bytes: SkillBytes) -> Self {
        self.skills.insert(name, bytes);
        self
    }

    /// Offers the skills of a bundle. Its id is in every trace; where the bundle changes, [`SkillHost::run`] refuses to run. Its policy is not
    /// taken: read it and give it to [`Self::policy`] if it shall apply.
    #[must_use]
    pub fn bundle(mut self, bundle: Arc<Bundle>) -> Self {
        self.skills.extend(bundle.skill_bytes());
        self.bundle = Some(bundle);
        self
    }

    /// The values of the policy's secrets, as [`Secrets::read`] gets them. Only [`SkillHost::run`] needs them.
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Looks up the names of servers, in place of the system and of what the policy says in `[network] dns`.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Adds an observer. Observers see events and change nothing.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.add(Arc::new(observer));
        self
    }

    /// Where compiled components are kept, so that each is compiled once. Default: nowhere.
    #[must_use]
    pub fn compiled_code(mut self, code: CompiledCode) -> Self {
        self.code = code;
        self
    }

    /// Who compiles components. Default: this process, see [`Compiler::in_process`].
    #[must_use]
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// Whether skills stay loaded and linked between runs, for a program that runs many small plans. What may have changed since is loaded
    /// again; every step has a sandbox of its own all the same. Default: no.
    #[must_use]
    pub const fn keep_warm(mut self, keep: bool) -> Self {
        self.warm = keep;
        self
    }

    /// The host. Does no I/O.
    #[must_use]
    pub fn build(self) -> SkillHost {
        SkillHost {
            policy_origin: self.policy_origin.unwrap_or_else(|| PolicyOrigin {
                source: if self.policy.policy.has_document() { PolicySource::Given } else { PolicySource::None },
                ..PolicyOrigin::default()
            }),
            policy: self.policy,
            principal: self.principal,
            approver: self.approver,
            pauses: self.pauses,
            durability: self.durability,
            operator: self.operator,
            workspace: self.workspace,
            workspace_is_named: self.workspace_is_named,
            protected: self.protected,
            store: RunStore::at(self.state),
            skills: self.skills,
            secrets: self.secrets,
            resolver: self.resolver,
            observers: self.observers,
            code: self.code,
            compiler: self.compiler,
            warm: self.warm.then(Arc::default),
            bundle: self.bundle,
            engine: OnceLock::new(),
            rehearsal: None,
        }
    }
}

/// What may be said for one run beside the plan. What is said here takes the place of what the host was configured with.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Values for inputs that the plan declares.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// In whose name the plan runs; `None` for the host's own.
    pub principal: Option<Principal>,
    /// Whether denials of the policy are recorded and shown and stop nothing: no grant, missing needs, rules, approval. A step that no
    /// grant names runs with nothing: no folder, no network. Budgets, limits, folders and addresses hold as ever. Default: no.
    pub log_only: bool,
    /// Whether results of other runs are taken for steps of the same component, tool, input and grant whose files are as they were. Only of
    /// tools that say that they are read-only or idempotent, and where the plan says so. Default: no.
    pub reuse: bool,
    /// Whether the plan is only rehearsed: its steps run on throw-away copies of what they may write, without network, nobody is asked for
    /// approval, and no run is kept. What would change is in [`Report::dry_run`]. Default: no.
    pub dry_run: bool,
    /// What is kept of the run. Default: all of it.
    pub keep: Keep,
    /// What the request says that asked for it: guests may ask for that.
    pub request: Option<Arc<RequestContext>>,
    /// The idempotency key of that request. A run that is kept knows it before anything of it runs.
    pub key: Option<RequestKey>,
    /// Ends the run from outside.
    pub cancel: CancelToken,
}

/// What is kept of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Everything: a folder with plan, policy, components and trace, and its place in the index.
    #[default]
    All,
    /// Everything where it may have an effect, or the policy does not allow it, or somebody has to be asked; otherwise the hash of the
    /// trace's last event alone, in [`Report::head`]. A run has no effect where no grant gives any of its calls folders or network: it can
    /// be made again from its request.
    Effects,
}

/// What may be said for a run that goes on.
#[derive(Debug, Clone, Default)]
pub struct GoOnOptions {
    /// Makes a step again although it may have sent a request that changes something at its server. Default: no, see
    /// [`Error::UnknownEffect`].
    pub again: bool,
    /// Ends the run from outside.
    pub cancel: CancelToken,
}

impl SkillHost {
    /// Starts to configure a host.
    #[must_use]
    pub fn builder() -> SkillHostBuilder {
        SkillHostBuilder::default()
    }

    /// Runs a plan: validates all of it, asks the policy for every step, runs the steps, and records everything.
    ///
    /// A plan that is refused, denied or fails is a report, not an error.
    ///
    /// # Errors
    ///
    /// [`Error`] where the run could not be started or not be recorded.
    pub fn run(&self, plan: &PlanDocument, options: &RunOptions) -> Result<Report, Error> {
        detached(|| run::run(self, plan, options, None))
    }

    /// The same of a plan that names no components, with a skill of it that [`Self::known_skill`] has given for this run.
    pub(crate) fn run_with(
        &self,
        plan: &PlanDocument,
        options: &RunOptions,
        known: Option<&Arc<LoadedSkill>>,
    ) -> Result<Report, Error> {
        detached(|| run::run(self, plan, options, known))
    }

    /// Goes on with a run that was stopped, by a crash or because it waits for approval. What is settled of it is not done again.
    ///
    /// # Errors
    ///
    /// [`Error`] where it has ended, is taken back, had not begun, or where plan, policy or components are not those that it began with.
    pub fn go_on(&self, run: RunDir, options: &GoOnOptions) -> Result<Report, Error> {
        detached(|| run::go_on(self, run, options))
    }

    /// Ends a run that waits, with this answer, which is a no, and without going on with it: for one that cannot go on, because its plan, its
    /// policy or its folders are not what they were. What it did stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::NotWaiting`], [`Error::HasEnded`], [`Error::TakenBack`], and what the record says that cannot be read or written.
    pub fn settle(&self, run: &RunDir, answer: ApprovalAnswer) -> Result<(), Error> {
        detached(|| run::end_waiting(self, run, answer))
    }

    /// Whether [`Self::go_on`] would go on with a run: it has begun and not ended, and the policy is the one that it began with.
    ///
    /// # Errors
    ///
    /// As [`Self::go_on`].
    pub fn check_may_go_on(&self, run: &RunDir) -> Result<(), Error> {
        run::may_go_on(self, run).map(drop)
    }

    /// Makes a new run of what did not complete in another one: what did is not done again, as long as plan, component, input, grant and files
    /// of a step are what they were.
    ///
    /// # Errors
    ///
    /// [`Error`] where that run had not begun, or somebody acts in it.
    pub fn resume(&self, run: &RunDir, options: &GoOnOptions) -> Result<Report, Error> {
        detached(|| run::continue_with(self, run, run::Purpose::Resume, options))
    }

    /// Makes a new run that takes back what another one did: its files by their journal, the rest as the plan says.
    ///
    /// # Errors
    ///
    /// As [`Self::resume`], and [`Error::TakenBack`] where that was done or begun before: what was sent is not taken back twice. What cannot
    /// be taken back is in the report; called again, it does what was left then, and nothing else.
    pub fn roll_back(&self, run: &RunDir, options: &GoOnOptions) -> Result<Report, Error> {
        detached(|| run::continue_with(self, run, run::Purpose::Rollback, options))
    }

    /// Takes back the last `count` steps that changed files, of whatever run of the state folder: by their journals alone. With `force` also
    /// what somebody else has changed since.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToUndo`] where there are not so many, [`Error::UndoConflicts`] where somebody has changed what would be restored. An
    /// undo that failed keeps what it needs to be done again.
    pub fn undo(&self, count: usize, force: bool) -> Result<Vec<run::UndoneStep>, Error> {
        detached(|| run::undo(self, count, force))
    }

    /// Validates a plan and nothing else: no guest code runs, nothing is written but compiled components.
    ///
    /// # Errors
    ///
    /// [`Error::Sandbox`] where the engine cannot start. What is wrong with the plan is in the inner result.
    pub fn check(&self, plan: &PlanDocument) -> Result<Result<run::Checked, Vec<Problem>>, Error> {
        self.check_with(plan, &serde_json::Map::new())
    }

    /// The same with values for inputs.
    pub(crate) fn check_with(
        &self,
        plan: &PlanDocument,
        inputs: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Result<run::Checked, Vec<Problem>>, Error> {
        detached(|| run::check(self, plan, inputs))
    }

    /// What the policy says of each step of a valid plan.
    ///
    /// # Errors
    ///
    /// As for [`SkillHost::check`].
    pub fn explain(&self, plan: &PlanDocument) -> Result<Result<Vec<Explanation>, Vec<Problem>>, Error> {
        Ok(self.check(plan)?.map(|checked| self.explain_checked(&checked)))
    }

    /// The same of a plan that was checked.
    pub(crate) fn explain_checked(&self, checked: &run::Checked) -> Vec<Explanation> {
        checked.explain(&self.policy.policy, &self.principal)
    }

    /// What is known of a skill. Runs no guest code.
    ///
    /// # Errors
    ///
    /// [`Error::Sandbox`] when it cannot be loaded.
    pub fn inspect(&self, name: &SkillName, skill: &SkillBytes) -> Result<Arc<Skill>, Error> {
        let loader = SkillLoader::new(self.engine()?, self.compiling()).warm(self.warm.as_deref());
        Ok(Arc::clone(&loader.load(name, skill)?.skill))
    }

    /// A skill that is known without a plan: given to the host, else built in. `None` where there is none of that name.
    pub(crate) fn known_skill(&self, name: &SkillName) -> Option<Result<Arc<LoadedSkill>, SandboxError>> {
        let source = self.skill_source(name)?;
        let load = || SkillLoader::new(self.engine()?, self.compiling()).warm(self.warm.as_deref()).load(name, &source);
        Some(load())
    }

    fn skill_source(&self, name: &SkillName) -> Option<Cow<'_, SkillBytes>> {
        let given = self.skills.get(name).map(Cow::Borrowed);
        given.or_else(|| builtin::find(name.as_str()).map(Cow::Owned))
    }

    /// The same where it stays loaded and has not changed.
    pub(crate) fn kept_skill(&self, name: &SkillName) -> Option<Arc<LoadedSkill>> {
        self.warm.as_ref()?.get(name, &Stamp::of(&*self.skill_source(name)?))
    }

    /// What loads a skill that is known without a plan, on whatever thread. `None` where there is none of that name.
    pub(crate) fn skill_loader(
        &self,
        name: &SkillName,
    ) -> Option<impl FnOnce() -> Result<Arc<LoadedSkill>, SandboxError> + Send + use<>> {
        let source = self.skill_source(name)?.into_owned();
        let (engine, code, compiler) = (self.engine(), self.code.clone(), self.compiler.clone());
        let (warm, name) = (self.warm.clone(), name.clone());
        Some(move || {
            let compiling = Compiling { code: &code, compiler: &compiler };
            SkillLoader::new(engine?, compiling).warm(warm.as_deref()).load(&name, &source)
        })
    }

    /// Replays a recorded run: same plan, policy and components, host calls answered from the record. Nothing acts.
    ///
    /// # Errors
    ///
    /// [`Error`] where the record cannot be read or trusted; a divergence is in the report.
    pub fn replay(&self, recorded: &RunDir, options: &ReplayOptions) -> Result<ReplayReport, Error> {
        detached(|| replay::replay(self, recorded, options))
    }

    /// The recorded runs.
    #[must_use]
    pub const fn store(&self) -> &RunStore {
        &self.store
    }

    /// The directory that `{workspace}` means.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// The policy that decides about this host's runs.
    #[must_use]
    pub fn decided_by(&self) -> DecidedBy {
        let Policy { digest, ceiling, .. } = &self.policy.policy;
        let ceiling = ceiling.as_ref().map(|ceiling| ceiling.policy.digest);
        DecidedBy { origin: self.policy_origin.clone(), digest: *digest, ceiling }
    }

    /// Refuses a bundle that is not what it was when the host got it.
    pub(crate) fn check_bundle(&self) -> Result<(), Error> {
        self.bundle.as_ref().map_or(Ok(()), |bundle| bundle.check_unchanged().map_err(Error::from))
    }

    /// Whether somebody can be asked for approval, now or later.
    pub(crate) fn can_ask(&self) -> bool {
        self.approver.is_some() || self.pauses
    }

    /// The same host with its runs in another state folder. Compiled components stay where they are.
    pub(crate) fn at(&self, state: PathBuf) -> Self {
        Self {
            policy: self.policy.clone(),
            principal: self.principal.clone(),
            approver: self.approver.clone(),
            pauses: self.pauses,
            durability: self.durability,
            policy_origin: self.policy_origin.clone(),
            operator: self.operator.clone(),
            workspace: self.workspace.clone(),
            workspace_is_named: self.workspace_is_named,
            // What no grant reaches stays what it was.
            protected: self.protected.iter().cloned().chain([self.store.state().to_owned()]).collect(),
            store: RunStore::at(state),
            skills: self.skills.clone(),
            secrets: self.secrets.clone(),
            resolver: self.resolver.clone(),
            observers: self.observers.clone(),
            code: self.code.clone(),
            compiler: self.compiler.clone(),
            warm: self.warm.clone(),
            bundle: self.bundle.clone(),
            engine: self.engine.clone(),
            rehearsal: self.rehearsal.clone(),
        }
    }

    /// Has another one asked for approval.
    pub(crate) fn set_approver(&mut self, approver: Option<impl Approve + 'static>) {
        self.approver = approver.map(|approver| Approver(Arc::new(approver)));
    }

    /// How components get compiled.
    pub(crate) const fn compiling(&self) -> Compiling<'_> {
        Compiling { code: &self.code, compiler: &self.compiler }
    }

    pub(crate) fn engine(&self) -> Result<Arc<SandboxEngine>, SandboxError> {
        if let Some(engine) = self.engine.get() {
            return Ok(Arc::clone(engine));
        }
        let engine = SandboxEngine::new().map_err(|error| SandboxError::Engine { message: format!("{error:#}") })?;
        if engine.allocation == Allocation::OnDemand {
            self.code.note(ON_DEMAND.to_owned());
        }
        Ok(Arc::clone(self.engine.get_or_init(|| Arc::new(engine))))
    }
}

/// What is said where the engine has no pool.
const ON_DEMAND: &str = "there is too little address space for a pool of instances (`ulimit -v`?): each gets its memory when it runs, and its \
                         accesses are checked by code, which is slower";

/// Runs `work` on a thread of its own where the caller is inside of an async runtime: ours could not start there.
fn detached<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    if tokio::runtime::Handle::try_current().is_err() {
        return work();
    }
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Why a run or replay could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine, a component or a granted directory.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copies that a rehearsal needs.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A document of a recorded run is not what it was.
    #[error("the recorded run is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The run had not begun: nothing of it has to be taken back, and there is nothing to go on with.
    #[error("the run `{run}` had not begun")]
    NotBegun {
        /// The run.
        run: String,
    },
    /// The run has ended.
    #[error("the run `{run}` has ended")]
    HasEnded {
        /// The run.
        run: String,
    },
    /// The run waits for an answer: there is nothing to make again before.
    #[error("the run `{run}` waits for approval")]
    Waits {
        /// The run.
        run: String,
    },
    /// Nobody is asked about the run.
    #[error("the run `{run}` does not wait for approval")]
    NotWaiting {
        /// The run.
        run: String,
    },
    /// What the run did is taken back, or is about to be.
    #[error("the run `{run}` is taken back{}", if run == by { String::new() } else { format!(" by the run `{by}`") })]
    TakenBack {
        /// The run.
        run: String,
        /// The run that does it: itself, or another one.
        by: String,
    },
    /// The policy is not the one that the run began with.
    #[error("the run `{run}` began under another policy")]
    PolicyChanged {
        /// The run.
        run: String,
    },
    /// The run was stopped in a step that may send requests which change something at their server: whether it did is not known.
    #[error("the run `{run}` was stopped in step `{step}`, which may have sent a request that cannot be taken back")]
    UnknownEffect {
        /// The run.
        run: String,
        /// The step.
        step: StepId,
    },
    /// Something else is not what the run began with.
    #[error("the run cannot go on{}: {what}", .step.as_ref().map(|step| format!(" at step `{step}`")).unwrap_or_default())]
    Changed {
        /// The step, where it is in one.
        step: Option<StepId>,
        /// What is different.
        what: String,
    },
    /// A reference of the plan cannot be resolved although it is valid: its text would be too long.
    #[error("{0}")]
    Resolve(Box<Problem>),
    /// The surroundings do not have what the policy names: a secret, the file of root certificates.
    #[error("the policy cannot be put into force: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Policy(Vec<Problem>),
    /// The request says a variable that no grant of the run takes from it.
    #[error("the request says the variable `{}`, which no grant of the run takes from it", shown(name))]
    NotTaken {
        /// The variable.
        name: String,
        /// Those that are taken.
        taken: Vec<String>,
    },
    /// The plan asks for what this version does not do.
    #[error("{what}")]
    Unsupported {
        /// What, and for which step.
        what: String,
    },
    /// A granted directory cannot be prepared for undo.
    #[error("the granted directory `{guest}` cannot be prepared for undo")]
    Directory {
        /// Where the guest sees it.
        guest: String,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The undo journals of a run cannot be read.
    #[error("cannot read the undo journals `{path}`")]
    Journals {
        /// Their folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// There are fewer steps than were to be undone.
    #[error("{there} of the {asked} steps can be undone")]
    NothingToUndo {
        /// How many were to be.
        asked: usize,
        /// How many there are.
        there: usize,
    },
    /// Somebody has changed since what would be restored.
    #[error("somebody has changed since what would be restored: {}", .0.first().map(|conflict| conflict.path.as_str()).unwrap_or_default())]
    UndoConflicts(Vec<run::UndoConflict>),
    /// An undo journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The folder of a run was removed while it went on.
    #[error(
        "the folder `{path}` was removed while its run went on: what the run did can neither be replayed nor taken back"
    )]
    Gone {
        /// The folder.
        path: PathBuf,
    },
    /// A replay would need more than it is given.
    #[error("step `{step}` takes more than this replay gives it: {limit} {allowed}")]
    Ceiling {
        /// The step.
        step: String,
        /// The limit's name.
        limit: &'static str,
        /// What the replay gives.
        allowed: u64,
    },
    /// The workspace cannot be made.
    #[error("cannot create the workspace `{path}`")]
    Workspace {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
}
