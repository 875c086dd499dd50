//! A host in a folder of its own that is gone after the test. Compiled components are shared between tests, so that each is compiled once.

use std::path::{Path, PathBuf};

use serde_json::Value;
use skillhost::id::SkillName;
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::replay::{ReplayOptions, ReplayReport};
use skillhost::skills::SkillBytes;
use skillhost::store::RunDir;
use skillhost::{
    CompiledCode, PlanDocument, PlanFormat, PolicyDocument, Report, RunOptions, SkillHost, SkillHostBuilder,
};
use tempfile::TempDir;

use crate::repo;
use crate::trace::TraceFiles;

/// A host with its folder.
#[derive(Debug)]
pub struct TestHost {
    folder: TempDir,
    /// The host.
    pub host: SkillHost,
}

/// A run that was recorded.
#[derive(Debug)]
pub struct Run {
    /// What the host reports.
    pub report: Report,
    /// Its trace.
    pub trace: TraceFiles,
}

impl TestHost {
    /// A host with this policy. Its workspace exists and is empty.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        Self::with(policy, &[])
    }

    /// The same with skills beside the ones that are built in.
    #[must_use]
    pub fn with(policy: &str, skills: &[(&str, &[u8])]) -> Self {
        Self::configured(policy, skills, |builder| builder)
    }

    /// The same, configured further.
    #[must_use]
    pub fn configured(
        policy: &str,
        skills: &[(&str, &[u8])],
        configure: impl FnOnce(SkillHostBuilder) -> SkillHostBuilder,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(folder.path().join("workspace")).expect("a workspace");
        let policy = PolicyDocument::parse(policy).unwrap_or_else(|problems| panic!("{problems:#?}\n{policy}"));
        let mut builder = SkillHost::builder()
            .policy(policy)
            .durability(skillhost::Durability::Buffered)
            .workspace(folder.path().join("workspace"))
            .state(folder.path().join("state"))
            .compiled_code(CompiledCode::in_folder(compiled_code()));
        for (name, bytes) in skills {
            builder = builder.skill(name.parse().expect("a name"), memory(bytes));
        }
        Self { host: configure(builder).build(), folder }
    }

    /// `probe`, under this policy.
    #[must_use]
    pub fn probe(policy: &str) -> Self {
        Self::with(policy, &[("probe", &repo::component("probe"))])
    }

    /// The temporary folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Writes a file into the workspace.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.workspace().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("written");
    }

    /// The plan as a document.
    #[must_use]
    pub fn document(&self, plan: &Value) -> PlanDocument {
        PlanDocument::new(plan.to_string(), PlanFormat::Json, self.folder.path())
    }

    /// Runs a plan.
    pub fn run(&self, plan: &Value) -> Run {
        self.run_with(plan, &RunOptions::default())
    }

    /// Runs a plan with options.
    pub fn run_with(&self, plan: &Value, options: &RunOptions) -> Run {
        let report = self.host.run(&self.document(plan), options);
        let report = report.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        let trace = TraceFiles::read(&report.folder);
        Run { report, trace }
    }

    /// Runs a plan of one step.
    pub fn call(&self, tool: &str, input: Value) -> Run {
        self.run(&crate::plan([crate::step("it", tool, input)]))
    }

    /// Runs `probe` with these arguments and gives its output, whatever its exit code.
    pub fn probed(&self, args: &[&str]) -> Value {
        let codes: Vec<u8> = (0..=255).collect();
        let run = self.call("probe.run", serde_json::json!({"args": args, "exit_codes": codes}));
        run.output().clone()
    }

    /// Replays a run.
    pub fn replay(&self, run: &Run) -> ReplayReport {
        self.replay_with(run, &ReplayOptions::default())
    }

    /// Replays a run with options.
    pub fn replay_with(&self, run: &Run, options: &ReplayOptions) -> ReplayReport {
        let replayed = self.host.replay(&run.recorded(), options);
        replayed.unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    /// Replays a run, which must match it to its end.
    pub fn replay_equals(&self, run: &Run) {
        let replayed = self.replay(run);
        assert_eq!(replayed.divergence, None);
        assert_eq!(replayed.calls, run.trace.of_kind("call").count() as u64);
        assert_eq!(replayed.steps, run.trace.of_kind("step-end").count() as u64);
    }
}

impl Run {
    /// The run's folder as the library opens it.
    #[must_use]
    pub fn recorded(&self) -> RunDir {
        RunDir::open(&self.report.folder).expect("the run's folder")
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.report.folder
    }

    /// How the only step ended.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        let [step] = &self.report.steps[..] else { panic!("one step: {:#?}", self.report) };
        step.outcome.as_ref().expect("the step ran")
    }

    /// The output of the only step, which completed.
    #[must_use]
    pub fn output(&self) -> &Value {
        match self.outcome() {
            Outcome::Completed { output } => output,
            other => panic!("{other:#?}"),
        }
    }

    /// The error of the only step, which failed.
    #[must_use]
    pub fn error(&self) -> &Value {
        match self.outcome() {
            Outcome::Failed { error } => error,
            other => panic!("{other:#?}"),
        }
    }

    /// The same run, which must have completed.
    pub fn completed(self) -> Self {
        assert_eq!(self.report.outcome, RunOutcome::Completed, "{:#?}", self.report);
        self
    }

    /// The trace's bytes.
    #[must_use]
    pub fn bytes(&self) -> String {
        crate::trace::text(self.folder())
    }

    /// The codes of the problems for which the plan was refused.
    #[must_use]
    pub fn problem_codes(&self) -> Vec<&str> {
        self.report.problems.iter().map(|problem| problem.code.as_str()).collect()
    }
}

/// A component in memory without a manifest.
#[must_use]
pub fn memory(bytes: &[u8]) -> SkillBytes {
    SkillBytes::Memory { component: bytes.to_vec().into(), manifest: None }
}

/// A skill's name.
#[must_use]
pub fn name(name: &str) -> SkillName {
    name.parse().expect("a name")
}

/// The user's cache folder, as all tests share it: each component is compiled once.
#[must_use]
pub fn cache_home() -> PathBuf {
    repo::scratch().join("cache")
}

/// The folder of compiled code of the program, where [`cache_home`] is `XDG_CACHE_HOME`.
#[must_use]
pub fn compiled_code() -> PathBuf {
    cache_home().join("skillhost/code")
}
