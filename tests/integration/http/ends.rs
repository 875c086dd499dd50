//! Every exchange comes to an end: by its bounds, by the step's deadline, by a cancellation, with the step.

use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use host_tests::Server;
use host_tests::server::{head, ok, read_head, read_request, until_closed};
use serde_json::json;
use skillhost::clock::Stopwatch;
use skillhost::{CancelToken, RunOptions};

use super::{code, get, host, host_within, replays, request};

/// A server that says nothing, and tells when the other side has closed.
fn silent() -> (Server, mpsc::Receiver<()>) {
    let (closed, told) = mpsc::channel();
    let closed = std::sync::Mutex::new(closed);
    let server = Server::raw(move |stream, seen| {
        let _request = read_request(stream, seen);
        until_closed(stream);
        // Nobody listens any more where the test is over.
        let _nobody = closed.lock().unwrap().send(());
    });
    (server, told)
}

/// What is tested ends at once; otherwise it would wait for an hour, or for ever.
const SOON: Duration = Duration::from_secs(300);

#[test]
fn the_deadline_ends_a_stalled_exchange_and_closes_its_connection() {
    let (server, closed) = silent();
    let host = host_within("deadline_ms = 400", &server.granted("/*", &["GET"]));
    let watch = Stopwatch::start();
    let run = get(&host, &server.authority(), "/");
    assert!(watch.elapsed() < SOON, "ended after {:?}", watch.elapsed());
    assert_eq!(run.trace.steps()[0].end["outcome"]["limit-exceeded"]["limit"], "deadline_ms");
    closed.recv_timeout(SOON).expect("the connection was closed");
    host.replay_equals(&run);
}

#[test]
fn a_cancellation_ends_a_stalled_exchange() {
    let (server, closed) = silent();
    let host = host(&server.granted("/*", &["GET"]));
    let cancel = CancelToken::new();
    let options = RunOptions { cancel: cancel.clone(), ..RunOptions::default() };
    let plan = host_tests::plan([host_tests::step("it", "guest.fetch", request(&server.authority(), "/"))]);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| host.run_with(&plan, &options));
        while server.requests().is_empty() && !run.is_finished() {
            skillhost::clock::pause(Duration::from_millis(5));
        }
        cancel.cancel();
        run.join().expect("the run ended")
    });
    assert_eq!(run.outcome().name(), "cancelled");
    closed.recv_timeout(SOON).expect("the connection was closed");
    host.replay_equals(&run);
}

#[test]
fn nothing_of_a_request_goes_on_behind_its_step() {
    let (server, closed) = silent();
    let host = host(&server.granted("/*", &["GET"]));
    let run = host.call("guest.abandon", json!({"authority": server.authority(), "path": "/"})).completed();
    // Whether it connected at all is the machine's business; that it is closed again is not.
    if !server.requests().is_empty() {
        closed.recv_timeout(SOON).expect("the connection was closed");
    }
    replays(&host, &run);
}

#[test]
fn no_more_requests_are_under_way_than_are_allowed() {
    let server = Server::new(|_| ok("x"));
    let host = host(&server.granted("/*", &["GET"]));
    let input = json!({"authority": server.authority(), "path": "/", "n": 20});
    let run = host.call("guest.many", input).completed();
    assert_eq!(run.output(), &json!([skillhost::limits::REQUESTS_AT_ONCE_MAX, code::CONNECTION_LIMIT]));
    replays(&host, &run);
}

#[test]
fn a_response_that_is_cut_off_is_an_error_that_the_guest_can_name() {
    let server = Server::raw(|stream, seen| {
        let Some(_) = read_request(stream, seen) else { return };
        stream.write_all(&head("200 OK", &[("content-length", "100")])).unwrap();
        stream.write_all(b"only this").unwrap();
    });
    let host = host(&server.granted("/*", &["GET"]));
    let run = get(&host, &server.authority(), "/");
    assert_eq!(run.error(), code::INCOMPLETE);
    assert!(run.trace.called().contains(&"wasi:http/types#http-error-code"));
    drop(server);
    replays(&host, &run);
}

#[test]
fn a_head_without_end_is_an_error() {
    let server = Server::raw(|stream, _| {
        let Some(_) = read_head(stream) else { return };
        let line = format!("x-filler: {}\r\n", "y".repeat(1000));
        let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while written.is_ok() {
            written = stream.write_all(line.as_bytes());
        }
    });
    let host = host(&server.granted("/*", &["GET"]));
    let run = get(&host, &server.authority(), "/");
    assert_eq!(run.error(), code::HEADER_SECTION_SIZE);
    replays(&host, &run);
}

/// Beside a connection a virtual timer is waited for in real time, and only so long.
#[test]
fn a_timer_beside_a_request_takes_real_time() {
    let (server, _closed) = silent();
    let host_of_silence = host(&server.granted("/*", &["GET"]));
    let watch = Stopwatch::start();
    let input = |server: &Server, ms: u32| json!({"authority": server.authority(), "path": "/", "ms": ms});
    let timed = host_of_silence.call("guest.wait", input(&server, 300)).completed();
    assert_eq!(timed.output(), 2);
    assert!(watch.elapsed() >= Duration::from_millis(300), "{:?}", watch.elapsed());
    replays(&host_of_silence, &timed);

    let quick = Server::new(|_| ok("x"));
    let host = host(&quick.granted("/*", &["GET"]));
    let watch = Stopwatch::start();
    let answered = host.call("guest.wait", input(&quick, 3_600_000)).completed();
    assert_eq!(answered.output(), 1);
    assert!(watch.elapsed() < SOON, "{:?}", watch.elapsed());
    replays(&host, &answered);
}

/// A connection that is accepted and closed without a word.
#[test]
fn a_peer_that_hangs_up_is_an_error() {
    let server = Server::raw(|stream, _| {
        let mut some = [0; 10];
        drop(stream.read(&mut some));
    });
    let host = host(&server.granted("/*", &["GET"]));
    let run = get(&host, &server.authority(), "/");
    assert_eq!(run.outcome().name(), "failed");
    replays(&host, &run);
}
