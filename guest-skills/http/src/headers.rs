//! The headers of a request: what the caller gave, checked, and what is added.

use crate::body::Content;
use crate::error::{fail, shorten};
use crate::limits::{MAX_HEADER_BYTES, MAX_HEADERS};
use crate::tools::{Error, ErrorCode, Header};

/// Set from the URL, from the body, or by the connection; a caller's own would contradict them.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What one server was told must not be told to another.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Describe a body, so they go with it.
const CONTENT: [&str; 4] = ["content-type", "content-encoding", "content-language", "content-location"];

/// The headers of the first request: the caller's, then defaults for what these do not name.
pub(crate) fn first(given: &[Header], accept: &str, content: Option<&Content>) -> Result<Vec<Header>, Error> {
    if given.len() > MAX_HEADERS {
        let message = format!("there are {} headers, more than {MAX_HEADERS}: send fewer", given.len());
        return Err(fail(ErrorCode::TooLarge, None, message));
    }
    let mut headers = Vec::with_capacity(given.len().saturating_add(3));
    for header in given {
        headers.push(check(header)?);
    }
    if let Some(content) = content {
        let kind = Header { name: "content-type".to_owned(), value: content.kind.clone() };
        add_missing(&mut headers, check(&kind)?);
    }
    add_missing(&mut headers, Header { name: "accept".to_owned(), value: accept.to_owned() });
    let agent = concat!("skillhost-http/", env!("CARGO_PKG_VERSION"));
    add_missing(&mut headers, Header { name: "user-agent".to_owned(), value: agent.to_owned() });
    Ok(headers)
}

/// Forgets what only the first origin may know.
pub(crate) fn drop_credentials(headers: &mut Vec<Header>) {
    headers.retain(|header| !CREDENTIALS.contains(&header.name.as_str()));
}

/// Forgets what described a body that is no longer sent.
pub(crate) fn drop_content(headers: &mut Vec<Header>) {
    headers.retain(|header| !CONTENT.contains(&header.name.as_str()));
}

fn add_missing(headers: &mut Vec<Header>, header: Header) {
    if !headers.iter().any(|known| known.name == header.name) {
        headers.push(header);
    }
}

/// A header with its name in lower case, or why it cannot be sent.
fn check(header: &Header) -> Result<Header, Error> {
    let name = header.name.to_ascii_lowercase();
    // Neither name nor value is repeated in full: a value may be a secret.
    let refuse = |code, why: String| Err(fail(code, None, format!("the header `{}` {why}", shorten(&name))));
    if name.is_empty() || !name.bytes().all(is_token) {
        return refuse(ErrorCode::InvalidInput, "has a name that is no HTTP token".to_owned());
    }
    if RESERVED.contains(&name.as_str()) {
        return refuse(ErrorCode::InvalidInput, "is set by the request itself: leave it out".to_owned());
    }
    if name.len().saturating_add(header.value.len()) > MAX_HEADER_BYTES {
        return refuse(ErrorCode::TooLarge, format!("is longer than {MAX_HEADER_BYTES} bytes"));
    }
    let value = header.value.trim_matches([' ', '\t']);
    if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return refuse(ErrorCode::InvalidInput, "has a control character in its value".to_owned());
    }
    Ok(Header { name, value: value.to_owned() })
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Header {
        Header { name: name.to_owned(), value: value.to_owned() }
    }

    fn names(headers: &[Header]) -> Vec<&str> {
        headers.iter().map(|header| header.name.as_str()).collect()
    }

    #[test]
    fn defaults_do_not_override() {
        let body = Content::text("x".to_owned(), None);
        let plain = first(&[], "*/*", Some(&body)).unwrap();
        assert_eq!(names(&plain), ["content-type", "accept", "user-agent"]);
        let own = first(&[header("Accept", " text/html "), header("USER-agent", "me")], "*/*", None).unwrap();
        assert_eq!(own, [header("accept", "text/html"), header("user-agent", "me")]);
    }

    #[test]
    fn what_cannot_be_sent() {
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("é", "x"),
            ("Host", "other.test"),
            ("Content-Length", "5"),
            ("transfer-encoding", "chunked"),
            ("x", "a\r\ny: b"),
            ("x", "\0"),
        ] {
            let refused = first(&[header(name, value)], "*/*", None).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidInput, "{name}: {value:?}");
        }
        let secret = first(&[header("authorization", "sec\nret")], "*/*", None).unwrap_err();
        assert!(!secret.message.contains("sec\n"), "{}", secret.message);
        let kind = Content::text(String::new(), Some("text/plain\r\nx: y".to_owned()));
        assert_eq!(first(&[], "*/*", Some(&kind)).unwrap_err().code, ErrorCode::InvalidInput);
    }

    #[test]
    fn bounds() {
        let many = vec![header("a", "b"); MAX_HEADERS];
        assert!(first(&many, "*/*", None).is_ok());
        let more = vec![header("a", "b"); MAX_HEADERS + 1];
        assert_eq!(first(&more, "*/*", None).unwrap_err().code, ErrorCode::TooLarge);
        assert!(first(&[header("a", &"b".repeat(MAX_HEADER_BYTES - 1))], "*/*", None).is_ok());
        let long = header("a", &"b".repeat(MAX_HEADER_BYTES));
        assert_eq!(first(&[long], "*/*", None).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn what_a_redirect_forgets() {
        let mut headers =
            vec![header("authorization", "a"), header("cookie", "b"), header("content-type", "c"), header("x", "d")];
        drop_credentials(&mut headers);
        assert_eq!(names(&headers), ["content-type", "x"]);
        drop_content(&mut headers);
        assert_eq!(names(&headers), ["x"]);
    }
}
