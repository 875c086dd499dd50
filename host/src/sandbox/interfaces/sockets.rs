//! `wasi:sockets`, closed: for programs whose standard library names sockets and which need none. No socket of the host is ever made and no
//! name is looked up: whoever asks is told `access-denied`, which is recorded like every other answer.
//!
//! Of wasmtime-wasi only types and traits are used here, nothing of it acts. Only a step whose grant has `sockets` can import it
//! (`program.rs`).

use std::future::{Ready, ready};

use wasmtime::Result;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::{IncomingDatagramStream, OutgoingDatagramStream, UdpSocket};
use wasmtime_wasi::p2::bindings::sockets::{
    instance_network, ip_name_lookup, ip_name_lookup::ResolveAddressStream, tcp_create_socket, udp_create_socket,
};
use wasmtime_wasi::p2::{DynPollable, SocketError, SocketResult};
use wasmtime_wasi_io::streams::Error as StreamFailure;

use super::Own;
use crate::sandbox::ctx::{Live, SkillCtx};
use crate::sandbox::engine::WASI_VERSION;
use crate::sandbox::table::table;
use crate::sandbox::wire::enumeration;

pub(super) fn add_to_linker(linker: &mut Linker<SkillCtx>) -> Result<()> {
    // Nothing that is unstable in WASI is linked.
    network::add_to_linker::<SkillCtx, Own>(linker, &network::LinkOptions::default(), |ctx| ctx)?;
    instance_network::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    tcp_create_socket::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    udp_create_socket::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    ip_name_lookup::add_to_linker::<SkillCtx, Own>(linker, |ctx| ctx)?;
    unreachable::<TcpSocket>(linker, "tcp", "tcp-socket", &TCP)?;
    unreachable::<UdpSocket>(linker, "udp", "udp-socket", &UDP)?;
    unreachable::<IncomingDatagramStream>(linker, "udp", "incoming-datagram-stream", &["receive", "subscribe"])?;
    unreachable::<OutgoingDatagramStream>(
        linker,
        "udp",
        "outgoing-datagram-stream",
        &["check-send", "send", "subscribe"],
    )
}

const TCP: [&str; 28] = [
    "start-bind",
    "finish-bind",
    "start-connect",
    "finish-connect",
    "start-listen",
    "finish-listen",
    "accept",
    "local-address",
    "remote-address",
    "is-listening",
    "address-family",
    "set-listen-backlog-size",
    "keep-alive-enabled",
    "set-keep-alive-enabled",
    "keep-alive-idle-time",
    "set-keep-alive-idle-time",
    "keep-alive-interval",
    "set-keep-alive-interval",
    "keep-alive-count",
    "set-keep-alive-count",
    "hop-limit",
    "set-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
    "shutdown",
];

const UDP: [&str; 13] = [
    "start-bind",
    "finish-bind",
    "stream",
    "local-address",
    "remote-address",
    "address-family",
    "unicast-hop-limit",
    "set-unicast-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
];

/// Links a resource of which there is never a handle, and its methods. They have to be there, because components import all of them, and
/// nobody can call one: so they are names that trap, without parameters that would be read and without an event, instead of a table of
/// functions that could never be seen to work.
fn unreachable<T: 'static>(
    linker: &mut Linker<SkillCtx>,
    interface: &str,
    resource: &str,
    methods: &[&str],
) -> Result<()> {
    let mut instance = linker.instance(&format!("wasi:sockets/{interface}@{WASI_VERSION}"))?;
    instance.resource(resource, ResourceType::host::<T>(), |_, _| Err(no_socket()))?;
    for method in methods {
        instance.func_new(&format!("[method]{resource}.{method}"), |_, _, _, _| Err(no_socket()))?;
    }
    Ok(())
}

/// The end of a guest that has a handle which was never given out.
fn no_socket() -> wasmtime::Error {
    wasmtime::format_err!("unreachable: no socket exists")
}

/// What a handle of the network stands for: nothing.
struct Nowhere;

impl Live {
    /// A handle is harmless: all that can be done with it is refused.
    fn nowhere(&mut self) -> Result<Resource<Network>> {
        Ok(Resource::new_own(self.table.push(Nowhere)?.rep()))
    }

    #[expect(clippy::needless_pass_by_value, reason = "the table hands arguments over")]
    fn drop_nowhere(&mut self, network: Resource<Network>) -> Result<()> {
        self.table.delete(Resource::<Nowhere>::new_own(network.rep()))?;
        Ok(())
    }

    fn no_tcp(&mut self, _family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        Err(ErrorCode::AccessDenied.into())
    }

    /// The generated trait makes this function async, and not the one for TCP.
    fn no_udp(&mut self, _family: IpAddressFamily) -> Ready<SocketResult<Resource<UdpSocket>>> {
        ready(Err(ErrorCode::AccessDenied.into()))
    }

    fn no_addresses(
        &mut self,
        _network: Resource<Network>,
        _name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        Err(ErrorCode::AccessDenied.into())
    }
}

impl network::Host for SkillCtx {
    fn convert_error_code(&mut self, error: SocketError) -> Result<ErrorCode> {
        error.downcast()
    }

    /// Never linked, because it is unstable in WASI.
    fn network_error_code(&mut self, _: Resource<StreamFailure>) -> Result<Option<ErrorCode>> {
        Err(no_socket())
    }
}

table! { impl network::HostNetwork as "wasi:sockets/network#" via |live| live;
    ours(drop_nowhere) fn drop = "[resource-drop]network"(this "self": Resource<Network>) -> Result<()>;
}

table! { impl instance_network::Host as "wasi:sockets/instance-network#" via |live| live;
    ours(nowhere) fn instance_network = "instance-network"() -> Result<Resource<Network>>;
}

table! { impl tcp_create_socket::Host as "wasi:sockets/tcp-create-socket#" via |live| live;
    ours(no_tcp) fn create_tcp_socket = "create-tcp-socket"(family "address-family": IpAddressFamily) -> SocketResult<Resource<TcpSocket>>;
}

table! { impl udp_create_socket::Host as "wasi:sockets/udp-create-socket#" via |live| live;
    ours(no_udp) async fn create_udp_socket = "create-udp-socket"(family "address-family": IpAddressFamily) -> SocketResult<Resource<UdpSocket>>;
}

table! { impl ip_name_lookup::Host as "wasi:sockets/ip-name-lookup#" via |live| live;
    ours(no_addresses) fn resolve_addresses = "resolve-addresses"(network "network": Resource<Network>, name "name": String) -> SocketResult<Resource<ResolveAddressStream>>;
}

/// As [`unreachable`] says of the others.
impl ip_name_lookup::HostResolveAddressStream for SkillCtx {
    fn resolve_next_address(&mut self, _: Resource<ResolveAddressStream>) -> SocketResult<Option<IpAddress>> {
        Err(SocketError::trap(no_socket()))
    }

    fn subscribe(&mut self, _: Resource<ResolveAddressStream>) -> Result<Resource<DynPollable>> {
        Err(no_socket())
    }

    fn drop(&mut self, _: Resource<ResolveAddressStream>) -> Result<()> {
        Err(no_socket())
    }
}

enumeration!(IpAddressFamily { "ipv4": Ipv4, "ipv6": Ipv6 });
enumeration!(ErrorCode {
    "unknown": Unknown, "access-denied": AccessDenied, "not-supported": NotSupported, "invalid-argument": InvalidArgument,
    "out-of-memory": OutOfMemory, "timeout": Timeout, "concurrency-conflict": ConcurrencyConflict, "not-in-progress": NotInProgress,
    "would-block": WouldBlock, "invalid-state": InvalidState, "new-socket-limit": NewSocketLimit,
    "address-not-bindable": AddressNotBindable, "address-in-use": AddressInUse, "remote-unreachable": RemoteUnreachable,
    "connection-refused": ConnectionRefused, "connection-reset": ConnectionReset, "connection-aborted": ConnectionAborted,
    "datagram-too-large": DatagramTooLarge, "name-unresolvable": NameUnresolvable,
    "temporary-resolver-failure": TemporaryResolverFailure, "permanent-resolver-failure": PermanentResolverFailure,
});
