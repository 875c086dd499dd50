//! A folder in which one scenario takes place: its workspace, its state folder, the commands that a person would give. Knows how a run
//! stands from its trace alone, read as text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use skillhost::store::Index;
use skillhost::store::index::{Approval, ApprovalState, Durability};
use tempfile::TempDir;

use super::scenario::{POLICY, Scenario};
use super::snapshot::{self, Snapshot};
use super::{Dice, Ended, Kill, Scope, Stop, Traced, text_of};

/// More commands than any run needs: one that does not end is a failure, not a test without end.
const COMMANDS_MAX: usize = 60;

/// What is run, and how.
#[derive(Debug, Clone)]
pub struct Program {
    /// The `host` binary.
    pub path: PathBuf,
    /// The cache folder of the user, which all places share.
    pub cache: PathBuf,
    /// `full` or `buffered`.
    pub durability: &'static str,
}

/// A folder with one run in it.
#[derive(Debug)]
pub struct Place<'a> {
    folder: TempDir,
    program: &'a Program,
    scenario: &'a Scenario,
}

/// How the run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing of it is recorded: it never began.
    NotBegun,
    /// It began, and neither ended nor waits.
    Stopped,
    /// It waits for somebody.
    Waits,
    /// It ended.
    Ended,
}

/// What a run leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The workspace.
    pub workspace: Snapshot,
    /// The bytes of the trace.
    pub trace: String,
    /// The blobs, by name.
    pub blobs: Snapshot,
    /// What the last command told: code, outcome, output. `None` where it was killed after the end was recorded.
    pub told: Option<(i32, Value, Value)>,
}

impl<'a> Place<'a> {
    /// A fresh one.
    #[must_use]
    pub fn new(program: &'a Program, scenario: &'a Scenario) -> Self {
        Self::new_in(&std::env::temp_dir(), program, scenario)
    }

    /// A fresh one in this folder.
    #[must_use]
    pub fn new_in(folder: &Path, program: &'a Program, scenario: &'a Scenario) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a temporary folder");
        let place = Self { folder, program, scenario };
        fs::create_dir(place.state()).expect("a state folder");
        scenario.prepare(&place.workspace());
        fs::write(place.at("plan.json"), scenario.plan.to_string()).expect("written");
        fs::write(place.at("policy.toml"), POLICY).expect("written");
        // Made now: later the disk may be full.
        drop(scenario.skills(place.folder.path()));
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.at("workspace")
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.at("state")
    }

    /// A command of the program, with nothing of this process's environment.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program.path);
        command.env_clear().env("HOME", self.at("home")).env("XDG_CACHE_HOME", &self.program.cache);
        command.current_dir(self.folder.path());
        command.args(["--state", "state", "--durability", self.program.durability, "--json"]).args(args);
        command
    }

    /// What a person does next; `None` where nothing is left to do.
    #[must_use]
    pub fn next(&self) -> Option<Command> {
        match self.standing() {
            Standing::NotBegun => {
                let mut run =
                    self.command(&["run", "plan.json", "--policy", "policy.toml", "--workspace", "workspace"]);
                for (name, file) in self.scenario.skills(self.folder.path()) {
                    run.arg("--skill").arg(format!("{name}={}", file.display()));
                }
                Some(run)
            }
            Standing::Stopped => Some(self.command(&["recover"])),
            Standing::Waits => {
                let run = self.run().expect("what waits has a folder");
                let id = run.file_name().expect("a name").to_str().expect("UTF-8");
                let subject = self.subject(id);
                Some(self.command(&[
                    "approve",
                    id,
                    "--subject",
                    &subject,
                    "--by",
                    "tester",
                    "--reason",
                    "it is a test",
                ]))
            }
            Standing::Ended => None,
        }
    }

    /// What a run waits for, as whoever approves it has seen it.
    fn subject(&self, run: &str) -> String {
        let shown = untraced(self.command(&["approve", run, "--show"]));
        let value: Value = serde_json::from_str(&shown.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", shown.stdout, shown.stderr));
        value["result"]["subject"].as_str().unwrap_or_else(|| panic!("no subject: {value:#}")).to_owned()
    }

    /// The folder of the run that began, if one did.
    #[must_use]
    pub fn run(&self) -> Option<PathBuf> {
        let runs = fs::read_dir(self.state().join("runs")).ok()?;
        let mut begun = runs
            .map(|entry| entry.expect("an entry").path())
            .filter(|run| fs::read_to_string(run.join("trace.jsonl")).is_ok_and(|trace| trace.contains('\n')));
        let run = begun.next();
        assert!(begun.next().is_none(), "a second run began beside the first");
        run
    }

    /// How the run stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Some(run) = self.run() else { return Standing::NotBegun };
        let trace = fs::read(run.join("trace.jsonl")).expect("a trace");
        let whole = trace.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(&trace[..whole]);
        let Some(last) = text.lines().next_back() else { return Standing::NotBegun };
        let last: Value = serde_json::from_str(last).expect("a whole line is JSON");
        match last["kind"].as_str() {
            Some("run-end") => Standing::Ended,
            Some("approval-request") if self.is_asked(&run) => Standing::Waits,
            _ => Standing::Stopped,
        }
    }

    /// How the run ended, by its trace.
    ///
    /// # Errors
    ///
    /// Where it has not.
    pub fn ended_as(&self) -> Result<String, String> {
        let run = self.run().ok_or("there is no run")?;
        let trace = fs::read_to_string(run.join("trace.jsonl")).map_err(|error| error.to_string())?;
        let last: Value = serde_json::from_str(trace.lines().next_back().unwrap_or_default())
            .map_err(|error| format!("the last line of the trace: {error}"))?;
        last["outcome"].as_str().map(str::to_owned).ok_or_else(|| format!("it has not ended: {last}"))
    }

    /// That the trace holds, and that a replay finds the same.
    ///
    /// # Errors
    ///
    /// Where one of them does not.
    pub fn verified(&self) -> Result<(), String> {
        for command in ["replay", "trace verify"] {
            let mut args: Vec<&str> = command.split(' ').collect();
            args.push("last");
            let ended = untraced(self.command(&args));
            if ended.ended != Ended::Code(0) {
                return Err(format!("`{command}`: {:?}: {}{}", ended.ended, ended.stdout, ended.stderr));
            }
        }
        Ok(())
    }

    /// Whether whoever is asked sees the question and has not answered it: before and after, a run that was killed has to be recovered.
    fn is_asked(&self, run: &Path) -> bool {
        let id = run.file_name().expect("a name").to_string_lossy().into_owned();
        let index = Index::existing(&self.state(), Durability::Buffered);
        let Ok(Some(index)) = index else { return false };
        let pending = |approval: &Approval| approval.state == ApprovalState::Pending;
        index.approvals(&id).is_ok_and(|approvals| approvals.iter().any(pending))
    }

    /// Goes on to the end. `crash` says for each command whether and where it is killed; what was found on the way is said.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn go_on(&self, dice: Option<&mut Dice>) -> Result<(Left, usize), String> {
        let mut dice = dice;
        let mut told = None;
        let mut commands = 0;
        while let Some(command) = self.next() {
            commands += 1;
            if commands > COMMANDS_MAX {
                return Err(format!("it has not ended after {COMMANDS_MAX} commands"));
            }
            let kill = dice.as_deref_mut().filter(|_| commands < COMMANDS_MAX / 2).and_then(Dice::kill);
            let traced = match kill {
                Some(kill) => super::trace(&command, Some(kill), false),
                None => untraced(command),
            };
            if traced.is_killed {
                // What an earlier one told is not how it ended.
                told = None;
                continue;
            }
            told = Some(told_by(&traced)?);
        }
        self.left(told).map(|left| (left, commands))
    }

    /// Comes to a kill in one of the run's commands, from 0. `None` where it was not killed: there was no such command or point.
    #[must_use]
    pub fn killed(&self, command: usize, kill: Kill) -> Option<String> {
        self.killed_with(command, kill, false)?.pop()
    }

    /// The same with other points.
    #[must_use]
    pub fn killed_in(&self, scope: Scope, command: usize, kill: Kill) -> Option<String> {
        for _ in 0..command {
            untraced(self.next()?);
        }
        let traced = super::trace_in(scope, &self.next()?, Some(Stop::Kill(kill)), false);
        traced.is_killed.then_some(traced.points)?.pop()
    }

    /// The same with all points up to the kill, described where that is wanted.
    #[must_use]
    pub fn killed_with(&self, command: usize, kill: Kill, describe: bool) -> Option<Vec<String>> {
        for _ in 0..command {
            untraced(self.next()?);
        }
        let traced = super::trace(&self.next()?, Some(kill), describe);
        traced.is_killed.then_some(traced.points)
    }

    /// What is there now.
    ///
    /// # Errors
    ///
    /// Where no run is.
    pub fn left(&self, told: Option<(i32, Value, Value)>) -> Result<Left, String> {
        let run = self.run().ok_or("there is no run")?;
        let trace = fs::read_to_string(run.join("trace.jsonl")).map_err(|error| error.to_string())?;
        let blobs = if run.join("blobs").is_dir() { snapshot::of(&run.join("blobs")) } else { Snapshot::new() };
        Ok(Left { workspace: snapshot::of(&self.workspace()), trace, blobs, told })
    }
}

impl Dice {
    /// Whether and where a command is killed: one in two, at an early point rather than at a late one.
    fn kill(&mut self) -> Option<Kill> {
        if !self.one_in(2) {
            return None;
        }
        let bound = 1 << (2 + self.below(6));
        let place = if self.one_in(2) { super::Where::Entered } else { super::Where::Returned };
        Some(Kill { at: 1 + self.below(bound), place })
    }
}

/// Runs a command that nobody stops.
pub fn untraced(mut command: Command) -> Traced {
    let (out, err) = (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
    command.stdin(Stdio::null());
    command.stdout(out.try_clone().expect("a file")).stderr(err.try_clone().expect("a file"));
    let status = command.status().expect("the program starts");
    let ended = match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    };
    Traced { ended, is_killed: false, points: Vec::new(), stdout: text_of(out), stderr: text_of(err) }
}

/// Code, outcome and output that a command told; what it said where that is no reply of a run.
pub(super) fn told_by(traced: &Traced) -> Result<(i32, Value, Value), String> {
    let unexpected = || format!("{:?}: {}{}", traced.ended, traced.stdout, traced.stderr);
    let Ended::Code(code) = traced.ended else { return Err(unexpected()) };
    let reply: Value = serde_json::from_str(&traced.stdout).map_err(|_| unexpected())?;
    let result = &reply["result"];
    let report = result["runs"].get(0).unwrap_or(result);
    match report["outcome"].as_str() {
        Some(_) => Ok((code, report["outcome"].clone(), report["output"].clone())),
        None => Err(unexpected()),
    }
}

impl Left {
    /// How this differs from what the run that was never killed has left.
    #[must_use]
    pub fn difference(&self, never_killed: &Self) -> Option<String> {
        let trace = || {
            let (wanted, found) = (&never_killed.trace, &self.trace);
            let at = wanted.lines().zip(found.lines()).position(|(a, b)| a != b);
            let at = at.unwrap_or_else(|| wanted.lines().count().min(found.lines().count()));
            let line = |text: &str| text.lines().nth(at).unwrap_or("nothing").chars().take(300).collect::<String>();
            (wanted != found).then(|| format!("trace, event {at}: {} — not {}", line(found), line(wanted)))
        };
        let told = || match (&self.told, &never_killed.told) {
            (Some(found), wanted) if Some(found) != wanted.as_ref() => {
                Some(format!("it told {found:?}, not {wanted:?}"))
            }
            _ => None,
        };
        snapshot::difference(&never_killed.workspace, &self.workspace)
            .map(|different| format!("workspace: {different}"))
            .or_else(trace)
            .or_else(|| {
                snapshot::difference(&never_killed.blobs, &self.blobs).map(|different| format!("blobs: {different}"))
            })
            .or_else(told)
    }
}
