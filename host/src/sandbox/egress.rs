//! The way out: everything between "a guest wants this request sent" and the bytes on the wire.
//!
//! Decide by the grant, look the name up once, check every address, connect to a checked one and to nothing else, put secrets in, take
//! them out of what comes back. Every wait and every size has an end. Knows nothing of `wasi:http` handles or of traces.

mod connect;
mod exchange;
mod outgoing;
mod post;
mod reach;
mod resolve;
mod scrub;
mod secrets;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderName, Method, Request, Response, Uri};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error, WasiBody};

use crate::limits;
use crate::policy::network::{self, BadUrl, HOST_HEADERS, NetworkRule, Refused, Target};

pub(crate) use post::{Post, PostError, post};
pub(crate) use reach::Reach;
pub use resolve::{Resolve, ResolveError, Resolving};
pub use secrets::Secrets;

/// What drives a connection after the head of its response came; the body moves only while this is polled.
pub(crate) type Worker = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
/// A request under way, up to the head of its response.
pub(crate) type Sending = Pin<Box<dyn Future<Output = Result<(Response<WasiBody>, Worker), Error>> + Send>>;

/// What a guest asked for; ours are ceilings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeouts {
    pub(crate) connect: Option<Duration>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) between_bytes: Option<Duration>,
}

/// A request that a rule allows. Made by [`Egress::permit`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permit {
    rule: usize,
    method: Method,
    target: Target,
}

impl Permit {
    /// The index of the rule in the grant.
    pub(crate) const fn rule(&self) -> usize {
        self.rule
    }
}

/// The bounds of requests: those of [`limits`], shorter in tests.
#[derive(Debug, Clone, Copy)]
struct Ceilings {
    resolve: Duration,
    connect: Duration,
    tls: Duration,
    first_byte: Duration,
    between_bytes: Duration,
    total: Duration,
    request_body: u64,
    response_body: u64,
    at_once: usize,
    requests: usize,
}

impl Ceilings {
    const DEFAULT: Self = Self {
        resolve: Duration::from_millis(limits::RESOLVE_MS_MAX),
        connect: Duration::from_millis(limits::CONNECT_MS_MAX),
        tls: Duration::from_millis(limits::TLS_MS_MAX),
        first_byte: Duration::from_millis(limits::FIRST_BYTE_MS_MAX),
        between_bytes: Duration::from_millis(limits::BETWEEN_BYTES_MS_MAX),
        total: Duration::from_millis(limits::REQUEST_MS_MAX),
        request_body: limits::REQUEST_BODY_BYTES_MAX,
        response_body: limits::RESPONSE_BODY_BYTES_MAX,
        at_once: limits::REQUESTS_AT_ONCE_MAX,
        requests: limits::REQUESTS_MAX,
    };
}

/// The way out of one step: the rules of its grant, and how many requests it made.
#[derive(Debug, Clone)]
pub(crate) struct Egress {
    rules: Arc<[NetworkRule]>,
    reach: Reach,
    ceilings: Ceilings,
    /// A permit for each request that may be under way.
    free: Arc<Semaphore>,
    made: Arc<AtomicUsize>,
}

impl Egress {
    /// The way out under these rules.
    pub(crate) fn new(reach: &Reach, rules: &[NetworkRule]) -> Self {
        Self::with(reach, rules, Ceilings::DEFAULT)
    }

    fn with(reach: &Reach, rules: &[NetworkRule], ceilings: Ceilings) -> Self {
        Self {
            rules: rules.into(),
            reach: reach.clone(),
            ceilings,
            free: Arc::new(Semaphore::new(ceilings.at_once)),
            made: Arc::default(),
        }
    }

    /// Decides by the grant alone, before anything acts.
    ///
    /// # Errors
    ///
    /// [`Refused`] where no rule allows the request, or its URL is none that is ever sent.
    pub(crate) fn permit(&self, method: &Method, uri: &Uri) -> Result<Permit, Refused> {
        let (rule, target) = network::permit(&self.rules, method, uri)?;
        Ok(Permit { rule, method: method.clone(), target })
    }

    /// Looks the name up, checks the addresses, connects to exactly a checked one, sends.
    pub(crate) fn send(&self, permit: Permit, request: Request<WasiBody>, timeouts: Timeouts) -> Sending {
        let this = self.clone();
        Box::pin(async move { this.run(permit, request, timeouts).await })
    }

    async fn run(
        self,
        permit: Permit,
        request: Request<WasiBody>,
        timeouts: Timeouts,
    ) -> Result<(Response<WasiBody>, Worker), Error> {
        // What is sent is what was permitted, whatever happened to the request in between.
        let is_same = self.permit(request.method(), request.uri()).is_ok_and(|again| again == permit);
        let rule = self.rules.get(permit.rule).filter(|_| is_same).ok_or(Error::HttpRequestDenied)?;
        let slot = self.begin()?;
        let ceilings = &self.ceilings;
        let target = &permit.target;
        let request = outgoing::prepare(rule, target, &self.reach, ceilings, request)?;

        let deadline = tokio::time::Instant::now() + ceilings.total;
        let connecting = connect::connect(&self.reach, rule, target, ceilings);
        let within = ceilings.resolve.saturating_add(ceilings.connect).saturating_add(ceilings.tls);
        let stream = tokio::time::timeout(lower(within, timeouts.connect), connecting);
        let stream = stream.await.map_err(|_| Error::ConnectionTimeout)??;
        let bounds = exchange::Bounds {
            first_byte: lower(ceilings.first_byte, timeouts.first_byte),
            between_bytes: lower(ceilings.between_bytes, timeouts.between_bytes),
            deadline,
            body: ceilings.response_body,
        };
        exchange::exchange(stream, request, self.reach.needles.clone(), bounds, slot).await
    }

    /// Counts a request.
    fn begin(&self) -> Result<OwnedSemaphorePermit, Error> {
        let slot = Arc::clone(&self.free).try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?;
        if self.made.fetch_add(1, Ordering::Relaxed) >= self.ceilings.requests {
            return Err(Error::ConnectionLimitReached);
        }
        Ok(slot)
    }
}

fn lower(ceiling: Duration, asked: Option<Duration>) -> Duration {
    asked.map_or(ceiling, |asked| asked.min(ceiling))
}

/// Whether a guest may not set the header.
pub(crate) fn is_forbidden_header(name: &HeaderName) -> bool {
    HOST_HEADERS.contains(&name.as_str()) || DEFAULT_FORBIDDEN_HEADERS.contains(name)
}

/// What a guest is told of a refusal.
pub(crate) const fn code_of(refused: &Refused) -> Error {
    match refused {
        Refused::Url(BadUrl::TooLong) => Error::HttpRequestUriTooLong,
        Refused::Url(_) => Error::HttpRequestUriInvalid,
        Refused::NoRule { .. } => Error::HttpRequestDenied,
    }
}

#[cfg(test)]
mod tests;
