//! Hosts that hold a bundle.

use std::fs;
use std::sync::Arc;

use host_tests::test_host::TestHost;
use serde_json::json;
use skillhost::bundle::{self, Bundle};

const POLICY: &str = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";

/// A bundle that changes while a host holds it is refused, and serves again when it is what it was.
#[test]
fn a_bundle_that_changes_under_a_host_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("demo");
    bundle::create(&root, "demo").unwrap();
    let opened = Arc::new(Bundle::open(&root).unwrap());
    let test = TestHost::configured(POLICY, &[], |builder| builder.bundle(Arc::clone(&opened)));
    let plan = json!({
        "schema": "skillhost.plan/1", "name": "p",
        "steps": [{ "id": "a", "tool": "text.search", "input": { "text": "a1", "pattern": "[0-9]" } }],
    });
    let first = test.run(&plan);
    assert_eq!(first.report.snapshot, Some(opened.id));
    let readme = root.join("README.md");
    let text = fs::read(&readme).unwrap();
    fs::write(&readme, "other").unwrap();
    let refused = test.host.run(&test.document(&plan), &Default::default()).unwrap_err();
    assert!(refused.to_string().contains(&format!("has changed: its id was {}", opened.id)), "{refused}");
    assert!(test.host.check(&test.document(&plan)).is_err());
    fs::write(&readme, text).unwrap();
    let again = test.run(&plan);
    // The id is in the trace, and the same id makes the same trace.
    assert_eq!(again.report.head, first.report.head);
    let plain = TestHost::new(POLICY).run(&plan);
    assert_ne!(plain.report.head, first.report.head);
}
