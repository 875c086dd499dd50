//! TLS against servers with certificates of an authority of our own.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// `[network]` with these roots.
    fn roots(&self) -> String {
        format!("[network]\nroots = {{ file = \"{}\" }}", self.folder.path().join("ca.pem").display())
    }

    /// A server with a certificate for `name`; gives the negotiated protocol and server name as its answer.
    fn server(&self, name: &str) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || {
                    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        if !stream.read(&mut byte).is_ok_and(|count| count > 0) {
                            return;
                        }
                        head.push(byte[0]);
                    }
                    let alpn = String::from_utf8_lossy(stream.conn.alpn_protocol().unwrap_or_default()).into_owned();
                    let body = format!("{alpn} {}", stream.conn.server_name().unwrap_or("-"));
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).unwrap_or_default();
                    stream.conn.send_close_notify();
                    stream.flush().unwrap_or_default();
                });
            }
        });
        address
    }
}

#[derive(Debug)]
struct Local;

impl Resolve for Local {
    fn resolve(&self, _: &str) -> Resolving {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

fn https(settings: &str, host: &str, port: u16) -> Answer {
    let rule = format!("{{ url = \"https://{host}:{port}/*\", methods = [\"GET\"], {LOCAL} }}");
    let egress = with(&policy(settings, &rule), Some(Arc::new(Local)), short());
    ask(&egress, get(&format!("https://{host}:{port}/")))
}

#[test]
fn a_server_that_the_chosen_roots_vouch_for_is_spoken_to() {
    let authority = Authority::new();
    let port = authority.server("h.test").port();
    assert_eq!(body_of(https(&authority.roots(), "h.test", port)), "http/1.1 h.test");
    let port = authority.server("127.0.0.1").port();
    assert_eq!(body_of(https(&authority.roots(), "127.0.0.1", port)), "http/1.1 -");
}

#[test]
fn any_other_server_is_not() {
    let authority = Authority::new();
    let port = authority.server("h.test").port();
    assert_eq!(https(&authority.roots(), "other.test", port).unwrap_err(), "TlsCertificateError");
    assert_eq!(https("", "h.test", port).unwrap_err(), "TlsCertificateError", "mozilla does not know it");
    assert_eq!(https(&Authority::new().roots(), "h.test", port).unwrap_err(), "TlsCertificateError");
    let plain = Server::new(|stream, _| stream.write_all(OK.as_bytes()).unwrap_or_default());
    // The server waits for the end of a head that the handshake does not hold; what says nothing is ended.
    assert_eq!(https(&authority.roots(), "h.test", plain.address.port()).unwrap_err(), "ConnectionTimeout");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.write_all(OK.as_bytes()).unwrap_or_default();
        }
    });
    assert_eq!(https(&authority.roots(), "h.test", address.port()).unwrap_err(), "TlsProtocolError");
}

#[test]
fn roots_that_are_none_are_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let open = || {
        let text = format!("[network]\nroots = {{ file = \"{}\" }}", path.display());
        Reach::open(&policy(&text, "").network, None, Secrets::default()).unwrap_err()
    };
    assert_eq!(open().code, "no-such-file");
    std::fs::write(&path, vec![b'x'; usize::try_from(limits::ROOTS_BYTES_MAX).unwrap() + 1]).unwrap();
    assert_eq!(open().code, "document-too-large");
    for text in [
        "",
        "no pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
    ] {
        std::fs::write(&path, text).unwrap();
        let problem = open();
        assert_eq!(
            (problem.code.as_str(), problem.pointer.as_str()),
            ("bad-roots", "/network/roots"),
            "{text:?}: {problem}"
        );
        assert!(problem.hint.is_some() && problem.position.is_some_and(|position| position.line == 3), "{problem}");
    }
}
