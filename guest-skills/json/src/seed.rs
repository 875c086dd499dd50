//! A fixed seed where a dependency asks for random bytes.
//!
//! The hash maps of `jsonschema` are seeded through `getrandom`, whose own way to the host imports `wasi:random/random` and a newer WASI
//! than everything else here. A component lives for one call within a fuel limit, so a seed that is known gains an attacker nothing,
//! and equal documents cost equal fuel. `build` selects this back end with `--cfg getrandom_backend="custom"`.

/// What every byte of the seed is.
const SEED: u8 = 0x5a;

/// The function that `getrandom` calls for its back end `custom`.
///
/// # Safety
///
/// `destination` must be valid for writing `length` bytes.
#[expect(unsafe_code, reason = "the signature is getrandom's")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(destination: *mut u8, length: usize) -> Result<(), getrandom::Error> {
    // SAFETY: the caller's contract.
    unsafe { destination.write_bytes(SEED, length) };
    Ok(())
}
