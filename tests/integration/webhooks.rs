//! Webhooks over real connections: one signed POST, and every way in which it is not sent, not taken, or not believed.

use host_tests::server::{head, ok, response, until_closed};
use host_tests::{Dns, Server};
use serde_json::{Value, json};
use skillhost::Secrets;
use skillhost::notify::{ApprovalNotice, Delivery, NamedBy, Operator, SIGNATURE_HEADER, SigningKey, Via, Webhook};
use skillhost::policy::Policy;

const KEY: &str = "a key of thirty-two bytes, or so";

fn policy(lines: &str) -> Policy {
    Policy::parse(&format!("schema = \"skillhost.policy/1\"\n{lines}\n")).expect("a policy")
}

fn body() -> Vec<u8> {
    let nothing = Value::Null;
    let context = json!({"rows": 3, "api-token": "hidden"});
    let notice = ApprovalNotice {
        run: "20260131T120000.000001Z-1f2e",
        plan: "archive",
        step: "gate",
        message: "delete the old figures?",
        context: &context,
        tool: None,
        input: &nothing,
        risk: None,
        description: None,
        requested_at: "2026-01-31T12:00:00Z",
        expires_at: None,
        approve: "host approve 1f2e",
        reject: "host reject 1f2e",
        approve_url: None,
        reject_url: None,
    };
    notice.to_bytes()
}

fn deliver(of_plan: Option<&str>, policy: &Policy, operator: &Operator) -> Delivery {
    let secrets = Secrets::read(policy, |name| Some(format!("value-of-{name}").into_bytes())).expect("values");
    let webhook = Webhook::choose(of_plan, policy, operator).expect("a url");
    webhook.deliver(&Via { policy, secrets, resolver: None }, body())
}

fn operator(url: &str) -> Operator {
    let key = SigningKey::new(KEY.as_bytes().to_vec()).expect("a key");
    Operator { webhook: Some(url.to_owned()), key: Some(key) }
}

fn rule(url: &str, rest: &str) -> String {
    format!("[approval]\nnetwork = [{{ url = \"{url}\", methods = [\"POST\"]{rest} }}]")
}

/// As RFC 2104 says it, from the hash alone: shares no code with the host.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    assert!(key.len() <= 64, "a longer key would be hashed first");
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
    let outer = Sha256::digest([pad(0x5c), inner.to_vec()].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn exactly_one_signed_post_arrives() {
    let server = Server::new(|_| response("202 Accepted", &[], "queued"));
    let delivery = deliver(None, &policy(""), &operator(&server.url("/hooks/T1?x=1")));
    let to = format!("http://{}", server.authority());
    assert_eq!(delivery, Delivery { to, named_by: NamedBy::Environment, status: Ok(202), attempts: 1 });
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/hooks/T1?x=1"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some(body().len().to_string().as_str()));
    let signature = format!("sha256={}", hmac_sha256(KEY.as_bytes(), &request.body));
    assert_eq!(request.header(SIGNATURE_HEADER), Some(signature.as_str()));
    assert_eq!(request.body, body());
    let said: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&said["event"], &said["context"]["rows"]), (&json!("approval_required"), &json!(3)));
    assert!(!String::from_utf8_lossy(&request.body).contains("hidden"));
}

#[test]
fn without_a_key_nothing_is_signed() {
    let server = Server::new(|_| ok(""));
    let unsigned = Operator { key: None, ..operator(&server.url("/")) };
    assert_eq!(deliver(None, &policy(""), &unsigned).status, Ok(200));
    assert_eq!(server.requests()[0].header(SIGNATURE_HEADER), None);
}

#[test]
fn only_2xx_says_that_it_was_taken() {
    for (status, why) in [
        ("500 Internal Server Error", "the server answered 500"),
        ("404 Not Found", "the server answered 404"),
        ("302 Found", "the server answered 302, and redirects are not followed"),
        ("308 Permanent Redirect", "the server answered 308, and redirects are not followed"),
        ("304 Not Modified", "the server answered 304, and redirects are not followed"),
    ] {
        let elsewhere = Server::new(|_| ok(""));
        let location = elsewhere.url("/");
        let server = Server::new(move |_| head(status, &[("location", &location), ("content-length", "0")]));
        let delivery = deliver(None, &policy(""), &operator(&server.url("/")));
        assert_eq!((delivery.status, delivery.attempts), (Err(why.to_owned()), 1));
        assert_eq!((server.requests().len(), elsewhere.requests().len()), (1, 0), "{status}");
    }
}

#[test]
fn a_connection_that_gives_no_answer_is_an_error() {
    let refused = Server::new(|_| ok(""));
    let nobody = refused.url("/");
    drop(refused);
    let delivery = deliver(None, &policy(""), &operator(&nobody));
    assert_eq!(delivery.status, Err("the server refused the connection".to_owned()));
    let closing = Server::raw(|_, _| {});
    let delivery = deliver(None, &policy(""), &operator(&closing.url("/")));
    assert!(delivery.status.is_err() && delivery.attempts == 1, "{delivery:?}");
    let rambling = Server::raw(|stream, _| {
        use std::io::Write as _;
        drop(stream.write_all(b"hello\r\n\r\n"));
        until_closed(stream);
    });
    let delivery = deliver(None, &policy(""), &operator(&rambling.url("/")));
    // Which of the two it is depends on whether the server closes before what it said is read.
    let said = ["the answer of the server is none", "the connection ended before an answer came"];
    assert!(delivery.status.as_ref().is_err_and(|error| said.contains(&error.as_str())), "{delivery:?}");
}

#[test]
fn a_plan_tells_only_whom_a_rule_allows() {
    let server = Server::new(|_| ok(""));
    let none = Operator::default();
    let url = server.url("/hooks/a?x=1");
    let told = |policy: &Policy| deliver(Some(&url), policy, &none);
    // No rule; a rule for another path; a rule that does not name the address, which for a literal one is refused with the policy.
    for (lines, why) in [
        (String::new(), "no network rule"),
        (rule(&server.url("/other"), ", addresses = [\"127.0.0.1/32\"]"), "has another path"),
    ] {
        let delivery = told(&policy(&lines));
        assert_eq!((delivery.attempts, delivery.named_by), (0, NamedBy::Plan));
        assert!(delivery.status.as_ref().is_err_and(|error| error.contains(why)), "{delivery:?}");
        assert!(!delivery.to_string().contains("x=1"), "{delivery}");
    }
    assert!(server.requests().is_empty());
    let allowed = policy(&rule(&server.url("/hooks/*"), ", addresses = [\"127.0.0.1/32\"]"));
    let delivery = told(&allowed);
    assert_eq!((delivery.status, delivery.attempts), (Ok(200), 1));
    assert_eq!(delivery.to, server.url("/hooks/a"));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn names_that_lead_inside_are_refused_to_plans_and_not_to_operators() {
    let server = Server::new(|_| ok(""));
    let dns = Dns::new(|_, _| vec![std::net::Ipv4Addr::LOCALHOST]);
    let url = format!("http://inside.test:{}/hook", server.port());
    let network = format!("[network]\ndns = \"{}\"\n", dns.authority());
    let approval = rule(&format!("http://inside.test:{}/*", server.port()), "");
    let delivery = deliver(Some(&url), &policy(&format!("{network}{approval}")), &Operator::default());
    assert_eq!(delivery.attempts, 0);
    assert!(delivery.status.is_err_and(|why| why.contains("not public")));
    assert!(server.requests().is_empty());
    let named = policy(&format!("{network}[approval]\nwebhook = \"{url}\""));
    let delivery = deliver(None, &named, &Operator::default());
    assert_eq!((delivery.status, delivery.named_by), (Ok(200), NamedBy::Policy));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_rule_may_set_headers_from_secrets() {
    let server = Server::new(|_| ok(""));
    let set =
        ", addresses = [\"127.0.0.1/32\"], headers = { Authorization = { secret = \"HOOK\", prefix = \"Bearer \" } }";
    let lines = format!("{}\n[secrets]\nHOOK = {{ env = \"HOOK\" }}", rule(&server.url("/*"), set));
    // Also where the operator names the URL: the policy's rules come first.
    let delivery = deliver(None, &policy(&lines), &operator(&server.url("/hook")));
    assert_eq!(delivery.status, Ok(200));
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer value-of-HOOK"));
}
