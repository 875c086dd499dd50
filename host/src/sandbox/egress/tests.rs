//! Requests to servers of this process: threads with plain sockets, so that each can be as wrong as it likes.

mod addresses;
mod bounds;
mod hidden;
mod tls;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};

use super::*;
use crate::policy::Policy;

const LOCAL: &str = "addresses = [\"127.0.0.1/32\"]";

/// A server that hands each connection to a function, on a thread of its own.
struct Server {
    address: SocketAddr,
    /// What each connection sent up to the end of its head.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&heads));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { break };
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || {
                    let head = read_head(&mut stream);
                    seen.lock().unwrap().push(head.clone());
                    answer(&mut stream, &head);
                });
            }
        });
        Self { address, heads }
    }

    /// Always answers with these bytes.
    fn saying(text: &'static str) -> Self {
        Self::new(move |stream, _| stream.write_all(text.as_bytes()).unwrap_or_default())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Answers with the request's head as the body.
fn echo() -> Server {
    Server::new(|stream, head| {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-echo: 1\r\n\r\n{head}", head.len());
        stream.write_all(answer.as_bytes()).unwrap_or_default();
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn policy(secrets: &str, network: &str) -> Policy {
    let text = format!(
        "schema = \"skillhost.policy/1\"\n{secrets}\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nnetwork = [{network}]\n"
    );
    Policy::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// One rule for all that a server of this process is asked.
fn local(server: &Server) -> String {
    format!("{{ url = \"{}\", methods = [\"GET\", \"POST\", \"HEAD\"], {LOCAL} }}", server.url("/*"))
}

/// Bounds that a test can wait for.
fn short() -> Ceilings {
    let ms = Duration::from_millis;
    Ceilings {
        connect: ms(2_000),
        tls: ms(300),
        first_byte: ms(300),
        between_bytes: ms(300),
        total: ms(3_000),
        ..Ceilings::DEFAULT
    }
}

fn egress(network: &str) -> Egress {
    with(&policy("", network), None, Ceilings::DEFAULT)
}

fn with(policy: &Policy, resolver: Option<Arc<dyn Resolve>>, ceilings: Ceilings) -> Egress {
    let secrets = Secrets::read(policy, |name| Some(format!("value-of-{name}/+x").into_bytes())).unwrap();
    let reach = Reach::open(&policy.network, resolver, secrets).unwrap();
    Egress::with(&reach, &policy.grants[0].network, ceilings)
}

type Answer = Result<(http::response::Parts, Bytes), String>;

fn get(url: &str) -> Request<WasiBody> {
    Request::get(url).body(empty()).unwrap()
}

fn empty() -> WasiBody {
    Empty::new().map_err(Error::from).boxed_unsync()
}

fn full(text: &'static str) -> WasiBody {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(Error::from).boxed_unsync()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends and reads to the end; an error as its `Debug` text.
fn ask(egress: &Egress, request: Request<WasiBody>) -> Answer {
    ask_within(egress, request, Timeouts::default())
}

fn ask_within(egress: &Egress, request: Request<WasiBody>, timeouts: Timeouts) -> Answer {
    let permit = egress.permit(request.method(), request.uri()).map_err(|refused| refused.to_string())?;
    runtime().block_on(async {
        let failed = |error: Error| format!("{error:?}");
        let (response, worker) = egress.send(permit, request, timeouts).await.map_err(failed)?;
        let worker = tokio::spawn(worker);
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        worker.abort();
        Ok((head, body))
    })
}

fn body_of(answer: Answer) -> String {
    String::from_utf8(answer.unwrap().1.to_vec()).unwrap()
}

#[test]
fn a_request_goes_out_in_origin_form_and_its_answer_comes_back() {
    let server = echo();
    let egress = egress(&local(&server));
    let request = Request::post(server.url("/a/b?c=d")).header("x-guest", "1").body(full("hello")).unwrap();
    let (head, body) = ask(&egress, request).unwrap();
    assert_eq!((head.status.as_u16(), head.headers["x-echo"].as_bytes()), (200, b"1".as_slice()));
    let sent = String::from_utf8(body.to_vec()).unwrap();
    assert!(sent.starts_with("POST /a/b?c=d HTTP/1.1\r\n"), "{sent}");
    for line in [
        format!("host: {}", server.address),
        "x-guest: 1".into(),
        "content-length: 5".into(),
        "connection: close".into(),
    ] {
        assert!(sent.contains(&format!("\r\n{line}\r\n")), "{line}: {sent}");
    }
}

#[test]
fn a_permit_is_for_one_request() {
    let server = echo();
    let egress = egress(&local(&server));
    let permit = egress.permit(&Method::GET, &server.url("/a").parse().unwrap()).unwrap();
    assert_eq!(permit.rule(), 0);
    let other = |request: Request<WasiBody>| {
        let sent = runtime().block_on(egress.send(permit.clone(), request, Timeouts::default()));
        format!("{:?}", sent.map(|_| ()).unwrap_err())
    };
    assert_eq!(other(get(&server.url("/b"))), "HttpRequestDenied");
    assert_eq!(other(Request::post(server.url("/a")).body(empty()).unwrap()), "HttpRequestDenied");
    assert_eq!(other(get("http://h.test/a")), "HttpRequestDenied");
    assert!(server.heads().is_empty());
    let refused = egress.permit(&Method::DELETE, &server.url("/a").parse().unwrap()).unwrap_err();
    assert!(matches!(code_of(&refused), Error::HttpRequestDenied));
    let refused = egress.permit(&Method::GET, &server.url("/../a").parse().unwrap()).unwrap_err();
    assert!(matches!(code_of(&refused), Error::HttpRequestUriInvalid));
}

#[test]
fn what_would_smuggle_a_second_request_is_not_sent() {
    let server = echo();
    let egress = egress(&local(&server));
    for name in HOST_HEADERS.into_iter().filter(|name| *name != "host") {
        let request = Request::post(server.url("/")).header(name, "x").body(full("x")).unwrap();
        assert_eq!(ask(&egress, request).unwrap_err(), "HttpRequestDenied", "{name}");
        assert!(is_forbidden_header(&HeaderName::from_static(name)));
    }
    assert!(DEFAULT_FORBIDDEN_HEADERS.iter().all(is_forbidden_header));
    for (lengths, code) in [
        (&["4", "4"][..], "HttpRequestDenied"),
        (&["+4"], "HttpRequestDenied"),
        (&["4, 4"], "HttpRequestDenied"),
        (&["0x4"], "HttpRequestDenied"),
        (&[""], "HttpRequestDenied"),
        (&["3"], "HttpRequestBodySize(Some(4))"),
        (&["5"], "HttpRequestBodySize(Some(4))"),
        (&["99999999999"], "HttpRequestBodySize(Some(99999999999))"),
    ] {
        let mut request = Request::post(server.url("/")).body(full("body")).unwrap();
        for length in lengths {
            request.headers_mut().append("content-length", http::HeaderValue::from_static(length));
        }
        assert_eq!(ask(&egress, request).unwrap_err(), code, "{lengths:?}");
    }
    // The host is the one of the URL, whatever the guest says.
    let request = Request::get(server.url("/")).header("host", "other.test").body(empty()).unwrap();
    let sent = body_of(ask(&egress, request));
    assert!(sent.contains(&format!("host: {}", server.address)) && !sent.contains("other.test"), "{sent}");
    assert!(server.heads().iter().all(|head| head.matches("HTTP/1.1").count() <= 1));
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    for (answer, code) in [
        ("", "HttpResponseIncomplete"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "HttpUpgradeFailed"),
        ("hello\r\n\r\n", "HttpProtocolError"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", "HttpResponseIncomplete"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "HttpProtocolError"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "HttpProtocolError"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "HttpProtocolError"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\na", "HttpProtocolError"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab", "HttpResponseIncomplete"),
        ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "HttpProtocolError"),
        ("HTTP/2 200\r\n\r\n", "HttpProtocolError"),
    ] {
        let server = Server::saying(answer);
        assert_eq!(ask(&egress(&local(&server)), get(&server.url("/"))).unwrap_err(), code, "{answer:?}");
    }
}

#[test]
fn bodies_come_in_every_framing() {
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let server = Server::saying(answer);
        assert_eq!(body_of(ask(&egress(&local(&server)), get(&server.url("/")))), "ok", "{answer:?}");
    }
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
    let head = Request::head(server.url("/")).body(empty()).unwrap();
    assert_eq!(body_of(ask(&egress(&local(&server)), head)), "");
}
