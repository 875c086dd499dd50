//! The signature of a message: HMAC-SHA256 (RFC 2104) over its bytes, so that whoever gets it knows whom it is from.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::limits;

/// A key to sign with. Its `Debug` shows nothing of it; clones share it, and it is overwritten when the last one is gone.
#[derive(Clone)]
pub struct SigningKey(Arc<Bytes>);

struct Bytes(Vec<u8>);

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from seeing that nobody reads the zeros.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Why some bytes are no key. `Display` is for people: lower case, no final period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A short one can be guessed.
    #[error("the signing key has less than {} bytes", limits::SIGNING_KEY_BYTES_MIN)]
    TooShort,
    /// No key is so long.
    #[error("the signing key has more than {} bytes", limits::SECRET_BYTES_MAX)]
    TooLong,
}

impl SigningKey {
    /// A key of these bytes.
    ///
    /// # Errors
    ///
    /// [`BadKey`] where it is too short to sign anything, or too long to be one.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BadKey> {
        let bytes = Bytes(bytes);
        let length = bytes.0.len();
        if length < limits::SIGNING_KEY_BYTES_MIN {
            Err(BadKey::TooShort)
        } else if length as u64 > limits::SECRET_BYTES_MAX {
            Err(BadKey::TooLong)
        } else {
            Ok(Self(Arc::new(bytes)))
        }
    }

    /// What the header says of `body`: `sha256=` and 64 hexadecimal digits.
    #[must_use]
    pub fn signature(&self, body: &[u8]) -> String {
        use fmt::Write as _;
        let mut text = String::from("sha256=");
        // Keys of any length are taken.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0.0) {
            mac.update(body);
            for byte in mac.finalize().into_bytes() {
                // Writing to a string cannot fail.
                write!(text, "{byte:02x}").ok();
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        // Its test cases 1, 3 and 6; the key of the last is longer than a block of the hash.
        for (key, body, expected) in [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            let key = SigningKey::new(key).unwrap();
            assert_eq!(key.signature(&body), format!("sha256={expected}"));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_none_is_shown() {
        let max = usize::try_from(limits::SECRET_BYTES_MAX).unwrap();
        assert_eq!(SigningKey::new(Vec::new()).unwrap_err(), BadKey::TooShort);
        assert_eq!(SigningKey::new(vec![b'k'; limits::SIGNING_KEY_BYTES_MIN - 1]).unwrap_err(), BadKey::TooShort);
        assert_eq!(SigningKey::new(vec![b'k'; max + 1]).unwrap_err(), BadKey::TooLong);
        let key = SigningKey::new(b"a key that nobody sees".to_vec()).unwrap();
        assert!(!format!("{key:?}").contains("nobody"));
    }
}
