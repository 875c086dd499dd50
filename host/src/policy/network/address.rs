//! Which addresses are of the public internet, and which are not reached unless a rule names them.
//!
//! Sources: the IANA registries of special-purpose addresses for IPv4 and IPv6, the IPv4 multicast and IPv6 address space registries, all
//! as of 2025, and what cloud providers document of their metadata services. IPv6 is read the other way round: only what is allocated as
//! global unicast (2000::/3) is public, less what the registries take out of it.

// Addresses as values: `core::net` has no sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 ranges that are not public, with what they are.
pub const SPECIAL_V4: [(Ipv4Net, &str); 19] = [
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared by carriers (cgnat)"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(168, 63, 129, 16, 32), "a cloud's metadata service"),
    (v4(169, 254, 0, 0, 16), "link-local, cloud metadata services among it"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "for protocols"),
    (v4(192, 0, 2, 0, 24), "for documentation"),
    (v4(192, 31, 196, 0, 24), "as112 anycast"),
    (v4(192, 52, 193, 0, 24), "amt relays"),
    (v4(192, 88, 99, 0, 24), "6to4 relays"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(192, 175, 48, 0, 24), "as112 anycast"),
    (v4(198, 18, 0, 0, 15), "for benchmarks"),
    (v4(198, 51, 100, 0, 24), "for documentation"),
    (v4(203, 0, 113, 0, 24), "for documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved, broadcast among it"),
];

/// IPv6 ranges that are not public, with what they are, the narrower ones first. All that is neither here nor in [`GLOBAL_V6`] is
/// not allocated.
pub const SPECIAL_V6: [(Ipv6Net, &str); 18] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "an ipv4-compatible address"),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), "an ipv4-translated address"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "local translation to ipv4"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "discard-only"),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), "dummy prefix"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), "teredo"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "for protocols, benchmarks and orchids"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "for documentation"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "6to4"),
    (v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), "as112 anycast"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "for documentation"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "segment routing"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "unique local, cloud metadata services among it"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "site-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

/// What is allocated to the public internet.
pub const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The well-known prefix of NAT64: the last four bytes are the IPv4 address that is reached.
pub const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(parts: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = parts;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// The address that is reached where `address` is connected to: an IPv4-mapped one is the IPv4 one.
#[must_use]
pub const fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// What an address is where it is not public; `None` where it is.
#[must_use]
pub fn special(address: IpAddr) -> Option<&'static str> {
    match canonical(address) {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => special_v4(embedded(address)),
        IpAddr::V6(address) => match SPECIAL_V6.iter().find(|(range, _)| range.contains(&address)) {
            Some((_, what)) => Some(what),
            None if GLOBAL_V6.contains(&address) => None,
            None => Some("not allocated"),
        },
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4.iter().find(|(range, _)| range.contains(&address)).map(|(_, what)| *what)
}

/// The last four bytes.
const fn embedded(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Whether a rule that names the ranges `allowed` may reach `address`; what the address is where it may not.
///
/// # Errors
///
/// What is special about the address.
pub fn check(address: IpAddr, allowed: &[IpNet]) -> Result<(), &'static str> {
    let address = canonical(address);
    match special(address) {
        None => Ok(()),
        Some(_) if allowed.iter().any(|range| range.contains(&address)) => Ok(()),
        Some(what) => Err(what),
    }
}

#[cfg(test)]
mod tests;
