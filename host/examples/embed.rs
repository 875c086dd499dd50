//! A program that embeds the library with its own policy, its own skill folder and an observer, without any command line.
//!
//! `cargo run --release --example embed -- examples/sales/plan.json examples/sales`

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use skillhost::{HostEvent, PlanDocument, PolicyDocument, RunOptions, SkillHost};

/// What this program lets its plans do: read one folder, write a folder below it, compute.
const POLICY: &str = r#"
schema = "skillhost.policy/1"

[limits]
fuel = 1_000_000_000
deadline_ms = 10_000

[[grant]]
skills = ["files"]
tools = ["read-*", "write-text", "make-dir"]
filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]

[[grant]]
skills = ["csv", "json", "text"]
tools = ["*"]
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let plan = arguments.next().unwrap_or_else(|| "examples/sales/plan.json".to_owned());
    let workspace = arguments.next().unwrap_or_else(|| "examples/sales".to_owned());

    let policy = PolicyDocument::parse(POLICY).map_err(|problems| format!("{problems:?}"))?;
    let host = SkillHost::builder()
        .policy(policy)
        .workspace(workspace)
        .observer(|event: &HostEvent<'_>| {
            if let HostEvent::StepEnd { step, outcome, calls, .. } = event {
                let _ignored = writeln!(std::io::stderr(), "{step}: {} after {calls} host calls", outcome.name());
            }
        })
        .build();

    let plan = PlanDocument::read(Path::new(&plan)).map_err(|problem| problem.to_string())?;
    let report = host.run(&plan, &RunOptions::default())?;
    let mut out = std::io::stdout();
    writeln!(out, "{}: {}", report.outcome.name(), report.output)?;
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }

    // The record alone is enough to run it again: nothing is read but the run's own folder.
    let replayed = host.replay(&host.store().find(&report.run)?, &Default::default())?;
    writeln!(
        out,
        "replayed {} steps, {} host calls, diverged: {:?}",
        replayed.steps, replayed.calls, replayed.divergence
    )?;
    Ok(())
}
