//! `outgoing-handler#handle`: from a guest's request to one that was decided and is under way.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http_body_util::{BodyExt as _, Empty};
use wasmtime::component::Resource;
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, RequestOptions, Scheme as WasiScheme};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p2::{HttpError, HttpResult};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions as Options, WasiBody, WasiHttpHooks};

use super::{Pending, Request};
use crate::limits;
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::egress::{self, Timeouts, is_forbidden_header};
use crate::sandbox::table::gated;

/// What wasmtime-wasi-http asks of its surroundings.
pub(super) struct Hooks;

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden_header(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden_header)
    }

    /// Not the way that requests take: ours is [`Live::handle`], which decides before anything acts.
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<Options>,
        _ended: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        super::upload::CHUNKS_MAX
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::HTTP_WINDOW_BYTES
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        error_of_hyper(error)
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        error_of_connecting(error)
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        error_of_tls(error)
    }
}

/// What a failed exchange means to a guest.
fn error_of_hyper(error: &hyper::Error) -> ErrorCode {
    if error.is_timeout() {
        ErrorCode::HttpResponseTimeout
    } else if error.is_parse_too_large() {
        ErrorCode::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() {
        ErrorCode::HttpResponseIncomplete
    } else if error.is_closed() || error.is_canceled() {
        ErrorCode::ConnectionTerminated
    } else {
        ErrorCode::HttpProtocolError
    }
}

fn error_of_connecting(error: &std::io::Error) -> ErrorCode {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ErrorCode::DestinationUnavailable,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            ErrorCode::ConnectionTerminated
        }
        _ => ErrorCode::ConnectionRefused,
    }
}

fn error_of_tls(error: &std::io::Error) -> ErrorCode {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => ErrorCode::TlsCertificateError,
        _ => ErrorCode::TlsProtocolError,
    }
}

/// The error of a body as its stream tells it: `http-error-code` then knows it.
pub(super) fn code_of(error: Error) -> ErrorCode {
    match error {
        Error::Hyper(error) => {
            let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<ErrorCode>());
            cause.cloned().unwrap_or_else(|| error_of_hyper(&error))
        }
        Error::Connect(error) => error_of_connecting(&error),
        Error::Tls(error) => error_of_tls(&error),
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::ConnectionTimeout => ErrorCode::ConnectionTimeout,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionWriteTimeout => ErrorCode::ConnectionWriteTimeout,
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        Error::HttpResponseBodySize(size) => ErrorCode::HttpResponseBodySize(size),
        Error::HttpResponseTrailerSectionSize(size) => ErrorCode::HttpResponseTrailerSectionSize(size),
        Error::HttpRequestDenied => ErrorCode::HttpRequestDenied,
        Error::HttpRequestUriInvalid => ErrorCode::HttpRequestUriInvalid,
        Error::HttpRequestUriTooLong => ErrorCode::HttpRequestUriTooLong,
        Error::HttpRequestBodySize(size) => ErrorCode::HttpRequestBodySize(size),
        Error::InternalError(message) => ErrorCode::InternalError(message),
        _ => ErrorCode::HttpProtocolError,
    }
}

/// What `handle` answers, and what is recorded beside it.
pub(super) struct Handled {
    pub(super) result: HttpResult<Resource<HostFutureIncomingResponse>>,
    /// As it goes over the wire; empty where it is none.
    pub(super) method: String,
    /// Without userinfo, with the query; `None` where it is not one.
    pub(super) url: Option<String>,
    /// The index of the grant's rule that permits it.
    pub(super) rule: Option<u64>,
    /// Why no rule does.
    pub(super) denied: Option<String>,
}

impl Default for Handled {
    fn default() -> Self {
        let result = Err(ErrorCode::HttpRequestDenied.into());
        Self { result, method: String::new(), url: None, rule: None, denied: None }
    }
}

impl outgoing_handler::Host for SkillCtx {
    fn handle(&mut self, request: Request, options: Option<Resource<RequestOptions>>) -> HttpResult<Pending> {
        self.handled(request, options).result
    }
}

impl SkillCtx {
    fn handled(&mut self, request: Request, options: Option<Resource<RequestOptions>>) -> Handled {
        gated!(self, "wasi:http/outgoing-handler#handle", [request "request", options "options"], |live| {
            let mut handled = Handled::default();
            handled.result = live.handle(request, options, &mut handled);
            handled
        })
    }
}

impl Live {
    /// Decides by the grant, and only then lets anything act. The answer of a request that is under way comes through its future, also
    /// where its address is found to be prohibited.
    fn handle(
        &mut self,
        request: Request,
        options: Option<Resource<RequestOptions>>,
        noted: &mut Handled,
    ) -> HttpResult<Pending> {
        self.http.let_go(request.rep());
        // Both are the host's now, whatever becomes of them.
        let options = options.map(|options| self.table.delete(options)).transpose();
        let request = self.table.delete(request)?;
        let timeouts = options?.map(timeouts).unwrap_or_default();

        let HostOutgoingRequest { method, scheme, authority, path_with_query, headers, body } = request;
        let method: http::Method = method.try_into().map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
        if method.as_str().len() > limits::HTTP_METHOD_BYTES_MAX {
            return Err(ErrorCode::HttpRequestMethodInvalid.into());
        }
        noted.method = method.as_str().to_owned();
        let uri = uri(scheme.as_ref(), authority.as_deref(), path_with_query.as_deref())?;
        noted.url = Some(uri.to_string());

        let decided = self.http.egress.as_ref().map(|egress| (egress, egress.permit(&method, &uri)));
        let (egress, permit) = match decided {
            Some((egress, Ok(permit))) => (egress, permit),
            Some((_, Err(refused))) => {
                noted.denied = Some(refused.to_string());
                return Err(code_of(egress::code_of(&refused)).into());
            }
            None => {
                noted.denied = Some("the grant has no `network`".to_owned());
                return Err(ErrorCode::HttpRequestDenied.into());
            }
        };
        noted.rule = Some(permit.rule() as u64);

        // A length without a body would leave the peer waiting for one; where there is a body, its stream keeps to the length.
        if body.is_none() && headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0") {
            return Err(ErrorCode::HttpRequestBodySize(Some(0)).into());
        }
        let body = body.unwrap_or_else(|| Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers.into();

        let sending = egress.send(permit, request, timeouts);
        // Both tasks end with the resources that hold them, so nothing of them outlives the step.
        let future = spawn(async move {
            let (response, worker) = sending.await?;
            let worker = spawn(async move {
                // What goes wrong on the connection reaches the guest through the response's body.
                let _ended = worker.await;
            });
            Ok((response, worker))
        });
        self.table.push(HostFutureIncomingResponse::Pending(future)).map_err(HttpError::from)
    }
}

fn timeouts(options: Options) -> Timeouts {
    Timeouts {
        connect: options.connect_timeout,
        first_byte: options.first_byte_timeout,
        between_bytes: options.between_bytes_timeout,
    }
}

fn uri(scheme: Option<&WasiScheme>, authority: Option<&str>, path: Option<&str>) -> Result<Uri, ErrorCode> {
    let scheme = match scheme {
        Some(WasiScheme::Http) => Scheme::HTTP,
        Some(WasiScheme::Https) | None => Scheme::HTTPS,
        Some(WasiScheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
    };
    let (authority, path) = (authority.unwrap_or_default(), path.unwrap_or("/"));
    if authority.len().saturating_add(path.len()) > limits::URL_BYTES_MAX {
        return Err(ErrorCode::HttpRequestUriTooLong);
    }
    // `set-authority` takes no userinfo.
    let authority: Authority = authority.parse().map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let path: PathAndQuery = path.parse().map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    uri.map_err(|_| ErrorCode::HttpRequestUriInvalid)
}
