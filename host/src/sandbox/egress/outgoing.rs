//! What is sent: the guest's request less what it may not say, with what the rule puts in, bounded.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::{HeaderName, Request, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::limits;
use crate::policy::network::{HeaderValue as RuleValue, NetworkRule, Target};
use crate::policy::secrets::replace_placeholders;
use crate::sandbox::egress::secrets::{SecretValue, Secrets};
use crate::sandbox::egress::{Ceilings, Reach, is_forbidden_header};

/// The request as it goes over the wire.
pub(super) fn prepare(
    rule: &NetworkRule,
    target: &Target,
    reach: &Reach,
    ceilings: &Ceilings,
    request: Request<WasiBody>,
) -> Result<Request<Outgoing>, Error> {
    let (mut head, body) = request.into_parts();
    // The layer above refuses these when they are set; the place is what is checked here, in case it does not.
    if head.headers.keys().any(|name| name != HOST && is_forbidden_header(name)) {
        return Err(Error::HttpRequestDenied);
    }
    let declared = declared_length(&head.headers)?;
    inject(rule, &reach.secrets, &mut head.headers)?;
    if reach.needles.is_some() {
        // What comes back is searched for secrets, which a compressed body would hide.
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    head.headers.insert(HOST, HeaderValue::try_from(target.authority()).map_err(|_| Error::HttpRequestUriInvalid)?);
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    // In origin form: the whole URL is for proxies.
    let path = head.uri.path_and_query().map_or("/", |text| text.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    head.uri = Uri::try_from(path).map_err(|_| Error::HttpRequestUriInvalid)?;
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let size = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    if size > limits::REQUEST_HEADER_BYTES_MAX {
        return Err(Error::HttpRequestHeaderSectionSize(u32::try_from(size).ok()));
    }
    if declared.is_some_and(|declared| declared > ceilings.request_body) {
        return Err(Error::HttpRequestBodySize(declared));
    }
    let body = Outgoing { body, sent: 0, max: ceilings.request_body, declared };
    Ok(Request::from_parts(head, body))
}

/// The one `Content-Length`, of digits alone.
fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let is_sound = values.next().is_none() && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let length = if is_sound { text.parse().ok() } else { None };
    length.map(Some).ok_or(Error::HttpRequestDenied)
}

/// Sets the rule's headers and replaces the placeholders that it names.
fn inject(rule: &NetworkRule, secrets: &Secrets, headers: &mut HeaderMap) -> Result<(), Error> {
    // A policy's secrets were read before the run began; one that is missing now is the host's mistake, not the guest's.
    let value_of = |name: &str| secrets.get(name).map(SecretValue::bytes).ok_or(Error::ConfigurationError);
    let sensitive = |bytes: &[u8]| {
        let mut value = HeaderValue::from_bytes(bytes).map_err(|_| Error::ConfigurationError)?;
        value.set_sensitive(true);
        Ok::<_, Error>(value)
    };
    // All at once: what one secret puts in is not looked at for another.
    let named = |name: &str| rule.secrets.get(name).and_then(|name| secrets.get(name)).map(SecretValue::bytes);
    for value in headers.values_mut() {
        if let Some(replaced) = replace_placeholders(value.as_bytes(), named) {
            *value = sensitive(&replaced)?;
        }
    }
    for (name, value) in &rule.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| Error::ConfigurationError)?;
        let value = match value {
            RuleValue::Text(text) => HeaderValue::try_from(text.as_str()).map_err(|_| Error::ConfigurationError)?,
            RuleValue::Secret { name, prefix } => sensitive(&[prefix.as_bytes(), value_of(name)?].concat())?,
        };
        // Takes the place of every value that the guest set.
        headers.insert(name, value);
    }
    Ok(())
}

/// The guest's body: at most so long, and exactly as long as declared.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: WasiBody,
    sent: u64,
    max: u64,
    declared: Option<u64>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let Some(data) = frame.data_ref() else { return polled };
                self.sent = self.sent.saturating_add(data.remaining() as u64);
                if self.sent > self.max || self.declared.is_some_and(|declared| self.sent > declared) {
                    return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.sent)))));
                }
            }
            Poll::Ready(None) if self.declared.is_some_and(|declared| self.sent < declared) => {
                return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.sent)))));
            }
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.declared.is_none_or(|declared| self.sent >= declared)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
