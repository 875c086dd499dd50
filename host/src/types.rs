//! WIT value types as plain data: the one vocabulary in which a tool's input and output are described, checked and converted.
//!
//! Pure: knows no engine. [`schema`] derives JSON Schema from a type, [`check`] holds a JSON value against a type, and the sandbox
//! converts JSON to component values by the same types, so that the three cannot disagree (a property test holds them together).

pub mod assign;
pub mod check;
pub mod schema;

use std::fmt;

use crate::limits;

/// A WIT value type.
///
/// Resources, streams, futures and error contexts are absent: a function that uses one has no JSON form and is not a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ty {
    /// `bool`: JSON `true` or `false`.
    Bool,
    /// `s8`: an integer in range. As in JSON Schema `1.0` is the integer 1, for canonical JSON spells both `1`.
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
    /// `map<string, V>`: an object. `map<K, V>` with another key type: an array of `[key, value]` pairs, in which a key may be
    /// repeated as in the component model.
    Map(Box<Self>, Box<Self>),
    /// `tuple<…>`: an array of exactly that many elements.
    Tuple(Vec<Self>),
    /// `record`: an object with exactly these keys; a field of type `option` may be absent.
    Record(Vec<(String, Self)>),
    /// `variant`: `{"tag": case}` for a case without payload, `{"tag": case, "val": payload}` for one with.
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

/// Why one type or path does not fit another, with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Mismatch {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The type of what a reference such as `.total.0` reaches inside a value of type `ty`.
///
/// Segments are record fields, indices of lists and tuples, and keys of `map<string, V>`. A list's length and a map's keys are only
/// known at run time.
///
/// # Errors
///
/// Names the segment that cannot be reached; through an `option`, `variant` or `result` nothing can, because it may not be there.
pub fn type_at<'t>(ty: &'t Ty, segments: &[String]) -> Result<&'t Ty, Mismatch> {
    let mut at = ty;
    for segment in segments {
        at = step_into(at, segment)?;
    }
    Ok(at)
}

fn step_into<'t>(ty: &'t Ty, segment: &str) -> Result<&'t Ty, Mismatch> {
    use crate::problem::{shown, suggestion};
    let nothing = || Mismatch::new(format!("`{ty:.80}` has no `{}`", shown(segment)));
    match ty {
        Ty::Record(fields) => fields.iter().find(|(name, _)| name == segment).map(|(_, ty)| ty).ok_or_else(|| {
            let names = fields.iter().map(|(name, _)| name.as_str());
            let hint = suggestion(segment, names.clone()).unwrap_or_else(|| one_of("its fields are", names));
            nothing().hint(hint)
        }),
        Ty::List(item) => index(segment).map(|_| &**item).ok_or_else(|| nothing().hint("a list has indices from 0")),
        Ty::FixedList(item, length) => match index(segment) {
            Some(at) if u64::try_from(at).is_ok_and(|at| at < u64::from(*length)) => Ok(item),
            _ => Err(nothing().hint(format!("it has {length} elements, from index 0"))),
        },
        Ty::Tuple(items) => index(segment)
            .and_then(|at| items.get(at))
            .ok_or_else(|| nothing().hint(format!("it has {} elements, from index 0", items.len()))),
        Ty::Map(key, value) if **key == Ty::String => Ok(value),
        Ty::Option(_) => Err(nothing().hint("it may be null: pass the whole value to a tool that takes an option")),
        Ty::Variant(_) | Ty::Result(..) => {
            Err(nothing().hint("which case it is, is known at run time: pass the whole value to a tool that takes it"))
        }
        _ => Err(nothing().hint("only records, lists, tuples and maps with string keys have parts")),
    }
}

/// An index as references write it: decimal digits without leading zeros.
#[must_use]
pub fn index(segment: &str) -> Option<usize> {
    let digits = segment.bytes().all(|b| b.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    digits.then(|| segment.parse().ok()).flatten()
}

/// `prefix `a`, `b` and 3 more`.
pub(crate) fn one_of<'a>(prefix: &str, names: impl Iterator<Item = &'a str>) -> String {
    const NAMES_MAX: usize = 10;
    let names: Vec<&str> = names.collect();
    let listed: Vec<String> =
        names.iter().take(NAMES_MAX).map(|name| format!("`{}`", crate::problem::shown(name))).collect();
    match names.len().checked_sub(NAMES_MAX) {
        _ if names.is_empty() => format!("{prefix} none"),
        Some(more) if more > 0 => format!("{prefix} {} and {more} more", listed.join(", ")),
        _ => format!("{prefix} {}", listed.join(", ")),
    }
}

/// As in WIT, with the members of records and variants. A precision (`{ty:.80}`) cuts it after that many characters.
impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let max = f.precision().unwrap_or(usize::MAX);
        self.write(&mut text, max, 0);
        match text.char_indices().nth(max) {
            Some((end, _)) => write!(f, "{}…", text.get(..end).unwrap_or_default()),
            None => f.write_str(&text),
        }
    }
}

impl Ty {
    fn write(&self, out: &mut String, max: usize, depth: usize) {
        if out.len() > max.saturating_mul(4) || depth > limits::TYPE_DEPTH_MAX {
            return;
        }
        let depth = depth + 1;
        match self {
            Self::Bool => out.push_str("bool"),
            Self::S8 => out.push_str("s8"),
            Self::U8 => out.push_str("u8"),
            Self::S16 => out.push_str("s16"),
            Self::U16 => out.push_str("u16"),
            Self::S32 => out.push_str("s32"),
            Self::U32 => out.push_str("u32"),
            Self::S64 => out.push_str("s64"),
            Self::U64 => out.push_str("u64"),
            Self::F32 => out.push_str("f32"),
            Self::F64 => out.push_str("f64"),
            Self::Char => out.push_str("char"),
            Self::String => out.push_str("string"),
            Self::Bytes => out.push_str("list<u8>"),
            Self::List(item) => wrap(out, "list<", [&**item], max, depth),
            Self::FixedList(item, length) => {
                out.push_str("list<");
                item.write(out, max, depth);
                out.push_str(", ");
                out.push_str(&length.to_string());
                out.push('>');
            }
            Self::Map(key, value) => wrap(out, "map<", [&**key, &**value], max, depth),
            Self::Tuple(items) => wrap(out, "tuple<", items, max, depth),
            Self::Record(fields) => {
                out.push_str("record { ");
                for (position, (name, ty)) in fields.iter().enumerate() {
                    out.push_str(if position == 0 { "" } else { ", " });
                    out.push_str(name);
                    out.push_str(": ");
                    ty.write(out, max, depth);
                }
                out.push_str(" }");
            }
            Self::Variant(cases) => {
                out.push_str("variant { ");
                for (position, (name, payload)) in cases.iter().enumerate() {
                    out.push_str(if position == 0 { "" } else { ", " });
                    out.push_str(name);
                    if let Some(payload) = payload {
                        out.push('(');
                        payload.write(out, max, depth);
                        out.push(')');
                    }
                }
                out.push_str(" }");
            }
            Self::Enum(names) => {
                out.push_str("enum { ");
                out.push_str(&names.join(", "));
                out.push_str(" }");
            }
            Self::Flags(names) => {
                out.push_str("flags { ");
                out.push_str(&names.join(", "));
                out.push_str(" }");
            }
            Self::Option(some) => wrap(out, "option<", [&**some], max, depth),
            Self::Result(None, None) => out.push_str("result"),
            Self::Result(ok, err) => {
                out.push_str("result<");
                match ok {
                    Some(ok) => ok.write(out, max, depth),
                    None => out.push('_'),
                }
                if let Some(err) = err {
                    out.push_str(", ");
                    err.write(out, max, depth);
                }
                out.push('>');
            }
        }
    }
}

fn wrap<'t>(out: &mut String, open: &str, items: impl IntoIterator<Item = &'t Ty>, max: usize, depth: usize) {
    out.push_str(open);
    for (position, item) in items.into_iter().enumerate() {
        out.push_str(if position == 0 { "" } else { ", " });
        item.write(out, max, depth);
    }
    out.push('>');
}

#[cfg(test)]
mod tests;
