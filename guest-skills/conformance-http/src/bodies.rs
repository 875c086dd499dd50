//! Bodies of both directions, and trailers.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody};
use wasip2::io::streams::{OutputStream, StreamError};

use crate::Case;
use crate::report::{digest, pattern, say};
use crate::requests::{cause, read, request, send, server, show, wait};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("body-echo", echo),
    ("body-empty", empty),
    ("body-large-answer", large_answer),
    ("body-large-request", large_request),
    ("body-chunked-answer", chunked_answer),
    ("body-slow-answer", slow_answer),
    ("body-length", length),
    ("body-length-wrong", length_wrong),
    ("body-cut", cut),
    ("body-dropped", dropped),
    ("body-unread", unread),
    ("trailers-answer", trailers_answer),
    ("trailers-none", trailers_none),
    ("trailers-request", trailers_request),
];

fn write(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes.chunks(4096).try_for_each(|part| stream.blocking_write_and_flush(part))
}

fn fields(entries: &[(&str, &str)]) -> Fields {
    let fields = Fields::new();
    for (name, value) in entries {
        if fields.append(name, value.as_bytes()).is_err() {
            say("refused", name);
        }
    }
    fields
}

/// Posts the bytes and gives the answer.
fn post(
    authority: &str,
    path: &str,
    headers: Fields,
    bytes: &[u8],
    trailers: Option<Fields>,
) -> Result<IncomingResponse, ErrorCode> {
    let outgoing = request(authority, &Method::Post, path, headers);
    let body = outgoing.body().map_err(|()| ErrorCode::InternalError(None))?;
    let future = handle(outgoing, None)?;
    {
        let stream = body.write().map_err(|()| ErrorCode::InternalError(None))?;
        if write(&stream, bytes).is_err() {
            say("written", "not all");
        }
    }
    if let Err(code) = OutgoingBody::finish(body, trailers) {
        say("finish", cause(&code));
    }
    wait(&future)
}

fn echo(arguments: &[String]) {
    show("echo", post(server(arguments), "/echo", Fields::new(), b"some text", None));
    show("bytes", post(server(arguments), "/echo", Fields::new(), &pattern(5000), None));
}

fn empty(arguments: &[String]) {
    show("posted", post(server(arguments), "/echo", Fields::new(), b"", None));
    show("answered", send(request(server(arguments), &Method::Get, "/empty", Fields::new()), None));
}

fn large_answer(arguments: &[String]) {
    show("large", send(request(server(arguments), &Method::Get, "/large/1000003", Fields::new()), None));
}

fn large_request(arguments: &[String]) {
    show("large", post(server(arguments), "/digest", Fields::new(), &pattern(1_000_003), None));
}

fn chunked_answer(arguments: &[String]) {
    show("chunked", send(request(server(arguments), &Method::Get, "/chunked", Fields::new()), None));
}

fn slow_answer(arguments: &[String]) {
    show("slow", send(request(server(arguments), &Method::Get, "/slow", Fields::new()), None));
}

fn length(arguments: &[String]) {
    show("with a length", post(server(arguments), "/framing", fields(&[("content-length", "4")]), b"text", None));
    show("without", post(server(arguments), "/framing", Fields::new(), b"text", None));
}

fn length_wrong(arguments: &[String]) {
    for length in ["3", "9"] {
        let outgoing = request(server(arguments), &Method::Post, "/echo", fields(&[("content-length", length)]));
        let (Ok(body), Ok(future)) = (outgoing.body(), handle(outgoing, None)) else {
            say("refused at once", length);
            continue;
        };
        let written = body.write().is_ok_and(|stream| write(&stream, b"text").is_ok());
        say(&format!("{length}: written"), written);
        match OutgoingBody::finish(body, None) {
            Ok(()) => say("finish", "ok"),
            Err(code) => say("finish", cause(&code)),
        }
        drop(future);
    }
}

fn cut(arguments: &[String]) {
    show("body", send(request(server(arguments), &Method::Get, "/cut", Fields::new()), None));
    show("chunk", send(request(server(arguments), &Method::Get, "/cut-chunk", Fields::new()), None));
    show("head", send(request(server(arguments), &Method::Get, "/cut-head", Fields::new()), None));
    show("no http", send(request(server(arguments), &Method::Get, "/garbage", Fields::new()), None));
}

fn dropped(arguments: &[String]) {
    let outgoing = request(server(arguments), &Method::Post, "/echo", Fields::new());
    let body = outgoing.body();
    let future = handle(outgoing, None);
    drop(body);
    say("fails", future.and_then(|future| wait(&future)).is_err());
}

fn unread(arguments: &[String]) {
    for _ in 0..3 {
        let answer = send(request(server(arguments), &Method::Get, "/large/100000", Fields::new()), None);
        say("status", answer.map(|answer| answer.status()).map_err(|code| cause(&code)));
    }
}

/// The trailers behind a body that has been read.
fn trailers(answer: &IncomingResponse) {
    let Ok(body) = answer.consume() else { return say("body", "none") };
    {
        let Ok(stream) = body.stream() else { return say("stream", "none") };
        let mut bytes = Vec::new();
        while let Ok(some) = stream.blocking_read(4096) {
            bytes.extend(some);
        }
        say("body", digest(&bytes));
    }
    let future = IncomingBody::finish(body);
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(Some(trailers)))) => {
            for (name, value) in trailers.entries() {
                say(&name.to_ascii_lowercase(), String::from_utf8_lossy(&value));
            }
        }
        Some(Ok(Ok(None))) => say("trailers", "none"),
        Some(Ok(Err(code))) => say("trailers", cause(&code)),
        Some(Err(())) => say("trailers", "asked twice"),
        None => say("trailers", "not ready"),
    }
    say("again", matches!(future.get(), Some(Err(()))));
}

fn trailers_answer(arguments: &[String]) {
    match send(request(server(arguments), &Method::Get, "/trailers", Fields::new()), None) {
        Ok(answer) => trailers(&answer),
        Err(code) => say("failed", cause(&code)),
    }
}

fn trailers_none(arguments: &[String]) {
    match send(request(server(arguments), &Method::Get, "/text", Fields::new()), None) {
        Ok(answer) => trailers(&answer),
        Err(code) => say("failed", cause(&code)),
    }
}

fn trailers_request(arguments: &[String]) {
    let answer = post(server(arguments), "/request-trailers", Fields::new(), b"text", Some(fields(&[("x-sum", "4")])));
    match answer {
        Ok(answer) => say("seen", read(&answer).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        Err(code) => say("failed", cause(&code)),
    }
}
