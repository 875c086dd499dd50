//! What an agent's plan gets from servers, and what it does not: another path, a redirect to a private address, a name that leads
//! elsewhere, a secret.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use host_tests::dns::Dns;
use host_tests::server::{Server, ok, response};
use serde_json::json;

use crate::program::Program;

/// What no written byte may have in it.
const SECRET: &str = "s3cr3t-Zk9vQ7-do-not-write";

/// A program with a policy, a server of its own and names that lead to it.
struct World {
    program: Program,
    server: Server,
    dns: Dns,
}

impl World {
    fn new() -> Self {
        let server = Server::new(|request| match request.target.as_str() {
            "/data/orders.json" => ok(r#"{"orders":3}"#),
            "/data/moved" => response("302 Found", &[("location", "orders.json")], ""),
            "/data/to-private" => response("302 Found", &[("location", "http://10.0.0.1/data/x")], ""),
            "/data/to-metadata" => {
                response("302 Found", &[("location", "http://169.254.169.254/latest/meta-data/")], "")
            }
            "/data/echo" => {
                // The worst server: gives back all that it was told.
                let told = request.header("authorization").unwrap_or("nothing").to_owned();
                response("200 OK", &[("x-you-said", &told)], format!("you said {told}"))
            }
            _ => ok("not for agents"),
        });
        let dns = Dns::new(|name, before| match name {
            "api.test" => vec![Ipv4Addr::LOCALHOST],
            "inside.test" => vec![Ipv4Addr::new(10, 0, 0, 7)],
            // First to where it may lead (which stands for a public address here), then to where it may not.
            "rebind.test" => vec![if before == 0 { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(192, 168, 1, 1) }],
            _ => Vec::new(),
        });
        let program = Program::new();
        let (port, dns_at) = (server.port(), dns.authority());
        program.write(
            "policy.toml",
            format!(
                r#"schema = "skillhost.policy/1"

[network]
dns = "{dns_at}"

[secrets]
TOKEN = {{ env = "AGENT_TOKEN" }}

[[grant]]
skills = ["http"]
tools = ["get"]
network = [
  {{ url = "http://api.test:{port}/data/*", methods = ["GET"], addresses = ["127.0.0.1/32"], headers = {{ Authorization = {{ secret = "TOKEN", prefix = "Bearer " }} }} }},
  {{ url = "http://rebind.test:{port}/*", methods = ["GET"], addresses = ["127.0.0.1/32"] }},
  {{ url = "http://inside.test/*", methods = ["GET"] }},
]
"#
            ),
        );
        Self { program, server, dns }
    }

    /// Runs a plan that gets one URL; gives exit code and everything that was said.
    fn get(&self, url: &str) -> (i32, String) {
        let plan = json!({
            "schema": "skillhost.plan/1", "name": "agent",
            "steps": [{"id": "fetch", "tool": "http.get", "input": {"url": url}}],
            "output": "{{steps.fetch}}",
        });
        self.program.write("plan.json", plan.to_string());
        let ended = self.program.run_with(&[("AGENT_TOKEN", SECRET)], &["run", "plan.json", "--policy", "policy.toml"]);
        (ended.code, ended.all())
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.server.port())
    }
}

/// The files below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_symlink() {
            continue; // The cache of compiled components, shared with other tests.
        }
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn an_agents_plan_gets_what_is_granted_and_nothing_else() {
    let world = World::new();
    let (code, said) = world.get(&world.url("api.test", "/data/orders.json"));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(r#"{\"orders\":3}"#), "{said}");
    let (code, said) = world.get(&world.url("api.test", "/data/moved"));
    assert_eq!(code, 0, "{said}");
    assert_eq!(world.server.requests().len(), 3);

    // Another path of the same server, and the ways that look like the granted one.
    for path in ["/private", "/data", "/data/../private", "/data/%2e%2e/private", "/database"] {
        let (code, said) = world.get(&world.url("api.test", path));
        assert_eq!(code, 7, "{path}: {said}");
        assert!(said.contains("denied"), "{path}: {said}");
    }
    // Redirects to where the policy does not lead.
    for path in ["/data/to-metadata", "/data/to-private"] {
        let (code, said) = world.get(&world.url("api.test", path));
        assert_eq!(code, 7, "{path}: {said}");
        assert!(said.contains("denied"), "{path}: {said}");
    }
    assert_eq!(world.server.requests().len(), 5, "the redirects alone came to the server");
    // A granted name that leads to a private address.
    let (code, said) = world.get("http://inside.test/x");
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("destination-IP-prohibited"), "{said}");
    // A granted name that leads elsewhere the second time: each request looks it up once, and uses what it has looked at.
    let url = world.url("rebind.test", "/data/orders.json");
    let (code, said) = world.get(&url);
    assert_eq!(code, 0, "{said}");
    let (code, said) = world.get(&url);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("destination-IP-prohibited"), "{said}");
    assert_eq!(world.dns.asked().iter().filter(|name| *name == "rebind.test").count(), 2);
    assert_eq!(world.server.requests().len(), 6);
}

#[test]
fn a_secret_is_in_nothing_that_is_written() {
    let world = World::new();
    let (code, said) = world.get(&world.url("api.test", "/data/echo"));
    assert_eq!(code, 0, "{said}");
    let told = world.server.requests();
    assert_eq!(told[0].header("authorization"), Some(format!("Bearer {SECRET}").as_str()), "the server was told");
    assert!(said.contains(&format!("you said Bearer {}", "*".repeat(SECRET.len()))), "{said}");

    let mut everything = vec![("what was said".to_owned(), said.into_bytes())];
    for command in
        [&["trace", "show", "last"][..], &["trace", "show", "last", "--json"], &["replay", "last"], &["runs"]]
    {
        // Nothing of this needs the secret.
        let ended = world.program.run(command);
        assert_eq!(ended.code, 0, "{command:?}: {}", ended.all());
        everything.push((format!("{command:?}"), ended.all().into_bytes()));
    }
    let mut written = Vec::new();
    files(&world.program.path("."), &mut written);
    files(&world.program.home("."), &mut written);
    assert!(written.len() >= 5, "{written:?}");
    everything.extend(written.into_iter().map(|path| (path.display().to_string(), fs::read(&path).expect("readable"))));
    for (name, bytes) in everything {
        for part in [SECRET, "s3cr3t", "czNjcjN0"] {
            let found = bytes.windows(part.len()).any(|window| window == part.as_bytes());
            assert!(!found, "`{part}` is in {name}");
        }
    }
}

#[test]
fn a_missing_secret_is_said_before_anything_runs() {
    let world = World::new();
    let plan = r#"{"schema": "skillhost.plan/1", "name": "a", "steps": [{"id": "f", "tool": "http.get", "input": {"url": "http://api.test/"}}]}"#;
    world.program.write("plan.json", plan);
    let ended = world.program.run(&["run", "plan.json", "--policy", "policy.toml"]);
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stderr.contains("AGENT_TOKEN") && ended.stderr.contains("line 7"), "{}", ended.stderr);
    assert!(world.server.requests().is_empty());
}
