//! From a permitted place to a connection: look up once, check every address, connect to a checked one, then TLS where it is due.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;
use wasmtime_wasi_http::Error;

use crate::limits;
use crate::policy::network::{NetworkRule, Scheme, Target, address};
use crate::sandbox::egress::resolve::ResolveError;
use crate::sandbox::egress::{Ceilings, Reach};

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to `target`.
pub(super) async fn connect(
    reach: &Reach,
    rule: &NetworkRule,
    target: &Target,
    ceilings: &Ceilings,
) -> Result<Box<dyn Stream>, Error> {
    let addresses = match target.parsed_host() {
        Host::Ipv4(address) => vec![IpAddr::V4(*address)],
        Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        Host::Domain(name) => resolve(reach, name, ceilings).await?,
    };
    let checked = checked(&addresses, rule)?;
    let stream = open(&checked, target.port(), ceilings).await?;
    // A small request should not wait for the answer to an earlier segment.
    stream.set_nodelay(true).map_err(Error::Connect)?;
    match target.scheme() {
        Scheme::Http => Ok(Box::new(stream)),
        Scheme::Https => {
            let connector = TlsConnector::from(Arc::clone(&reach.tls));
            let connecting = connector.connect(server_name(target)?, stream);
            let stream = tokio::time::timeout(ceilings.tls, connecting).await;
            Ok(Box::new(stream.map_err(|_| Error::ConnectionTimeout)?.map_err(|error| tls_error(&error))?))
        }
    }
}

async fn resolve(reach: &Reach, name: &str, ceilings: &Ceilings) -> Result<Vec<IpAddr>, Error> {
    let found = tokio::time::timeout(ceilings.resolve, reach.resolver.resolve(name)).await;
    match found.map_err(|_| Error::DnsTimeout)? {
        Ok(found) if found.is_empty() => Err(not_found()),
        Ok(found) => Ok(found),
        Err(ResolveError::NotFound) => Err(not_found()),
        Err(ResolveError::Failed(_)) => Err(Error::DnsError { rcode: None, info_code: None }),
    }
}

fn not_found() -> Error {
    Error::DnsError { rcode: Some("NXDOMAIN".to_owned()), info_code: None }
}

/// The addresses that the rule may reach, in their order and without those that are there twice. Where a name has others as well, those are
/// never connected to; where it has no others, the request is refused.
fn checked(addresses: &[IpAddr], rule: &NetworkRule) -> Result<Vec<IpAddr>, Error> {
    let mut checked = Vec::new();
    for address in addresses.iter().map(|address| address::canonical(*address)) {
        if address::check(address, &rule.addresses).is_ok() && !checked.contains(&address) {
            checked.push(address);
        }
    }
    checked.truncate(limits::ADDRESSES_TRIED_MAX);
    if checked.is_empty() { Err(Error::DestinationIpProhibited) } else { Ok(checked) }
}

/// Connects to the first address that answers. Each has an equal part of the time, so that one that is silent does not use up all of it.
async fn open(addresses: &[IpAddr], port: u16, ceilings: &Ceilings) -> Result<TcpStream, Error> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let each = ceilings.connect / count;
    let mut last = Error::DestinationUnavailable;
    for address in addresses {
        match tokio::time::timeout(each, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = connect_error(&error),
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}

fn connect_error(error: &std::io::Error) -> Error {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::DestinationUnavailable,
    }
}

/// Whom the certificate must name: the host of the URL, whatever addresses it has.
fn server_name(target: &Target) -> Result<ServerName<'static>, Error> {
    match target.parsed_host() {
        Host::Ipv4(address) => Ok(ServerName::from(IpAddr::V4(*address))),
        Host::Ipv6(address) => Ok(ServerName::from(IpAddr::V6(*address))),
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid),
    }
}

fn tls_error(error: &std::io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(format!("{alert:?}")) }
        }
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}
