//! What came of a thing, in words that are the same on every machine: no times, no inodes, no texts of the system.

use std::fmt::Debug;
use std::io;

use wasip2::filesystem::types::ErrorCode;
use wasip2::io::streams::StreamError;

/// The folder that every case works in. It is a fresh copy of the fixture.
pub(crate) const ROOT: &str = "/workspace";

/// A path below the folder.
pub(crate) fn at(name: &str) -> String {
    format!("{ROOT}/{name}")
}

/// One line.
pub(crate) fn say(what: &str, value: impl Debug) {
    println!("{what}: {value:?}");
}

/// How an operation of the standard library ended.
pub(crate) fn show<T: Debug>(what: &str, result: io::Result<T>) {
    match result {
        Ok(value) => println!("{what}: ok {value:?}"),
        Err(error) => match error.raw_os_error() {
            Some(number) => println!("{what}: error {:?} {number}", error.kind()),
            None => println!("{what}: error {:?}", error.kind()),
        },
    }
}

/// The same where only success counts.
pub(crate) fn done<T>(what: &str, result: io::Result<T>) {
    show(what, result.map(|_| ()));
}

/// How an operation of `wasi:filesystem` ended.
pub(crate) fn raw<T: Debug>(what: &str, result: Result<T, ErrorCode>) {
    match result {
        Ok(value) => println!("{what}: ok {value:?}"),
        Err(code) => println!("{what}: error {}", code.name()),
    }
}

/// How an operation on a stream ended.
pub(crate) fn stream<T: Debug>(what: &str, result: Result<T, StreamError>) {
    match result {
        Ok(value) => println!("{what}: ok {value:?}"),
        Err(StreamError::Closed) => println!("{what}: closed"),
        Err(StreamError::LastOperationFailed(error)) => {
            let code = wasip2::filesystem::types::filesystem_error_code(&error);
            println!("{what}: failed {}", code.map_or("without a file system's code", |code| code.name()));
        }
    }
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
