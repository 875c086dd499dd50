//! The plans under `examples/` run under the default policy, replay, and give the same trace however they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use host_tests::{TestHost, repo, tree};
use skillhost::outcome::RunOutcome;
use skillhost::replay::ReplayOptions;
use skillhost::{PlanDocument, RunOptions};

/// Every plan with the folder that it works in.
fn plans() -> Vec<(PathBuf, PathBuf)> {
    let mut plans = Vec::new();
    for folder in std::fs::read_dir(repo::root().join("examples")).unwrap() {
        let folder = folder.unwrap().path();
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        plans.extend(
            files.filter(|file| file.file_stem().is_some_and(|stem| stem == "plan")).map(|file| (folder.clone(), file)),
        );
    }
    plans.sort();
    plans
}

#[test]
fn every_example_runs_and_replays_and_json_and_yaml_give_one_trace() {
    let mut heads = BTreeMap::new();
    let plans = plans();
    assert!(plans.len() >= 3, "{plans:?}");
    for (folder, plan) in plans {
        let host = TestHost::new(&repo::text("policies/default.toml"));
        tree::copy(&folder, &host.workspace());
        let _ignored = std::fs::remove_dir_all(host.workspace().join("out"));
        let _ignored = std::fs::remove_file(host.workspace().join("total.txt"));
        let report = host.host.run(&PlanDocument::read(&plan).unwrap(), &RunOptions::default()).unwrap();
        assert_eq!(report.outcome, RunOutcome::Completed, "{}: {report:#?}", plan.display());
        let recorded = host.host.store().find(&report.run).unwrap();
        assert_eq!(host.host.replay(&recorded, &ReplayOptions::default()).unwrap().divergence, None);
        let head = heads.entry(folder).or_insert(report.head);
        assert_eq!(*head, report.head, "{}", plan.display());
    }
}
