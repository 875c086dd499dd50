//! From the host's error codes to the skill's own: a code for programs, a sentence that says what to do for people.

use wasip2::http::types::ErrorCode as Cause;

use crate::limits::MAX_DETAIL_BYTES;
use crate::tools::{Error, ErrorCode};

/// An error with a message of its own.
pub(crate) fn fail(code: ErrorCode, url: Option<&str>, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), url: url.map(str::to_owned), cause: None, status: None }
}

/// A text from outside, bounded for a message.
pub(crate) fn shorten(text: &str) -> String {
    let mut end = MAX_DETAIL_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    match text.get(..end) {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

/// The error for an exchange that the host could not or would not complete.
pub(crate) fn from_cause(url: &str, cause: &Cause) -> Error {
    let name = name(cause);
    let (code, what) = match cause {
        Cause::HttpRequestDenied | Cause::DestinationIpProhibited => {
            (ErrorCode::Denied, "the grant does not allow this request: ask for a network rule in the policy")
        }
        Cause::DnsError(_) | Cause::DestinationNotFound => {
            (ErrorCode::Unreachable, "the name of the host is unknown: check the URL")
        }
        Cause::ConnectionRefused
        | Cause::DestinationUnavailable
        | Cause::DestinationIpUnroutable
        | Cause::ConnectionLimitReached => {
            (ErrorCode::Unreachable, "the server cannot be reached: check the URL, or try again later")
        }
        Cause::DnsTimeout
        | Cause::ConnectionTimeout
        | Cause::ConnectionReadTimeout
        | Cause::ConnectionWriteTimeout
        | Cause::HttpResponseTimeout => {
            (ErrorCode::Timeout, "the server took too long: try again later, or give a longer timeout-ms")
        }
        Cause::TlsProtocolError | Cause::TlsCertificateError | Cause::TlsAlertReceived(_) => (
            ErrorCode::Tls,
            "the server did not prove who it is: check the URL and the certificates that the host trusts",
        ),
        Cause::HttpRequestMethodInvalid
        | Cause::HttpRequestUriInvalid
        | Cause::HttpRequestLengthRequired
        | Cause::HttpUpgradeFailed => (ErrorCode::InvalidInput, "the request cannot be sent as it is"),
        Cause::HttpRequestBodySize(_)
        | Cause::HttpRequestUriTooLong
        | Cause::HttpRequestHeaderSectionSize(_)
        | Cause::HttpRequestHeaderSize(_)
        | Cause::HttpRequestTrailerSectionSize(_)
        | Cause::HttpRequestTrailerSize(_) => {
            (ErrorCode::TooLarge, "the request is larger than the host allows: send less")
        }
        Cause::HttpResponseHeaderSectionSize(_)
        | Cause::HttpResponseHeaderSize(_)
        | Cause::HttpResponseBodySize(_)
        | Cause::HttpResponseTrailerSectionSize(_)
        | Cause::HttpResponseTrailerSize(_) => {
            (ErrorCode::TooLarge, "the answer is larger than the host allows: ask for less")
        }
        Cause::ConnectionTerminated
        | Cause::HttpResponseIncomplete
        | Cause::HttpResponseTransferCoding(_)
        | Cause::HttpResponseContentCoding(_)
        | Cause::HttpProtocolError
        | Cause::LoopDetected => {
            (ErrorCode::Protocol, "the server's answer ended early or is no HTTP: try again later")
        }
        Cause::ConfigurationError | Cause::InternalError(_) => (ErrorCode::Io, "the exchange failed"),
    };
    let message = match detail(cause) {
        Some(detail) => format!("{what} ({name}: {})", shorten(detail)),
        None => format!("{what} ({name})"),
    };
    Error { cause: Some(name.to_owned()), ..fail(code, Some(url), message) }
}

/// What the host said beside the code.
fn detail(cause: &Cause) -> Option<&str> {
    match cause {
        Cause::InternalError(text)
        | Cause::HttpResponseTransferCoding(text)
        | Cause::HttpResponseContentCoding(text) => text.as_deref(),
        Cause::DnsError(payload) => payload.rcode.as_deref(),
        Cause::TlsAlertReceived(payload) => payload.alert_message.as_deref(),
        _ => None,
    }
}

/// The case's name as the WIT of `wasi:http` spells it.
fn name(cause: &Cause) -> &'static str {
    match cause {
        Cause::DnsTimeout => "DNS-timeout",
        Cause::DnsError(_) => "DNS-error",
        Cause::DestinationNotFound => "destination-not-found",
        Cause::DestinationUnavailable => "destination-unavailable",
        Cause::DestinationIpProhibited => "destination-IP-prohibited",
        Cause::DestinationIpUnroutable => "destination-IP-unroutable",
        Cause::ConnectionRefused => "connection-refused",
        Cause::ConnectionTerminated => "connection-terminated",
        Cause::ConnectionTimeout => "connection-timeout",
        Cause::ConnectionReadTimeout => "connection-read-timeout",
        Cause::ConnectionWriteTimeout => "connection-write-timeout",
        Cause::ConnectionLimitReached => "connection-limit-reached",
        Cause::TlsProtocolError => "TLS-protocol-error",
        Cause::TlsCertificateError => "TLS-certificate-error",
        Cause::TlsAlertReceived(_) => "TLS-alert-received",
        Cause::HttpRequestDenied => "HTTP-request-denied",
        Cause::HttpRequestLengthRequired => "HTTP-request-length-required",
        Cause::HttpRequestBodySize(_) => "HTTP-request-body-size",
        Cause::HttpRequestMethodInvalid => "HTTP-request-method-invalid",
        Cause::HttpRequestUriInvalid => "HTTP-request-URI-invalid",
        Cause::HttpRequestUriTooLong => "HTTP-request-URI-too-long",
        Cause::HttpRequestHeaderSectionSize(_) => "HTTP-request-header-section-size",
        Cause::HttpRequestHeaderSize(_) => "HTTP-request-header-size",
        Cause::HttpRequestTrailerSectionSize(_) => "HTTP-request-trailer-section-size",
        Cause::HttpRequestTrailerSize(_) => "HTTP-request-trailer-size",
        Cause::HttpResponseIncomplete => "HTTP-response-incomplete",
        Cause::HttpResponseHeaderSectionSize(_) => "HTTP-response-header-section-size",
        Cause::HttpResponseHeaderSize(_) => "HTTP-response-header-size",
        Cause::HttpResponseBodySize(_) => "HTTP-response-body-size",
        Cause::HttpResponseTrailerSectionSize(_) => "HTTP-response-trailer-section-size",
        Cause::HttpResponseTrailerSize(_) => "HTTP-response-trailer-size",
        Cause::HttpResponseTransferCoding(_) => "HTTP-response-transfer-coding",
        Cause::HttpResponseContentCoding(_) => "HTTP-response-content-coding",
        Cause::HttpResponseTimeout => "HTTP-response-timeout",
        Cause::HttpUpgradeFailed => "HTTP-upgrade-failed",
        Cause::HttpProtocolError => "HTTP-protocol-error",
        Cause::LoopDetected => "loop-detected",
        Cause::ConfigurationError => "configuration-error",
        Cause::InternalError(_) => "internal-error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_have_a_code_a_name_and_a_message() {
        let refused = from_cause("http://a.test/", &Cause::ConnectionRefused);
        assert_eq!((refused.code, refused.cause.as_deref()), (ErrorCode::Unreachable, Some("connection-refused")));
        assert_eq!(refused.url.as_deref(), Some("http://a.test/"));
        let denied = from_cause("http://a.test/", &Cause::DestinationIpProhibited);
        assert_eq!(denied.code, ErrorCode::Denied);
        for error in [refused, denied, from_cause("http://a.test/", &Cause::InternalError(Some("broken".to_owned())))] {
            assert!(error.message.starts_with(char::is_lowercase), "{}", error.message);
            assert!(!error.message.ends_with('.'), "{}", error.message);
        }
    }

    #[test]
    fn what_others_say_is_bounded() {
        assert_eq!(shorten("é"), "é");
        let long = "é".repeat(MAX_DETAIL_BYTES);
        let short = shorten(&long);
        assert!(short.len() <= MAX_DETAIL_BYTES + '…'.len_utf8() && short.ends_with('…'), "{}", short.len());
    }
}
