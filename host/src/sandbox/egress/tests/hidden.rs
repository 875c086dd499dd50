//! Secrets go out and do not come back.

use super::*;

const VALUE: &str = "value-of-T/+x";

fn secret_policy(server: &Server, rule: &str) -> Policy {
    let rule = format!("{{ url = \"{}\", methods = [\"GET\", \"POST\"], {LOCAL}, {rule} }}", server.url("/*"));
    policy("[secrets]\nTOKEN = { env = \"T\" }", &rule)
}

const BEARER: &str =
    "headers = { Authorization = { secret = \"TOKEN\", prefix = \"Bearer \" }, X-Client = \"skillhost\" }";

#[test]
fn a_rule_sets_headers_in_place_of_the_guest() {
    let server = echo();
    let egress = with(&secret_policy(&server, BEARER), None, Ceilings::DEFAULT);
    let request = Request::get(server.url("/"))
        .header("authorization", "Basic guest")
        .header("authorization", "Basic again")
        .header("x-client", "guest")
        .header("accept-encoding", "gzip")
        .body(empty())
        .unwrap();
    let seen = body_of(ask(&egress, request));
    let sent = server.heads().remove(0);
    assert!(sent.contains(&format!("\r\nauthorization: Bearer {VALUE}\r\n")), "{sent}");
    assert!(
        sent.contains("\r\nx-client: skillhost\r\n") && sent.contains("\r\naccept-encoding: identity\r\n"),
        "{sent}"
    );
    assert!(!sent.contains("guest") && !sent.contains("again"), "{sent}");
    // The same length, and nothing of it.
    assert_eq!(seen, sent.replace(VALUE, &"*".repeat(VALUE.len())));
}

#[test]
fn placeholders_are_replaced_under_the_rule_that_names_them() {
    let server = echo();
    let request = || {
        Request::post(server.url("/?q=skillhost-secret-TOKEN"))
            .header("x-key", "a skillhost-secret-TOKEN b")
            .header("x-other", "skillhost-secret-TOKENS")
            .body(full("skillhost-secret-TOKEN"))
            .unwrap()
    };
    let named = with(&secret_policy(&server, "secrets = [\"TOKEN\"]"), None, Ceilings::DEFAULT);
    let seen = body_of(ask(&named, request()));
    let sent = server.heads().remove(0);
    assert!(sent.contains(&format!("x-key: a {VALUE} b\r\n")), "{sent}");
    assert!(
        sent.contains("x-other: skillhost-secret-TOKENS\r\n") && sent.contains("q=skillhost-secret-TOKEN "),
        "{sent}"
    );
    assert!(!seen.contains(VALUE), "{seen}");
    // Under a rule that does not, the placeholder is sent as it is.
    let not_named = with(&secret_policy(&server, BEARER), None, Ceilings::DEFAULT);
    ask(&not_named, request()).unwrap();
    assert!(server.heads()[1].contains("x-key: a skillhost-secret-TOKEN b\r\n"));
}

#[test]
fn what_a_server_sends_back_is_scrubbed_wherever_it_is() {
    let server = Server::new(|stream, _| {
        let answer = format!(
            "HTTP/1.1 200 {VALUE}\r\nx-one: a{VALUE}b\r\nlocation: /?t=value-of-T%2F%2Bx\r\ntransfer-encoding: chunked\r\n\
             trailer: x-last\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        // One byte a chunk, and the beginning of a secret that does not go on.
        for byte in format!("1{VALUE}2 value-of 3{VALUE}").bytes() {
            stream.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).unwrap();
        }
        stream.write_all(format!("0\r\nx-last: {VALUE}\r\n\r\n").as_bytes()).unwrap();
    });
    let egress = with(&secret_policy(&server, BEARER), None, Ceilings::DEFAULT);
    let permit = egress.permit(&Method::GET, &server.url("/").parse().unwrap()).unwrap();
    runtime().block_on(async {
        let (response, worker) = egress.send(permit, get(&server.url("/")), Timeouts::default()).await.unwrap();
        tokio::spawn(worker);
        let (head, body) = response.into_parts();
        let stars = "*".repeat(VALUE.len());
        assert_eq!(head.headers["x-one"], format!("a{stars}b"));
        assert!(head.extensions.is_empty());
        assert_eq!(head.headers["location"], format!("/?t={}", "*".repeat(17)));
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        assert!(trailers.get("x-last").is_none_or(|value| value.as_bytes() == stars.as_bytes()), "{trailers:?}");
        assert_eq!(body.to_bytes(), format!("1{stars}2 value-of 3{stars}"));
    });
}

#[test]
fn a_body_that_could_hide_a_secret_is_refused() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok");
    let with_secret = with(&secret_policy(&server, BEARER), None, Ceilings::DEFAULT);
    assert_eq!(ask(&with_secret, get(&server.url("/"))).unwrap_err(), "HttpResponseContentCoding(Some(\"gzip\"))");
    // Where no secret was sent, none can come back.
    assert_eq!(body_of(ask(&egress(&local(&server)), get(&server.url("/")))), "ok");
}

#[test]
fn nothing_that_is_printed_shows_a_value() {
    let server = echo();
    let egress = with(&secret_policy(&server, BEARER), None, Ceilings::DEFAULT);
    let permit = egress.permit(&Method::GET, &server.url("/").parse().unwrap()).unwrap();
    for text in [format!("{egress:?}"), format!("{permit:?}")] {
        assert!(!text.contains(VALUE), "{text}");
    }
}
