//! Skills that send requests: what reaches a server and what does not, that each exchange is recorded and replays when the server is
//! gone, and that every way of a peer to stall or to lie comes to an end.

mod bodies;
mod ends;
mod secrets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use host_tests::http_guest::http_guest;
use host_tests::server::{Request, head, ok, response};
use host_tests::{Run, Server, TestHost, policy};
use serde_json::{Value, json};
use skillhost::outcome::RunOutcome;

use crate::verifier;

/// Cases of `error-code` by their number in WIT.
mod code {
    pub(super) const DESTINATION_NOT_FOUND: u64 = 2;
    pub(super) const IP_PROHIBITED: u64 = 4;
    pub(super) const CONNECTION_LIMIT: u64 = 11;
    pub(super) const DENIED: u64 = 15;
    pub(super) const URI_INVALID: u64 = 19;
    pub(super) const INCOMPLETE: u64 = 25;
    pub(super) const HEADER_SECTION_SIZE: u64 = 26;
}

const HEAD: u8 = 1;
const POST: u8 = 2;

fn host(grant: &str) -> TestHost {
    host_within("", grant)
}

fn host_within(limits: &str, grant: &str) -> TestHost {
    TestHost::with(&policy(limits, grant), &[("guest", &http_guest())])
}

fn request(authority: &str, path: &str) -> Value {
    json!({"method": 0, "authority": authority, "path": path, "name": "", "value": "", "body": "", "follow": 0})
}

fn get(host: &TestHost, authority: &str, path: &str) -> Run {
    host.call("guest.fetch", request(authority, path))
}

/// The results of the requests of a run.
fn handled(run: &Run) -> Vec<Value> {
    let calls = run.trace.of_kind("call").filter(|call| call["name"] == "wasi:http/outgoing-handler#handle");
    calls.map(|call| call["result"].clone()).collect()
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Both replayers come to the recorded end, with nobody to answer.
fn replays(host: &TestHost, run: &Run) {
    host.replay_equals(run);
    let step = run.trace.steps().remove(0);
    verifier::verify(&verifier::engine(), &http_guest(), &run.trace, &step).unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn a_request_reaches_the_server_and_replays_without_it() {
    let server = Server::new(|_| response("201 Created", &[("x-more", "1")], "hello"));
    let host = host(&server.granted("/v1/*", &["GET"]));
    let run = get(&host, &server.authority(), "/v1/items?page=2").completed();
    assert_eq!(
        run.output(),
        &json!({"status": 201, "total": 5, "hash": hash(b"hello"), "body": BASE64.encode("hello"), "trailers": 0})
    );
    let [Request { method, target, head: sent, .. }] = &server.requests()[..] else { panic!("one request") };
    assert_eq!((method.as_str(), target.as_str()), ("GET", "/v1/items?page=2"));
    assert!(sent.to_ascii_lowercase().contains(&format!("host: {}\r\n", server.authority())), "{sent}");
    let [handled] = &handled(&run)[..] else { panic!("one request") };
    let url = server.url("/v1/items?page=2");
    assert_eq!(handled, &json!({"ok": handled["ok"], "method": "GET", "rule": 0, "url": url}));
    drop(server);
    replays(&host, &run);
}

#[test]
fn a_body_is_sent_as_it_was_written() {
    let server = Server::new(|request| ok(&request.body));
    let host = host(&server.granted("/echo", &["POST"]));
    let body: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
    let mut input = request(&server.authority(), "/echo");
    input["method"] = json!(POST);
    input["body"] = json!(BASE64.encode(&body));
    let run = host.call("guest.fetch", input).completed();
    assert_eq!(run.output()["hash"], hash(&body));
    assert_eq!(server.requests()[0].body, body);
    drop(server);
    replays(&host, &run);
}

#[test]
fn the_answer_to_head_has_no_body() {
    let server = Server::new(|_| head("200 OK", &[("content-length", "5")]));
    let host = host(&server.granted("/*", &["HEAD"]));
    let mut input = request(&server.authority(), "/");
    input["method"] = json!(HEAD);
    let run = host.call("guest.fetch", input).completed();
    assert_eq!((&run.output()["status"], &run.output()["total"]), (&json!(200), &json!(0)));
    assert_eq!(server.requests()[0].method, "HEAD");
    replays(&host, &run);
}

/// A refusal is an error like any other to the guest; the trace says why.
#[test]
fn what_is_not_granted_is_refused_and_reaches_nobody() {
    let server = Server::new(|_| ok("never"));
    let host = host(&server.granted("/v1/*", &["GET"]));
    let authority = server.authority();
    for (authority, path, method, error) in [
        (authority.as_str(), "/v2/items", 0, code::DENIED),
        (&authority, "/v1/items", POST, code::DENIED),
        (&authority, "/v1/../v2", 0, code::URI_INVALID),
        (&authority, "/v1/%2e%2e/v2", 0, code::URI_INVALID),
        ("example.com", "/v1/items", 0, code::DENIED),
        ("169.254.169.254", "/v1/items", 0, code::DENIED),
    ] {
        let mut input = request(authority, path);
        input["method"] = json!(method);
        let run = host.call("guest.fetch", input);
        assert_eq!(run.error(), error, "{authority}{path}");
        let [handled] = &handled(&run)[..] else { panic!("one request") };
        let tag = if error == code::DENIED { "HTTP-request-denied" } else { "HTTP-request-URI-invalid" };
        assert_eq!(handled["err"]["tag"], tag, "{handled}");
        assert!(handled["denied"].as_str().is_some_and(|reason| !reason.is_empty()), "{handled}");
        assert_eq!(handled["url"], format!("http://{authority}{path}"));
        assert_eq!(handled.get("rule"), None);
        replays(&host, &run);
    }
    assert!(server.requests().is_empty());
}

/// The name is granted, its address is not: only looking it up tells.
#[test]
fn a_granted_name_with_a_private_address_is_refused() {
    let server = Server::new(|_| ok("never"));
    let name = format!("localhost:{}", server.port());
    let host = host(&format!("network = [{{ url = \"http://{name}/*\", methods = [\"GET\"] }}]"));
    let run = get(&host, &name, "/");
    assert_eq!(run.error(), code::IP_PROHIBITED);
    assert_eq!(handled(&run)[0]["rule"], 0);
    assert!(server.requests().is_empty());
    replays(&host, &run);
}

#[test]
fn each_redirect_is_a_request_that_is_decided_anew() {
    let inside = Server::new(|_| ok("metadata"));
    let to = inside.url("/latest/meta-data");
    let outside = Server::new(move |request| match request.target.as_str() {
        "/v1/away" => response("302 Found", &[("location", &to)], ""),
        "/v1/here" => {
            let here = format!("http://{}/v1/end", request.header("host").unwrap());
            response("302 Found", &[("location", &here)], "")
        }
        _ => ok("end"),
    });
    let host = host(&outside.granted("/v1/*", &["GET"]));
    let mut input = request(&outside.authority(), "/v1/away");
    input["follow"] = json!(1);
    let away = host.call("guest.fetch", input.clone());
    assert_eq!(away.error(), code::DENIED);
    assert_eq!(handled(&away).len(), 2);
    assert!(inside.requests().is_empty());
    replays(&host, &away);
    input["path"] = json!("/v1/here");
    let here = host.call("guest.fetch", input).completed();
    assert_eq!(here.output()["body"], BASE64.encode("end"));
    replays(&host, &here);
}

#[test]
fn two_requests_are_under_way_at_one_time() {
    // The first is answered only when the second has come.
    let seen = std::sync::Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
    let server = Server::new(move |request| {
        let (second, came) = &*seen;
        let mut second = second.lock().unwrap();
        if request.target == "/second" {
            *second = true;
            came.notify_all();
            return response("202 Accepted", &[], "");
        }
        let limit = std::time::Duration::from_secs(300);
        let (second, _) = came.wait_timeout_while(second, limit, |second| !*second).unwrap();
        response(if *second { "200 OK" } else { "500 Alone" }, &[], "")
    });
    let host = host(&server.granted("/*", &["GET"]));
    let input = json!({"authority": server.authority(), "first": "/first", "second": "/second"});
    let run = host.call("guest.two", input).completed();
    assert_eq!(run.output(), &json!([200, 202]));
    drop(server);
    replays(&host, &run);
}

/// A component that imports HTTP is not even linked where its grant has no network.
#[test]
fn without_a_grant_nothing_of_the_skill_runs() {
    let run = get(&host(""), "example.com", "/");
    is_denied(&run);
}

fn is_denied(run: &Run) {
    assert_eq!(run.report.outcome, RunOutcome::Denied, "{:?}", run.report);
    let [denial] = &run.report.denials[..] else { panic!("one denial: {:?}", run.report.denials) };
    assert!(denial.reason.contains("network"), "{}", denial.reason);
    assert_eq!(run.trace.of_kind("step-begin").count(), 0);
}

/// One skill, two steps, two grants: what the one may, the other may not.
#[test]
fn a_grant_with_network_does_not_serve_another_step() {
    let server = Server::new(|_| ok("x"));
    let text = format!(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"guest\"]\ntools = [\"two\"]\n[[grant]]\nskills = [\"guest\"]\ntools = \
         [\"fetch\"]\n{}\n",
        server.granted("/*", &["GET"])
    );
    let host = TestHost::with(&text, &[("guest", &http_guest())]);
    get(&host, &server.authority(), "/").completed();
    let input = json!({"authority": server.authority(), "first": "/", "second": "/"});
    is_denied(&host.call("guest.two", input));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_name_that_is_nowhere_is_an_error_to_the_guest() {
    let host = host("network = [{ url = \"http://nowhere.invalid/*\", methods = [\"GET\"] }]");
    let run = get(&host, "nowhere.invalid", "/");
    let error = run.error().as_u64().expect("a code");
    assert!([code::DESTINATION_NOT_FOUND, 0, 1].contains(&error), "{error}");
    replays(&host, &run);
}
