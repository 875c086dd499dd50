//! How the values of host calls are spelled in a trace: typed encoding to canonical JSON bytes and decoding from them.
//!
//! The forms are those of tools (`docs/skill-format.md`), with three additions: a resource handle is its number, a long byte list or
//! string is `{"len": …, "sha256": …}` with the bytes in the blob store (in arguments `{"blake3": …, "len": …}` without), and integers
//! keep all their digits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use wasmtime::component::Resource;

use crate::canonical;
use crate::id::Digest;
use crate::limits;
use crate::trace::{TraceError, TraceSink, TraceSource};

/// Where encoded bytes go. For results `sink` keeps long payloads, because a replay must hand them to the guest; of arguments the
/// digest is enough, because a replay only compares them.
pub(crate) struct Encoder<'a> {
    /// The bytes so far.
    pub(crate) out: &'a mut Vec<u8>,
    /// Where long payloads are kept.
    pub(crate) sink: Option<&'a mut dyn TraceSink>,
    /// The first failure to keep one.
    pub(crate) failed: Option<TraceError>,
    /// Bytes of the strings and lists so far.
    pub(crate) payload_bytes: usize,
}

impl Encoder<'_> {
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes digest and length of bytes that are compared and never looked up. BLAKE3 takes a third of sha256's time for 64 KiB.
    pub(crate) fn digest(&mut self, bytes: &[u8]) {
        self.raw(b"{\"blake3\":\"");
        self.raw(blake3::hash(bytes).to_hex().as_bytes());
        self.raw(b"\",\"len\":");
        canonical::write_u64(self.out, bytes.len() as u64);
        self.raw(b"}");
    }

    fn blob(&mut self, bytes: &[u8]) {
        if self.sink.is_none() {
            return self.digest(bytes);
        }
        let digest = Digest::of(bytes);
        self.raw(b"{\"len\":");
        canonical::write_u64(self.out, bytes.len() as u64);
        self.raw(b",\"sha256\":\"");
        self.raw(&digest.to_hex());
        self.raw(b"\"}");
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.blob(digest, bytes)
        {
            self.failed.get_or_insert(error);
        }
    }
}

/// Where decoding finds long payloads.
pub(crate) type Blobs<'a> = &'a mut dyn TraceSource;

/// A value that can be written into a trace.
pub(crate) trait Encode {
    fn encode(&self, to: &mut Encoder<'_>);
}

/// A value that can be read back from a trace.
pub(crate) trait Decode: Sized {
    /// Whether it is a WIT `result`: where a host function returns one, its cases are those of the answer.
    const IS_RESULT: bool = false;

    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed>;
}

/// A recorded value is not of the type that the function has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the recorded value `{0}` is not of the type that the interface has")]
    Value(String),
    #[error(transparent)]
    Trace(#[from] TraceError),
}

pub(crate) fn malformed(value: &Value) -> Malformed {
    Malformed::Value(value.to_string().chars().take(120).collect())
}

pub(crate) fn member<'a>(value: &'a Value, name: &str) -> Result<&'a Value, Malformed> {
    value.get(name).ok_or_else(|| malformed(value))
}

macro_rules! unsigned {
    ($($ty:ty),*) => {$(
        impl Encode for $ty {
            fn encode(&self, to: &mut Encoder<'_>) {
                canonical::write_u64(to.out, u64::from(*self));
            }
        }
        impl Decode for $ty {
            fn decode(value: &Value, _: Blobs<'_>) -> Result<Self, Malformed> {
                value.as_u64().and_then(|n| Self::try_from(n).ok()).ok_or_else(|| malformed(value))
            }
        }
    )*};
}
unsigned!(u8, u16, u32, u64);

impl Encode for () {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.raw(b"null");
    }
}

impl Decode for () {
    fn decode(value: &Value, _: Blobs<'_>) -> Result<Self, Malformed> {
        value.is_null().then_some(()).ok_or_else(|| malformed(value))
    }
}

impl Encode for bool {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.raw(if *self { b"true" } else { b"false" });
    }
}

impl Decode for bool {
    fn decode(value: &Value, _: Blobs<'_>) -> Result<Self, Malformed> {
        value.as_bool().ok_or_else(|| malformed(value))
    }
}

impl Encode for str {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.payload_bytes = to.payload_bytes.saturating_add(self.len());
        if self.len() > limits::INLINE_STRING_BYTES_MAX {
            to.blob(self.as_bytes());
        } else {
            canonical::write_string(to.out, self);
        }
    }
}

impl Encode for String {
    fn encode(&self, to: &mut Encoder<'_>) {
        self.as_str().encode(to);
    }
}

impl Decode for String {
    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Object(_) => Self::from_utf8(blob(value, blobs)?).map_err(|_| malformed(value)),
            _ => Err(malformed(value)),
        }
    }
}

impl Encode for Vec<u8> {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.payload_bytes = to.payload_bytes.saturating_add(self.len());
        if self.len() > limits::INLINE_BYTES_MAX {
            return to.blob(self);
        }
        to.raw(b"\"");
        let start = to.out.len();
        to.out.resize(start + self.len().div_ceil(3) * 4, 0);
        let room = to.out.get_mut(start..).unwrap_or_default();
        let written = BASE64.encode_slice(self, room).unwrap_or_default();
        to.out.truncate(start + written);
        to.raw(b"\"");
    }
}

impl Decode for Vec<u8> {
    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed> {
        match value {
            Value::String(text) => BASE64.decode(text).map_err(|_| malformed(value)),
            Value::Object(_) => blob(value, blobs),
            _ => Err(malformed(value)),
        }
    }
}

fn blob(value: &Value, blobs: Blobs<'_>) -> Result<Vec<u8>, Malformed> {
    let digest =
        member(value, "sha256")?.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| malformed(value))?;
    let bytes = blobs.blob(digest)?;
    if member(value, "len")?.as_u64() != Some(bytes.len() as u64) {
        return Err(malformed(value));
    }
    Ok(bytes)
}

impl<T: 'static> Encode for Resource<T> {
    fn encode(&self, to: &mut Encoder<'_>) {
        canonical::write_u64(to.out, u64::from(self.rep()));
    }
}

impl<T: 'static> Decode for Resource<T> {
    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed> {
        Ok(Self::new_own(u32::decode(value, blobs)?))
    }
}

/// `null` or the value. WASI has no option in an option, so the tools' `{"some": …}` never arises.
impl<T: Encode> Encode for Option<T> {
    fn encode(&self, to: &mut Encoder<'_>) {
        match self {
            None => to.raw(b"null"),
            Some(value) => value.encode(to),
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed> {
        if value.is_null() { Ok(None) } else { T::decode(value, blobs).map(Some) }
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, to: &mut Encoder<'_>) {
        to.raw(b"[");
        self.0.encode(to);
        to.raw(b",");
        self.1.encode(to);
        to.raw(b"]");
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed> {
        match value.as_array().map(Vec::as_slice) {
            Some([a, b]) => Ok((A::decode(a, blobs)?, B::decode(b, blobs)?)),
            _ => Err(malformed(value)),
        }
    }
}

/// A result: the payload under the name of its case, `null` where that has none.
impl<T: Encode, E: Encode> Encode for Result<T, E> {
    fn encode(&self, to: &mut Encoder<'_>) {
        match self {
            Ok(value) => {
                to.raw(b"{\"ok\":");
                value.encode(to);
            }
            Err(error) => {
                to.raw(b"{\"err\":");
                error.encode(to);
            }
        }
        to.raw(b"}");
    }
}

impl<T: Decode, E: Decode> Decode for Result<T, E> {
    const IS_RESULT: bool = true;

    fn decode(value: &Value, blobs: Blobs<'_>) -> Result<Self, Malformed> {
        match (value.get("ok"), value.get("err")) {
            (Some(ok), None) => T::decode(ok, blobs).map(Ok),
            (None, Some(error)) => E::decode(error, blobs).map(Err),
            _ => Err(malformed(value)),
        }
    }
}

/// A list of anything but bytes, which have a form of their own.
macro_rules! list {
    ($($ty:ty),*) => {$(
        impl $crate::sandbox::wire::Encode for Vec<$ty> {
            fn encode(&self, to: &mut $crate::sandbox::wire::Encoder<'_>) {
                to.raw(b"[");
                for (index, item) in self.iter().enumerate() {
                    if index > 0 {
                        to.raw(b",");
                    }
                    item.encode(to);
                }
                to.raw(b"]");
            }
        }
        impl $crate::sandbox::wire::Decode for Vec<$ty> {
            fn decode(
                value: &serde_json::Value,
                blobs: $crate::sandbox::wire::Blobs<'_>,
            ) -> Result<Self, $crate::sandbox::wire::Malformed> {
                let items = value.as_array().ok_or_else(|| $crate::sandbox::wire::malformed(value))?;
                items.iter().map(|item| $crate::sandbox::wire::Decode::decode(item, &mut *blobs)).collect()
            }
        }
    )*};
}
pub(crate) use list;
list!(String, (String, String), u32);

/// A record: its fields in sorted WIT spelling.
macro_rules! record {
    ($ty:ty { $($name:literal: $field:ident),* $(,)? }) => {
        impl $crate::sandbox::wire::Encode for $ty {
            fn encode(&self, to: &mut $crate::sandbox::wire::Encoder<'_>) {
                let mut separator: &[u8] = b"{";
                $(
                    to.raw(separator);
                    to.raw(concat!("\"", $name, "\":").as_bytes());
                    self.$field.encode(to);
                    separator = b",";
                )*
                let _ = separator;
                to.raw(b"}");
            }
        }
        impl $crate::sandbox::wire::Decode for $ty {
            fn decode(
                value: &serde_json::Value,
                blobs: $crate::sandbox::wire::Blobs<'_>,
            ) -> Result<Self, $crate::sandbox::wire::Malformed> {
                Ok(Self {
                    $($field: $crate::sandbox::wire::Decode::decode($crate::sandbox::wire::member(value, $name)?, &mut *blobs)?,)*
                })
            }
        }
    };
}
pub(crate) use record;

/// An enum: its cases in WIT spelling.
macro_rules! enumeration {
    ($ty:ty { $($name:literal: $case:ident),* $(,)? }) => {
        impl $crate::sandbox::wire::Encode for $ty {
            fn encode(&self, to: &mut $crate::sandbox::wire::Encoder<'_>) {
                to.raw(match self { $(Self::$case => concat!("\"", $name, "\"").as_bytes(),)* });
            }
        }
        impl $crate::sandbox::wire::Decode for $ty {
            fn decode(
                value: &serde_json::Value,
                _: $crate::sandbox::wire::Blobs<'_>,
            ) -> Result<Self, $crate::sandbox::wire::Malformed> {
                match value.as_str() {
                    $(Some($name) => Ok(Self::$case),)*
                    _ => Err($crate::sandbox::wire::malformed(value)),
                }
            }
        }
    };
}
pub(crate) use enumeration;

/// Flags: the names of those that are set, in WIT order.
macro_rules! flags {
    ($ty:ty { $($name:literal: $flag:ident),* $(,)? }) => {
        impl $crate::sandbox::wire::Encode for $ty {
            fn encode(&self, to: &mut $crate::sandbox::wire::Encoder<'_>) {
                to.raw(b"[");
                let mut separator: &[u8] = b"";
                $(
                    if self.contains(Self::$flag) {
                        to.raw(separator);
                        to.raw(concat!("\"", $name, "\"").as_bytes());
                        separator = b",";
                    }
                )*
                let _ = separator;
                to.raw(b"]");
            }
        }
        impl $crate::sandbox::wire::Decode for $ty {
            fn decode(
                value: &serde_json::Value,
                _: $crate::sandbox::wire::Blobs<'_>,
            ) -> Result<Self, $crate::sandbox::wire::Malformed> {
                let mut flags = Self::empty();
                for name in value.as_array().ok_or_else(|| $crate::sandbox::wire::malformed(value))? {
                    match name.as_str() {
                        $(Some($name) => flags |= Self::$flag,)*
                        _ => return Err($crate::sandbox::wire::malformed(value)),
                    }
                }
                Ok(flags)
            }
        }
    };
}
pub(crate) use flags;

/// A variant: `{"tag": …}`, with `val` where the case has a payload.
macro_rules! variant {
    ($ty:ty { $($name:literal: $case:ident $(($payload:ident))?),* $(,)? }) => {
        impl $crate::sandbox::wire::Encode for $ty {
            fn encode(&self, to: &mut $crate::sandbox::wire::Encoder<'_>) {
                match self {
                    $(Self::$case $(($payload))? => {
                        to.raw(concat!("{\"tag\":\"", $name, "\"").as_bytes());
                        $(
                            to.raw(b",\"val\":");
                            $payload.encode(to);
                        )?
                        to.raw(b"}");
                    })*
                }
            }
        }
        impl $crate::sandbox::wire::Decode for $ty {
            fn decode(
                value: &serde_json::Value,
                blobs: $crate::sandbox::wire::Blobs<'_>,
            ) -> Result<Self, $crate::sandbox::wire::Malformed> {
                let _ = &blobs;
                match $crate::sandbox::wire::member(value, "tag")?.as_str() {
                    $(Some($name) => Ok(Self::$case $(({
                        let $payload = $crate::sandbox::wire::member(value, "val")?;
                        $crate::sandbox::wire::Decode::decode($payload, &mut *blobs)?
                    }))?),)*
                    _ => Err($crate::sandbox::wire::malformed(value)),
                }
            }
        }
    };
}
pub(crate) use variant;
