//! The built-in skill `http`: its tools against a local server, its redirects, its errors, and the replay of all of it.

use host_tests::server::{Request, head, ok, response};
use host_tests::{Run, Server, TestHost, plan, policy, step};
use serde_json::{Value, json};

/// One call of every tool.
pub(crate) fn every_tool(base: &str) -> Vec<(&'static str, Value)> {
    let url = |path: &str| format!("{base}/{path}");
    vec![
        ("http.head", json!({"url": url("text")})),
        ("http.get", json!({"url": url("text")})),
        ("http.get-json", json!({"url": url("json")})),
        ("http.get-bytes", json!({"url": url("bytes"), "headers": [{"name": "x-own", "value": "1"}]})),
        ("http.post", json!({"url": url("echo"), "text": "some text"})),
        ("http.post-json", json!({"url": url("echo"), "json": "{\"a\": 1}"})),
        ("http.post-bytes", json!({"url": url("echo"), "bytes": "AAEC/w=="})),
        ("http.put", json!({"url": url("echo"), "text": "", "content-type": "text/csv"})),
        ("http.put-json", json!({"url": url("echo"), "json": "[]"})),
        ("http.put-bytes", json!({"url": url("echo"), "bytes": ""})),
        ("http.delete", json!({"url": url("status/204")})),
        ("http.request", json!({"method": "patch", "url": url("echo"), "body": "AAEC"})),
    ]
}

fn answer(request: &Request) -> Vec<u8> {
    let to = |status: &str, location: &str| response(status, &[("location", location)], "elsewhere");
    match request.target.as_str() {
        "/text" if request.method == "HEAD" => head("200 OK", &[("content-length", "8"), ("x-head", "yes")]),
        "/text" => {
            response("200 OK", &[("content-type", "text/plain"), ("X-Twice", "a"), ("x-twice", "b")], "the text")
        }
        "/json" => ok("{\"a\": [1, 2.50, null]}"),
        "/bytes" => ok([0, 1, 0xff]),
        "/status/204" => head("204 No Content", &[]),
        "/large" => ok("x".repeat(1000)),
        "/to/text" => to("302 Found", "/text"),
        "/to/echo" => to("307 Temporary Redirect", "../echo"),
        "/to/refused" => to("302 Found", "/refused"),
        "/to/link-local" => to("302 Found", "http://169.254.169.254/latest"),
        "/round" => to("302 Found", "/round"),
        "/echo" => {
            let kind = request.header("content-type").unwrap_or("none");
            let answer = format!("{} {kind} {}", request.method, String::from_utf8_lossy(&request.body));
            ok(answer)
        }
        target => match target.strip_prefix("/away/") {
            Some(port) => to("302 Found", &format!("http://127.0.0.1:{port}/text")),
            None => response("404 Not Found", &[], "nothing here"),
        },
    }
}

/// Everything but `/refused`, on these servers.
fn host(servers: &[&Server]) -> TestHost {
    let paths = ["/text", "/json", "/bytes", "/status/*", "/large", "/to/*", "/round", "/echo", "/away/*", "/none"];
    let methods = r#"["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]"#;
    let rules = servers.iter().flat_map(|server| {
        paths.map(|path| {
            format!(r#"{{ url = "{}", methods = {methods}, addresses = ["127.0.0.1/32"] }}"#, server.url(path))
        })
    });
    TestHost::new(&policy("", &format!("network = [{}]", rules.collect::<Vec<_>>().join(", "))))
}

fn get(host: &TestHost, server: &Server, path: &str, more: Value) -> Run {
    let mut input = json!({"url": server.url(path)});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.call("http.get", input)
}

#[test]
fn every_tool_says_what_came_and_replays_with_the_server_gone() {
    let server = Server::new(answer);
    let host = host(&[&server]);
    let calls = every_tool(&server.url(""));
    let steps = calls.iter().enumerate().map(|(at, (tool, input))| step(&format!("t{at}"), tool, input.clone()));
    let run = host.run(&plan(steps)).completed();
    let requests = server.requests();
    let methods: Vec<&str> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "GET", "GET", "GET", "POST", "POST", "POST", "PUT", "PUT", "PUT", "DELETE", "PATCH"]);
    assert_eq!(requests[2].header("accept"), Some("application/json"));
    assert_eq!(requests[3].header("x-own"), Some("1"));
    assert!(
        requests
            .iter()
            .all(|request| request.header("user-agent").is_some_and(|agent| agent.starts_with("skillhost-http/")))
    );
    assert_eq!(requests[6].body, [0, 1, 2, 0xff]);
    assert_eq!(requests[9].header("content-length"), Some("0"));
    drop(server);
    host.replay_equals(&run);
}

#[test]
fn an_answer_has_its_status_headers_and_body() {
    let server = Server::new(answer);
    let host = host(&[&server]);
    let run = get(&host, &server, "/text", json!({})).completed();
    let output = run.output();
    assert_eq!(
        (&output["status"], &output["body"], &output["redirects"]),
        (&json!(200), &json!("the text"), &json!(0))
    );
    assert_eq!(output["final-url"], server.url("/text"));
    let headers = output["headers"].as_array().unwrap();
    let twice: Vec<&Value> = headers.iter().filter(|header| header["name"] == "x-twice").collect();
    assert_eq!(twice, [&json!({"name": "x-twice", "value": "a"}), &json!({"name": "x-twice", "value": "b"})]);
    let missing = get(&host, &server, "/none", json!({})).completed();
    assert_eq!((&missing.output()["status"], &missing.output()["body"]), (&json!(404), &json!("nothing here")));
    let strict = get(&host, &server, "/none", json!({"expect-success": true}));
    assert_eq!((&strict.error()["code"], &strict.error()["status"]), (&json!("status"), &json!(404)));
    let empty = host.call("http.delete", json!({"url": server.url("/status/204")})).completed();
    assert_eq!((&empty.output()["status"], &empty.output()["body"]), (&json!(204), &json!("")));
    let json = host.call("http.get-json", json!({"url": server.url("/json")})).completed();
    assert_eq!(json.output()["body"], "{\"a\": [1, 2.50, null]}");
}

#[test]
fn a_redirect_is_decided_as_a_request_of_its_own() {
    let server = Server::new(answer);
    let host = host(&[&server]);
    let run = get(&host, &server, "/to/text", json!({})).completed();
    assert_eq!((&run.output()["body"], &run.output()["redirects"]), (&json!("the text"), &json!(1)));
    assert_eq!(run.output()["final-url"], server.url("/text"));
    let off = get(&host, &server, "/to/text", json!({"redirects": 0})).completed();
    assert_eq!((&off.output()["status"], &off.output()["body"]), (&json!(302), &json!("elsewhere")));
    let kept = host.call("http.post", json!({"url": server.url("/to/echo"), "text": "x"})).completed();
    assert_eq!(kept.output()["body"], "POST text/plain; charset=utf-8 x");
    for (path, place) in
        [("/to/refused", server.url("/refused")), ("/to/link-local", "http://169.254.169.254/latest".to_owned())]
    {
        let refused = get(&host, &server, path, json!({}));
        assert_eq!((&refused.error()["code"], &refused.error()["url"]), (&json!("denied"), &json!(place)), "{path}");
        assert_eq!(refused.error()["cause"], "HTTP-request-denied");
        host.replay_equals(&refused);
    }
    let round = get(&host, &server, "/round", json!({"redirects": 3}));
    assert_eq!(round.error()["code"], "too-many-redirects");
    assert_eq!(server.requests().iter().filter(|request| request.target == "/round").count(), 4);
    assert!(server.requests().iter().all(|request| request.target != "/refused"));
}

#[test]
fn credentials_are_not_sent_on_to_another_origin() {
    let (one, two) = (Server::new(answer), Server::new(answer));
    let host = host(&[&one, &two]);
    let headers = json!([{"name": "Authorization", "value": "Bearer a"}, {"name": "cookie", "value": "b"}, {"name": "x-own", "value": "c"}]);
    let away = get(&host, &one, &format!("/away/{}", two.port()), json!({"headers": headers}));
    assert_eq!(away.completed().output()["body"], "the text");
    let (first, second) = (one.requests().remove(0), two.requests().remove(0));
    assert_eq!((first.header("authorization"), first.header("cookie")), (Some("Bearer a"), Some("b")));
    assert_eq!((second.header("authorization"), second.header("cookie")), (None, None));
    assert_eq!(second.header("x-own"), Some("c"));
    get(&host, &one, "/to/text", json!({"headers": headers})).completed();
    assert_eq!(one.requests()[2].header("authorization"), Some("Bearer a"));
}

#[test]
fn what_goes_wrong_has_a_code() {
    let server = Server::new(answer);
    let host = host(&[&server]);
    let refused = |tool: &str, input: Value| host.call(tool, input).error().clone();
    let url = |path: &str| server.url(path);
    assert_eq!(refused("http.get", json!({"url": url("/bytes")}))["code"], "not-utf8");
    assert_eq!(refused("http.get-json", json!({"url": url("/text")}))["code"], "invalid-json");
    assert_eq!(refused("http.get", json!({"url": url("/large"), "max-bytes": 999}))["code"], "too-large");
    assert_eq!(
        host.call("http.get", json!({"url": url("/large"), "max-bytes": 1000})).completed().output()["status"],
        200
    );
    assert_eq!(refused("http.get", json!({"url": "relative"}))["code"], "invalid-input");
    assert_eq!(refused("http.post-json", json!({"url": url("/echo"), "json": "{"}))["code"], "invalid-input");
    let header = json!([{"name": "host", "value": "other.test"}]);
    assert_eq!(refused("http.get", json!({"url": url("/text"), "headers": header}))["code"], "invalid-input");
    let gone = url("/text");
    let requests = server.requests().len();
    drop(server);
    let error = refused("http.get", json!({"url": gone}));
    assert_eq!((&error["code"], &error["cause"]), (&json!("unreachable"), &json!("connection-refused")));
    assert_eq!(requests, 4, "what was wrong from the beginning reached nobody");
}
