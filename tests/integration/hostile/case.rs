//! A case: the guest, where it runs, how it must end and what it may cost.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host_tests::dns::Dns;
use host_tests::trace::TraceFiles;
use host_tests::{Run, Server, TestHost, plan, policy, repo, step, tree};
use serde_json::{Value, json};
use skillhost::RunOptions;
use skillhost::clock::Stopwatch;
use skillhost::limits::LimitKind;
use skillhost::outcome::{Outcome, RunOutcome};

/// What lies outside of every workspace and in the host's environment, and may be found in nothing that a guest left behind.
pub(super) const CANARY: &str = "canary-0b5ac7d1e9";

/// What attacks have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Paths,
    Own,
    Deputy,
    Handles,
    Memory,
    Stack,
    Time,
    Values,
    Output,
    Machine,
    Disk,
    Traps,
    Reentry,
    Load,
    Grants,
    Network,
    Contracts,
}

impl Family {
    pub(super) const ALL: [Self; 17] = [
        Self::Paths,
        Self::Own,
        Self::Deputy,
        Self::Handles,
        Self::Memory,
        Self::Stack,
        Self::Time,
        Self::Values,
        Self::Output,
        Self::Machine,
        Self::Disk,
        Self::Traps,
        Self::Reentry,
        Self::Load,
        Self::Grants,
        Self::Network,
        Self::Contracts,
    ];

    /// The heading in the threat model.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Paths => "Paths out of a granted folder",
            Self::Own => "The host's own files",
            Self::Deputy => "One grant used through another",
            Self::Handles => "Handles forged and hoarded",
            Self::Memory => "Memory and tables",
            Self::Stack => "Stack",
            Self::Time => "Time: fuel and deadline evaded",
            Self::Values => "Values, strings and lists",
            Self::Output => "Output and logs",
            Self::Machine => "Randomness, clocks and environment",
            Self::Disk => "Files and folders as bombs",
            Self::Traps => "Traps in unusual places",
            Self::Reentry => "Re-entrance",
            Self::Load => "Components that attack the loader",
            Self::Grants => "What is not granted",
            Self::Network => "Network",
            Self::Contracts => "What a plan asks of outputs",
        }
    }
}

/// How a case must end.
#[derive(Debug, Clone)]
pub(super) enum Expect {
    /// The tool returns this value.
    Answer(Value),
    /// The tool returns its error with this value.
    Error(Value),
    /// The tool returns some error of its own.
    SomeError,
    /// A command-line program fails; this is in its stderr.
    Fails(&'static str),
    /// This bound ends the step.
    Limit(LimitKind),
    /// The guest traps; the message has this text.
    Trap(&'static str),
    /// The plan is refused with this problem before anything runs.
    Refused(&'static str),
    /// The run ends with an error of the host before anything runs, because the component cannot be linked; the message has this text.
    Unlinkable(&'static str),
    /// The policy denies the step before anything runs.
    Denied,
}

impl Expect {
    /// The words of the threat model.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Answer(value) => format!("the guest gets `{value}`"),
            Self::Error(value) => format!("the guest gets the error `{value}`"),
            Self::SomeError => "the guest gets an error".to_owned(),
            Self::Fails(text) => format!("the program fails: `{text}`"),
            Self::Limit(limit) => format!("the limit `{}` ends the step", limit.name()),
            Self::Trap(text) => format!("the step traps: `{text}`"),
            Self::Refused(code) => format!("refused at load: `{code}`"),
            Self::Unlinkable(text) => format!("the host reports that it cannot be linked: `{text}`"),
            Self::Denied => "denied, nothing is instantiated".to_owned(),
        }
    }

    /// Whether anything of the guest runs.
    const fn runs(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Unlinkable(_) | Self::Denied)
    }
}

/// What is left when a case is over.
pub(super) struct Seen<'a> {
    pub(super) host: &'a TestHost,
    pub(super) run: &'a Run,
}

/// The limits of a case that says nothing else: enough for any of them, and reached soon.
const LIMITS: &str = "fuel = 400_000_000\ndeadline_ms = 20_000\nhost_calls = 50_000";
/// How much a host may grow by a case that says nothing else, compiled code and the largest memory of the guest apart.
const GROWTH_MIB: u64 = 96;
/// How long a case may take that says nothing else; a deadline adds to it.
const SECONDS: u64 = 30;

/// One hostile guest.
pub(super) struct Case {
    pub(super) family: Family,
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) expect: Expect,
    pub(super) growth_mib: u64,
    pub(super) seconds: u64,
    component: Box<dyn Fn() -> Vec<u8>>,
    limits: String,
    grant: String,
    policy: Option<String>,
    steps: Vec<(&'static str, Value)>,
    set_up: fn(&TestHost),
    after: fn(&Seen<'_>),
    race: Option<fn(&Path)>,
    world: Option<Box<dyn Fn() -> World>>,
    contract: Option<Value>,
}

/// What a case has around it beside files: servers, and the policy and input that name them.
pub(super) struct World {
    policy: String,
    step: (&'static str, Value),
    kept: Vec<Server>,
    forbidden: Vec<Server>,
    dns: Option<Dns>,
}

impl World {
    pub(super) fn new(policy: String, tool: &'static str, input: Value) -> Self {
        Self { policy, step: (tool, input), kept: Vec::new(), forbidden: Vec::new(), dns: None }
    }

    /// A server that may be asked.
    pub(super) fn keeps(mut self, server: Server) -> Self {
        self.kept.push(server);
        self
    }

    /// A server that must hear of nothing.
    pub(super) fn forbids(mut self, server: Server) -> Self {
        self.forbidden.push(server);
        self
    }

    /// Who says what names mean.
    pub(super) fn answers(self, dns: Dns) -> Self {
        Self { dns: Some(dns), ..self }
    }

    /// After the run: nobody heard what they must not hear, and a name was looked up once for a request. Then all of it is gone.
    fn end(self, requests: usize) {
        for server in &self.forbidden {
            assert!(server.requests().is_empty(), "{:?}", server.requests());
        }
        if let Some(dns) = self.dns {
            assert_eq!(dns.asked().len(), requests, "{:?}", dns.asked());
        }
    }
}

/// A case that calls `guest.go` of this component without arguments, under a policy that grants nothing.
pub(super) fn case(
    family: Family,
    name: &'static str,
    what: &'static str,
    component: impl Fn() -> Vec<u8> + 'static,
    expect: Expect,
) -> Case {
    Case {
        family,
        name,
        what,
        expect,
        growth_mib: GROWTH_MIB,
        seconds: SECONDS,
        component: Box::new(component),
        limits: LIMITS.to_owned(),
        grant: String::new(),
        policy: None,
        steps: vec![("guest.go", json!({}))],
        set_up: |_| (),
        after: |_| (),
        race: None,
        world: None,
        contract: None,
    }
}

/// A case that runs the committed `probe` with these arguments.
pub(super) fn probe(family: Family, name: &'static str, what: &'static str, args: &[&str], expect: Expect) -> Case {
    let codes: Vec<u8> = if matches!(expect, Expect::Fails(_)) { vec![0] } else { (0..=255).collect() };
    let input = json!({"args": args, "exit_codes": codes});
    Case { steps: vec![("probe.run", input)], ..case(family, name, what, || repo::component("probe"), expect) }
}

impl Case {
    /// Lines of `[limits]` instead of the usual ones.
    pub(super) fn limits(self, lines: &str) -> Self {
        Self { limits: lines.to_owned(), ..self }
    }

    /// Lines of the one grant.
    pub(super) fn grant(self, lines: &str) -> Self {
        Self { grant: lines.to_owned(), ..self }
    }

    /// A policy of its own.
    pub(super) fn policy(self, text: &str) -> Self {
        Self { policy: Some(text.to_owned()), ..self }
    }

    /// Another tool or input.
    pub(super) fn call(self, tool: &'static str, input: Value) -> Self {
        Self { steps: vec![(tool, input)], ..self }
    }

    /// A call of `probe` that comes before; it may fail.
    pub(super) fn first(mut self, args: &[&str]) -> Self {
        let codes: Vec<u8> = (0..=255).collect();
        self.steps.insert(self.steps.len() - 1, ("probe.run", json!({"args": args, "exit_codes": codes})));
        self
    }

    /// Seconds that it may take.
    pub(super) fn seconds(self, seconds: u64) -> Self {
        Self { seconds, ..self }
    }

    /// What the host's side makes before.
    pub(super) fn set_up(self, set_up: fn(&TestHost)) -> Self {
        Self { set_up, ..self }
    }

    /// What must hold afterwards beside what holds for all.
    pub(super) fn after(self, after: fn(&Seen<'_>)) -> Self {
        Self { after, ..self }
    }

    /// What another thread of the host does to the workspace meanwhile, again and again.
    pub(super) fn race(self, race: fn(&Path)) -> Self {
        Self { race: Some(race), ..self }
    }

    /// The guest gets an error, whichever the moment gives.
    pub(super) fn ends_in_some_error(self) -> Self {
        Self { expect: Expect::SomeError, ..self }
    }

    /// Servers around it, with the policy and the input that name them.
    pub(super) fn world(self, world: impl Fn() -> World + 'static) -> Self {
        Self { world: Some(Box::new(world)), ..self }
    }

    /// What the plan asks of the output.
    pub(super) fn contract(self, expect: Value) -> Self {
        Self { contract: Some(expect), ..self }
    }

    /// Host memory that it may take, where that is more than usual.
    pub(super) fn growth_mib(self, mib: u64) -> Self {
        Self { growth_mib: mib, ..self }
    }

    /// What the child process says when the case held.
    pub(super) fn done(&self) -> String {
        format!("held: {:?} {}", self.family, self.name)
    }

    /// Runs it and checks everything.
    pub(super) fn run(&self) {
        println!("case: {:?} {}", self.family, self.name);
        let component = (self.component)();
        let mut world = self.world.as_ref().map(|world| world());
        let text = match (&world, &self.policy) {
            (Some(world), _) => world.policy.clone(),
            (None, Some(policy)) => policy.clone(),
            (None, None) => policy(&self.limits, &self.grant),
        };
        let host = TestHost::with(&text, &[("guest", &component), ("probe", &repo::component("probe"))]);
        surroundings(&host);
        (self.set_up)(&host);
        let steps = world.as_ref().map_or_else(|| self.steps.clone(), |world| vec![world.step.clone()]);
        let plans = steps.iter().map(|(tool, input)| {
            let mut step = step("it", tool, input.clone());
            if let Some(contract) = &self.contract {
                step["expect"] = contract.clone();
            }
            plan([step])
        });
        let plans: Vec<Value> = plans.collect();
        // What is compiled is compiled before the measurement, unless loading is what is attacked.
        if self.expect.runs() {
            for plan in &plans {
                let checked = host.host.check(&host.document(plan)).unwrap_or_else(|error| self.wrong(&error));
                drop(checked.unwrap_or_else(|problems| self.wrong(&problems)));
            }
        } else {
            host.call("text.split", json!({"text": "a", "pattern": "b"}));
        }
        let outside = Outside::of(&host);

        let memory = Memory::now();
        let watch = Stopwatch::start();
        let mut report = None;
        let mut error = None;
        self.beside_the_race(&host, || {
            for plan in &plans {
                let run = host.host.run(&host.document(plan), &RunOptions::default());
                match run {
                    Ok(ended) => report = Some(ended),
                    Err(failed) => error = Some(failed.to_string()),
                }
            }
        });
        let (elapsed, growth_mib) = (watch.elapsed(), memory.growth_mib());
        assert!(elapsed < Duration::from_secs(self.seconds), "{}: took {elapsed:?}", self.name);
        let served = || {
            let served = host.call("text.split", json!({"text": "a b", "pattern": " "})).completed();
            assert_eq!(served.output(), &json!(["a", "b"]), "{}", self.name);
        };
        if let Some(error) = error {
            self.wrong(&error);
        }
        let report = report.expect("a case has a step");
        let run = Run { trace: TraceFiles::read(&report.folder), report };
        self.check_end(&run);
        let used_mib = run.report.steps.first().map_or(0, |step| step.memory_bytes) >> 20;
        assert!(growth_mib <= self.growth_mib + used_mib, "{}: the host grew by {growth_mib} MiB", self.name);
        assert_eq!(Outside::of(&host), outside, "{}: something outside of the workspace changed", self.name);
        nowhere_in(run.folder(), CANARY);
        (self.after)(&Seen { host: &host, run: &run });
        if let Some(world) = world.take() {
            world.end(run.trace.called().iter().filter(|call| call.ends_with("outgoing-handler#handle")).count());
        }

        let memory = Memory::now();
        host.replay_equals(&run);
        let replay_mib = memory.growth_mib();
        assert!(replay_mib <= self.growth_mib + used_mib, "{}: the replay grew by {replay_mib} MiB", self.name);
        served();
        println!("{}: {elapsed:?}, {growth_mib} MiB, replay {replay_mib} MiB", self.done());
    }

    fn beside_the_race(&self, host: &TestHost, run: impl FnOnce()) {
        let Some(race) = self.race else { return run() };
        let over = AtomicBool::new(false);
        let workspace = host.workspace();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    race(&workspace);
                }
            });
            run();
            over.store(true, Ordering::Relaxed);
        });
    }

    fn wrong(&self, what: &dyn std::fmt::Debug) -> ! {
        panic!("{:?} {}: {what:#?}", self.family, self.name)
    }

    fn check_end(&self, run: &Run) {
        let report = &run.report;
        let outcome = report.steps.first().and_then(|step| step.outcome.as_ref());
        let began = run.trace.of_kind("step-begin").count();
        match (&self.expect, outcome) {
            (Expect::Answer(value), Some(Outcome::Completed { output })) if output == value => (),
            (Expect::Error(value), Some(Outcome::Failed { error })) if error == value => (),
            (Expect::SomeError, Some(Outcome::Failed { .. })) => (),
            (Expect::Fails(text), Some(Outcome::Failed { error }))
                if error["stdout"] == "" && error["stderr"].as_str().is_some_and(|stderr| stderr.contains(text)) => {}
            (Expect::Limit(limit), Some(Outcome::LimitExceeded { limit: hit, .. })) if limit == hit => (),
            (Expect::Trap(text), Some(Outcome::Trapped { message, .. })) if message.contains(text) => (),
            (Expect::Refused(code), None) if report.outcome == RunOutcome::Refused && began == 0 => {
                let codes = run.problem_codes();
                assert!(codes.contains(code), "{}: {:#?}", self.name, report.problems);
            }
            (Expect::Unlinkable(text), None) if report.outcome == RunOutcome::Failed && began == 0 => {
                let failure = report
                    .failure
                    .as_ref()
                    .map(|failure| format!("{} {}", failure.message, failure.detail.as_deref().unwrap_or_default()));
                let failure = failure.unwrap_or_else(|| self.wrong(&"no failure"));
                assert!(failure.contains("cannot be linked") && failure.contains(text), "{}: {failure}", self.name);
            }
            (Expect::Denied, None) if report.outcome == RunOutcome::Denied && began == 0 => {}
            (_, outcome) => self.wrong(&(report.outcome, outcome, &report.problems)),
        }
    }
}

/// Makes what must not be reached: a secret beside the workspace, a folder whose name starts like the workspace's, links that lead out.
fn surroundings(host: &TestHost) {
    for folder in ["secret", "workspace-evil"] {
        std::fs::create_dir_all(host.folder().join(folder)).expect("a folder");
        std::fs::write(host.folder().join(folder).join("key.txt"), CANARY).expect("written");
    }
    host.write("inner", "inside");
    host.write("sub/file.txt", "inside");
}

/// Everything around the workspace.
#[derive(Debug, PartialEq, Eq)]
struct Outside(BTreeMap<String, String>);

impl Outside {
    fn of(host: &TestHost) -> Self {
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(host.folder()).expect("the folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            // What the host keeps, and what it was granted.
            if name == "state" || name == "workspace" {
                continue;
            }
            let content = if path.is_dir() { format!("{:?}", tree::read(&path)) } else { "file".to_owned() };
            names.insert(name, content);
        }
        Self(names)
    }
}

/// No file below `folder` has the text.
fn nowhere_in(folder: &Path, text: &str) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            nowhere_in(&path, text);
        } else {
            use std::os::unix::fs::MetadataExt as _;
            let file = path.metadata().expect("a file");
            if file.blocks() == 0 {
                continue; // The pre-image of a file of eight gigabytes that is one hole.
            }
            let bytes = std::fs::read(&path).expect("readable");
            assert!(!String::from_utf8_lossy(&bytes).contains(text), "{} has the canary", path.display());
        }
    }
}

/// The memory of this process at one moment.
struct Memory {
    resident_kib: u64,
}

impl Memory {
    /// Now, with the peak set back to now. Where the system has no such file, nothing is measured and no growth is seen.
    fn now() -> Self {
        drop(std::fs::write("/proc/self/clear_refs", "5"));
        Self { resident_kib: status_kib("VmRSS:") }
    }

    /// How far above it the peak was since.
    fn growth_mib(&self) -> u64 {
        status_kib("VmHWM:").saturating_sub(self.resident_kib) >> 10
    }
}

fn status_kib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
