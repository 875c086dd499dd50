use serde_json::json;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p2::types::HostIncomingResponse;

use super::*;
use crate::id::Digest;
use crate::trace::{RecordedCall, TraceError};

struct NoBlobs;

impl TraceSource for NoBlobs {
    fn next_call(&mut self) -> Result<Option<RecordedCall>, TraceError> {
        Ok(None)
    }

    fn delegated(&mut self) -> Result<Option<(u64, crate::trace::event::Event)>, TraceError> {
        Ok(None)
    }

    fn has_call(&mut self) -> Result<bool, TraceError> {
        Ok(false)
    }

    fn take_delegated(&mut self) -> Result<(), TraceError> {
        Ok(())
    }

    fn blob(&mut self, _digest: Digest) -> Result<Vec<u8>, TraceError> {
        Ok(Vec::new())
    }
}

fn written(write: impl FnOnce(&mut Encoder<'_>)) -> Value {
    let mut out = Vec::new();
    write(&mut Encoder { out: &mut out, sink: None, failed: None, payload_bytes: 0 });
    let value: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(canonical::to_vec(&value), out, "the bytes are canonical");
    value
}

/// Writes, reads, and writes what was read.
fn again<T: Encode + Decode>(value: &T) -> Value {
    let first = written(|to| value.encode(to));
    let read = T::decode(&first, &mut NoBlobs).unwrap();
    assert_eq!(written(|to| read.encode(to)), first);
    first
}

#[test]
fn every_error_is_written_and_read_back() {
    use self::http::ErrorCode as E;
    let size = || http::FieldSizePayload { field_name: Some("x".to_owned()), field_size: None };
    let dns = http::DnsErrorPayload { rcode: Some("NX".to_owned()), info_code: Some(3) };
    let alert = http::TlsAlertReceivedPayload { alert_id: Some(40), alert_message: None };
    let all = [
        E::DnsTimeout,
        E::DnsError(dns),
        E::DestinationNotFound,
        E::DestinationUnavailable,
        E::DestinationIpProhibited,
        E::DestinationIpUnroutable,
        E::ConnectionRefused,
        E::ConnectionTerminated,
        E::ConnectionTimeout,
        E::ConnectionReadTimeout,
        E::ConnectionWriteTimeout,
        E::ConnectionLimitReached,
        E::TlsProtocolError,
        E::TlsCertificateError,
        E::TlsAlertReceived(alert),
        E::HttpRequestDenied,
        E::HttpRequestLengthRequired,
        E::HttpRequestBodySize(Some(u64::MAX)),
        E::HttpRequestMethodInvalid,
        E::HttpRequestUriInvalid,
        E::HttpRequestUriTooLong,
        E::HttpRequestHeaderSectionSize(None),
        E::HttpRequestHeaderSize(Some(size())),
        E::HttpRequestTrailerSectionSize(Some(1)),
        E::HttpRequestTrailerSize(size()),
        E::HttpResponseIncomplete,
        E::HttpResponseHeaderSectionSize(Some(2)),
        E::HttpResponseHeaderSize(size()),
        E::HttpResponseBodySize(None),
        E::HttpResponseTrailerSectionSize(None),
        E::HttpResponseTrailerSize(size()),
        E::HttpResponseTransferCoding(Some("br".to_owned())),
        E::HttpResponseContentCoding(None),
        E::HttpResponseTimeout,
        E::HttpUpgradeFailed,
        E::HttpProtocolError,
        E::LoopDetected,
        E::ConfigurationError,
        E::InternalError(Some("why".to_owned())),
    ];
    let tags: std::collections::BTreeSet<String> = all.iter().map(|code| again(code)["tag"].to_string()).collect();
    assert_eq!(tags.len(), 39, "WIT has so many cases");
    assert_eq!(again(&all[1]), json!({"tag": "DNS-error", "val": {"info-code": 3, "rcode": "NX"}}));
    assert_eq!(again(&all[21]), json!({"tag": "HTTP-request-header-section-size", "val": null}));
}

#[test]
fn methods_and_schemes_are_spelled_as_in_wit() {
    assert_eq!(again(&http::Method::Delete), json!({"tag": "delete"}));
    assert_eq!(again(&http::Method::Other("PURGE".to_owned())), json!({"tag": "other", "val": "PURGE"}));
    assert_eq!(again(&Some(http::Scheme::Https)), json!({"tag": "HTTPS"}));
    assert_eq!(again(&None::<http::Scheme>), Value::Null);
}

type Got = wasmtime::Result<Option<Result<Result<Resource<HostIncomingResponse>, http::ErrorCode>, ()>>>;

#[test]
fn a_future_that_is_asked_is_spelled_with_all_of_its_cases() {
    let put = |got: Got| {
        let first = written(|to| drop(got.put(to).unwrap()));
        let read = Got::get(&first, &mut NoBlobs);
        assert_eq!(written(|to| drop(read.put(to).unwrap())), first);
        first
    };
    assert_eq!(put(Ok(None)), json!({"ok": null}));
    assert_eq!(put(Ok(Some(Err(())))), json!({"ok": {"err": null}}));
    assert_eq!(put(Ok(Some(Ok(Ok(Resource::new_own(12)))))), json!({"ok": {"ok": {"ok": 12}}}));
    let prohibited = put(Ok(Some(Ok(Err(http::ErrorCode::DestinationIpProhibited)))));
    assert_eq!(prohibited, json!({"ok": {"ok": {"err": {"tag": "destination-IP-prohibited"}}}}));
}

#[test]
fn a_result_that_a_function_returns_is_its_answer() {
    let body: wasmtime::Result<Result<u32, ()>> = Ok(Ok(5));
    assert_eq!(written(|to| drop(body.put(to).unwrap())), json!({"ok": 5}));
    let body: wasmtime::Result<Result<u32, ()>> = Ok(Err(()));
    assert_eq!(written(|to| drop(body.put(to).unwrap())), json!({"err": null}));
    let read: wasmtime::Result<Result<u32, ()>> = Answer::get(&json!({"err": null}), &mut NoBlobs);
    assert_eq!(read.unwrap(), Err(()));
    let read: wasmtime::Result<Result<u32, ()>> = Answer::get(&json!({"trap": "why"}), &mut NoBlobs);
    assert_eq!(read.unwrap_err().to_string(), "why");
}

#[test]
fn the_notes_of_a_request_stand_beside_its_answer() {
    let handled = Handled {
        result: Ok(Resource::new_own(9)),
        method: "GET".to_owned(),
        url: Some("https://a.example/".to_owned()),
        rule: Some(0),
        denied: None,
    };
    let ok = written(|to| drop(handled.put(to).unwrap()));
    assert_eq!(ok, json!({"method": "GET", "ok": 9, "rule": 0, "url": "https://a.example/"}));
    assert_eq!(Handled::get(&ok, &mut NoBlobs).result.unwrap().rep(), 9);
    let denied = Handled { method: "GET".to_owned(), denied: Some("no rule".to_owned()), ..Handled::default() };
    let denied = written(|to| drop(denied.put(to).unwrap()));
    assert_eq!(denied, json!({"denied": "no rule", "err": {"tag": "HTTP-request-denied"}, "method": "GET"}));
    let read = Handled::get(&denied, &mut NoBlobs).result.unwrap_err();
    assert!(matches!(read.downcast_ref(), Some(http::ErrorCode::HttpRequestDenied)));
    let trapped = written(|to| drop(Handled::trap(wasmtime::format_err!("why")).put(to).unwrap()));
    assert_eq!(trapped, json!({"trap": "why"}));
}

#[test]
fn fields_that_are_too_large_are_a_limit_and_no_answer() {
    for error in [FieldMapError::TotalSizeTooBig, FieldMapError::TooManyFields] {
        let too_large: HeaderResult<()> = Err(error.into());
        let mut out = Vec::new();
        let mut to = Encoder { out: &mut out, sink: None, failed: None, payload_bytes: 0 };
        let Err(hit) = too_large.put(&mut to) else { panic!("{error} was recorded") };
        assert_eq!(hit.kind, LimitKind::HttpFieldBytes);
        assert!(out.is_empty());
    }
}
