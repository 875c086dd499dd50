//! Credentials: the guest's own are recorded by digest alone, those of the policy are nowhere but on the wire.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use host_tests::server::{ok, response};
use host_tests::{Server, TestHost, policy};
use serde_json::json;
use skillhost::{PolicyDocument, Secrets};

use super::{get, host, http_guest, replays, request};

/// Whether a file below `folder` holds `text`.
fn holds(folder: &Path, text: &str) -> Option<std::path::PathBuf> {
    let needle = text.as_bytes();
    for (path, kind) in host_tests::tree::read(folder) {
        let path = folder.join(path);
        if kind.starts_with("file")
            && std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
        {
            return Some(path);
        }
    }
    None
}

#[test]
fn a_secret_is_on_the_wire_and_in_no_file() {
    const VALUE: &str = "s3cr3t-value-of-the-token";
    // The server hands it back in a header and in the body.
    let server = Server::new(|request| {
        let said = request.header("authorization").unwrap_or("none").to_owned();
        response("200 OK", &[("x-echo", &said)], format!("you said {said}"))
    });
    let url = server.url("/*");
    let text = policy(
        "",
        &format!(
            "network = [{{ url = \"{url}\", methods = [\"GET\"], addresses = [\"127.0.0.1/32\"], headers = {{ Authorization = {{ secret = \
             \"TOKEN\", prefix = \"Bearer \" }} }} }}]"
        ),
    ) + "[secrets]\nTOKEN = { env = \"THE_TOKEN\" }\n";
    let document = PolicyDocument::parse(&text).unwrap();
    let secrets = Secrets::read(&document.policy, |name| (name == "THE_TOKEN").then(|| VALUE.into())).unwrap();
    let host = TestHost::configured(&text, &[("guest", &http_guest())], |builder| builder.secrets(secrets));
    let run = get(&host, &server.authority(), "/").completed();
    assert_eq!(server.requests()[0].header("authorization"), Some(&*format!("Bearer {VALUE}")));
    let body = BASE64.decode(run.output()["body"].as_str().unwrap()).unwrap();
    assert_eq!(body.len(), format!("you said Bearer {VALUE}").len());
    assert!(!String::from_utf8_lossy(&body).contains(VALUE));
    assert!(!format!("{:?}", run.report).contains(VALUE));
    assert_eq!(holds(&host.state(), VALUE), None);
    assert_eq!(holds(host.folder(), VALUE), None);
    drop(server);
    replays(&host, &run);
}

#[test]
fn what_a_guest_says_under_a_sensitive_name_is_recorded_by_its_digest() {
    let server = Server::new(|_| ok("x"));
    let host = host(&server.granted("/*", &["GET"]));
    let mut input = request(&server.authority(), "/");
    for (name, hidden) in [("Cookie", true), ("x-api-key", true), ("X-Session-Token", true), ("accept", false)] {
        input["name"] = json!(name);
        input["value"] = json!(BASE64.encode("abc"));
        let run = host.call("guest.fetch", input.clone()).completed();
        let mut calls = run.trace.of_kind("call");
        let append = calls.find(|call| call["name"] == "wasi:http/types#[method]fields.append").unwrap();
        let digest = json!({"blake3": blake3::hash(b"abc").to_hex().as_str(), "len": 3});
        assert_eq!(append["params"]["value"], if hidden { digest } else { json!("YWJj") }, "{name}");
        assert_eq!(server.requests().last().unwrap().header(&name.to_lowercase()), Some("abc"));
        replays(&host, &run);
    }
}
