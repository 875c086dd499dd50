//! What all steps of a run share: who looks names up, which servers are trusted, which secrets there are.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::limits;
use crate::owned_file;
use crate::policy::network::{NetworkSettings, Roots};
use crate::problem::{Problem, shown};
use crate::sandbox::egress::resolve::{DnsServer, Resolve, System};
use crate::sandbox::egress::scrub::Needles;
use crate::sandbox::egress::secrets::Secrets;

/// What all steps of a run share. Clones share it.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) secrets: Secrets,
    /// What is taken out of every response, where there are secrets: a server may keep what one request told it for the answer to another.
    pub(super) needles: Option<Arc<Needles>>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

impl Reach {
    /// Reads the root certificates. Asks no server yet. `resolver` takes the place of what the policy says.
    ///
    /// # Errors
    ///
    /// A problem where the file of root certificates cannot be used.
    pub(crate) fn open(
        settings: &NetworkSettings,
        resolver: Option<Arc<dyn Resolve>>,
        secrets: Secrets,
    ) -> Result<Self, Problem> {
        let roots = match &settings.roots {
            Roots::Mozilla => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            Roots::File { path, position } => read_roots(path).map_err(|problem| problem.at(*position))?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Problem::new("no-tls", "/network", format!("tls cannot start: {error}")))?;
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A session of one step must not be known in another.
        tls.resumption = rustls::client::Resumption::disabled();
        let resolver = resolver.unwrap_or_else(|| match settings.dns {
            Some(server) => Arc::new(DnsServer::at(server)),
            None => Arc::new(System::default()),
        });
        let needles = Needles::of(secrets.values());
        let needles = (!needles.is_empty()).then(|| Arc::new(needles));
        Ok(Self { resolver, tls: Arc::new(tls), secrets, needles })
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, Problem> {
    let at = |problem: Problem| Problem { pointer: "/network/roots".to_owned(), ..problem };
    let bytes = owned_file::read(path, limits::ROOTS_BYTES_MAX).map_err(at)?;
    let name = shown(&path.display().to_string());
    let bad = |what: String| {
        Problem::new("bad-roots", "/network/roots", format!("`{name}` {what}"))
            .with_hint("give a PEM file with the certificates of the authorities to trust")
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| bad(format!("is no PEM file: {error}")))?;
        roots.add(certificate).map_err(|error| bad(format!("holds a certificate that cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(bad("holds no certificate".to_owned()));
    }
    Ok(roots)
}
