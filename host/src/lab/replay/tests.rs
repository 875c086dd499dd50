use serde_json::json;

use super::*;
use crate::lab::Usage;
use crate::trace::event::Event;
use crate::trace::samples;

/// A run of one step that made these calls, under a policy that is not known.
fn recorded(calls: Vec<Event>) -> Recorded {
    let count = calls.len() as u64;
    let mut events = vec![samples::header(), samples::begin("one", json!({}))];
    events.extend(calls);
    events.push(samples::end("one", Outcome::Completed { output: json!(1) }, count));
    events.push(samples::run_end(RunOutcome::Completed, 1));
    let usage = Usage::read(&mut samples::reader(&samples::recorded(&events))).unwrap();
    Recorded { run: "r".to_owned(), usage, policy: None, skills: std::collections::BTreeMap::new(), notes: Vec::new() }
}

fn policy(lines: &str) -> Policy {
    let text = format!("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n{lines}\n");
    Policy::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

fn said(run: &Recorded, lines: &str) -> Vec<String> {
    let comparison = compare([run], &policy(lines));
    comparison
        .findings
        .iter()
        .map(|finding| format!("{} {}: {}", finding.change.name(), finding.what, finding.why))
        .collect()
}

fn opened(path: &str, flags: &[&str]) -> Event {
    let params = json!({"self": 0, "path": path, "path-flags": [], "open-flags": [], "flags": flags});
    samples::call("wasi:filesystem/types#[method]descriptor.open-at", params, json!({"ok": 3}))
}

fn preopens() -> Event {
    samples::call("wasi:filesystem/preopens#get-directories", json!({}), json!({"ok": [[0, "/w"]]}))
}

const READ: &str = "filesystem = [{ host = \"/h\", guest = \"/w/sub\", access = \"read-only\" }]";

#[test]
fn paths_are_held_against_the_folders() {
    let run = recorded(vec![
        preopens(),
        opened("a.txt", &["read"]),
        opened("sub/b.txt", &["read", "write"]),
        opened("subway", &["read"]),
    ]);
    assert_eq!(
        said(&run, READ),
        [
            "denies read /w/a.txt: no folder of grant 0 holds it",
            "denies write /w/sub/b.txt: grant 0 gives `/w/sub` read-only",
            "denies read /w/subway: no folder of grant 0 holds it",
        ]
    );
    let all = "filesystem = [{ host = \"/h\", guest = \"/w\", access = \"read-write\" }]";
    assert_eq!(said(&run, all), Vec::<String>::new());
}

#[test]
fn findings_are_bounded_and_counted() {
    let count = limits::LAB_FINDINGS_MAX + 5;
    let opens = (0..count).map(|at| opened(&format!("f{at}"), &["read"]));
    let run = recorded(std::iter::once(preopens()).chain(opens).collect());
    let comparison = compare([&run], &policy(READ));
    assert_eq!((comparison.findings.len(), comparison.denies), (limits::LAB_FINDINGS_MAX, count as u64));
}

#[test]
fn a_folder_that_is_another_one_is_said() {
    let old = "filesystem = [{ host = \"{workspace}\", guest = \"/w\", access = \"read-only\" }]";
    let run = Recorded { policy: Some(policy(old)), ..recorded(vec![preopens(), opened("a", &["read"])]) };
    assert_eq!(said(&run, old), Vec::<String>::new());
    assert_eq!(
        said(&run, &old.replace("{workspace}", "/srv")),
        ["differs read /w/a: it is `/srv/a`, and was `{workspace}/a`"]
    );
}

#[test]
fn a_tool_that_no_grant_names_is_one_finding() {
    let run = recorded(vec![preopens(), opened("a", &["read"])]);
    let comparison = compare([&run], &Policy::deny_all());
    assert_eq!((comparison.denies, comparison.findings[0].seq), (1, None));
    assert_eq!(
        comparison.findings[0].to_string(),
        "run r, step `one` (csv.parse): the step: there is no policy, so nothing is granted"
    );
}
