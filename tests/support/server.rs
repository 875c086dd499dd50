//! A small HTTP server on loopback that says exactly what a test wants, well-formed or not, and remembers what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// `/path?query`.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, out of its chunks.
    pub body: Vec<u8>,
    /// The trailers behind a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The head as it came, up to the empty line.
    pub head: String,
}

impl Request {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a connection meets: it may write anything, and closes when it returns.
type Handler = dyn Fn(&mut TcpStream, &Seen) + Send + Sync;

/// The requests so far.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Request>>>);

impl Seen {
    fn push(&self, request: Request) {
        self.0.lock().expect("not poisoned").push(request);
    }

    /// A copy of them, in the order of their arrival.
    #[must_use]
    pub fn all(&self) -> Vec<Request> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// A server; gone when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    seen: Seen,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request with the bytes that `answer` makes of it, then closes the connection.
    #[must_use]
    pub fn new(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::raw(move |stream, seen| {
            if let Some(request) = read_request(stream, seen) {
                // A client that has gone is no failure of the server.
                drop(stream.write_all(&answer(&request)));
            }
        })
    }

    /// Gives each connection to `handler`, on a thread of its own, with nothing read from it.
    #[must_use]
    pub fn raw(handler: impl Fn(&mut TcpStream, &Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let (seen, ended) = (Seen::default(), Arc::new(AtomicBool::new(false)));
        let handler: Arc<Handler> = Arc::new(handler);
        let (to_threads, is_ended) = (seen.clone(), Arc::clone(&ended));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let (handler, seen) = (Arc::clone(&handler), to_threads.clone());
                std::thread::spawn(move || handler(&mut stream, &seen));
            }
        });
        Self { address, seen, ended, accepting: Some(accepting) }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a path that begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.seen.all()
    }

    /// A line of a grant that allows `methods` on `path` of this server, which is on an address that must be named.
    #[must_use]
    pub fn granted(&self, path: &str, methods: &[&str]) -> String {
        let methods: Vec<String> = methods.iter().map(|method| format!("{method:?}")).collect();
        let (url, methods) = (self.url(path), methods.join(", "));
        format!("network = [{{ url = \"{url}\", methods = [{methods}], addresses = [\"127.0.0.1/32\"] }}]")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

/// Reads one request and remembers it; `None` where the connection ends before.
pub fn read_request(stream: &mut TcpStream, seen: &Seen) -> Option<Request> {
    let mut request = read_head(stream)?;
    let chunked = request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    if chunked {
        loop {
            let line = read_line(stream)?;
            let len = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if len == 0 {
                break;
            }
            let start = request.body.len();
            request.body.resize(start + len, 0);
            stream.read_exact(&mut request.body[start..]).ok()?;
            read_line(stream)?;
        }
        loop {
            let line = read_line(stream)?;
            match line.split_once(':') {
                Some((name, value)) => request.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
    } else if let Some(len) = request.header("content-length").and_then(|len| len.parse().ok()) {
        request.body.resize(len, 0);
        stream.read_exact(&mut request.body).ok()?;
    }
    seen.push(request.clone());
    Some(request)
}

/// Reads the head of a request and nothing behind it.
pub fn read_head(stream: &mut TcpStream) -> Option<Request> {
    let mut request = Request::default();
    let first = read_line(stream)?;
    let mut parts = first.split(' ');
    request.method = parts.next()?.to_owned();
    request.target = parts.next()?.to_owned();
    request.head = format!("{first}\r\n");
    loop {
        let line = read_line(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.head += &format!("{line}\r\n");
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(request)
}

/// A line without its end. Byte by byte, so that what follows is left to whoever reads on.
fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).ok()?;
        match byte[0] {
            b'\n' => break,
            b'\r' => {}
            other => line.push(other),
        }
    }
    String::from_utf8(line).ok()
}

/// Waits until the other side has closed: what a server does that says nothing more.
pub fn until_closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while matches!(stream.read(&mut bytes), Ok(len) if len > 0) {}
}

/// A whole response with its length.
#[must_use]
pub fn response(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = head(status, headers);
    bytes.truncate(bytes.len() - 2);
    bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
    bytes.extend(body);
    bytes
}

/// `200 OK` with a body.
#[must_use]
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    response("200 OK", &[], body)
}

/// A response in chunks, with trailers.
#[must_use]
pub fn chunked(chunks: &[&[u8]], trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = head("200 OK", &[("transfer-encoding", "chunked")]);
    for chunk in chunks {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(*chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n");
    for (name, value) in trailers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    bytes
}

/// The head of a response, with the empty line behind it.
#[must_use]
pub fn head(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}
