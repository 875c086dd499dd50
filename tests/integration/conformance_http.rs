//! Our `wasi:http` against wasmtime's own: every case of the guest `conformance-http` asks the same local server under both and must be
//! told the same. Under ours it is recorded and replays with the server gone.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use host_tests::bare::{Bare, Ended, Start};
use host_tests::server::{Request, Seen, chunked, head, ok, read_request, response, until_closed};
use host_tests::{Server, TestHost, policy, repo};
use serde_json::json;
use skillhost::outcome::Outcome;

/// Cases that differ, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("body-cut", "an answer that ends early is told as `HTTP-response-incomplete`; wasmtime's stream has no code"),
    (
        "header-of-connection",
        "`te` and `trailer` are not a program's to set, because two servers may read them differently",
    ),
    ("request-user", "a URL with a user or a password is refused, so that no credential is in a trace"),
];

/// Bytes that a body of that length has.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A server that is told by the path what to answer.
fn serve(stream: &mut TcpStream, seen: &Seen) {
    let Some(request) = read_request(stream, seen) else { return };
    let target = request.target.clone();
    let (path, argument) =
        target.trim_start_matches('/').split_once('/').unwrap_or((target.trim_start_matches('/'), ""));
    let answer = match path.split('?').next().unwrap_or_default() {
        "text" => ok(format!("the text of {target}")),
        "status" => status(argument),
        "method" if request.method == "HEAD" => head("200 OK", &[("content-length", "4")]),
        "method" => ok(&request.method),
        "headers" => headers(&request),
        "echo" => ok(&request.body),
        "digest" => ok(digest(&request.body)),
        "empty" => ok(""),
        "large" => ok(pattern(argument.parse().expect("a length"))),
        "chunked" => chunked(&[b"one", b" ", b"two", &pattern(100_000)], &[]),
        "trailers" => chunked(&[b"body"], &[("x-sum", "4"), ("x-two", "a b")]),
        "request-trailers" => ok(format!("{:?} {:?}", request.body, request.trailers)),
        "framing" => ok(framing(&request)),
        "cut" => [head("200 OK", &[("content-length", "100")]), b"ten bytes.".to_vec()].concat(),
        "cut-chunk" => [head("200 OK", &[("transfer-encoding", "chunked")]), b"a\r\nfive.".to_vec()].concat(),
        "cut-head" => b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(),
        "garbage" => b"this is no HTTP\r\n\r\n".to_vec(),
        "slow" => return slow(stream),
        "silent" => return until_closed(stream),
        _ => response("404 Not Found", &[], "no such case"),
    };
    // A client that has gone is no failure of the server.
    drop(stream.write_all(&answer));
}

fn status(argument: &str) -> Vec<u8> {
    match argument {
        "204" | "304" => head(&format!("{argument} No Body"), &[]),
        "301" => response("301 Moved", &[("location", "/text")], "moved"),
        other => response(&format!("{other} Reason"), &[], format!("status {other}")),
    }
}

/// The headers that a case sends, back under other names.
fn headers(request: &Request) -> Vec<u8> {
    let mut back = vec![("x-reply".to_owned(), "one".to_owned()), ("X-Reply".to_owned(), "two".to_owned())];
    let sent = request.headers.iter().filter(|(name, _)| name.starts_with("x-"));
    back.extend(sent.map(|(name, value)| (format!("{name}-back"), value.clone())));
    let back: Vec<(&str, &str)> = back.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    response("200 OK", &back, "")
}

fn digest(bytes: &[u8]) -> String {
    format!("{} bytes, {}", bytes.len(), host_tests::trace::sha256(bytes))
}

fn framing(request: &Request) -> String {
    let header = |name: &str| request.header(name).unwrap_or("none").to_owned();
    format!("length {}, coding {}", header("content-length"), header("transfer-encoding"))
}

/// An answer in many small packets.
fn slow(stream: &mut TcpStream) {
    stream.set_nodelay(true).expect("it may be set");
    for part in ok("slowly").chunks(7) {
        if stream.write_all(part).is_err() {
            return;
        }
        std::thread::yield_now();
    }
}

/// A port on which nothing listens: it was free a moment ago.
fn nobody() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("its address").port()
}

/// The authorities say nothing of an answer; a program may repeat them.
fn without_ports(text: &str, server: &Server, nobody: u16) -> String {
    text.replace(&server.authority(), "SERVER").replace(&format!("127.0.0.1:{nobody}"), "NOBODY")
}

fn under_wasmtime(bare: &Bare, case: &str) -> Ended {
    let (server, nobody) = (Server::raw(serve), nobody());
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (server.authority(), format!("127.0.0.1:{nobody}"));
    let args = ["conformance-http", case, &authority, &other];
    let ended = bare.run(Start { args: &args, env: &[], stdin: "", folder: (folder.path(), "/workspace") });
    Ended { stdout: without_ports(&ended.stdout, &server, nobody), ..ended }
}

fn under_ours(component: &[u8], case: &str) -> Ended {
    let (server, nobody) = (Server::raw(serve), nobody());
    let methods = r#"["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]"#;
    let rule = |port: u16| {
        format!(r#"{{ url = "http://127.0.0.1:{port}/*", methods = {methods}, addresses = ["127.0.0.1/32"] }}"#)
    };
    let grant = format!("network = [{}, {}]", rule(server.port()), rule(nobody));
    let host = TestHost::with(&policy("", &grant), &[("conformance", component)]);
    let codes: Vec<u8> = (0..=255).collect();
    let args = [case, &server.authority(), &format!("127.0.0.1:{nobody}")];
    let run = host.call("conformance.run", json!({"args": args, "exit_codes": codes}));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let ended = match run.outcome() {
        Outcome::Completed { output } => Ended {
            exit: Some(output["exit_code"].as_u64().unwrap().try_into().unwrap()),
            stdout: without_ports(&text(&output["stdout"]), &server, nobody),
            stderr: text(&output["stderr"]),
        },
        Outcome::Trapped { .. } => Ended { exit: None, stdout: String::new(), stderr: String::new() },
        other => panic!("{case}: {other:?}"),
    };
    drop(server);
    host.replay_equals(&run);
    ended
}

#[test]
fn every_case_is_told_the_same() {
    let component = repo::component("conformance-http");
    let bare = Bare::new(&component);
    let folder = tempfile::tempdir().unwrap();
    let list = bare.run(Start { args: &["x", "list"], env: &[], stdin: "", folder: (folder.path(), "/") });
    let cases: Vec<&str> = list.stdout.lines().collect();
    assert!(cases.len() >= 25, "{cases:?}");
    let document = repo::text("docs/conformance.md");
    let mut wrong = String::new();
    for case in &cases {
        let (theirs, ours) = (under_wasmtime(&bare, case), under_ours(&component, case));
        let reason = DIFFERENT.iter().find(|(known, _)| known == case).map(|(_, reason)| reason);
        match reason {
            None if theirs != ours => wrong += &format!("{case}\n{}", shown(&theirs, &ours)),
            Some(_) if theirs == ours => wrong += &format!("{case}\n  is equal, though it is listed\n"),
            Some(reason) => assert!(document.contains(&format!("| `{case}` | {reason} |")), "{case} in the document"),
            None => {}
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(DIFFERENT.iter().all(|(case, _)| cases.contains(case)));
}

fn shown(theirs: &Ended, ours: &Ended) -> String {
    let mut text = format!("  exit {:?} {:?}\n", theirs.exit, ours.exit);
    for (one, two) in theirs.stdout.lines().zip(ours.stdout.lines()).filter(|(one, two)| one != two) {
        text += &format!("    wasmtime: {one}\n    ours:     {two}\n");
    }
    let (one, two) = (theirs.stdout.lines().count(), ours.stdout.lines().count());
    text + &format!("  lines {one} {two}\n  stderr {:?} {:?}\n", theirs.stderr, ours.stderr)
}
