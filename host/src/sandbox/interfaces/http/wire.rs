//! How the values of `wasi:http` are spelled in a trace: WIT names, records sorted.

use serde_json::Value;
use wasmtime_wasi_http::FieldMapError;
use wasmtime_wasi_http::p2::bindings::http::types as http;
use wasmtime_wasi_http::p2::{HeaderError, HeaderResult, HttpError, HttpResult};

use super::send::Handled;
use crate::canonical;
use crate::limits::{self, LimitKind};
use crate::sandbox::stop::LimitHit;
use crate::sandbox::tape::{Answer, get_ok, limit_in, not_an_answer, put_ok, put_trap, unreadable};
use crate::sandbox::wire::{Decode, Encode, Encoder, list, record, variant};
use crate::trace::TraceSource;

list!((String, Vec<u8>), Vec<u8>);

record!(http::DnsErrorPayload { "info-code": info_code, "rcode": rcode });
record!(http::TlsAlertReceivedPayload { "alert-id": alert_id, "alert-message": alert_message });
record!(http::FieldSizePayload { "field-name": field_name, "field-size": field_size });

variant!(http::Method {
    "get": Get, "head": Head, "post": Post, "put": Put, "delete": Delete, "connect": Connect, "options": Options, "trace": Trace,
    "patch": Patch, "other": Other(name),
});
variant!(http::Scheme { "HTTP": Http, "HTTPS": Https, "other": Other(name) });
variant!(http::HeaderError { "invalid-syntax": InvalidSyntax, "forbidden": Forbidden, "immutable": Immutable });
variant!(http::ErrorCode {
    "DNS-timeout": DnsTimeout, "DNS-error": DnsError(payload), "destination-not-found": DestinationNotFound,
    "destination-unavailable": DestinationUnavailable, "destination-IP-prohibited": DestinationIpProhibited,
    "destination-IP-unroutable": DestinationIpUnroutable, "connection-refused": ConnectionRefused,
    "connection-terminated": ConnectionTerminated, "connection-timeout": ConnectionTimeout,
    "connection-read-timeout": ConnectionReadTimeout, "connection-write-timeout": ConnectionWriteTimeout,
    "connection-limit-reached": ConnectionLimitReached, "TLS-protocol-error": TlsProtocolError,
    "TLS-certificate-error": TlsCertificateError, "TLS-alert-received": TlsAlertReceived(payload),
    "HTTP-request-denied": HttpRequestDenied, "HTTP-request-length-required": HttpRequestLengthRequired,
    "HTTP-request-body-size": HttpRequestBodySize(size), "HTTP-request-method-invalid": HttpRequestMethodInvalid,
    "HTTP-request-URI-invalid": HttpRequestUriInvalid, "HTTP-request-URI-too-long": HttpRequestUriTooLong,
    "HTTP-request-header-section-size": HttpRequestHeaderSectionSize(size),
    "HTTP-request-header-size": HttpRequestHeaderSize(payload),
    "HTTP-request-trailer-section-size": HttpRequestTrailerSectionSize(size),
    "HTTP-request-trailer-size": HttpRequestTrailerSize(payload), "HTTP-response-incomplete": HttpResponseIncomplete,
    "HTTP-response-header-section-size": HttpResponseHeaderSectionSize(size),
    "HTTP-response-header-size": HttpResponseHeaderSize(payload), "HTTP-response-body-size": HttpResponseBodySize(size),
    "HTTP-response-trailer-section-size": HttpResponseTrailerSectionSize(size),
    "HTTP-response-trailer-size": HttpResponseTrailerSize(payload),
    "HTTP-response-transfer-coding": HttpResponseTransferCoding(name),
    "HTTP-response-content-coding": HttpResponseContentCoding(name), "HTTP-response-timeout": HttpResponseTimeout,
    "HTTP-upgrade-failed": HttpUpgradeFailed, "HTTP-protocol-error": HttpProtocolError, "loop-detected": LoopDetected,
    "configuration-error": ConfigurationError, "internal-error": InternalError(message),
});

/// Writes the error that a guest sees, or the trap. A limit is neither.
fn put_err<E: Encode>(error: wasmtime::Result<E>, to: &mut Encoder<'_>) -> Result<wasmtime::Result<E>, LimitHit> {
    match &error {
        Ok(code) => {
            to.raw(b"{\"err\":");
            code.encode(to);
            to.raw(b"}");
        }
        Err(trap) => match trap.downcast_ref() {
            // WASI has no error for too many fields.
            Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) => {
                return Err(LimitHit::count(LimitKind::HttpFieldBytes, limits::HTTP_FIELD_BYTES_MAX));
            }
            _ => match limit_in(trap) {
                Some(limit) => return Err(limit),
                None => put_trap(trap, to),
            },
        },
    }
    Ok(error)
}

fn get_err<E: Decode>(value: &Value, blobs: &mut dyn TraceSource) -> wasmtime::Result<E> {
    let code = value.get("err").ok_or_else(|| not_an_answer(value))?;
    E::decode(code, blobs).map_err(|error| unreadable(&error).into())
}

impl<T: Encode + Decode> Answer for HttpResult<T> {
    fn trap(error: wasmtime::Error) -> Self {
        Err(HttpError::trap(error))
    }

    fn put(self, to: &mut Encoder<'_>) -> Result<Self, LimitHit> {
        match self {
            Ok(value) => {
                put_ok(&value, to);
                Ok(Ok(value))
            }
            Err(error) => Ok(Err(put_err(error.downcast(), to)?.map_or_else(HttpError::trap, HttpError::from))),
        }
    }

    fn get(value: &Value, blobs: &mut dyn TraceSource) -> Self {
        if let Some(ok) = get_ok(value, blobs).map_err(HttpError::trap)? {
            return Ok(ok);
        }
        Err(get_err::<http::ErrorCode>(value, blobs).map_or_else(HttpError::trap, HttpError::from))
    }
}

impl<T: Encode + Decode> Answer for HeaderResult<T> {
    fn trap(error: wasmtime::Error) -> Self {
        Err(HeaderError::trap(error))
    }

    fn put(self, to: &mut Encoder<'_>) -> Result<Self, LimitHit> {
        match self {
            Ok(value) => {
                put_ok(&value, to);
                Ok(Ok(value))
            }
            Err(error) => Ok(Err(put_err(error.downcast(), to)?.map_or_else(HeaderError::trap, HeaderError::from))),
        }
    }

    fn get(value: &Value, blobs: &mut dyn TraceSource) -> Self {
        if let Some(ok) = get_ok(value, blobs).map_err(HeaderError::trap)? {
            return Ok(ok);
        }
        Err(get_err::<http::HeaderError>(value, blobs).map_or_else(HeaderError::trap, HeaderError::from))
    }
}

/// The answer of `handle`: beside the guest's part stands what was asked for and why it was decided so. A replay does not look at it.
impl Answer for Handled {
    fn trap(error: wasmtime::Error) -> Self {
        Self { result: HttpResult::trap(error), ..Self::default() }
    }

    fn put(self, to: &mut Encoder<'_>) -> Result<Self, LimitHit> {
        let Self { result, method, url, rule, denied } = self;
        let start = to.out.len();
        let result = result.put(to)?;
        if to.out.get(start..).is_some_and(|answer| answer.starts_with(b"{\"trap\"")) {
            return Ok(Self { result, method, url, rule, denied });
        }
        // The answer's member stands where it sorts: after `denied`, and before or after `method`.
        let answer = to.out.split_off(start);
        let answer = answer.get(1..answer.len().saturating_sub(1)).unwrap_or_default();
        let mut members = Members { to, next: b"{" };
        if let Some(reason) = &denied {
            members.string("denied", reason);
        }
        if result.is_err() {
            members.raw(answer);
        }
        if !method.is_empty() {
            members.string("method", &method);
        }
        if result.is_ok() {
            members.raw(answer);
        }
        if let Some(rule) = rule {
            members.name("rule");
            rule.encode(members.to);
        }
        if let Some(url) = &url {
            members.string("url", url);
        }
        to.raw(b"}");
        Ok(Self { result, method, url, rule, denied })
    }

    fn get(value: &Value, blobs: &mut dyn TraceSource) -> Self {
        Self { result: HttpResult::get(value, blobs), ..Self::default() }
    }
}

struct Members<'a, 'b> {
    to: &'a mut Encoder<'b>,
    next: &'static [u8],
}

impl Members<'_, '_> {
    fn raw(&mut self, member: &[u8]) {
        self.to.raw(std::mem::replace(&mut self.next, b","));
        self.to.raw(member);
    }

    fn name(&mut self, name: &str) {
        self.raw(b"\"");
        self.to.raw(name.as_bytes());
        self.to.raw(b"\":");
    }

    /// Never as a blob: what reads policies back from traces reads these.
    fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        canonical::write_string(self.to.out, value);
    }
}

#[cfg(test)]
mod tests;
