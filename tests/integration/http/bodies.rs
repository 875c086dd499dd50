//! Bodies: large, in pieces, with trailers; the trace does not tell how the network cut them.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use host_tests::server::{chunked, head, ok, read_request};
use host_tests::{Run, Server};
use serde_json::json;

use super::{get, hash, host, replays};

fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn reads(run: &Run) -> usize {
    run.trace.called().iter().filter(|name| name.ends_with("input-stream.blocking-read")).count()
}

/// Whole, then in small pieces, then in chunks: the same bytes are the same trace.
#[test]
fn a_large_body_replays_exactly_and_its_pieces_do_not_show() {
    let body = pattern(5_000_000);
    let (sent, times) = (body.clone(), AtomicUsize::new(0));
    let server = Server::raw(move |stream, seen| {
        let Some(_) = read_request(stream, seen) else { return };
        let length = sent.len().to_string();
        let headers = head("200 OK", &[("content-length", &length), ("x-same", "1")]);
        stream.write_all(&headers).unwrap();
        let piece = if times.fetch_add(1, Ordering::SeqCst) == 0 { sent.len() } else { 1_777 };
        for piece in sent.chunks(piece) {
            stream.write_all(piece).unwrap();
        }
    });
    let host = host(&server.granted("/*", &["GET"]));
    let whole = get(&host, &server.authority(), "/big").completed();
    let pieces = get(&host, &server.authority(), "/big").completed();
    assert_eq!((&whole.output()["total"], &whole.output()["hash"]), (&json!(body.len()), &json!(hash(&body))));
    assert_eq!(reads(&whole), body.len().div_ceil(65_536) + 1);
    assert_eq!(whole.bytes(), pieces.bytes());
    drop(server);
    replays(&host, &whole);
    replays(&host, &pieces);
}

#[test]
fn a_large_body_is_sent_as_the_peer_takes_it() {
    const BYTES: usize = 3_500_000;
    let server = Server::new(|request| ok(request.body.len().to_string()));
    let host = host(&server.granted("/*", &["POST"]));
    let input = json!({"authority": server.authority(), "path": "/up", "bytes": BYTES});
    let first = host.call("guest.upload", input.clone()).completed();
    let again = host.call("guest.upload", input).completed();
    assert!(server.requests().iter().all(|request| request.body.len() == BYTES));
    // What `check-write` answers follows from what was written, not from how fast it was taken.
    assert_eq!(first.bytes(), again.bytes());
    drop(server);
    replays(&host, &first);
}

#[test]
fn trailers_are_read_behind_the_body() {
    let server = Server::new(|_| chunked(&[b"one", b"two"], &[("x-digest", "abc"), ("x-more", "1")]));
    let host = host(&server.granted("/*", &["GET"]));
    let run = get(&host, &server.authority(), "/").completed();
    assert_eq!((&run.output()["total"], &run.output()["trailers"]), (&json!(6), &json!(2)));
    drop(server);
    replays(&host, &run);
}

#[test]
fn a_peer_that_sends_little_and_seldom_is_heard() {
    let server = Server::raw(|stream, seen| {
        let Some(_) = read_request(stream, seen) else { return };
        stream.write_all(&head("200 OK", &[("transfer-encoding", "chunked")])).unwrap();
        stream.write_all(b"5\r\nfirst\r\n").unwrap();
        // Nothing more: the guest has the first five bytes long before the deadline ends it.
        host_tests::server::until_closed(stream);
    });
    let host = super::host_within("deadline_ms = 4_000", &server.granted("/*", &["GET"]));
    let run = get(&host, &server.authority(), "/");
    assert_eq!(run.outcome().name(), "limit-exceeded");
    assert_eq!(reads(&run), 1, "{:?}", run.trace.called());
    host.replay_equals(&run);
}
