//! URLs: what of one goes into a request.

use url::Url;

use crate::error::{fail, shorten};
use crate::limits::MAX_URL_BYTES;
use crate::tools::{Error, ErrorCode};

/// Reads an absolute URL that can be asked for. A fragment is not sent, so it is dropped.
pub(crate) fn parse(text: &str) -> Result<Url, Error> {
    check_length(text)?;
    let url = Url::parse(text)
        .map_err(|error| refused(text, &format!("it is no absolute URL ({error}): write it as https://host/path")))?;
    finish(url)
}

/// Where a redirect leads to.
pub(crate) fn join(base: &Url, location: &str) -> Result<Url, Error> {
    check_length(location)?;
    let url = base.join(location).map_err(|error| {
        fail(ErrorCode::Protocol, Some(base.as_str()), format!("the redirect's location is no URL: {error}"))
    })?;
    finish(url)
}

fn finish(mut url: Url) -> Result<Url, Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused(url.as_str(), "its scheme is not http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it has a password in it.
        return Err(fail(
            ErrorCode::InvalidInput,
            None,
            "a URL with a user or a password is refused: send an authorization header",
        ));
    }
    url.set_fragment(None);
    Ok(url)
}

/// `host` or `host:port`; a default port is left out.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The path with its query.
pub(crate) fn path(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

fn check_length(text: &str) -> Result<(), Error> {
    if text.len() > MAX_URL_BYTES {
        let message = format!("the URL has {} bytes, more than {MAX_URL_BYTES}: shorten it", text.len());
        return Err(fail(ErrorCode::TooLarge, None, message));
    }
    Ok(())
}

fn refused(url: &str, why: &str) -> Error {
    fail(ErrorCode::InvalidInput, None, format!("`{}` cannot be asked for: {why}", shorten(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_request() {
        let url = parse("HTTP://Example.test:80/a b?x=1#part").unwrap();
        assert_eq!((authority(&url), path(&url)), ("example.test".to_owned(), "/a%20b?x=1".to_owned()));
        assert_eq!(url.as_str(), "http://example.test/a%20b?x=1");
        assert_eq!(authority(&parse("https://[::1]:8443").unwrap()), "[::1]:8443");
        assert_eq!(path(&parse("https://a.test").unwrap()), "/");
    }

    #[test]
    fn what_cannot_be_asked_for() {
        for bad in ["", "/relative", "ftp://a.test/", "file:///etc/passwd", "data:,x", "http://", "http://u:p@a.test/"]
        {
            assert_eq!(parse(bad).unwrap_err().code, ErrorCode::InvalidInput, "{bad}");
        }
        assert!(!parse("http://u:secret@a.test/").unwrap_err().message.contains("secret"));
        let long = format!("http://a.test/{}", "x".repeat(MAX_URL_BYTES));
        assert_eq!(parse(&long).unwrap_err().code, ErrorCode::TooLarge);
        assert!(parse(long.get(..MAX_URL_BYTES).unwrap()).is_ok());
    }

    #[test]
    fn a_redirect_may_be_relative() {
        let base = parse("http://a.test/x/y?q").unwrap();
        assert_eq!(join(&base, "../z").unwrap().as_str(), "http://a.test/z");
        assert_eq!(join(&base, "//b.test/").unwrap().as_str(), "http://b.test/");
        assert_eq!(join(&base, "http://[").unwrap_err().code, ErrorCode::Protocol);
        assert_eq!(join(&base, "ftp://a.test/").unwrap_err().code, ErrorCode::InvalidInput);
    }
}
