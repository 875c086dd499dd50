//! Ends from outside that a run does not expect.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use host_tests::{TestHost, plan, step};
use serde_json::json;
use skillhost::{HostEvent, RunOptions};

#[test]
fn a_run_whose_folder_is_removed_is_an_error() {
    let state: Arc<OnceLock<PathBuf>> = Arc::default();
    let there = Arc::clone(&state);
    let host = TestHost::configured(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n",
        &[],
        |builder| {
            builder.observer(move |event: &HostEvent<'_>| {
                if let (HostEvent::StepEnd { .. }, Some(state)) = (event, there.get()) {
                    std::fs::remove_dir_all(state.join("runs")).expect("it is ours");
                }
            })
        },
    );
    state.set(host.folder().join("state")).expect("once");
    let document = host.document(&plan([step("it", "text.split", json!({ "text": "a b", "pattern": " " }))]));
    let error = host.host.run(&document, &RunOptions::default()).expect_err("its record is gone").to_string();
    assert!(error.contains("was removed while its run went on"), "{error}");
}
