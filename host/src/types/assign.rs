//! Whether a value of one type always is a value of another: what lets a plan's references be checked before the run.

use super::check::integer_range;
use super::{Mismatch, Ty};
use crate::limits;

/// Whether every JSON value of `from` is accepted where `to` is expected.
///
/// Sound, not complete: what would be accepted but hardly meant is refused as well, such as base64 where a string is expected, or a
/// 64-bit integer where a double would round it.
///
/// # Errors
///
/// Says which part does not fit, and what to do where that can be said.
pub fn assignable(from: &Ty, to: &Ty) -> Result<(), Mismatch> {
    assign(from, to, &mut String::new(), 0)
}

fn refuse(from: &Ty, to: &Ty, place: &str) -> Mismatch {
    let message = if place.is_empty() {
        format!("`{from:.80}` does not fit `{to:.80}`")
    } else {
        format!("`{from:.80}` does not fit `{to:.80}` at `{}`", place.trim_start_matches('.'))
    };
    Mismatch::new(message)
}

fn assign(from: &Ty, to: &Ty, place: &mut String, depth: usize) -> Result<(), Mismatch> {
    if depth > 2 * limits::TYPE_DEPTH_MAX {
        return Err(Mismatch::new(format!("types are nested deeper than {}", limits::TYPE_DEPTH_MAX)));
    }
    let depth = depth + 1;
    match (from, to) {
        (Ty::Option(from_some), Ty::Option(to_some)) if from_some.is_nullable() == to_some.is_nullable() => {
            assign(from_some, to_some, place, depth)
        }
        (Ty::Option(_), Ty::Option(_)) => Err(refuse(from, to, place).hint("the options are nested differently")),
        (Ty::Option(_), _) => Err(refuse(from, to, place)
            .hint("the value may be null, which is not accepted here: use a tool that gives a value in any case")),
        (_, Ty::Option(some)) if !some.is_nullable() => assign(from, some, place, depth),
        (Ty::Record(_), Ty::Record(_)) => record(from, to, place, depth),
        (Ty::Record(fields), Ty::Map(key, value)) if **key == Ty::String => {
            fields.iter().try_for_each(|(name, field)| inside(place, name, |place| assign(field, value, place, depth)))
        }
        (Ty::Map(from_key, from_value), Ty::Map(to_key, to_value))
            if (**from_key == Ty::String) == (**to_key == Ty::String) =>
        {
            inside(place, "key", |place| assign(from_key, to_key, place, depth))?;
            inside(place, "value", |place| assign(from_value, to_value, place, depth))
        }
        (Ty::Variant(from_cases), Ty::Variant(to_cases)) => from_cases.iter().try_for_each(|(name, payload)| {
            let to_payload = to_cases.iter().find(|(other, _)| other == name).map(|(_, payload)| payload);
            match (payload, to_payload) {
                (None, Some(None)) => Ok(()),
                (Some(payload), Some(Some(other))) => inside(place, name, |place| assign(payload, other, place, depth)),
                _ => Err(refuse(from, to, place).hint(format!("the case `{name}` is not the same on both sides"))),
            }
        }),
        (Ty::Result(from_ok, from_err), Ty::Result(to_ok, to_err)) => {
            for (name, from_side, to_side) in [("ok", from_ok, to_ok), ("err", from_err, to_err)] {
                match (from_side, to_side) {
                    (None, None) => {}
                    (None, Some(to_side)) if to_side.is_nullable() => {}
                    (Some(from_side), Some(to_side)) => {
                        inside(place, name, |place| assign(from_side, to_side, place, depth))?;
                    }
                    _ => return Err(refuse(from, to, place).hint(format!("`{name}` has a payload on one side only"))),
                }
            }
            Ok(())
        }
        _ => scalar(from, to, place).unwrap_or_else(|| array(from, to, place, depth)),
    }
}

fn inside(place: &mut String, name: &str, f: impl FnOnce(&mut String) -> Result<(), Mismatch>) -> Result<(), Mismatch> {
    let length = place.len();
    place.push('.');
    place.push_str(name);
    let result = f(place);
    place.truncate(length);
    result
}

fn record(from: &Ty, to: &Ty, place: &mut String, depth: usize) -> Result<(), Mismatch> {
    let (Ty::Record(from_fields), Ty::Record(to_fields)) = (from, to) else { return Err(refuse(from, to, place)) };
    for (name, field) in from_fields {
        match to_fields.iter().find(|(other, _)| other == name) {
            Some((_, other)) => inside(place, name, |place| assign(field, other, place, depth))?,
            None => return Err(refuse(from, to, place).hint(format!("the field `{name}` is not accepted here"))),
        }
    }
    match to_fields.iter().find(|(name, ty)| !ty.is_nullable() && !from_fields.iter().any(|(other, _)| other == name)) {
        Some((name, _)) => Err(refuse(from, to, place).hint(format!("the field `{name}` is missing"))),
        None => Ok(()),
    }
}

/// The types whose values are no arrays; `None` leaves the decision to [`array`].
fn scalar(from: &Ty, to: &Ty, place: &str) -> Option<Result<(), Mismatch>> {
    if let Some((min, max)) = integer_range(from) {
        if let Some((to_min, to_max)) = integer_range(to) {
            let fits = to_min <= min && max <= to_max;
            let hint = format!("`{from}` is {min} to {max}, `{to}` is {to_min} to {to_max}");
            return Some(if fits { Ok(()) } else { Err(refuse(from, to, place).hint(hint)) });
        }
        let exact_bits = match to {
            Ty::F32 => 24,
            Ty::F64 => 53,
            Ty::String => {
                let hint = "write it inside a longer text to get its digits; nothing is coerced";
                return Some(Err(refuse(from, to, place).hint(hint)));
            }
            _ => return Some(Err(refuse(from, to, place))),
        };
        let fits = max <= 1_i128 << exact_bits;
        return Some(if fits { Ok(()) } else { Err(refuse(from, to, place).hint("large integers would be rounded")) });
    }
    let fits = match (from, to) {
        (Ty::Bool, Ty::Bool)
        | (Ty::F32, Ty::F32 | Ty::F64)
        | (Ty::F64, Ty::F64)
        | (Ty::Char, Ty::Char)
        | (Ty::String | Ty::Char | Ty::Enum(_), Ty::String)
        | (Ty::Bytes, Ty::Bytes) => true,
        (Ty::Enum(names), Ty::Enum(other)) => names.iter().all(|name| other.contains(name)),
        (Ty::Flags(names), Ty::Flags(other)) => names.iter().all(|name| other.contains(name)),
        (Ty::Bytes, Ty::String) => {
            let hint = "bytes are base64 in JSON; use a tool that gives text";
            return Some(Err(refuse(from, to, place).hint(hint)));
        }
        (Ty::String, to) if integer_range(to).is_some() || matches!(to, Ty::F32 | Ty::F64 | Ty::Bool) => {
            return Some(Err(
                refuse(from, to, place).hint("a text is never read as a number; use a tool that parses it")
            ));
        }
        (Ty::List(_) | Ty::FixedList(..) | Ty::Tuple(_) | Ty::Map(..) | Ty::Flags(_), _) => return None,
        _ => false,
    };
    Some(if fits { Ok(()) } else { Err(refuse(from, to, place)) })
}

/// The types whose values are arrays: lists, tuples, flags, and maps as lists of pairs.
fn array(from: &Ty, to: &Ty, place: &mut String, depth: usize) -> Result<(), Mismatch> {
    let differ = |place: &str| Err(refuse(from, to, place).hint("the number of elements may differ"));
    match (from, to) {
        (Ty::List(from), Ty::List(to)) => inside(place, "0", |place| assign(from, to, place, depth)),
        (Ty::FixedList(item, _), Ty::List(to)) => inside(place, "0", |place| assign(item, to, place, depth)),
        (Ty::FixedList(item, length), Ty::FixedList(other, other_length)) => {
            if length != other_length {
                return differ(place);
            }
            inside(place, "0", |place| assign(item, other, place, depth))
        }
        (Ty::Tuple(items), Ty::Tuple(others)) => {
            if items.len() != others.len() {
                return differ(place);
            }
            let mut pairs = items.iter().zip(others).enumerate();
            pairs.try_for_each(|(at, (item, other))| {
                inside(place, &at.to_string(), |place| assign(item, other, place, depth))
            })
        }
        (Ty::Tuple(items), Ty::List(other)) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(at, item)| inside(place, &at.to_string(), |place| assign(item, other, place, depth)))
        }
        (Ty::Flags(names), Ty::List(item)) => assign(&Ty::Enum(names.clone()), item, place, depth),
        (Ty::List(_), Ty::Tuple(_) | Ty::FixedList(..)) => differ(place),
        _ => Err(refuse(from, to, place)),
    }
}
