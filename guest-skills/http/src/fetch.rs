//! One call of a tool: a request, and those that redirects lead to.

use url::Url;

use crate::body::Content;
use crate::error::fail;
use crate::headers;
use crate::limits::{DEFAULT_BODY_BYTES, DEFAULT_REDIRECTS, MAX_BODY_BYTES, MAX_REDIRECTS};
use crate::redirect::{self, Next};
use crate::target;
use crate::tools::{Error, ErrorCode, Header};

/// The optional parameters that all tools share, as they were given.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) headers: Option<Vec<Header>>,
    pub(crate) redirects: Option<u8>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) expect_success: Option<bool>,
}

/// What a tool asks for.
#[derive(Debug)]
pub(crate) struct Call {
    method: String,
    url: String,
    content: Option<Content>,
    accept: &'static str,
}

impl Call {
    pub(crate) fn new(method: &str, url: &str, content: Option<Content>) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), content, accept: "*/*" }
    }

    pub(crate) fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: Url,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Option<Vec<u8>>,
    /// Of the answer's body.
    pub(crate) max_bytes: u64,
    pub(crate) timeout_ms: Option<u32>,
}

/// What a server answered to one request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Vec<u8>,
}

/// What the caller gets: the last reply and how it came to it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Vec<u8>,
    pub(crate) url: String,
    pub(crate) redirects: u8,
}

/// Whether an answer with this status and these headers is a redirect that is followed.
pub(crate) type Follows<'a> = &'a dyn Fn(u16, &[Header]) -> bool;

/// Sends the call with `exchange`, and again wherever a redirect leads to. `exchange` reads no body of a redirect that is followed, which
/// its third parameter decides.
pub(crate) fn fetch(
    call: Call,
    options: &Options,
    exchange: &mut dyn FnMut(&Request, Follows<'_>) -> Result<Reply, Error>,
) -> Result<Answer, Error> {
    let most = bounded("redirects", options.redirects, DEFAULT_REDIRECTS, MAX_REDIRECTS)?;
    let max_bytes = bounded("max-bytes", options.max_bytes, DEFAULT_BODY_BYTES, MAX_BODY_BYTES)?;
    let given = options.headers.as_deref().unwrap_or_default();
    let mut request = Request {
        headers: headers::first(given, call.accept, call.content.as_ref())?,
        method: method(&call.method)?,
        url: target::parse(&call.url)?,
        body: call.content.map(|content| content.bytes),
        max_bytes,
        timeout_ms: options.timeout_ms,
    };
    let mut redirects = 0_u8;
    loop {
        let follows = |status: u16, headers: &[Header]| {
            most > 0 && redirect::next(status, &request.method).is_some() && location(headers).is_some()
        };
        let reply = exchange(&request, &follows)?;
        if !follows(reply.status, &reply.headers) {
            return finish(request, reply, redirects, options.expect_success.unwrap_or(false));
        }
        if redirects == most {
            let message =
                format!("there are more than {most} redirects: give a higher `redirects`, at most {MAX_REDIRECTS}");
            let failure = fail(ErrorCode::TooManyRedirects, Some(request.url.as_str()), message);
            return Err(Error { status: Some(reply.status), ..failure });
        }
        redirects = redirects.saturating_add(1);
        request = follow(request, &reply)?;
    }
}

/// The request that a redirect leads to.
fn follow(mut request: Request, reply: &Reply) -> Result<Request, Error> {
    let location = location(&reply.headers).unwrap_or_default();
    let url = target::join(&request.url, location).map_err(|error| Error { status: Some(reply.status), ..error })?;
    if url.origin() != request.url.origin() {
        headers::drop_credentials(&mut request.headers);
    }
    if redirect::next(reply.status, &request.method) == Some(Next::Get) {
        "GET".clone_into(&mut request.method);
        request.body = None;
        headers::drop_content(&mut request.headers);
    }
    Ok(Request { url, ..request })
}

fn finish(request: Request, reply: Reply, redirects: u8, expect_success: bool) -> Result<Answer, Error> {
    let url = String::from(request.url);
    if expect_success && !(200..300).contains(&reply.status) {
        let failure = fail(ErrorCode::Status, Some(&url), format!("the server answered with status {}", reply.status));
        return Err(Error { status: Some(reply.status), ..failure });
    }
    Ok(Answer { status: reply.status, headers: reply.headers, body: reply.body, url, redirects })
}

fn location(headers: &[Header]) -> Option<&str> {
    headers.iter().find(|header| header.name == "location").map(|header| header.value.as_str())
}

/// A method is compared exactly: `get` is none that servers know, so what is known is spelled in upper case.
fn method(given: &str) -> Result<String, Error> {
    if given.is_empty() || given.len() > 32 || !given.bytes().all(headers::is_token) {
        return Err(fail(
            ErrorCode::InvalidInput,
            None,
            "the method is no HTTP token of at most 32 bytes, such as PATCH",
        ));
    }
    let upper = given.to_ascii_uppercase();
    if matches!(upper.as_str(), "CONNECT" | "TRACE") {
        return Err(fail(ErrorCode::InvalidInput, None, format!("the method {upper} is not sent: it is for proxies")));
    }
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"].contains(&upper.as_str());
    Ok(if known { upper } else { given.to_owned() })
}

/// What was given, or the default, within the most.
fn bounded<T: Ord + std::fmt::Display>(name: &str, given: Option<T>, default: T, most: T) -> Result<T, Error> {
    let value = given.unwrap_or(default);
    if value > most {
        let message = format!("`{name}` is {value}, more than {most}: give less");
        return Err(fail(ErrorCode::InvalidInput, None, message));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Header {
        Header { name: name.to_owned(), value: value.to_owned() }
    }

    /// A server that gives these replies in turn, and what it was asked.
    fn serve(call: Call, options: &Options, replies: &[(u16, &str)]) -> (Result<Answer, Error>, Vec<Request>) {
        let mut asked = Vec::new();
        let answer = fetch(call, options, &mut |request, _| {
            let (status, location) = replies[asked.len()];
            asked.push(request.clone());
            let headers = if location.is_empty() { Vec::new() } else { vec![header("location", location)] };
            Ok(Reply { status, headers, body: b"body".to_vec() })
        });
        (answer, asked)
    }

    fn post(options: &Options, replies: &[(u16, &str)]) -> (Result<Answer, Error>, Vec<Request>) {
        let content = Content::text("text".to_owned(), None);
        serve(Call::new("POST", "http://a.test/x", Some(content)), options, replies)
    }

    fn credentials() -> Options {
        let headers = vec![header("Authorization", "a"), header("Cookie", "b"), header("x-own", "c")];
        Options { headers: Some(headers), ..Options::default() }
    }

    fn sent(request: &Request, name: &str) -> bool {
        request.headers.iter().any(|header| header.name == name)
    }

    #[test]
    fn a_redirect_is_a_new_request() {
        let (answer, asked) = post(&Options::default(), &[(302, "/y"), (307, "http://b.test/z"), (200, "")]);
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.url.as_str(), answer.redirects), (200, "http://b.test/z", 2));
        assert_eq!(asked.iter().map(|request| request.method.as_str()).collect::<Vec<_>>(), ["POST", "GET", "GET"]);
        assert_eq!(asked[0].body.as_deref(), Some(b"text".as_slice()));
        assert!(asked[1].body.is_none() && !sent(&asked[1], "content-type"));
        let (_, asked) = post(&Options::default(), &[(308, "/y"), (200, "")]);
        assert_eq!((asked[1].method.as_str(), asked[1].body.as_deref()), ("POST", Some(b"text".as_slice())));
        assert!(sent(&asked[1], "content-type"));
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (location, kept) in [
            ("/y", true),
            ("http://a.test:80/y", true),
            ("http://a.test:81/", false),
            ("https://a.test/", false),
            ("//b.test/", false),
        ] {
            let (answer, asked) = post(&credentials(), &[(307, location), (200, "")]);
            assert!(answer.is_ok());
            assert_eq!(sent(&asked[1], "authorization"), kept, "{location}");
            assert_eq!(sent(&asked[1], "cookie"), kept, "{location}");
            assert!(sent(&asked[1], "x-own"));
        }
        let (_, asked) = post(&credentials(), &[(307, "//b.test/"), (307, "//a.test/"), (200, "")]);
        assert!(!sent(&asked[2], "authorization"), "what is forgotten does not come back");
    }

    #[test]
    fn redirects_are_bounded_and_may_be_off() {
        let one = Options { redirects: Some(1), ..Options::default() };
        let (answer, asked) = post(&one, &[(307, "/y"), (307, "/z"), (200, "")]);
        let refused = answer.unwrap_err();
        assert_eq!((refused.code, refused.status, asked.len()), (ErrorCode::TooManyRedirects, Some(307), 2));
        let off = Options { redirects: Some(0), ..Options::default() };
        assert_eq!(post(&off, &[(307, "/y")]).0.unwrap().status, 307);
        let many = Options { redirects: Some(MAX_REDIRECTS + 1), ..Options::default() };
        assert_eq!(post(&many, &[]).0.unwrap_err().code, ErrorCode::InvalidInput);
        assert_eq!(post(&Options::default(), &[(307, "")]).0.unwrap().status, 307, "without a place to go");
    }

    #[test]
    fn any_status_is_an_answer_unless_success_is_expected() {
        assert_eq!(post(&Options::default(), &[(500, "")]).0.unwrap().status, 500);
        let strict = Options { expect_success: Some(true), ..Options::default() };
        let refused = post(&strict, &[(404, "")]).0.unwrap_err();
        assert_eq!((refused.code, refused.status), (ErrorCode::Status, Some(404)));
        assert_eq!(post(&strict, &[(204, "")]).0.unwrap().status, 204);
    }

    #[test]
    fn methods() {
        assert_eq!(method("patch").unwrap(), "PATCH");
        assert_eq!(method("PROPFIND").unwrap(), "PROPFIND");
        for bad in ["", "GET /x", "CONNECT", "trace", &"X".repeat(33)] {
            assert_eq!(method(bad).unwrap_err().code, ErrorCode::InvalidInput, "{bad}");
        }
    }
}
