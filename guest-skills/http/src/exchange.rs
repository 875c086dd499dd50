//! One request over `wasi:http`. The only file that talks to the host.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, HeaderError, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::error::{fail, from_cause, shorten};
use crate::fetch::{Follows, Reply, Request};
use crate::limits::CHUNK_BYTES;
use crate::target;
use crate::tools::{Error, ErrorCode, Header};

/// Sends the request and gives the answer. Where `follows` says so, its body is not read.
pub(crate) fn exchange(request: &Request, follows: Follows<'_>) -> Result<Reply, Error> {
    let url = request.url.as_str();
    let outgoing = prepare(request)?;
    let body = outgoing.body().map_err(|()| broken(url))?;
    let answer = handle(outgoing, Some(timeouts(request, url)?)).map_err(|cause| from_cause(url, &cause))?;
    // Where sending fails, the answer knows why: the server may have refused before it had read everything.
    let sent = send(request, body);
    let response = wait(&answer, url).map_err(|error| sent.err().unwrap_or(error))?;
    let status = response.status();
    let headers = read_headers(&response);
    let body = if follows(status, &headers) { Vec::new() } else { read(request, &response, status)? };
    Ok(Reply { status, headers, body })
}

fn prepare(request: &Request) -> Result<OutgoingRequest, Error> {
    let url = request.url.as_str();
    let mut entries: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|header| (header.name.clone(), header.value.clone().into_bytes())).collect();
    // Without it a server would get the body in chunks, which some do not take; and a POST without a body has the length 0.
    let needs_length = matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
    if request.body.is_some() || needs_length {
        let length = request.body.as_ref().map_or(0, Vec::len);
        entries.push(("content-length".to_owned(), length.to_string().into_bytes()));
    }
    let fields = Fields::from_list(&entries).map_err(|error| {
        let why = match error {
            HeaderError::InvalidSyntax => "a header has a name or value that HTTP does not have",
            HeaderError::Forbidden => "the host does not allow one of the headers",
            HeaderError::Immutable => "the headers cannot be changed",
        };
        fail(ErrorCode::InvalidInput, Some(url), why)
    })?;
    let outgoing = OutgoingRequest::new(fields);
    let scheme = if request.url.scheme() == "https" { Scheme::Https } else { Scheme::Http };
    outgoing
        .set_method(&method(&request.method))
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(&target::authority(&request.url))))
        .and_then(|()| outgoing.set_path_with_query(Some(&target::path(&request.url))))
        .map_err(|()| fail(ErrorCode::InvalidInput, Some(url), "the host does not accept this method or URL"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn timeouts(request: &Request, url: &str) -> Result<RequestOptions, Error> {
    let options = RequestOptions::new();
    if let Some(milliseconds) = request.timeout_ms {
        let nanoseconds = Some(u64::from(milliseconds).saturating_mul(1_000_000));
        options
            .set_connect_timeout(nanoseconds)
            .and_then(|()| options.set_first_byte_timeout(nanoseconds))
            .and_then(|()| options.set_between_bytes_timeout(nanoseconds))
            .map_err(|()| {
                fail(ErrorCode::InvalidInput, Some(url), "the host does not support `timeout-ms`: leave it out")
            })?;
    }
    Ok(options)
}

/// Writes the body, as much at a time as the host takes, and ends it.
fn send(request: &Request, body: OutgoingBody) -> Result<(), Error> {
    let url = request.url.as_str();
    if let Some(bytes) = request.body.as_deref().filter(|bytes| !bytes.is_empty()) {
        let stream = body.write().map_err(|()| broken(url))?;
        write(&stream, bytes).map_err(|error| from_stream(url, &error))?;
    }
    OutgoingBody::finish(body, None).map_err(|cause| from_cause(url, &cause))
}

fn write(stream: &OutputStream, mut rest: &[u8]) -> Result<(), StreamError> {
    let ready = stream.subscribe();
    while !rest.is_empty() {
        ready.block();
        let room = usize::try_from(stream.check_write()?.min(CHUNK_BYTES)).unwrap_or(usize::MAX);
        let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        stream.write(now)?;
        rest = later;
    }
    stream.flush()?;
    ready.block();
    stream.check_write().map(|_| ())
}

fn wait(answer: &FutureIncomingResponse, url: &str) -> Result<IncomingResponse, Error> {
    loop {
        match answer.get() {
            Some(Ok(Ok(response))) => return Ok(response),
            Some(Ok(Err(cause))) => return Err(from_cause(url, &cause)),
            Some(Err(())) => return Err(broken(url)),
            None => answer.subscribe().block(),
        }
    }
}

fn read_headers(response: &IncomingResponse) -> Vec<Header> {
    let entries = response.headers().entries();
    let text = |value: Vec<u8>| {
        String::from_utf8(value).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    };
    entries.into_iter().map(|(name, value)| Header { name: name.to_ascii_lowercase(), value: text(value) }).collect()
}

/// Reads the body until its end, or until it is larger than was asked for.
fn read(request: &Request, response: &IncomingResponse, status: u16) -> Result<Vec<u8>, Error> {
    let url = request.url.as_str();
    let most = usize::try_from(request.max_bytes).unwrap_or(usize::MAX);
    let body = response.consume().map_err(|()| broken(url))?;
    let stream: InputStream = body.stream().map_err(|()| broken(url))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK_BYTES) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(error) => return Err(Error { status: Some(status), ..from_stream(url, &error) }),
        }
        if bytes.len() > most {
            let message = format!("the answer has more than {most} bytes: give a higher `max-bytes`, or ask for less");
            return Err(Error { status: Some(status), ..fail(ErrorCode::TooLarge, Some(url), message) });
        }
    }
}

fn from_stream(url: &str, error: &StreamError) -> Error {
    match error {
        StreamError::Closed => fail(ErrorCode::Protocol, Some(url), "the connection was closed early: try again later"),
        StreamError::LastOperationFailed(error) => http_error_code(error).map_or_else(
            || fail(ErrorCode::Io, Some(url), format!("the exchange failed: {}", shorten(&error.to_debug_string()))),
            |cause| from_cause(url, &cause),
        ),
    }
}

/// The host broke a rule of `wasi:http`, such as giving something once.
fn broken(url: &str) -> Error {
    fail(
        ErrorCode::Io,
        Some(url),
        "the host gave no body or answer where there is one: report this as a bug of the host",
    )
}
