//! What came of a thing, in words that are the same on every machine.

use std::fmt::Debug;

/// One line.
pub(crate) fn say(what: &str, value: impl Debug) {
    println!("{what}: {value:?}");
}

/// A short name of many bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{} bytes {hash:016x}", bytes.len())
}

/// Bytes that are no text and do not repeat soon.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::with_capacity(len);
    for _ in 0..len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push(state.to_be_bytes()[0]);
    }
    bytes
}
