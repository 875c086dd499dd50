//! The network: addresses in disguise, names that change their minds, requests inside of requests, and servers that never come to an end.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use host_tests::http_guest::http_guest;
use host_tests::server::{head, ok, read_head, read_request, response, until_closed};
use host_tests::{Server, dns::Dns, policy};
use serde_json::{Value, json};
use skillhost::limits::{self, LimitKind};

use super::case::{Case, Expect, Family, World, case};
use super::wat;

/// Cases of `error-code` by their number in WIT, which is what the guest gives back.
const IP_PROHIBITED: u64 = 4;
const DENIED: u64 = 15;
const URI_INVALID: u64 = 19;
const URI_TOO_LONG: u64 = 20;
const HEADER_SECTION_SIZE: u64 = 26;

/// A request that the guest `fetch`es.
fn get(authority: &str, path: &str) -> Value {
    json!({"method": 0, "authority": authority, "path": path, "name": "", "value": "", "body": "", "follow": 0})
}

fn fetch(name: &'static str, what: &'static str, expect: Expect, world: impl Fn() -> World + 'static) -> Case {
    case(Family::Network, name, what, http_guest, expect).world(world)
}

fn refused(name: &'static str, what: &'static str, code: u64, world: impl Fn() -> World + 'static) -> Case {
    fetch(name, what, Expect::Error(json!(code)), world)
}

/// A server that nothing may reach.
fn forbidden() -> Server {
    Server::new(|_| ok("never"))
}

/// Another address of the machine is granted at the port of a server, which is asked for as `form` of its address.
fn disguised(form: &str) -> World {
    let server = forbidden();
    let url = format!("http://127.0.0.2:{}/*", server.port());
    let rule = format!("network = [{{ url = \"{url}\", methods = [\"GET\"], addresses = [\"127.0.0.2/32\"] }}]");
    let authority = form.replace("PORT", &server.port().to_string());
    World::new(policy("", &rule), "guest.fetch", get(&authority, "/")).forbids(server)
}

/// All of the server is granted; the request is this.
fn granted(server: Server, limits: &str, change: impl FnOnce(&mut Value)) -> World {
    let mut input = get(&server.authority(), "/v1/items");
    change(&mut input);
    let rule = server.granted("/v1/*", &["GET", "POST"]);
    World::new(policy(limits, &rule), "guest.fetch", input).keeps(server)
}

/// The same, where the server must not hear of it.
fn unheard(change: impl FnOnce(&mut Value)) -> World {
    let server = forbidden();
    let mut input = get(&server.authority(), "/v1/items");
    change(&mut input);
    World::new(policy("", &server.granted("/v1/*", &["GET", "POST"])), "guest.fetch", input).forbids(server)
}

/// A server that answers a request with these bytes, as they are.
fn says(bytes: impl Into<Vec<u8>>) -> Server {
    let bytes = bytes.into();
    Server::new(move |_| bytes.clone())
}

/// A server that writes `first` and then `again` without end.
fn endless(first: &'static [u8], again: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Server {
    Server::raw(move |stream, _| {
        if read_head(stream).is_none() {
            return;
        }
        let mut written = stream.write_all(first);
        while written.is_ok() {
            written = stream.write_all(&again());
        }
    })
}

/// The deadline of guests whose server does not come to an end.
const SOON: &str = "deadline_ms = 500";

/// A name whose addresses are these, one after the other; the last for ever.
fn named(addresses: &'static [[u8; 4]], allowed: &str, tool: &'static str, input: impl FnOnce(&str) -> Value) -> World {
    // Sends whoever comes to the same name once more.
    let server = Server::new(|request| {
        let again = format!("http://{}/again", request.header("host").unwrap_or_default());
        response("302 Found", &[("location", &again)], "")
    });
    let dns = Dns::new(move |_, before| vec![Ipv4Addr::from(addresses[before.min(addresses.len() - 1)])]);
    let name = format!("api.example.com:{}", server.port());
    let rule = format!("network = [{{ url = \"http://{name}/*\", methods = [\"GET\"]{allowed} }}]");
    let text =
        policy("", &rule).replacen("[limits]", &format!("[network]\ndns = \"{}\"\n[limits]", dns.authority()), 1);
    let world = World::new(text, tool, input(&name));
    if allowed.is_empty() { world.forbids(server).answers(dns) } else { world.keeps(server).answers(dns) }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = addresses();
    cases.extend(names());
    cases.extend(requests());
    cases.extend(servers());
    cases
}

fn addresses() -> Vec<Case> {
    vec![
        refused("decimal", "asks for 127.0.0.1 as `2130706433`", DENIED, || disguised("2130706433:PORT")),
        refused("octal", "asks for 127.0.0.1 as `0177.0.0.1`", DENIED, || disguised("0177.0.0.1:PORT")),
        refused("hexadecimal", "asks for 127.0.0.1 as `0x7f000001`", DENIED, || disguised("0x7f000001:PORT")),
        refused("short", "asks for 127.0.0.1 as `127.1`", DENIED, || disguised("127.1:PORT")),
        refused("itself", "asks for 127.0.0.1 where 127.0.0.2 is granted", DENIED, || disguised("127.0.0.1:PORT")),
        refused("all zeros", "asks for `0.0.0.0`, which systems take for themselves", DENIED, || disguised("0:PORT")),
        refused("final dot", "asks for `127.0.0.2.localhost.`", DENIED, || disguised("127.0.0.2.localhost.:PORT")),
        refused("mapped", "asks for 127.0.0.1 as `[::ffff:127.0.0.1]`", DENIED, || {
            disguised("[::ffff:127.0.0.1]:PORT")
        }),
        refused("translated", "asks for 127.0.0.1 as `[64:ff9b::7f00:1]`", DENIED, || {
            disguised("[64:ff9b::7f00:1]:PORT")
        }),
        refused("loopback of IPv6", "asks for `[::1]`", DENIED, || disguised("[::1]:PORT")),
        refused("metadata", "asks a cloud's metadata service", DENIED, || disguised("169.254.169.254")),
        refused("another port", "asks the granted address at another port", DENIED, || {
            let (open, hidden) = (Server::new(|_| ok("x")), forbidden());
            let rule = open.granted("/v1/*", &["GET"]);
            World::new(policy("", &rule), "guest.fetch", get(&hidden.authority(), "/v1/items"))
                .keeps(open)
                .forbids(hidden)
        }),
    ]
}

fn names() -> Vec<Case> {
    vec![
        refused("private name", "asks for a granted name whose address is 127.0.0.1", IP_PROHIBITED, || {
            named(&[[127, 0, 0, 1]], "", "guest.fetch", |name| get(name, "/"))
        }),
        refused("metadata name", "asks for a granted name whose address is 169.254.169.254", IP_PROHIBITED, || {
            named(&[[169, 254, 169, 254]], "", "guest.fetch", |name| get(name, "/"))
        }),
        refused("zero name", "asks for a granted name whose address is 0.0.0.0", IP_PROHIBITED, || {
            named(&[[0, 0, 0, 0]], "", "guest.fetch", |name| get(name, "/"))
        }),
        refused("carrier name", "asks for a granted name whose address is 100.100.100.200", IP_PROHIBITED, || {
            named(&[[100, 100, 100, 200]], "", "guest.fetch", |name| get(name, "/"))
        }),
        refused(
            "rebinding",
            "asks twice for a name that has an allowed address first and a private one then",
            IP_PROHIBITED,
            || {
                named(&[[127, 0, 0, 1], [127, 0, 0, 9]], ", addresses = [\"127.0.0.1/32\"]", "guest.fetch", |name| {
                    let mut input = get(name, "/");
                    input["follow"] = json!(1);
                    input
                })
            },
        ),
        refused("redirect", "follows a redirect to another server of the machine", DENIED, || {
            let inside = forbidden();
            let to = inside.url("/latest/meta-data");
            let outside = Server::new(move |_| response("302 Found", &[("location", &to)], ""));
            granted(outside, "", |input| input["follow"] = json!(1)).forbids(inside)
        }),
    ]
}

fn requests() -> Vec<Case> {
    let trap = Expect::Trap("unreachable");
    vec![
        fetch("no grant", "sends a request where no network is granted", Expect::Denied, || {
            World::new(policy("", ""), "guest.fetch", get("api.example.com", "/"))
        }),
        refused("another path", "asks for a path that no rule has", DENIED, || {
            unheard(|input| input["path"] = json!("/v2/items"))
        }),
        refused("dots", "asks for `/v1/../admin`", URI_INVALID, || {
            unheard(|input| input["path"] = json!("/v1/../admin"))
        }),
        refused("encoded dots", "asks for `/v1/%2e%2e/admin`", URI_INVALID, || {
            unheard(|input| input["path"] = json!("/v1/%2e%2e/admin"))
        }),
        refused("twice encoded dots", "asks for `/v1/%252e%252e/admin`", URI_INVALID, || {
            unheard(|input| input["path"] = json!("/v1/%252e%252e/admin"))
        }),
        refused("encoded slash", "asks for `/v1/..%2fadmin`", URI_INVALID, || {
            unheard(|input| input["path"] = json!("/v1/..%2fadmin"))
        }),
        refused("long URL", "asks for a path of ten thousand bytes", URI_TOO_LONG, || {
            unheard(|input| input["path"] = json!(format!("/v1/{}", "a".repeat(10_000))))
        }),
        fetch("lines in a path", "puts a second request into the path of the first", trap.clone(), || {
            unheard(|input| input["path"] = json!("/v1/a HTTP/1.1\r\nhost: x\r\n\r\nGET /admin"))
        }),
        fetch("lines in a header", "puts a second header into the value of one", trap.clone(), || {
            unheard(|input| {
                input["name"] = json!("x-one");
                input["value"] = json!("YQ0KaG9zdDogZXZpbA=="); // a, then a line `host: evil`
            })
        }),
        fetch("host", "sets the header `Host` to another server's name", trap.clone(), || {
            unheard(|input| {
                input["name"] = json!("Host");
                input["value"] = json!("ZXZpbA==");
            })
        }),
        fetch("transfer encoding", "sets the header `Transfer-Encoding`", trap.clone(), || {
            unheard(|input| {
                input["name"] = json!("transfer-encoding");
                input["value"] = json!("Y2h1bmtlZA==");
            })
        }),
        fetch("credentials", "puts the granted server's name before an `@`", trap, || {
            let server = forbidden();
            let rule = "network = [{ url = \"http://api.example.com/*\", methods = [\"GET\"] }]";
            let authority = format!("api.example.com@{}", server.authority());
            World::new(policy("", rule), "guest.fetch", get(&authority, "/")).forbids(server)
        }),
        refused("connect", "asks with the method `CONNECT`", DENIED, || unheard(|input| input["method"] = json!(5))),
        refused("delete", "asks with a method that no rule has", DENIED, || {
            unheard(|input| input["method"] = json!(4))
        }),
        fetch(
            "flood of requests",
            "starts a hundred requests at one time",
            Expect::Answer(json!([limits::REQUESTS_AT_ONCE_MAX, 11])),
            || {
                let server = Server::new(|_| ok("x"));
                let input = json!({"authority": server.authority(), "path": "/v1/items", "n": 100});
                World::new(policy("", &server.granted("/v1/*", &["GET"])), "guest.many", input).keeps(server)
            },
        ),
        case(
            Family::Network,
            "flood of headers",
            "makes lists of headers without end and sends none",
            || wat::body("(loop $l (drop (call $fields)) (br $l))"),
            Expect::Limit(LimitKind::HttpFields),
        )
        .grant(r#"network = [{ url = "https://api.example.com/*", methods = ["GET"] }]"#),
    ]
}

fn servers() -> Vec<Case> {
    vec![
        refused("endless headers", "asks a server whose headers do not end", HEADER_SECTION_SIZE, || {
            granted(
                endless(b"HTTP/1.1 200 OK\r\n", || format!("x-filler: {}\r\n", "y".repeat(1000)).into()),
                "",
                |_| (),
            )
        }),
        refused("many headers", "asks a server that sends ten thousand short headers", HEADER_SECTION_SIZE, || {
            let headers = vec![("a", "b"); 10_000];
            granted(says(head("200 OK", &headers)), "", |_| ())
        }),
        fetch("silence", "asks a server that never answers", Expect::Limit(LimitKind::Deadline), || {
            let server = Server::raw(|stream, seen| {
                drop(read_request(stream, seen));
                until_closed(stream);
            });
            granted(server, SOON, |_| ())
        }),
        fetch("drip", "asks a server that sends a byte now and then", Expect::Limit(LimitKind::Deadline), || {
            let drip = || {
                skillhost::clock::pause(Duration::from_millis(20));
                b"x".to_vec()
            };
            granted(endless(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", drip), SOON, |_| ())
        }),
        fetch(
            "interim answers",
            "asks a server that says `100 Continue` without end",
            Expect::Limit(LimitKind::Deadline),
            || {
                let more = || {
                    skillhost::clock::pause(Duration::from_millis(1));
                    b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()
                };
                granted(endless(b"", more), SOON, |_| ())
            },
        ),
        fetch("endless body", "asks a server whose body does not end", Expect::Limit(LimitKind::Trace), || {
            granted(endless(b"HTTP/1.1 200 OK\r\n\r\n", noise), "trace_bytes = 3_000_000", |_| ())
        }),
        broken("huge chunk", "asks a server that announces a chunk of 2^64 - 1 bytes", || {
            says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx")
        }),
        broken("two lengths", "asks a server whose answer has two lengths", || {
            says("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 10\r\n\r\nx")
        }),
        broken("no protocol", "asks a server that does not speak HTTP", || says("220 mail.example.com ESMTP\r\n")),
        broken("nothing", "asks a server that hangs up", || says("")),
    ]
}

/// Bytes that no blob holds already.
fn noise() -> Vec<u8> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let start = COUNT.fetch_add(8192, Ordering::Relaxed);
    (start..start + 8192).flat_map(u64::to_le_bytes).collect()
}

/// An answer that is none: some error of HTTP.
fn broken(name: &'static str, what: &'static str, server: fn() -> Server) -> Case {
    case(Family::Network, name, what, http_guest, Expect::SomeError).world(move || granted(server(), "", |_| ()))
}
