//! The tables at their edges, and against what the standard library and plain arithmetic say.

use proptest::prelude::*;

use super::*;

fn of(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_range_is_special_from_its_first_to_its_last_address() {
    for (range, what) in SPECIAL_V4 {
        for address in [range.network(), range.broadcast()] {
            assert_eq!(special(IpAddr::V4(address)), Some(what), "{address}");
        }
        assert_eq!(range.trunc(), range, "{range} is canonical");
        // The neighbours are special only where another range has them.
        let (first, last) = (u32::from(range.network()), u32::from(range.broadcast()));
        for neighbour in [first.checked_sub(1), last.checked_add(1)].into_iter().flatten().map(Ipv4Addr::from) {
            let other = SPECIAL_V4.iter().find(|(other, _)| other.contains(&neighbour)).map(|(_, what)| *what);
            assert_eq!(special(IpAddr::V4(neighbour)), other, "{neighbour}");
            assert!(other.is_none() || matches!(neighbour.octets()[0], 223..|0| 126..=128), "{neighbour}");
        }
    }
    for (range, _) in SPECIAL_V6 {
        for address in [range.network(), range.broadcast()] {
            assert!(special(IpAddr::V6(address)).is_some(), "{address}");
        }
        assert_eq!(range.trunc(), range, "{range} is canonical");
    }
}

#[test]
fn what_may_not_be_reached_by_name_of_the_thing() {
    for (address, what) in [
        ("0.0.0.0", "this network"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("10.0.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "shared by carriers (cgnat)"),
        ("100.100.100.200", "shared by carriers (cgnat)"),
        ("169.254.169.254", "link-local, cloud metadata services among it"),
        ("168.63.129.16", "a cloud's metadata service"),
        ("192.0.0.192", "for protocols"),
        ("198.19.0.1", "for benchmarks"),
        ("203.0.113.7", "for documentation"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved, broadcast among it"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "an ipv4-compatible address"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local, cloud metadata services among it"),
        ("::ffff:0:10.0.0.1", "an ipv4-translated address"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::1", "local translation to ipv4"),
        ("2001::1", "teredo"),
        ("2001:2::1", "for protocols, benchmarks and orchids"),
        ("2001:db8::1", "for documentation"),
        ("2002:7f00:1::", "6to4"),
        ("3fff::1", "for documentation"),
        ("fd00:ec2::254", "unique local, cloud metadata services among it"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("100::1", "discard-only"),
        ("4000::1", "not allocated"),
        ("e000::1", "not allocated"),
    ] {
        assert_eq!(special(of(address)), Some(what), "{address}");
        assert_eq!(check(of(address), &[]), Err(what), "{address}");
    }
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2001:200::1",
        "2606:4700::1111",
        "2a00::1",
        "3ffe::1",
    ] {
        assert_eq!(check(of(address), &[]), Ok(()), "{address}");
    }
}

#[test]
fn a_rule_may_name_them() {
    let allowed: Vec<IpNet> = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"].map(|range| range.parse().unwrap()).to_vec();
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "10.200.0.1", "fd00::7", "1.1.1.1"] {
        assert_eq!(check(of(address), &allowed), Ok(()), "{address}");
    }
    // What is reached through a translator is not the address itself.
    for address in ["127.0.0.2", "64:ff9b::127.0.0.1", "::127.0.0.1", "fe80::1", "192.168.0.1"] {
        assert!(check(of(address), &allowed).is_err(), "{address}");
    }
}

/// The same question answered from the standard library's predicates and from bits.
fn oracle_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0b1100_0000 == 64)
        || (a == 198 && b & 0b1111_1110 == 18)
        || matches!((a, b, c), (192, 0, 0) | (192, 31, 196) | (192, 52, 193) | (192, 88, 99) | (192, 175, 48))
        || (a, b, c, d) == (168, 63, 129, 16);
    !special
}

fn oracle_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return oracle_v4(mapped);
    }
    let bits = u128::from(address);
    if bits >> 32 == 0x0064_ff9b_0000_0000_0000_0000 {
        return oracle_v4(Ipv4Addr::from(u32::try_from(bits & 0xffff_ffff).unwrap()));
    }
    let global = bits >> 125 == 1;
    let taken_out = bits >> 105 == 0x2001_0000 >> 9
        || bits >> 96 == 0x2001_0db8
        || bits >> 112 == 0x2002
        || bits >> 80 == 0x2620_004f_8000
        || bits >> 108 == 0x3fff0;
    global && !taken_out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn ipv4_is_as_the_oracle_says(bits in any::<u32>(), near in 0..SPECIAL_V4.len(), step in -2_i64..3) {
        // Anywhere, and at the edges of the ranges.
        let range = SPECIAL_V4[near].0;
        for edge in [i64::from(bits), i64::from(u32::from(range.network())) + step, i64::from(u32::from(range.broadcast())) + step] {
            if let Ok(bits) = u32::try_from(edge) {
                let address = Ipv4Addr::from(bits);
                prop_assert_eq!(special(IpAddr::V4(address)).is_none(), oracle_v4(address), "{}", address);
            }
        }
    }

    #[test]
    fn ipv6_is_as_the_oracle_says(
        bits in any::<u128>(),
        low in any::<u32>(),
        prefix in prop_oneof![
            Just(0_u128), Just(0xffff_u128 << 32), Just(0x0064_ff9b_u128 << 96), Just(0x2001_u128 << 112), Just(0x2002_u128 << 112),
            Just(0x2001_0db8_u128 << 96), Just(0x3fff_u128 << 112), Just(0x2620_004f_8000_u128 << 80), Just(0x2001_01ff_u128 << 96),
            Just(0x2001_0200_u128 << 96), Just(0xfd00_0ec2_u128 << 96), Just(0x2000_u128 << 112),
        ],
    ) {
        for address in [bits, prefix | u128::from(low), prefix.wrapping_sub(1), prefix | (bits >> 48)].map(Ipv6Addr::from) {
            prop_assert_eq!(special(IpAddr::V6(address)).is_none(), oracle_v6(address), "{}", address);
        }
    }
}
