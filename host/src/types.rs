//! WIT value types as plain data: the one vocabulary in which a tool's input and output are described, checked and converted.
//!
//! Pure: knows no engine. [`schema`] derives JSON Schema from a type, [`check`] holds a JSON value against a type, and the sandbox
//! converts JSON to component values by the same types, so that the three cannot disagree (a property test holds them together).

pub mod check;
pub mod schema;

/// A WIT value type.
///
/// Resources, streams, futures and error contexts are absent: a function that uses one has no JSON form and is not a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ty {
    /// `bool`: JSON `true` or `false`.
    Bool,
    /// `s8`: an integer in range.
    S8,
    /// `u8`: an integer in range.
    U8,
    /// `s16`: an integer in range.
    S16,
    /// `u16`: an integer in range.
    U16,
    /// `s32`: an integer in range.
    S32,
    /// `u32`: an integer in range.
    U32,
    /// `s64`: an integer in range, never a string.
    S64,
    /// `u64`: an integer in range, never a string.
    U64,
    /// `f32`: a number, or one of the strings `"NaN"`, `"Infinity"`, `"-Infinity"`. A finite number outside of f32 is refused.
    F32,
    /// `f64`: as `f32` with f64's range.
    F64,
    /// `char`: a string of exactly one Unicode scalar value.
    Char,
    /// `string`.
    String,
    /// `list<u8>`: a string of standard base64 with padding.
    Bytes,
    /// `list<T>`, for every `T` but `u8`: an array.
    List(Box<Self>),
    /// `list<T, N>`: an array of exactly that many elements (also of `u8`).
    FixedList(Box<Self>, u32),
    /// `map<K, V>`: an array of `[key, value]` pairs.
    Map(Box<Self>, Box<Self>),
    /// `tuple<…>`: an array of exactly that many elements.
    Tuple(Vec<Self>),
    /// `record`: an object with exactly these keys; a field of type `option` may be absent.
    Record(Vec<(String, Self)>),
    /// `variant`: `{"tag": case}` or `{"tag": case, "val": payload}`.
    Variant(Vec<(String, Option<Self>)>),
    /// `enum`: the case's name as a string.
    Enum(Vec<String>),
    /// `flags`: an array of distinct names.
    Flags(Vec<String>),
    /// `option<T>`: `null` or the value. Where `T` itself may be `null` (an option in an option): `null` or `{"some": value}`.
    Option(Box<Self>),
    /// `result<T, E>` inside a value: `{"ok": value}` or `{"err": value}`, `null` where a side has no payload.
    Result(Option<Box<Self>>, Option<Box<Self>>),
}

impl Ty {
    /// Whether JSON `null` is a value of this type, and so whether a record field or parameter of it may be absent.
    #[must_use]
    pub const fn is_nullable(&self) -> bool {
        matches!(self, Self::Option(_))
    }
}
