//! From a name to addresses: by the system, by one named DNS server, or by what an embedding program brings.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::sync::Semaphore;

use crate::limits;

/// A look-up under way.
pub type Resolving = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send>>;

/// Looks names up. Asked once for each request; what it answers is checked, and nothing else is connected to.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// The addresses of `host`, a name in lower case and in its ASCII form. Bounded in time by the caller.
    fn resolve(&self, host: &str) -> Resolving;
}

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It does not exist, or has no address.
    #[error("the name does not exist")]
    NotFound,
    /// It could not be looked up.
    #[error("the name cannot be looked up: {0}")]
    Failed(String),
}

/// The system's own way: its files and servers.
#[derive(Debug)]
pub(super) struct System {
    /// A permit for each look-up under way. The system's call cannot be ended from outside.
    free: Arc<Semaphore>,
}

impl Default for System {
    fn default() -> Self {
        Self::with_room_for(limits::RESOLVES_AT_ONCE_MAX)
    }
}

impl System {
    /// With at most so many look-ups at one time.
    pub(super) fn with_room_for(look_ups: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(look_ups)) }
    }
}

impl Resolve for System {
    fn resolve(&self, host: &str) -> Resolving {
        let failed = |text: &str| ResolveError::Failed(text.to_owned());
        let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() else {
            return Box::pin(async move { Err(failed("too many look-ups are under way")) });
        };
        let host = host.to_owned();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A thread of its own and not one of the runtime's: the end of a run would wait for those.
        let thread = std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            let found = found.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
            drop(slot);
            // Nobody waits any more where the request was given up.
            drop(sender.send(found));
        });
        Box::pin(async move {
            thread.map_err(|error| ResolveError::Failed(error.to_string()))?;
            match receiver.await {
                Ok(Ok(found)) => Ok(found),
                // The system does not say whether the name or the look-up is at fault.
                Ok(Err(_)) => Err(ResolveError::NotFound),
                Err(_) => Err(failed("the look-up ended without an answer")),
            }
        })
    }
}

/// One DNS server, asked over UDP and TCP. Keeps nothing.
pub(super) struct DnsServer {
    server: SocketAddr,
    /// Made at the first look-up: it starts tasks in the runtime of the run.
    resolver: OnceLock<Result<TokioResolver, ResolveError>>,
}

impl fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsServer").field("server", &self.server).finish_non_exhaustive()
    }
}

impl DnsServer {
    pub(super) const fn at(server: SocketAddr) -> Self {
        Self { server, resolver: OnceLock::new() }
    }

    fn make(&self) -> Result<TokioResolver, ResolveError> {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = self.server.port());
        let server = NameServerConfig::new(self.server.ip(), true, connections);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut options = ResolverOpts::default();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        options.ndots = 0;
        options.attempts = 1;
        options.timeout = Duration::from_millis(limits::RESOLVE_MS_MAX / 4);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| ResolveError::Failed(error.to_string()))
    }
}

impl Resolve for DnsServer {
    fn resolve(&self, host: &str) -> Resolving {
        let resolver = self.resolver.get_or_init(|| self.make()).clone();
        // With a dot at its end a name is complete: no search list is tried.
        let name = format!("{host}.");
        Box::pin(async move {
            let found = resolver?.lookup_ip(name).await;
            match found {
                Ok(found) => Ok(found.iter().collect()),
                Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(ResolveError::NotFound),
                Err(error) => Err(ResolveError::Failed(error.to_string())),
            }
        })
    }
}
