//! One request and its response over one connection, bounded in size and time, with the secrets taken out of what comes back.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::limits;
use crate::sandbox::egress::Worker;
use crate::sandbox::egress::connect::Stream;
use crate::sandbox::egress::outgoing::Outgoing;
use crate::sandbox::egress::scrub::{Needles, Scrubber};

/// The bounds of one exchange.
pub(super) struct Bounds {
    pub(super) first_byte: Duration,
    pub(super) between_bytes: Duration,
    pub(super) deadline: Instant,
    pub(super) body: u64,
}

/// Sends the request and waits for the head of the response.
pub(super) async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Outgoing>,
    needles: Option<Arc<Needles>>,
    bounds: Bounds,
    slot: OwnedSemaphorePermit,
) -> Result<(Response<WasiBody>, Worker), Error> {
    let mut builder = http1::Builder::new();
    builder.max_headers(limits::RESPONSE_HEADERS_MAX).max_buf_size(limits::RESPONSE_HEAD_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| hyper_error(&error))?;
    let mut connection = Some(Box::pin(connection));
    let response = {
        let mut sending = pin!(sender.send_request(request));
        // The connection moves only while it is polled, so both are.
        let both = poll_fn(|cx| {
            if let Poll::Ready(response) = sending.as_mut().poll(cx) {
                return Poll::Ready(response);
            }
            if let Some(driven) = connection.as_mut() {
                let ended = ready!(driven.as_mut().poll(cx));
                connection = None;
                if let Err(error) = ended {
                    return Poll::Ready(Err(error));
                }
            }
            sending.as_mut().poll(cx)
        });
        let response = timeout_at(bounds.deadline, timeout(bounds.first_byte, both)).await;
        response.map_err(|_| Error::HttpResponseTimeout)?.map_err(|_| Error::ConnectionReadTimeout)?
    };
    let response = response.map_err(|error| hyper_error(&error))?;
    let worker = async move {
        match connection {
            Some(connection) => connection.await.map_err(|error| hyper_error(&error)),
            None => Ok(()),
        }
    };
    let response = received(response, needles, &bounds, slot)?;
    Ok((response, Box::pin(worker)))
}

/// The response as the guest may see it.
fn received(
    response: Response<Incoming>,
    needles: Option<Arc<Needles>>,
    bounds: &Bounds,
    slot: OwnedSemaphorePermit,
) -> Result<Response<WasiBody>, Error> {
    let (mut head, incoming) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::HttpUpgradeFailed);
    }
    // The server's words beside the status code would be one more place to look at.
    head.extensions.clear();
    let scrubber = needles.map(Scrubber::new);
    if let Some(scrubber) = &scrubber {
        for coding in head.headers.get_all(CONTENT_ENCODING) {
            if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
                let coding = coding.to_str().ok().map(str::to_owned);
                return Err(Error::HttpResponseContentCoding(coding));
            }
        }
        scrubber.needles().scrub_headers(&mut head.headers);
    }
    if incoming.size_hint().lower() > bounds.body {
        return Err(Error::HttpResponseBodySize(Some(incoming.size_hint().lower())));
    }
    let body = Received {
        incoming,
        scrubber,
        left: bounds.body,
        max: bounds.body,
        between_bytes: bounds.between_bytes,
        silence: Box::pin(sleep(bounds.between_bytes)),
        end: Box::pin(sleep_until(bounds.deadline)),
        trailers: None,
        is_over: false,
        _slot: slot,
    };
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

/// A response's body.
struct Received {
    incoming: Incoming,
    scrubber: Option<Scrubber>,
    left: u64,
    max: u64,
    between_bytes: Duration,
    silence: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    /// Trailers that wait until the last bytes are out.
    trailers: Option<HeaderMap>,
    is_over: bool,
    /// Counts as under way until the guest is done with it.
    _slot: OwnedSemaphorePermit,
}

impl Received {
    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.is_over = true;
        self.trailers = None;
        Poll::Ready(Some(Err(error)))
    }

    /// The last bytes that were held back, then the trailers.
    fn rest(&mut self) -> Option<Frame<Bytes>> {
        self.is_over = true;
        if let Some(rest) = self.scrubber.as_mut().map(Scrubber::finish).filter(|rest| !rest.is_empty()) {
            return Some(Frame::data(rest.into()));
        }
        self.trailers.take().map(Frame::trailers)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        loop {
            if this.is_over {
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if this.end.as_mut().poll(cx).is_ready() {
                return this.fail(Error::HttpResponseTimeout);
            }
            let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Pending => {
                    ready!(this.silence.as_mut().poll(cx));
                    return this.fail(Error::ConnectionReadTimeout);
                }
                Poll::Ready(None) => return Poll::Ready(this.rest().map(Ok)),
                Poll::Ready(Some(Err(error))) => return this.fail(hyper_error(&error)),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            this.silence.as_mut().reset(Instant::now() + this.between_bytes);
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    if let Some(scrubber) = &this.scrubber {
                        scrubber.needles().scrub_headers(&mut trailers);
                    }
                    this.trailers = Some(trailers);
                    return Poll::Ready(this.rest().map(Ok));
                }
            };
            let Some(left) = this.left.checked_sub(data.len() as u64) else {
                return this.fail(Error::HttpResponseBodySize(Some(this.max)));
            };
            this.left = left;
            let data = match &mut this.scrubber {
                Some(scrubber) => scrubber.push(&data).into(),
                None => data,
            };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let held_back = self.scrubber.as_ref().is_some_and(Scrubber::holds_back);
        self.trailers.is_none() && (self.is_over || (self.incoming.is_end_stream() && !held_back))
    }

    fn size_hint(&self) -> SizeHint {
        // Stars are as long as what they stand for, but some bytes may be held back.
        if self.scrubber.is_some() { SizeHint::default() } else { self.incoming.size_hint() }
    }
}

/// What a guest is told of what went wrong on a connection: the same for the same mistake of a server, without its bytes.
fn hyper_error(error: &hyper::Error) -> Error {
    use std::error::Error as _;
    if error.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(None);
    }
    if error.is_parse() {
        return Error::HttpProtocolError;
    }
    if error.is_incomplete_message() {
        return Error::HttpResponseIncomplete;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        // The guest's own body was at fault.
        if let Some(Error::HttpRequestBodySize(size)) = cause.downcast_ref::<Error>() {
            return Error::HttpRequestBodySize(*size);
        }
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            return match cause.kind() {
                // A body that cannot be decoded: chunks that are none.
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => Error::HttpProtocolError,
                std::io::ErrorKind::UnexpectedEof => Error::HttpResponseIncomplete,
                _ => Error::ConnectionTerminated,
            };
        }
        source = cause.source();
    }
    if error.is_body_write_aborted() { Error::HttpRequestBodySize(None) } else { Error::ConnectionTerminated }
}
