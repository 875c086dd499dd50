//! The plans under `examples/` run under the default policy, replay, and give the same trace however they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use host_tests::server::{Server, ok, response};
use host_tests::{TestHost, repo, tree};
use serde_json::{Map, Value, json};
use skillhost::outcome::{Outcome, RunOutcome};
use skillhost::replay::ReplayOptions;
use skillhost::{PlanDocument, RunOptions};

/// Every plan that needs no policy of its own, with the folder that it works in.
fn plans() -> Vec<(PathBuf, PathBuf)> {
    let mut plans = Vec::new();
    for folder in std::fs::read_dir(repo::root().join("examples")).unwrap() {
        let folder = folder.unwrap().path();
        if folder.join("policy.toml").is_file() {
            continue;
        }
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

#[test]
fn the_example_with_a_server_gets_what_its_policy_grants_and_nothing_else() {
    let server = Server::new(|request| {
        let file = repo::root().join("examples/fetch/site").join(request.target.trim_start_matches('/'));
        std::fs::read(file).map_or_else(|_| response("404 Not Found", &[], ""), ok)
    });
    let here = |name: &str| {
        let text = repo::text(&format!("examples/fetch/{name}"));
        assert!(text.contains("localhost:8000"), "{name} names the server of the README");
        text.replace("localhost:8000", &format!("localhost:{}", server.port()))
    };
    let host = TestHost::new(&here("policy.toml"));
    let plan: Value = serde_json::from_str(&here("plan.json")).unwrap();
    let run = host.run(&plan).completed();
    assert_eq!(run.report.output[0]["rows"], 2, "{}", run.report.output);
    assert!(
        std::fs::read_to_string(host.workspace().join("regions.txt")).unwrap().starts_with("3 orders from http://")
    );

    let path = Map::from_iter([("path".to_owned(), json!("private/notes.txt"))]);
    let refused = host.run_with(&plan, &RunOptions { inputs: path, ..RunOptions::default() });
    assert_eq!(refused.report.outcome, RunOutcome::Failed);
    let Some(Outcome::Failed { error }) = &refused.report.steps[0].outcome else { panic!("{:#?}", refused.report) };
    assert_eq!(error["code"], "denied");
    assert_eq!(server.requests().len(), 1);

    // The server is gone, and both runs replay.
    drop(server);
    host.replay_equals(&run);
    host.replay_equals(&refused);
}

#[test]
fn the_example_that_calls_other_skills_has_no_file_of_its_own() {
    let folder = repo::root().join("examples/delegation");
    let policy = repo::text("examples/delegation/policy.toml");
    let wit = repo::text("examples/delegation/brief/wit/deps/skillhost/skill.wit");
    assert_eq!(wit, repo::text("wit/skill.wit"), "run examples/delegation/brief/build");
    let run = |policy: &str| {
        let host = TestHost::new(policy);
        tree::copy(&folder.join("data"), &host.workspace().join("data"));
        let report = host.host.run(&PlanDocument::read(&folder.join("plan.json")).unwrap(), &RunOptions::default());
        let report = report.unwrap();
        let recorded = host.host.store().find(&report.run).unwrap();
        assert_eq!(host.host.replay(&recorded, &ReplayOptions::default()).unwrap().divergence, None);
        report
    };
    let report = run(&policy);
    assert_eq!((report.outcome, report.output), (RunOutcome::Completed, json!("north: 150\nsouth: 80.5\n")));
    // Without the entry, or without the grant of the callee.
    for (what, with) in [("\"files.read-text\", ", ""), ("read-*", "list")] {
        let report = run(&policy.replace(what, with));
        let Some(Outcome::Failed { error }) = &report.steps[0].outcome else { panic!("{report:#?}") };
        assert_eq!(error["tag"], "denied", "{error}");
    }
}
