//! A request that the host itself makes, by the way that guests' requests take: one POST, of which the answer's status counts.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::Error;

use super::{Ceilings, Duration, Egress, Reach, Timeouts};
use crate::policy::network::NetworkRule;

/// One POST.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) url: Uri,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a POST has no status. `Display` is for people: lower case, no final period.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// Nothing was sent: the rules do not allow it.
    #[error("{0}")]
    Refused(String),
    /// It was begun, and no answer came.
    #[error("{0}")]
    Failed(&'static str),
}

/// Sends it under the first of `rules` that allows it and gives the status of the answer; follows no redirect. All of it takes at the most
/// `within`. Runs on a thread of its own, so that it may be called from anywhere.
pub(crate) fn post(
    reach: &Reach,
    rules: &[NetworkRule],
    post: Post,
    within: Duration,
) -> Result<StatusCode, PostError> {
    const NO_THREAD: PostError = PostError::Failed("the host could not start to send it");
    let ended = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("post".to_owned());
        let running = thread.spawn_scoped(scope, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|_| NO_THREAD)?.block_on(send(reach, rules, post, within))
        });
        running.map(|running| running.join().unwrap_or(Err(NO_THREAD)))
    });
    ended.unwrap_or(Err(NO_THREAD))
}

async fn send(reach: &Reach, rules: &[NetworkRule], post: Post, within: Duration) -> Result<StatusCode, PostError> {
    let egress = Egress::with(reach, rules, Ceilings { total: within, ..Ceilings::DEFAULT });
    let permit = egress.permit(&Method::POST, &post.url).map_err(|refused| PostError::Refused(refused.to_string()))?;
    let length = HeaderValue::from(post.body.len());
    let mut request = Request::new(Full::new(Bytes::from(post.body)).map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = post.url;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(CONTENT_LENGTH, length);
    request.headers_mut().extend(post.headers);
    let sending = egress.send(permit, request, Timeouts::default());
    match tokio::time::timeout(within, sending).await {
        // The rest of the answer is nobody's concern: with its parts the connection is dropped.
        Ok(Ok((response, _worker))) => Ok(response.status()),
        Ok(Err(Error::DestinationIpProhibited)) => Err(PostError::Refused(
            "the address of the server is not public, and no rule names it in its `addresses`".to_owned(),
        )),
        Ok(Err(error)) => Err(PostError::Failed(said(&error))),
        Err(_) => Err(PostError::Failed("there was no answer in time")),
    }
}

/// What went wrong, for people.
const fn said(error: &Error) -> &'static str {
    match error {
        Error::DnsTimeout | Error::DnsError { .. } | Error::DestinationNotFound => {
            "the name of the server is not known"
        }
        Error::DestinationUnavailable | Error::DestinationIpUnroutable | Error::Connect(_) => {
            "the server cannot be reached"
        }
        Error::ConnectionRefused => "the server refused the connection",
        Error::ConnectionTimeout | Error::ConnectionReadTimeout | Error::HttpResponseTimeout => {
            "there was no answer in time"
        }
        Error::TlsCertificateError => "the certificate of the server is not trusted",
        Error::TlsProtocolError | Error::TlsAlertReceived { .. } | Error::Tls(_) => "tls with the server failed",
        Error::HttpResponseIncomplete | Error::ConnectionTerminated => "the connection ended before an answer came",
        Error::ConfigurationError => "a header that the rule sets has no value",
        _ => "the answer of the server is none",
    }
}
