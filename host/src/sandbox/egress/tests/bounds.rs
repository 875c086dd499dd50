//! A peer that stalls, drips or never ends is ended.

use super::*;

/// Says something, then is silent with the connection open.
fn then_silent(text: &'static str) -> Server {
    Server::new(move |stream, _| {
        stream.write_all(text.as_bytes()).unwrap_or_default();
        // Waits until the other side is gone.
        while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    })
}

/// Says one text again and again, with or without a pause.
fn dripping(first: &'static str, again: &'static str, pause_ms: u64) -> Server {
    Server::new(move |stream, _| {
        stream.set_read_timeout(Some(Duration::from_millis(pause_ms.max(1)))).unwrap();
        let mut sent = stream.write_all(first.as_bytes());
        while sent.is_ok() {
            if pause_ms > 0 {
                let _ = stream.read(&mut [0; 1]);
            }
            sent = stream.write_all(again.as_bytes());
        }
    })
}

#[test]
fn a_peer_that_stalls_is_ended_in_every_phase() {
    for (text, code) in [
        ("", "ConnectionReadTimeout"),
        ("HTTP/1.1 200", "ConnectionReadTimeout"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", "ConnectionReadTimeout"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", "ConnectionReadTimeout"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", "ConnectionReadTimeout"),
        ("HTTP/1.1 200 OK\r\n\r\nno length", "ConnectionReadTimeout"),
    ] {
        let server = then_silent(text);
        let egress = with(&policy("", &local(&server)), None, short());
        assert_eq!(ask(&egress, get(&server.url("/"))).unwrap_err(), code, "{text:?}");
    }
}

#[test]
fn a_guest_may_ask_for_less_time_and_not_for_more() {
    let server = then_silent("");
    let hour = Some(Duration::from_secs(3600));
    let more = Timeouts { connect: hour, first_byte: hour, between_bytes: hour };
    let egress = with(&policy("", &local(&server)), None, short());
    assert_eq!(ask_within(&egress, get(&server.url("/")), more).unwrap_err(), "ConnectionReadTimeout");
    let less = Timeouts { first_byte: Some(Duration::from_millis(20)), ..Timeouts::default() };
    let egress = with(&policy("", &local(&server)), None, Ceilings::DEFAULT);
    assert_eq!(ask_within(&egress, get(&server.url("/")), less).unwrap_err(), "ConnectionReadTimeout");
    assert_eq!(lower(Duration::ZERO, hour), Duration::ZERO);
}

#[test]
fn a_peer_that_drips_is_ended() {
    // A head that never ends, byte by byte, and a body that does not either: no silence is long enough.
    let server = dripping("HTTP/1.1 200 OK\r\nx: ", "a", 50);
    let egress = with(&policy("", &local(&server)), None, short());
    assert_eq!(ask(&egress, get(&server.url("/"))).unwrap_err(), "ConnectionReadTimeout");
    let server = dripping("HTTP/1.1 200 OK\r\n\r\n", "a", 50);
    let total = Ceilings { total: Duration::from_millis(600), ..short() };
    let egress = with(&policy("", &local(&server)), None, total);
    assert_eq!(ask(&egress, get(&server.url("/"))).unwrap_err(), "HttpResponseTimeout");
    let server = dripping("", "HTTP/1.1 100 Continue\r\n\r\n", 0);
    let egress = with(&policy("", &local(&server)), None, short());
    assert_eq!(ask(&egress, get(&server.url("/"))).unwrap_err(), "ConnectionReadTimeout");
}

#[test]
fn what_never_ends_is_ended_by_its_size() {
    for (first, again, code) in [
        (
            "HTTP/1.1 200 OK\r\nx: ",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "HttpResponseHeaderSectionSize(None)",
        ),
        ("HTTP/1.1 200 OK\r\n", "x: y\r\n", "HttpResponseHeaderSectionSize(None)"),
        ("HTTP/1.1 200 OK\r\n\r\n", "aaaaaaaaaaaaaaaa", "HttpResponseBodySize(Some(4096))"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "8\r\naaaaaaaa\r\n",
            "HttpResponseBodySize(Some(4096))",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 4097\r\n\r\n", "a", "HttpResponseBodySize(Some(4097))"),
    ] {
        let server = dripping(first, again, 0);
        let ceilings = Ceilings { response_body: 4096, ..Ceilings::DEFAULT };
        let egress = with(&policy("", &local(&server)), None, ceilings);
        assert_eq!(ask(&egress, get(&server.url("/"))).unwrap_err(), code, "{first:?}");
    }
    let server = dripping("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", "xxxxxxxxxxxxxxxx", 0);
    assert_eq!(ask(&egress(&local(&server)), get(&server.url("/"))).unwrap_err(), "HttpProtocolError");
}

#[test]
fn what_a_guest_sends_has_an_end() {
    let server = echo();
    let ceilings = Ceilings { request_body: 3, ..Ceilings::DEFAULT };
    let egress = with(&policy("", &local(&server)), None, ceilings);
    let request = Request::post(server.url("/")).body(full("body")).unwrap();
    assert_eq!(ask(&egress, request).unwrap_err(), "HttpRequestBodySize(Some(4))");
    let long = "x".repeat(limits::REQUEST_HEADER_BYTES_MAX);
    let request = Request::get(server.url("/")).header("x-long", long).body(empty()).unwrap();
    let code = ask(&egress, request).unwrap_err();
    assert!(code.starts_with("HttpRequestHeaderSectionSize(Some("), "{code}");
    let request = get(&server.url(&format!("/{}", "a".repeat(limits::URL_BYTES_MAX))));
    assert!(ask(&egress, request).unwrap_err().contains("longer than"));
}

#[test]
fn a_step_makes_so_many_requests_at_once_and_in_all() {
    let server = Server::saying(OK);
    let ceilings = Ceilings { at_once: 2, requests: 4, ..Ceilings::DEFAULT };
    let egress = with(&policy("", &local(&server)), None, ceilings);
    let permit = || egress.permit(&Method::GET, &server.url("/").parse().unwrap()).unwrap();
    runtime().block_on(async {
        let send = || egress.send(permit(), get(&server.url("/")), Timeouts::default());
        let first = send().await.unwrap();
        let _second = send().await.unwrap();
        // A response that was not read is still under way.
        assert!(matches!(send().await, Err(Error::ConnectionLimitReached)));
        drop(first);
        let third = send().await.unwrap();
        drop(third);
        let fourth = send().await.unwrap();
        drop(fourth);
        assert!(matches!(send().await, Err(Error::ConnectionLimitReached)), "all are used up");
    });
    assert_eq!(server.heads().len(), 4);
}
