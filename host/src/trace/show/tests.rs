use serde_json::json;

use super::super::samples::{self, reader};
use super::*;

fn shown(events: &[Event], options: Options) -> String {
    let bytes = samples::recorded(events);
    let mut reader = reader(&bytes);
    let mut renderer = Renderer::new(options);
    let mut out = String::new();
    while let Some(line) = reader.next_line().unwrap() {
        renderer.render(&line, &mut out).unwrap();
    }
    out
}

fn a_file_is_opened_twice() -> Vec<Event> {
    let fs = "wasi:filesystem/types#";
    let open = |path: &str| {
        let params = json!({"self": 0, "path": path, "path-flags": [], "open-flags": ["create"], "flags": ["write"]});
        samples::call("wasi:filesystem/types#[method]descriptor.open-at", params, json!({"ok": 3}))
    };
    let blob = json!({"len": 4096, "sha256": Digest::of(b"x").to_string()});
    vec![
        samples::header(),
        samples::begin("one", json!({"path": "a.txt"})),
        samples::call("wasi:filesystem/preopens#get-directories", json!({}), json!({"ok": [[0, "/work"]]})),
        open("a.txt"),
        samples::call(
            "wasi:filesystem/types#[method]descriptor.write",
            json!({"self": 3, "buffer": blob, "offset": 0}),
            json!({"ok": 4096}),
        ),
        samples::call(&format!("{fs}[resource-drop]descriptor"), json!({"self": 3}), json!({"ok": null})),
        open("b\u{1b}[31m\u{202e}.txt"),
        samples::call(&format!("{fs}[method]descriptor.stat"), json!({"self": 3}), json!({"err": "not-permitted"})),
        samples::call("wasi:random/random#get-random-u64", json!({}), json!({"ok": 7})),
        samples::end("one", Outcome::Failed { error: json!("é".repeat(500)) }, 6),
        samples::begin("two", json!({})),
        samples::call("wasi:io/poll#poll", json!({"in": [3, 4]}), json!({"ok": [0]})),
        samples::call(
            "wasi:io/streams#[method]output-stream.flush",
            json!({"self": 2}),
            json!({"err": {"last-operation-failed": 9}}),
        ),
        samples::end(
            "two",
            Outcome::Trapped { message: "unreachable".into(), backtrace: vec!["m!f".into(), "m!g".into()] },
            2,
        ),
        samples::run_end(crate::outcome::RunOutcome::Failed, 2),
    ]
}

#[test]
fn what_is_called_is_shown_inside_of_its_caller() {
    let text = shown(&samples::delegated(), Options::default());
    let lines: Vec<&str> = text.lines().map(|line| line.get(22..).unwrap_or_default()).collect();
    assert!(lines[3].starts_with("call text.go({depth: 1})  skill "), "{text}");
    assert!(
        lines[4].starts_with("  call csv.parse({depth: 2})  skill ")
            && lines[4].ends_with("  grant 2 (the third)  rules few"),
        "{text}"
    );
    assert_eq!(lines[6], "  csv.parse failed: \"no\"  (1 call, fuel 100)");
    assert_eq!(lines[9], "text.go completed: 1  (3 calls, fuel 300)");
    // Each has handles of its own.
    assert_eq!(lines[5], "    preopens.get-directories() -> ok [[descriptor#0, \"/own\"]]");
    assert_eq!(lines[8], "  preopens.get-directories() -> ok [[descriptor#0, \"/own\"]]");
}

#[test]
fn an_event_is_one_line() {
    let text = shown(&a_file_is_opened_twice(), Options::default());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 15);
    assert!(lines[0].starts_with("     0                plan `sample` "), "{}", lines[0]);
    let blob = format!("{}…", Digest::of(b"x").to_string().get(..12).unwrap());
    let expected = [
        r#"     2  one           preopens.get-directories() -> ok [[descriptor#0, "/work"]]"#.to_owned(),
        r#"     3  one           descriptor.open-at(flags: ["write"], open-flags: ["create"], path: "a.txt", path-flags: [], self: descriptor#0) -> ok descriptor#3"#.to_owned(),
        format!("     4  one           descriptor.write(buffer: <4096 bytes sha256:{blob}>, offset: 0, self: descriptor#3) -> ok 4096"),
        "     5  one           descriptor.drop(self: descriptor#3) -> ok".to_owned(),
        r#"     6  one           descriptor.open-at(flags: ["write"], open-flags: ["create"], path: "b\u001b[31m\u{202e}.txt", path-flags: [], self: descriptor#0) -> ok descriptor#3.2"#.to_owned(),
        r#"     7  one           descriptor.stat(self: descriptor#3.2) -> err "not-permitted""#.to_owned(),
        "     8  one           random.get-random-u64() -> ok 7".to_owned(),
    ];
    assert_eq!(lines[2..9], expected);
    assert!(
        lines[9].starts_with("     9  one           failed: \"é") && lines[9].contains("…  (6 calls, fuel 12345)"),
        "{}",
        lines[9]
    );
    assert_eq!(
        lines[11..],
        [
            "    11  two           poll.poll(in: [pollable#3, pollable#4]) -> ok [0]",
            "    12  two           output-stream.flush(self: output-stream#2) -> err {last-operation-failed: error#9}",
            "    13  two           trapped: unreachable  at m!f  (2 calls, fuel 12345)",
            "    14                run failed after 2 steps",
        ]
    );
}

#[test]
fn options_choose_events() {
    let events = a_file_is_opened_twice();
    let count = |options| shown(&events, options).lines().count();
    assert_eq!(count(Options { step: Some("two".parse().unwrap()), ..Options::default() }), 4);
    assert_eq!(count(Options { interface: Some("filesystem/".into()), ..Options::default() }), 6);
    assert_eq!(count(Options { interface: Some("wasi:random".into()), ..Options::default() }), 1);
    assert_eq!(count(Options { kind: Some(Kind::StepEnd), ..Options::default() }), 2);
    let raw = shown(&events, Options { json: true, ..Options::default() });
    assert_eq!(raw.as_bytes(), samples::recorded(&events));
    let full = shown(&events, Options { full: true, ..Options::default() });
    assert!(full.contains(&Digest::of(b"x").to_string()) && full.contains(&"é".repeat(500)) && full.contains("at m!g"));
    assert!(!full.chars().any(|c| c.is_control() && c != '\n'));
    let text = shown(&samples::nothing_ran()[1], Options { step: Some("one".parse().unwrap()), ..Options::default() });
    assert_eq!(text.lines().next(), Some("     1  one           denied csv.parse: no grant names `csv.parse`"));
}

#[test]
fn a_request_is_shown_with_what_was_asked_and_decided() {
    let http = |name: &str, params: serde_json::Value, result: serde_json::Value| {
        samples::call(&format!("wasi:http/{name}"), params, result)
    };
    let url = "https://a.example/v1?q=1";
    let events = vec![
        samples::header(),
        samples::begin("one", json!({})),
        http("types#[constructor]fields", json!({}), json!({"ok": 1})),
        http(
            "types#[method]fields.append",
            json!({"self": 1, "name": "Cookie", "value": {"blake3": "00", "len": 3}}),
            json!({"ok": null}),
        ),
        http("types#[constructor]outgoing-request", json!({"headers": 1}), json!({"ok": 2})),
        http(
            "outgoing-handler#handle",
            json!({"request": 2, "options": null}),
            json!({"ok": 2, "method": "GET", "rule": 0, "url": url}),
        ),
        http("types#[method]future-incoming-response.get", json!({"self": 2}), json!({"ok": {"ok": {"ok": 3}}})),
        http(
            "outgoing-handler#handle",
            json!({"request": 4, "options": null}),
            json!({"err": {"tag": "HTTP-request-denied"}, "denied": "no rule", "method": "POST", "url": url}),
        ),
        samples::end("one", Outcome::Completed { output: json!(null) }, 6),
        samples::run_end(crate::outcome::RunOutcome::Completed, 1),
    ];
    let text = shown(&events, Options::default());
    let lines: Vec<&str> = text.lines().skip(2).map(|line| line.get(22..).unwrap()).collect();
    assert_eq!(
        lines[..6],
        [
            "fields.new() -> ok fields#1",
            r#"fields.append(name: "Cookie", self: fields#1, value: "***REDACTED***") -> ok"#,
            "outgoing-request.new(headers: fields#1) -> ok outgoing-request#2",
            "outgoing-handler.handle(options: null, request: outgoing-request#2.2) -> ok future-incoming-response#2.2  GET https://a.example/v1?q=1 by rule 0",
            "future-incoming-response.get(self: future-incoming-response#2.2) -> ok {ok: {ok: incoming-response#3}}",
            r#"outgoing-handler.handle(options: null, request: outgoing-request#4) -> err {tag: "HTTP-request-denied"}  POST https://a.example/v1?q=1 denied: no rule"#,
        ]
    );
}
