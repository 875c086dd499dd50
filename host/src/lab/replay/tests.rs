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
    Recorded {
        run: "r".to_owned(),
        usage,
        policy: None,
        skills: std::collections::BTreeMap::new(),
        compensations: Vec::new(),
        notes: Vec::new(),
    }
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

#[test]
fn requests_are_held_against_the_rules() {
    let asked = |url: &str, denied: Option<&str>| {
        Event::Call(crate::trace::event::CallEvent {
            function: "wasi:http/outgoing-handler#handle".to_owned(),
            params: json!({}),
            result: match denied {
                None => json!({"method": "GET", "ok": 3, "rule": 0, "url": url}),
                Some(reason) => {
                    json!({"denied": reason, "err": {"tag": "HTTP-request-denied"}, "method": "GET", "url": url})
                }
            },
        })
    };
    let mut run = recorded(Vec::new());
    let mut step = crate::lab::usage::tests::followed(&[
        asked("https://a.example/v1/x?q=1", None),
        asked("https://a.example/v2", None),
        asked("https://b.example/", Some("no network rule")),
    ]);
    step.tool = "csv.parse".parse().unwrap();
    run.usage.steps = vec![step];
    let rule = |url: &str| format!("network = [{{ url = \"{url}\", methods = [\"GET\"] }}]");
    let denied = said(&run, &rule("https://a.example/v1/*"));
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert!(denied[0].starts_with("denies GET https://a.example/v2: grant 0: no network rule"), "{denied:?}");
    assert_eq!(said(&run, "").len(), 2);
    let allowed = said(&run, &rule("https://*.example/*"));
    assert_eq!(allowed.len(), 1);
    assert!(allowed[0].starts_with("allows GET https://b.example/: rule 0 of grant 0 allows it"), "{allowed:?}");

    // What is suggested for it names each place, without the query, and no other.
    run.policy = Some(policy(&rule("https://*.example/*")));
    let suggestion = crate::lab::suggest::suggest(&[run]).unwrap();
    let line = "network = [\n  { url = \"https://a.example/v1/x\", methods = [\"GET\"] },\n  { url = \"https://a.example/v2\", methods = [\"GET\"] },\n]\n";
    assert!(suggestion.text.contains(line), "{}", suggestion.text);
}
