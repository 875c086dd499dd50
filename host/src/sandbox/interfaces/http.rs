//! `wasi:http`: requests of a guest. The fields, requests, responses and bodies are wasmtime-wasi-http's; what leaves the machine is
//! decided and sent by `egress`, and bodies are read and written so that their timing shows as little as can be.
//!
//! Only a step whose grant has `network` can import it (`program.rs`). The values' spelling is in `http/wire.rs`, the request itself in
//! `http/send.rs`.

mod download;
mod fields;
mod send;
mod upload;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{self as http, ErrorCode};
use wasmtime_wasi_http::p2::{HttpError, HttpResult};
use wasmtime_wasi_http::{FieldMap, WasiHttpCtx, WasiHttpCtxView};
use wasmtime_wasi_io::streams::Error as StreamFailure;

use super::Own;
use crate::limits::{self, LimitKind};
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::egress::Egress;
use crate::sandbox::stop::LimitHit;
use crate::sandbox::table::{gated, table};
use crate::sandbox::wire::{Encode, Encoder};

use upload::{Progress, Unsent};

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    // Nothing that is unstable in WASI is linked.
    http::add_to_linker::<SkillCtx, Own>(linker, &LinkOptions::default().into(), |ctx| ctx)?;
    outgoing_handler::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)
}

/// What the host remembers of a step's HTTP beside wasmtime-wasi's table.
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: send::Hooks,
    /// What decides and sends; `None` where the grant has no `network`.
    egress: Option<Egress>,
    /// Handles of the fields that a guest made and of the requests and responses that took them over.
    made: BTreeSet<u32>,
    /// How far the bodies of requests are, by the handle of the request until it is sent.
    requests: BTreeMap<u32, Arc<Progress>>,
    /// The same by the handle of the body.
    bodies: BTreeMap<u32, Arc<Progress>>,
    unsent: Unsent,
}

impl Http {
    pub(crate) fn new(egress: Option<Egress>) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(limits::HTTP_FIELD_BYTES_MAX);
        Self {
            ctx,
            hooks: send::Hooks,
            egress,
            made: BTreeSet::new(),
            requests: BTreeMap::new(),
            bodies: BTreeMap::new(),
            unsent: Unsent::default(),
        }
    }

    /// Whether anything of the step may use the network.
    pub(crate) const fn is_reachable(&self) -> bool {
        self.egress.is_some()
    }

    /// Counts a resource that has fields of its own.
    fn count(&mut self, handle: u32) -> Result<()> {
        self.made.insert(handle);
        if self.made.len() > limits::HTTP_FIELDS_MAX {
            return Err(LimitHit::count(LimitKind::HttpFields, limits::HTTP_FIELDS_MAX).into());
        }
        Ok(())
    }

    /// `to` took over the fields of `from`.
    fn recount(&mut self, from: u32, to: u32) {
        if self.made.remove(&from) {
            self.made.insert(to);
        }
    }

    /// A request is sent or dropped: what its body holds is no longer waiting for it.
    fn let_go(&mut self, request: u32) {
        self.made.remove(&request);
        if let Some(progress) = self.requests.remove(&request) {
            progress.hand_over();
        }
    }
}

/// An authority as it is recorded: one with userinfo, which is refused, by digest and length alone.
struct Authority<'a>(&'a Option<String>);

impl Encode for Authority<'_> {
    fn encode(&self, to: &mut Encoder<'_>) {
        match self.0 {
            Some(authority) if authority.contains('@') => {
                to.payload_bytes = to.payload_bytes.saturating_add(authority.len());
                to.digest(authority.as_bytes());
            }
            authority => authority.encode(to),
        }
    }
}

type Fields = Resource<FieldMap>;
type Request = Resource<http::OutgoingRequest>;
type Response = Resource<http::IncomingResponse>;
type Pending = Resource<http::FutureIncomingResponse>;
type Body = Resource<http::OutgoingBody>;

impl Live {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.ctx }
    }

    fn new_request(&mut self, headers: Fields) -> Result<Request> {
        let fields = headers.rep();
        let request = http::HostOutgoingRequest::new(&mut self.http(), headers)?;
        self.http.recount(fields, request.rep());
        Ok(request)
    }

    /// A sender must not put userinfo into an `http` URL (RFC 9110, 4.2.4): credentials do not belong where URLs are shown and recorded.
    fn set_authority(&mut self, request: Request, authority: Option<String>) -> Result<Result<(), ()>> {
        if authority.as_ref().is_some_and(|authority| authority.contains('@')) {
            return Ok(Err(()));
        }
        http::HostOutgoingRequest::set_authority(&mut self.http(), request, authority)
    }

    fn drop_request(&mut self, request: Request) -> Result<()> {
        self.http.let_go(request.rep());
        http::HostOutgoingRequest::drop(&mut self.http(), request)
    }

    fn new_response(&mut self, headers: Fields) -> Result<Resource<http::OutgoingResponse>> {
        let fields = headers.rep();
        let response = http::HostOutgoingResponse::new(&mut self.http(), headers)?;
        self.http.recount(fields, response.rep());
        Ok(response)
    }

    fn drop_response(&mut self, response: Resource<http::OutgoingResponse>) -> Result<()> {
        self.http.made.remove(&response.rep());
        http::HostOutgoingResponse::drop(&mut self.http(), response)
    }

    /// Skills serve nobody: there is no request that such a response could answer, so its body goes nowhere.
    #[expect(clippy::needless_pass_by_value, reason = "the table hands arguments over")]
    fn no_response_body(&mut self, response: Resource<http::OutgoingResponse>) -> Result<Result<Body, ()>> {
        self.table.get(&response)?;
        Ok(Err(()))
    }

    /// Never linked, because it is unstable in WASI, and of no use, because skills serve nobody.
    #[expect(clippy::needless_pass_by_value, reason = "the table hands arguments over")]
    fn no_informational(
        &mut self,
        outparam: Resource<http::ResponseOutparam>,
        _status: u16,
        headers: Fields,
    ) -> HttpResult<()> {
        self.table.get(&outparam)?;
        self.http.made.remove(&headers.rep());
        self.table.delete(headers)?;
        Err(ErrorCode::HttpProtocolError.into())
    }

    fn finish_body(&mut self, body: Body, trailers: Option<Fields>) -> HttpResult<()> {
        if let Some(trailers) = &trailers {
            self.http.made.remove(&trailers.rep());
        }
        let progress = self.http.bodies.remove(&body.rep());
        let finished = http::HostOutgoingBody::finish(&mut self.http(), body, trailers);
        match progress.and_then(|progress| progress.overrun()) {
            // Written bytes that found the connection gone are not counted by wasmtime-wasi.
            Some(written) if finished.is_ok() => Err(ErrorCode::HttpRequestBodySize(Some(written)).into()),
            _ => finished,
        }
    }

    fn drop_body(&mut self, body: Body) -> Result<()> {
        self.http.bodies.remove(&body.rep());
        http::HostOutgoingBody::drop(&mut self.http(), body)
    }
}

impl http::Host for SkillCtx {
    fn convert_error_code(&mut self, error: HttpError) -> Result<ErrorCode> {
        error.downcast()
    }

    fn convert_header_error(&mut self, error: wasmtime_wasi_http::p2::HeaderError) -> Result<http::HeaderError> {
        error.downcast()
    }

    fn http_error_code(&mut self, error: Resource<StreamFailure>) -> Result<Option<ErrorCode>> {
        gated!(self, "wasi:http/types#http-error-code", [error "err"], |live| {
            http::Host::http_error_code(&mut live.http(), error)
        })
    }
}

table! { impl http::HostOutgoingRequest as "wasi:http/types#" via |live| live.http();
    ours(new_request) fn new = "[constructor]outgoing-request"(headers "headers": Fields) -> Result<Request>;
    ours(request_body) fn body = "[method]outgoing-request.body"(this "self": Request) -> Result<Result<Body, ()>>;
    wasi fn method = "[method]outgoing-request.method"(this "self": Request) -> Result<http::Method>;
    wasi fn set_method = "[method]outgoing-request.set-method"(this "self": Request, method "method": http::Method) -> Result<Result<(), ()>>;
    wasi fn path_with_query = "[method]outgoing-request.path-with-query"(this "self": Request) -> Result<Option<String>>;
    wasi fn set_path_with_query = "[method]outgoing-request.set-path-with-query"(this "self": Request, path "path-with-query": Option<String>) -> Result<Result<(), ()>>;
    wasi fn scheme = "[method]outgoing-request.scheme"(this "self": Request) -> Result<Option<http::Scheme>>;
    wasi fn set_scheme = "[method]outgoing-request.set-scheme"(this "self": Request, scheme "scheme": Option<http::Scheme>) -> Result<Result<(), ()>>;
    wasi fn authority = "[method]outgoing-request.authority"(this "self": Request) -> Result<Option<String>>;
    ours(set_authority) fn set_authority = "[method]outgoing-request.set-authority"(this "self": Request, authority "authority" as Authority: Option<String>) -> Result<Result<(), ()>>;
    wasi fn headers = "[method]outgoing-request.headers"(this "self": Request) -> Result<Fields>;
    ours(drop_request) fn drop = "[resource-drop]outgoing-request"(this "self": Request) -> Result<()>;
}

table! { impl http::HostRequestOptions as "wasi:http/types#" via |live| live.http();
    wasi fn new = "[constructor]request-options"() -> Result<Resource<http::RequestOptions>>;
    wasi fn connect_timeout = "[method]request-options.connect-timeout"(this "self": Resource<http::RequestOptions>) -> Result<Option<u64>>;
    wasi fn set_connect_timeout = "[method]request-options.set-connect-timeout"(this "self": Resource<http::RequestOptions>, duration "duration": Option<u64>) -> Result<Result<(), ()>>;
    wasi fn first_byte_timeout = "[method]request-options.first-byte-timeout"(this "self": Resource<http::RequestOptions>) -> Result<Option<u64>>;
    wasi fn set_first_byte_timeout = "[method]request-options.set-first-byte-timeout"(this "self": Resource<http::RequestOptions>, duration "duration": Option<u64>) -> Result<Result<(), ()>>;
    wasi fn between_bytes_timeout = "[method]request-options.between-bytes-timeout"(this "self": Resource<http::RequestOptions>) -> Result<Option<u64>>;
    wasi fn set_between_bytes_timeout = "[method]request-options.set-between-bytes-timeout"(this "self": Resource<http::RequestOptions>, duration "duration": Option<u64>) -> Result<Result<(), ()>>;
    wasi fn drop = "[resource-drop]request-options"(this "self": Resource<http::RequestOptions>) -> Result<()>;
}

table! { impl http::HostFutureIncomingResponse as "wasi:http/types#" via |live| live.http();
    wasi fn subscribe = "[method]future-incoming-response.subscribe"(this "self": Pending) -> Result<Resource<DynPollable>>;
    wasi fn get = "[method]future-incoming-response.get"(this "self": Pending) -> Result<Option<Result<Result<Response, ErrorCode>, ()>>>;
    wasi fn drop = "[resource-drop]future-incoming-response"(this "self": Pending) -> Result<()>;
}

table! { impl http::HostIncomingResponse as "wasi:http/types#" via |live| live.http();
    wasi fn status = "[method]incoming-response.status"(this "self": Response) -> Result<u16>;
    wasi fn headers = "[method]incoming-response.headers"(this "self": Response) -> Result<Fields>;
    wasi fn consume = "[method]incoming-response.consume"(this "self": Response) -> Result<Result<Resource<http::IncomingBody>, ()>>;
    wasi fn drop = "[resource-drop]incoming-response"(this "self": Response) -> Result<()>;
}

table! { impl http::HostIncomingBody as "wasi:http/types#" via |live| live.http();
    ours(body_stream) fn stream = "[method]incoming-body.stream"(this "self": Resource<http::IncomingBody>) -> Result<Result<Resource<DynInputStream>, ()>>;
    wasi fn finish = "[static]incoming-body.finish"(this "this": Resource<http::IncomingBody>) -> Result<Resource<http::FutureTrailers>>;
    wasi fn drop = "[resource-drop]incoming-body"(this "self": Resource<http::IncomingBody>) -> Result<()>;
}

table! { impl http::HostFutureTrailers as "wasi:http/types#" via |live| live.http();
    wasi fn subscribe = "[method]future-trailers.subscribe"(this "self": Resource<http::FutureTrailers>) -> Result<Resource<DynPollable>>;
    wasi fn get = "[method]future-trailers.get"(this "self": Resource<http::FutureTrailers>) -> Result<Option<Result<Result<Option<Fields>, ErrorCode>, ()>>>;
    wasi fn drop = "[resource-drop]future-trailers"(this "self": Resource<http::FutureTrailers>) -> Result<()>;
}

table! { impl http::HostOutgoingBody as "wasi:http/types#" via |live| live.http();
    ours(body_write) fn write = "[method]outgoing-body.write"(this "self": Body) -> Result<Result<Resource<DynOutputStream>, ()>>;
    ours(finish_body) fn finish = "[static]outgoing-body.finish"(this "this": Body, trailers "trailers": Option<Fields>) -> HttpResult<()>;
    ours(drop_body) fn drop = "[resource-drop]outgoing-body"(this "self": Body) -> Result<()>;
}

// What a server would use. A guest can make an `outgoing-response`; of the others it never gets a handle.

table! { impl http::HostOutgoingResponse as "wasi:http/types#" via |live| live.http();
    ours(new_response) fn new = "[constructor]outgoing-response"(headers "headers": Fields) -> Result<Resource<http::OutgoingResponse>>;
    wasi fn status_code = "[method]outgoing-response.status-code"(this "self": Resource<http::OutgoingResponse>) -> Result<u16>;
    wasi fn set_status_code = "[method]outgoing-response.set-status-code"(this "self": Resource<http::OutgoingResponse>, status_code "status-code": u16) -> Result<Result<(), ()>>;
    wasi fn headers = "[method]outgoing-response.headers"(this "self": Resource<http::OutgoingResponse>) -> Result<Fields>;
    ours(no_response_body) fn body = "[method]outgoing-response.body"(this "self": Resource<http::OutgoingResponse>) -> Result<Result<Body, ()>>;
    ours(drop_response) fn drop = "[resource-drop]outgoing-response"(this "self": Resource<http::OutgoingResponse>) -> Result<()>;
}

table! { impl http::HostIncomingRequest as "wasi:http/types#" via |live| live.http();
    wasi fn method = "[method]incoming-request.method"(this "self": Resource<http::IncomingRequest>) -> Result<http::Method>;
    wasi fn path_with_query = "[method]incoming-request.path-with-query"(this "self": Resource<http::IncomingRequest>) -> Result<Option<String>>;
    wasi fn scheme = "[method]incoming-request.scheme"(this "self": Resource<http::IncomingRequest>) -> Result<Option<http::Scheme>>;
    wasi fn authority = "[method]incoming-request.authority"(this "self": Resource<http::IncomingRequest>) -> Result<Option<String>>;
    wasi fn headers = "[method]incoming-request.headers"(this "self": Resource<http::IncomingRequest>) -> Result<Fields>;
    wasi fn consume = "[method]incoming-request.consume"(this "self": Resource<http::IncomingRequest>) -> Result<Result<Resource<http::IncomingBody>, ()>>;
    wasi fn drop = "[resource-drop]incoming-request"(this "self": Resource<http::IncomingRequest>) -> Result<()>;
}

table! { impl http::HostResponseOutparam as "wasi:http/types#" via |live| live.http();
    ours(no_informational) fn send_informational = "[method]response-outparam.send-informational"(this "self": Resource<http::ResponseOutparam>, status "status": u16, headers "headers": Fields) -> HttpResult<()>;
    wasi fn set = "[static]response-outparam.set"(this "param": Resource<http::ResponseOutparam>, response "response": Result<Resource<http::OutgoingResponse>, ErrorCode>) -> Result<()>;
    wasi fn drop = "[resource-drop]response-outparam"(this "self": Resource<http::ResponseOutparam>) -> Result<()>;
}
