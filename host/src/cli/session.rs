//! What one call of the program works with: its options, where the policy and the skills come from, and the host made of them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::Global;
use crate::cli::env::Env;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interactive;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::Output;
use crate::cli::places::{OLD_STATE, Places};
use crate::cli::policy_source::InForce;
use crate::cli::reply::Reply;
use crate::cli::runs::whole_index;
use crate::clock::Stopwatch;
use crate::id::SkillName;
use crate::policy::Principal;
use crate::report::Report;
use crate::skill::own;
use crate::skills::SkillBytes;
use crate::store::index::{AccessAction, NewAccess};
use crate::store::{Index, RunDir, RunStore, StoreError};
use crate::{Bundle, CompiledCode, Compiler, Durability, PolicyDocument, Secrets, SkillHost, SkillHostBuilder};

/// The folder of compiled components in the user's cache folder.
const CODE: &str = "code";

/// One call of the program.
#[derive(Debug)]
pub(crate) struct Session {
    global: Global,
    env: Env,
    places: Places,
    pub(crate) output: Output,
    pub(crate) interrupt: Interrupt,
    /// Where compiled components are kept.
    code: CompiledCode,
    /// What was said on the way, for the envelope.
    notes: RefCell<Vec<String>>,
}

/// Options of the commands that load skills.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SkillArgs {
    /// Takes the component FILE for the skill NAME, before what the plan names and what is built in; may be given several times
    #[arg(long = "skill", value_name = "NAME=FILE", value_parser = skill_pair)]
    pub(crate) skills: Vec<(SkillName, PathBuf)>,
}

/// The option of the commands that take skills from a bundle.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct BundleArgs {
    /// Takes the skills of the bundle in this folder, and its policy where no other one is named [env: HOST_BUNDLE_ROOT]
    #[arg(long, value_name = "DIR", alias = "files-root")]
    pub(crate) bundle: Option<PathBuf>,
}

/// Options of the commands that run something.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HostArgs {
    /// What tools may touch [env: HOST_POLICY] [default: the bundle's policy, else policies/default.toml, both within bounds until they are
    /// trusted; else the user's own; else nothing is granted]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// In whose name it runs, for the policy's rules: `agent:NAME` or `user:NAME`
    #[arg(long = "as", value_name = "PRINCIPAL", default_value = "user:local")]
    pub(crate) principal: Principal,
    /// The folder that `{workspace}` means in the policy [default: workspace, which may be no link]
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) bundle: BundleArgs,
    #[command(flatten)]
    pub(crate) skills: SkillArgs,
}

/// Options of the commands that go on with a run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct GoOnArgs {
    /// What tools may touch [default: the file that the run began with]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The folder that `{workspace}` means in the policy [default: the one that the run began with]
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
}

impl HostArgs {
    /// A host in the workspace that was named, if one was.
    fn in_workspace(&self, builder: SkillHostBuilder) -> SkillHostBuilder {
        match &self.workspace {
            Some(workspace) => builder.workspace(workspace),
            None => builder,
        }
    }
}

fn skill_pair(text: &str) -> Result<(SkillName, PathBuf), String> {
    let Some((name, file)) = text.split_once('=') else {
        return Err("expected NAME=FILE, such as `csv=skills/csv.wasm`".to_owned());
    };
    let name = SkillName::new(name).map_err(|error| error.to_string())?;
    if own::is_own(&name) {
        return Err(format!("{}: give the skill another name", own::reserved("").message));
    }
    if file.is_empty() { Err("the file name is missing".to_owned()) } else { Ok((name, PathBuf::from(file))) }
}

impl SkillArgs {
    /// Refuses a name that is given to two files: which of them would run is nothing that a person should have to know.
    pub(crate) fn check_names(&self) -> Result<(), Error> {
        for (at, (name, file)) in self.skills.iter().enumerate() {
            if let Some((_, first)) = self.skills.iter().take(at).find(|(other, _)| other == name) {
                let (first, second) = (first.display(), file.display());
                let message = format!("`--skill {name}` is given twice: as `{first}` and as `{second}`");
                return Err(Error::request(message).hint("leave one out, or give it another name"));
            }
        }
        Ok(())
    }
}

impl Session {
    /// # Errors
    ///
    /// Where there is no place to keep runs in.
    pub(crate) fn new(global: Global, env: Env, events: bool, interrupt: Interrupt) -> Result<Self, Error> {
        let output = Output::new(&global, &env).with_events(events);
        let places = Places::of(&env, global.state.as_deref())?;
        let code = places.cache.as_ref().map(|cache| CompiledCode::in_folder(cache.join(CODE))).unwrap_or_default();
        Ok(Self { global, env, places, output, interrupt, code, notes: RefCell::default() })
    }

    /// Says that runs of an older version are in the current folder, until there is a state of this version, and after that with `-v`.
    pub(crate) fn note_old_state(&self) {
        let is_news = self.places.state_is_default && (self.output.look.verbose || !self.places.state.exists());
        if is_news && Path::new(OLD_STATE).is_dir() {
            self.note(&format!(
                "`./{OLD_STATE}` is not used: state is in `{}`; `--state {OLD_STATE}` reads what is there, if it is yours",
                self.places.state.display()
            ));
        }
    }

    /// The same that says nothing on stderr: for a command whose caller reads its answers and nothing else.
    pub(crate) const fn silent(mut self) -> Self {
        self.output.quiet = true;
        self
    }

    /// Writes how the command ended. A failure after a signal came is that of the signal.
    pub(crate) fn finish(&self, result: Result<Reply, Error>, started: Stopwatch) -> Exit {
        if self.output.look.verbose {
            self.code.take_notes().iter().for_each(|note| self.note(note));
        }
        self.interrupt.claim();
        let came = self.interrupt.exit();
        let by_signal = |error: Error| {
            let kind = came.unwrap_or(error.kind);
            error.of_kind(kind)
        };
        let host = self.host();
        let result = result.map_err(|error| by_signal(error).called(&host));
        let result = result.map(|mut reply| {
            reply.failure = reply.failure.take().map(|error| by_signal(error).called(&host));
            reply
        });
        self.output.reply(result, started, &self.notes.borrow())
    }

    /// From now on a signal that ends the program is told of in the form of the command's answers.
    pub(crate) fn tell_of_signals(&self, started: Stopwatch) {
        let output = self.output;
        self.interrupt.tells(move |error| output.ended(error, started));
    }

    /// Whether a run is one of those in the state folder, however it was named.
    pub(crate) fn has_run(&self, run: &RunDir) -> bool {
        let own = self.store().state().join(crate::store::RUNS).canonicalize();
        let there = run.path().canonicalize();
        own.is_ok_and(|own| there.is_ok_and(|there| there.parent() == Some(&own)))
    }

    /// What a command line needs to mean this state folder, with a space before it; nothing where that is the default.
    pub(crate) fn state_option(&self) -> String {
        self.global
            .state
            .as_ref()
            .map(|state| format!(" --state {}", quoted(&state.display().to_string())))
            .unwrap_or_default()
    }

    /// Something a person may want to know.
    pub(crate) fn note(&self, text: &str) {
        self.output.say("note", text);
        self.notes.borrow_mut().push(text.to_owned());
    }

    /// What a report warns of.
    pub(crate) fn warn(&self, report: &Report) {
        for warning in &report.warnings {
            // As an event it was told when it was found.
            if !self.output.events {
                self.output.say("warning", warning);
            }
            self.notes.borrow_mut().push(warning.clone());
        }
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.places.state.clone()
    }

    /// The runs there are.
    /// Notes who does what to that which was recorded: the name that was given, else the user of the operating system. Where it cannot be noted
    /// that is said, and what was asked for is done.
    pub(crate) fn note_access(
        &self,
        action: AccessAction,
        by: Option<&str>,
        (run, step): (Option<&str>, Option<&str>),
        detail: &str,
    ) {
        use std::os::unix::fs::MetadataExt as _;

        let store = self.store();
        if !store.state().is_dir() {
            return;
        }
        let user = || {
            std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |own| format!("uid:{}", own.uid()))
        };
        let who = by.map_or_else(user, str::to_owned);
        let (run, step) = (run.map(str::to_owned), step.map(str::to_owned));
        let access = NewAccess { action, who, run, step, detail: detail.to_owned() };
        let opened = match Index::existing(store.state(), self.durability()) {
            Ok(None) => whole_index(&store),
            opened => opened.map_err(|error| StoreError::from(error).into()),
        };
        let noted = opened.and_then(|index| match index {
            Some(mut index) => index.note_access(&access).map_err(|error| StoreError::from(error).into()),
            None => Ok(()),
        });
        if let Err(error) = noted {
            self.note(&format!("this access is not noted: {}", error.first()));
        }
    }

    pub(crate) fn store(&self) -> RunStore {
        RunStore::at(self.state())
    }

    /// What compiles: this program in a process of its own.
    fn compiler(&self) -> Compiler {
        let Some(program) = &self.env.program else { return Compiler::in_process() };
        let compiler = Compiler::child(program).cancelled_by(self.interrupt.token());
        match &self.env.library_path {
            Some(path) => compiler.variable("LD_LIBRARY_PATH", path),
            None => compiler,
        }
    }

    /// The environment.
    pub(crate) const fn env(&self) -> &Env {
        &self.env
    }

    /// What survives a power failure.
    pub(crate) fn durability(&self) -> Durability {
        self.global.durability.into()
    }

    /// A host that grants nothing.
    pub(crate) fn builder(&self, skills: &SkillArgs) -> SkillHostBuilder {
        let mut builder =
            SkillHost::builder().state(self.state()).compiled_code(self.code.clone()).compiler(self.compiler());
        for place in self.places.own() {
            builder = builder.protect(place);
        }
        for (name, file) in &skills.skills {
            builder = builder.skill(name.clone(), SkillBytes::File(file.clone()));
        }
        builder
    }

    /// The bundle that was named, on the command line or in the environment.
    fn bundle(&self, args: &BundleArgs) -> Result<Option<Arc<Bundle>>, Error> {
        let env = self.env.bundle.as_ref().map(PathBuf::from);
        args.bundle.clone().or(env).map(|root| Ok(Arc::new(Bundle::open(root)?))).transpose()
    }

    /// The folder of the bundle that is meant: named, or else the current folder.
    pub(crate) fn bundle_root(&self, given: Option<&Path>) -> PathBuf {
        let env = self.env.bundle.as_ref().and_then(|root| root.to_str());
        let root = Bundle::root_from(given, env, Path::new(""));
        if root.as_os_str().is_empty() { PathBuf::from(".") } else { root }
    }

    /// A host that grants nothing, with the skills that were named.
    pub(crate) fn skills_builder(&self, skills: &SkillArgs, bundle: &BundleArgs) -> Result<SkillHostBuilder, Error> {
        self.with_bundle(skills, self.bundle(bundle)?.as_ref())
    }

    fn with_bundle(&self, skills: &SkillArgs, bundle: Option<&Arc<Bundle>>) -> Result<SkillHostBuilder, Error> {
        skills.check_names()?;
        let Some(bundle) = bundle else { return Ok(self.builder(skills)) };
        if let Some((name, _)) = skills.skills.iter().find(|(name, _)| bundle.skills.contains_key(name)) {
            let message = format!("`--skill {name}` names a skill of the bundle `{}`", bundle.root.display());
            let hint = "give it another name, or run without the bundle: its id says what its skills are";
            return Err(Error::request(message).hint(hint));
        }
        Ok(self.builder(skills).bundle(Arc::clone(bundle)))
    }

    /// A host with policy and workspace, which may say what is granted.
    pub(crate) fn granting_builder(&self, args: &HostArgs) -> Result<SkillHostBuilder, Error> {
        let bundle = self.bundle(&args.bundle)?;
        let InForce { document, origin } = self.policy(args.policy.as_deref(), bundle.as_deref())?;
        let builder = self.with_bundle(&args.skills, bundle.as_ref())?.policy(document).policy_origin(origin);
        Ok(args.in_workspace(builder.principal(args.principal.clone())))
    }

    /// A host that asks on the terminal where a step needs approval, if that is wanted and there is one.
    pub(crate) fn asking(&self, builder: SkillHostBuilder, interactive: bool) -> SkillHostBuilder {
        if !interactive {
            return builder;
        }
        if !self.env.stdin_is_terminal || !self.env.stderr_is_terminal {
            self.note("`--interactive` has no terminal to ask on, so what needs approval waits for `host approve`");
            return builder;
        }
        builder.approver(interactive::approver(self.output))
    }

    /// Whether somebody can be asked on a terminal.
    pub(crate) const fn can_ask(&self) -> bool {
        self.env.stdin_is_terminal && self.env.stderr_is_terminal && !self.output.json
    }

    /// How the program is called so that it works on this state, for hints.
    pub(crate) fn host(&self) -> String {
        format!("host{}", self.state_option())
    }

    /// The same with the values of the policy's secrets, which may run what is granted.
    pub(crate) fn running_builder(&self, args: &HostArgs) -> Result<SkillHostBuilder, Error> {
        let bundle = self.bundle(&args.bundle)?;
        let policy = self.policy(args.policy.as_deref(), bundle.as_deref())?;
        let builder = self.with_bundle(&args.skills, bundle.as_ref())?;
        let builder = args.in_workspace(builder.principal(args.principal.clone()));
        self.acting(builder, policy)
    }

    /// A host that goes on with a run: its policy as it is today, its workspace.
    pub(crate) fn continuing_builder(&self, run: &RunDir, args: &GoOnArgs) -> Result<SkillHostBuilder, Error> {
        let place = run.place()?;
        let policy = self.policy_of(place.as_ref(), args.policy.as_deref())?;
        let builder = self.builder(&SkillArgs::default());
        let builder = match (&args.workspace, place) {
            (Some(workspace), _) => builder.workspace(workspace),
            (None, Some(place)) if place.workspace_is_default => builder.unnamed_workspace(place.workspace),
            (None, Some(place)) => builder.workspace(place.workspace),
            (None, None) => builder,
        };
        self.acting(builder, policy)
    }

    /// A host that may run what its policy grants.
    fn acting(&self, builder: SkillHostBuilder, policy: InForce) -> Result<SkillHostBuilder, Error> {
        let InForce { document, origin } = policy;
        let secrets = Secrets::read(&document.policy, |variable| self.env.secret(variable));
        let name = origin.file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
        let secrets = secrets.map_err(|problems| Error::document(&name, problems))?;
        let operator = self.env.operator().map_err(|problem| Error::problems(Exit::Request, vec![problem]))?;
        let durability = self.global.durability.into();
        Ok(builder
            .policy(document)
            .policy_origin(origin)
            .secrets(secrets)
            .operator(operator)
            .durability(durability)
            .pauses(true))
    }

    /// The folder of what the user has configured; `None` where there is no place for it.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.places.config.clone()
    }
}

/// A word of a command line, as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '=' | '+' | ',' | ':' | '@');
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Reads a policy file.
pub(crate) fn read_policy(path: &Path) -> Result<PolicyDocument, Error> {
    PolicyDocument::read(path).map_err(|problems| Error::document(&path.display().to_string(), problems))
}
