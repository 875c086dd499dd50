//! Requests, answers, headers, failures.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, HeaderError, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::Case;
use crate::report::{digest, say};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("get", get),
    ("statuses", statuses),
    ("methods", methods),
    ("headers", headers),
    ("header-refused", header_refused),
    ("header-of-connection", header_of_connection),
    ("fields", fields),
    ("immutable", immutable),
    ("request-parts", request_parts),
    ("request-user", request_user),
    ("options", options),
    ("refused", refused),
    ("scheme", scheme),
    ("no-authority", no_authority),
    ("first-byte-timeout", first_byte_timeout),
    ("two-at-once", two_at_once),
    ("answer-once", answer_once),
];

/// The server's authority.
pub(crate) fn server(arguments: &[String]) -> &str {
    arguments.first().map_or("127.0.0.1:1", String::as_str)
}

/// A request that is ready to be sent.
pub(crate) fn request(authority: &str, method: &Method, path: &str, headers: Fields) -> OutgoingRequest {
    let request = OutgoingRequest::new(headers);
    let set = request
        .set_method(method)
        .and_then(|()| request.set_scheme(Some(&Scheme::Http)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    if set.is_err() {
        say("set", set);
    }
    request
}

/// Waits for the answer.
pub(crate) fn wait(future: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    loop {
        match future.get() {
            Some(Ok(answer)) => return answer,
            Some(Err(())) => return Err(ErrorCode::InternalError(Some("asked twice".to_owned()))),
            None => future.subscribe().block(),
        }
    }
}

/// Sends a request without a body.
pub(crate) fn send(request: OutgoingRequest, options: Option<RequestOptions>) -> Result<IncomingResponse, ErrorCode> {
    let body = request.body();
    let future = handle(request, options)?;
    if let Ok(body) = body {
        OutgoingBody::finish(body, None)?;
    }
    wait(&future)
}

/// Reads a body to its end, or to the error in it.
pub(crate) fn read(answer: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = answer.consume().map_err(|()| "no body".to_owned())?;
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(some) => bytes.extend(some),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(format!(
                    "after {} bytes: {}",
                    bytes.len(),
                    code.map_or_else(|| "no code".to_owned(), |code| cause(&code))
                ));
            }
        }
    }
}

/// An error without the text that each host words differently.
pub(crate) fn cause(code: &ErrorCode) -> String {
    match code {
        ErrorCode::InternalError(_) => "internal error".to_owned(),
        ErrorCode::DnsError(_) => "DNS error".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The whole of an answer.
pub(crate) fn show(what: &str, answer: Result<IncomingResponse, ErrorCode>) {
    match answer {
        Ok(answer) => {
            say(what, answer.status());
            match read(&answer) {
                Ok(bytes) if bytes.len() < 200 => say("body", String::from_utf8_lossy(&bytes)),
                Ok(bytes) => say("body", digest(&bytes)),
                Err(error) => say("body", error),
            }
        }
        Err(code) => say(what, cause(&code)),
    }
}

fn get(arguments: &[String]) {
    show("get", send(request(server(arguments), &Method::Get, "/text?q=1%20x", Fields::new()), None));
}

fn statuses(arguments: &[String]) {
    for status in [200, 201, 204, 301, 304, 400, 404, 418, 500, 503, 599] {
        show(
            "status",
            send(request(server(arguments), &Method::Get, &format!("/status/{status}"), Fields::new()), None),
        );
    }
}

fn methods(arguments: &[String]) {
    let own = Method::Other("PROPFIND".to_owned());
    for method in [Method::Get, Method::Head, Method::Delete, Method::Options, Method::Patch, own] {
        show(&format!("{method:?}"), send(request(server(arguments), &method, "/method", Fields::new()), None));
    }
}

fn headers(arguments: &[String]) {
    let sent = [("x-one", "1"), ("X-Two", "a"), ("x-two", "b"), ("x-empty", ""), ("x-bytes", "\u{e9}")];
    let entries: Vec<_> = sent.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let Ok(fields) = Fields::from_list(&entries) else {
        say("fields", "refused");
        return;
    };
    match send(request(server(arguments), &Method::Get, "/headers", fields), None) {
        Ok(answer) => {
            let mut entries = answer.headers().entries();
            entries.retain(|(name, _)| name.to_ascii_lowercase().starts_with("x-"));
            for (name, value) in entries {
                say(&name.to_ascii_lowercase(), String::from_utf8_lossy(&value));
            }
            say("one", answer.headers().get("X-Reply").len());
            show("whole", Ok(answer));
        }
        Err(code) => say("failed", cause(&code)),
    }
}

fn named(result: Result<(), HeaderError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(HeaderError::InvalidSyntax) => "invalid syntax",
        Err(HeaderError::Forbidden) => "forbidden",
        Err(HeaderError::Immutable) => "immutable",
    }
}

fn header_refused(_: &[String]) {
    let fields = Fields::new();
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:b", "x"),
        ("grüße", "x"),
        ("x", "a\r\nb: c"),
        ("x", "\0"),
        ("x", "ok"),
        ("connection", "close"),
        ("host", "other.test"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "5"),
        ("upgrade", "x"),
        ("content-length", "abc"),
    ] {
        say(&format!("append {name:?} {value:?}"), named(fields.append(name, value.as_bytes())));
        say("set", named(fields.set(name, &[value.as_bytes().to_vec()])));
        let list = [(name.to_owned(), value.as_bytes().to_vec())];
        say("from a list", named(Fields::from_list(&list).map(|_| ())));
    }
}

/// Headers that are between neighbours on the way, of which some hosts let a program set some.
fn header_of_connection(_: &[String]) {
    let fields = Fields::new();
    for name in ["te", "trailer", "proxy-connection", "proxy-authorization"] {
        say(name, named(fields.append(name, b"trailers")));
    }
}

fn fields(_: &[String]) {
    let fields = Fields::new();
    say("append", named(fields.append("One", b"1")));
    say("append", named(fields.append("one", b"2")));
    say("get", fields.get("ONE"));
    say("has", (fields.has("one"), fields.has("two"), fields.has("a b")));
    say("set", named(fields.set("one", &[b"3".to_vec()])));
    say("get", fields.get("one"));
    let copy = fields.clone();
    say("delete", named(fields.delete("oNe")));
    say("delete what is not there", named(fields.delete("two")));
    say("delete what cannot be", named(fields.delete("a b")));
    say("entries", fields.entries().len());
    say("copy", copy.entries().len());
}

fn immutable(arguments: &[String]) {
    let outgoing = request(server(arguments), &Method::Get, "/text", Fields::new());
    say("of a request", named(outgoing.headers().append("x", b"y")));
    if let Ok(answer) = send(outgoing, None) {
        say("of an answer", named(answer.headers().append("x", b"y")));
        say("set", named(answer.headers().set("x", &[])));
        say("delete", named(answer.headers().delete("x")));
        say("a copy", named(answer.headers().clone().append("x", b"y")));
    }
}

fn request_parts(_: &[String]) {
    let request = OutgoingRequest::new(Fields::new());
    say("method", request.method());
    say("path", request.path_with_query());
    say("no scheme", request.scheme().is_none());
    say("authority", request.authority());
    for method in ["X", "", "A B", "get"] {
        say(&format!("method {method:?}"), request.set_method(&Method::Other(method.to_owned())));
    }
    for path in ["/a?b", "", "a", "/a b", "/\u{e9}", "/a#b"] {
        say(&format!("path {path:?}"), request.set_path_with_query(Some(path)));
    }
    for authority in ["a.test", "a.test:80", "", "a b", "[::1]:8", "a/b"] {
        say(&format!("authority {authority:?}"), request.set_authority(Some(authority)));
    }
    for scheme in ["ftp", "a b", ""] {
        say(&format!("scheme {scheme:?}"), request.set_scheme(Some(&Scheme::Other(scheme.to_owned()))));
    }
    say("body", request.body().is_ok());
    say("body again", request.body().is_ok());
}

fn request_user(_: &[String]) {
    let request = OutgoingRequest::new(Fields::new());
    say("user and password", request.set_authority(Some("u:p@a.test")));
}

fn options(_: &[String]) {
    let options = RequestOptions::new();
    say("at first", (options.connect_timeout(), options.first_byte_timeout(), options.between_bytes_timeout()));
    say("set", options.set_connect_timeout(Some(1_000_000)));
    say("set", options.set_first_byte_timeout(Some(2_000_000)));
    say("set", options.set_between_bytes_timeout(Some(3_000_000)));
    say("then", (options.connect_timeout(), options.first_byte_timeout(), options.between_bytes_timeout()));
    say("unset", options.set_connect_timeout(None));
    say("then", options.connect_timeout());
}

fn refused(arguments: &[String]) {
    let nobody = arguments.get(1).map_or("127.0.0.1:1", String::as_str);
    show("nobody listens", send(request(nobody, &Method::Get, "/", Fields::new()), None));
}

fn scheme(arguments: &[String]) {
    let outgoing = request(server(arguments), &Method::Get, "/text", Fields::new());
    say("ftp", outgoing.set_scheme(Some(&Scheme::Other("ftp".to_owned()))));
    say("refused", send(outgoing, None).is_err());
}

fn no_authority(_: &[String]) {
    let outgoing = OutgoingRequest::new(Fields::new());
    say("scheme", outgoing.set_scheme(Some(&Scheme::Http)));
    say("path", outgoing.set_path_with_query(Some("/")));
    show("no authority", send(outgoing, None));
}

fn first_byte_timeout(arguments: &[String]) {
    let options = RequestOptions::new();
    say("set", options.set_first_byte_timeout(Some(200_000_000)));
    show("silent server", send(request(server(arguments), &Method::Get, "/silent", Fields::new()), Some(options)));
}

fn two_at_once(arguments: &[String]) {
    let one = handle(request(server(arguments), &Method::Get, "/text?1", Fields::new()), None);
    let two = handle(request(server(arguments), &Method::Get, "/text?2", Fields::new()), None);
    for (name, future) in [("two", two), ("one", one)] {
        show(name, future.and_then(|future| wait(&future)));
    }
}

fn answer_once(arguments: &[String]) {
    let future = match handle(request(server(arguments), &Method::Get, "/text", Fields::new()), None) {
        Ok(future) => future,
        Err(code) => {
            say("failed", cause(&code));
            return;
        }
    };
    future.subscribe().block();
    let answer = match future.get() {
        Some(Ok(Ok(answer))) => answer,
        other => {
            say("no answer", other.is_some());
            return;
        }
    };
    say("again", matches!(future.get(), Some(Err(()))));
    let body = answer.consume();
    say("body", body.is_ok());
    say("body again", answer.consume().is_ok());
    if let Ok(body) = body {
        let stream = body.stream();
        say("stream", stream.is_ok());
        say("stream again", body.stream().is_ok());
    }
}
