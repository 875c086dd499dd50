//! JSON ↔ component values, by the type that the component states.
//!
//! The JSON forms are those of [`crate::types::Ty`]. Nothing is coerced. Two things make a value the same whether it comes from a running
//! guest or is read back from canonical JSON: a float that is an integer within ±2^53 is written as that integer, and `-0` is `0`.
//!
//! Never panics on any input: documents come from planners, values from guests. Both directions count values against
//! [`limits::VALUES_MAX`]; the bytes of a `list<u8>` count too, because each of them takes a whole `Val`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Number, Value};
use wasmtime::component::{Type, Val};

use crate::limits;
use crate::problem::pointer_to;
use crate::types::check;

/// The largest integer up to which a double holds every integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value that has no form on the other side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The value is not of the type.
    #[error("{}{message}", place(pointer))]
    Mismatch {
        /// JSON pointer to it.
        pointer: String,
        /// What was expected and what was found.
        message: String,
    },
    /// More than [`limits::VALUES_MAX`] values. Counts as [`limits::LimitKind::Values`].
    #[error("the value has more than {max} parts", max = limits::VALUES_MAX)]
    TooManyValues,
    /// Nesting beyond [`limits::TYPE_DEPTH_MAX`].
    #[error("the value is nested deeper than {max}", max = limits::TYPE_DEPTH_MAX)]
    TooDeep,
    /// A resource, stream, future or error context.
    #[error("{type_name} has no JSON form")]
    NoJsonForm {
        /// Which.
        type_name: &'static str,
    },
}

fn place(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!("{pointer}: ") }
}

impl ConvertError {
    /// The same error seen from one level above.
    fn below(self, key: &str) -> Self {
        match self {
            Self::Mismatch { pointer, message } => {
                Self::Mismatch { pointer: format!("{}{pointer}", pointer_to("", key)), message }
            }
            other => other,
        }
    }

    fn below_index(self, index: usize) -> Self {
        match self {
            Self::Mismatch { .. } => self.below(&index.to_string()),
            other => other,
        }
    }
}

type Result<T> = std::result::Result<T, ConvertError>;

/// Converts `value` to a component value of type `ty`.
///
/// # Errors
///
/// [`ConvertError`] with the place of the first part that is not of its type.
pub fn to_val(value: &Value, ty: &Type) -> Result<Val> {
    Converter::default().lower(value, ty, 0)
}

/// Converts a component value of type `ty` to its JSON form.
///
/// # Errors
///
/// [`ConvertError`] where the value is too large, has no JSON form, or is not of the type (which wasmtime never gives).
pub fn from_val(val: &Val, ty: &Type) -> Result<Value> {
    Converter::default().lift(val, ty, 0)
}

/// Converts a tool's input, an object keyed by parameter names, to the arguments of its function, in their order. A parameter of type
/// `option` may be absent.
///
/// # Errors
///
/// [`ConvertError`] where the input is no object, a parameter is missing or unknown, or a value is not of its type.
pub fn params_to_vals<'p>(input: &Value, params: impl IntoIterator<Item = (&'p str, Type)>) -> Result<Vec<Val>> {
    let Value::Object(members) = input else {
        return Err(mismatch("an object with the tool's parameters", input));
    };
    let params: Vec<(&str, Type)> = params.into_iter().collect();
    Converter::default().fields_to_vals(members, &params, "parameter", 0)
}

fn mismatch(expected: &str, found: &Value) -> ConvertError {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", excerpt(text)),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    };
    ConvertError::Mismatch { pointer: String::new(), message: format!("expected {expected}, found {found}") }
}

/// The beginning of a text in backticks, on one line.
fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn wrong_val(expected: &str) -> ConvertError {
    ConvertError::Mismatch { pointer: String::new(), message: format!("the component value is not {expected}") }
}

/// Carries the count of values of one conversion.
#[derive(Default)]
struct Converter {
    values: usize,
}

impl Converter {
    fn count(&mut self, values: usize) -> Result<()> {
        self.values = self.values.saturating_add(values);
        if self.values > limits::VALUES_MAX { Err(ConvertError::TooManyValues) } else { Ok(()) }
    }

    fn enter(&mut self, depth: usize) -> Result<usize> {
        self.count(1)?;
        if depth > limits::TYPE_DEPTH_MAX { Err(ConvertError::TooDeep) } else { Ok(depth + 1) }
    }

    fn lower(&mut self, value: &Value, ty: &Type, depth: usize) -> Result<Val> {
        let depth = self.enter(depth)?;
        Ok(match ty {
            Type::Bool => Val::Bool(value.as_bool().ok_or_else(|| mismatch("a boolean", value))?),
            Type::S8 => Val::S8(integer(value, "an integer from -128 to 127")?),
            Type::U8 => Val::U8(integer(value, "an integer from 0 to 255")?),
            Type::S16 => Val::S16(integer(value, "an integer from -32768 to 32767")?),
            Type::U16 => Val::U16(integer(value, "an integer from 0 to 65535")?),
            Type::S32 => Val::S32(integer(value, "an integer from -2147483648 to 2147483647")?),
            Type::U32 => Val::U32(integer(value, "an integer from 0 to 4294967295")?),
            Type::S64 => Val::S64(integer(value, "an integer from -9223372036854775808 to 9223372036854775807")?),
            Type::U64 => Val::U64(integer(value, "an integer from 0 to 18446744073709551615")?),
            Type::Float32 => Val::Float32(float32(value)?),
            Type::Float64 => Val::Float64(float64(value)?),
            Type::Char => Val::Char(character(value)?),
            Type::String => Val::String(value.as_str().ok_or_else(|| mismatch("a string", value))?.to_owned()),
            Type::List(list) => match list.ty() {
                Type::U8 => Val::List(self.bytes_to_vals(value)?),
                element => Val::List(self.items_to_vals(value, &element, None, depth)?),
            },
            Type::FixedLengthList(list) => {
                Val::FixedLengthList(self.items_to_vals(value, &list.ty(), Some(list.len()), depth)?)
            }
            Type::Map(map) => Val::Map(self.map_to_vals(value, &map.key(), &map.value(), depth)?),
            Type::Record(record) => {
                let Value::Object(members) = value else { return Err(mismatch("an object", value)) };
                let fields: Vec<(&str, Type)> = record.fields().map(|field| (field.name, field.ty)).collect();
                let vals = self.fields_to_vals(members, &fields, "field", depth)?;
                Val::Record(fields.iter().zip(vals).map(|((name, _), val)| ((*name).to_owned(), val)).collect())
            }
            Type::Tuple(tuple) => {
                let types: Vec<Type> = tuple.types().collect();
                let items = array_of(value, Some(types.len()))?;
                let vals = items.iter().zip(&types).enumerate();
                let vals = vals
                    .map(|(index, (item, ty))| self.lower(item, ty, depth).map_err(|error| error.below_index(index)));
                Val::Tuple(vals.collect::<Result<_>>()?)
            }
            Type::Variant(variant) => {
                let (tag, payload) = tagged(value)?;
                let case = variant.cases().find(|case| case.name == tag).ok_or_else(|| {
                    let names: Vec<&str> = variant.cases().map(|case| case.name).collect();
                    unknown_name("case", tag, &names).below("tag")
                })?;
                let payload = match (case.ty, payload) {
                    (None, None) => None,
                    (None, Some(_)) => {
                        return Err(ConvertError::Mismatch {
                            pointer: "/val".to_owned(),
                            message: format!("the case `{tag}` has no payload"),
                        });
                    }
                    (Some(Type::Option(_)), None) => Some(Box::new(Val::Option(None))),
                    (Some(_), None) => {
                        return Err(ConvertError::Mismatch {
                            pointer: String::new(),
                            message: format!("the case `{tag}` needs its payload as `val`"),
                        });
                    }
                    (Some(ty), Some(payload)) => {
                        Some(Box::new(self.lower(payload, &ty, depth).map_err(|error| error.below("val"))?))
                    }
                };
                Val::Variant(tag.to_owned(), payload)
            }
            Type::Enum(cases) => {
                let name = value.as_str().ok_or_else(|| mismatch("the name of a case", value))?;
                if !cases.names().any(|case| case == name) {
                    return Err(unknown_name("case", name, &cases.names().collect::<Vec<_>>()));
                }
                Val::Enum(name.to_owned())
            }
            Type::Flags(flags) => {
                let items = array_of(value, None)?;
                self.count(items.len())?;
                let mut set: Vec<String> = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let name = item.as_str().ok_or_else(|| mismatch("a flag's name", item).below_index(index))?;
                    if !flags.names().any(|flag| flag == name) {
                        let names: Vec<&str> = flags.names().collect();
                        return Err(unknown_name("flag", name, &names).below_index(index));
                    }
                    if set.iter().any(|seen| seen == name) {
                        let message = format!("the flag `{name}` is given twice");
                        return Err(ConvertError::Mismatch { pointer: format!("/{index}"), message });
                    }
                    set.push(name.to_owned());
                }
                Val::Flags(set)
            }
            Type::Option(option) => Val::Option(match (value, option.ty()) {
                (Value::Null, _) => None,
                (Value::Object(members), inner @ Type::Option(_)) => {
                    let Some(some) = members.get("some").filter(|_| members.len() == 1) else {
                        return Err(mismatch("null or {\"some\": value}", value));
                    };
                    let val = self.lower(some, &inner, depth).map_err(|error| error.below("some"))?;
                    Some(Box::new(val))
                }
                (_, Type::Option(_)) => return Err(mismatch("null or {\"some\": value}", value)),
                (value, inner) => Some(Box::new(self.lower(value, &inner, depth)?)),
            }),
            Type::Result(result) => Val::Result(self.result_to_val(value, result.ok(), result.err(), depth)?),
            Type::Own(_) | Type::Borrow(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext => {
                return Err(ConvertError::NoJsonForm { type_name: type_name(ty) });
            }
        })
    }

    fn fields_to_vals(
        &mut self,
        members: &Map<String, Value>,
        fields: &[(&str, Type)],
        kind: &str,
        depth: usize,
    ) -> Result<Vec<Val>> {
        let vals = fields.iter().map(|(name, ty)| match (members.get(*name), ty) {
            (Some(value), ty) => self.lower(value, ty, depth).map_err(|error| error.below(name)),
            (None, Type::Option(_)) => Ok(Val::Option(None)),
            (None, _) => Err(ConvertError::Mismatch {
                pointer: String::new(),
                message: format!("the {kind} `{name}` is missing"),
            }),
        });
        let vals = vals.collect::<Result<Vec<Val>>>()?;
        if let Some(unknown) = members.keys().find(|key| !fields.iter().any(|(name, _)| name == key)) {
            let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            return Err(unknown_name(kind, unknown, &names));
        }
        Ok(vals)
    }

    fn bytes_to_vals(&mut self, value: &Value) -> Result<Vec<Val>> {
        let text = value.as_str().ok_or_else(|| mismatch("a string of base64", value))?;
        self.count(text.len() / 4 * 3)?;
        let bytes = BASE64.decode(text).map_err(|error| ConvertError::Mismatch {
            pointer: String::new(),
            message: format!("the string is not standard base64 with padding: {error}"),
        })?;
        Ok(bytes.into_iter().map(Val::U8).collect())
    }

    fn items_to_vals(&mut self, value: &Value, element: &Type, count: Option<u32>, depth: usize) -> Result<Vec<Val>> {
        let items = array_of(value, count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))?;
        let mut vals = Vec::with_capacity(items.len().min(limits::VALUES_MAX));
        for (index, item) in items.iter().enumerate() {
            vals.push(self.lower(item, element, depth).map_err(|error| error.below_index(index))?);
        }
        Ok(vals)
    }

    fn map_to_vals(&mut self, value: &Value, key: &Type, element: &Type, depth: usize) -> Result<Vec<(Val, Val)>> {
        if let Type::String = key {
            let Value::Object(members) = value else { return Err(mismatch("an object", value)) };
            // In one order, however serde_json's map is kept: the guest sees it.
            let members: std::collections::BTreeMap<&String, &Value> = members.iter().collect();
            let pairs = members.into_iter().map(|(name, item)| {
                self.count(1)?;
                let val = self.lower(item, element, depth).map_err(|error| error.below(name))?;
                Ok((Val::String(name.clone()), val))
            });
            return pairs.collect();
        }
        let items = array_of(value, None)?;
        let pairs = items.iter().enumerate().map(|(index, item)| {
            let [name, item] = array_of(item, Some(2)).map_err(|error| error.below_index(index))? else {
                return Err(mismatch("a pair", item).below_index(index));
            };
            let below = |error: ConvertError, at: &str| error.below(at).below_index(index);
            let name = self.lower(name, key, depth).map_err(|error| below(error, "0"))?;
            Ok((name, self.lower(item, element, depth).map_err(|error| below(error, "1"))?))
        });
        pairs.collect()
    }

    #[expect(clippy::type_complexity, reason = "the shape of `Val::Result`")]
    fn result_to_val(
        &mut self,
        value: &Value,
        ok: Option<Type>,
        err: Option<Type>,
        depth: usize,
    ) -> Result<std::result::Result<Option<Box<Val>>, Option<Box<Val>>>> {
        let wrong = || mismatch("{\"ok\": value} or {\"err\": value}", value);
        let Value::Object(members) = value else { return Err(wrong()) };
        let mut entries = members.iter();
        let (Some((side, payload)), None) = (entries.next(), entries.next()) else { return Err(wrong()) };
        let mut payload_of = |ty: Option<Type>| match ty {
            Some(ty) => Ok(Some(Box::new(self.lower(payload, &ty, depth).map_err(|error| error.below(side))?))),
            None if payload.is_null() => Ok(None),
            None => Err(mismatch("null: this side has no payload", payload).below(side)),
        };
        match side.as_str() {
            "ok" => payload_of(ok).map(Ok),
            "err" => payload_of(err).map(Err),
            _ => Err(wrong()),
        }
    }

    fn lift(&mut self, val: &Val, ty: &Type, depth: usize) -> Result<Value> {
        let depth = self.enter(depth)?;
        Ok(match (val, ty) {
            (Val::Bool(value), Type::Bool) => Value::Bool(*value),
            (Val::S8(value), Type::S8) => Value::from(*value),
            (Val::U8(value), Type::U8) => Value::from(*value),
            (Val::S16(value), Type::S16) => Value::from(*value),
            (Val::U16(value), Type::U16) => Value::from(*value),
            (Val::S32(value), Type::S32) => Value::from(*value),
            (Val::U32(value), Type::U32) => Value::from(*value),
            (Val::S64(value), Type::S64) => Value::from(*value),
            (Val::U64(value), Type::U64) => Value::from(*value),
            (Val::Float32(value), Type::Float32) => json_of_f32(*value),
            (Val::Float64(value), Type::Float64) => json_of_f64(*value),
            (Val::Char(value), Type::Char) => Value::String(value.to_string()),
            (Val::String(value), Type::String) => Value::String(value.clone()),
            (Val::List(vals), Type::List(list)) => match list.ty() {
                Type::U8 => self.bytes_from_vals(vals)?,
                element => self.items_from_vals(vals, &element, depth)?,
            },
            (Val::FixedLengthList(vals), Type::FixedLengthList(list)) => {
                self.items_from_vals(vals, &list.ty(), depth)?
            }
            (Val::Map(pairs), Type::Map(map)) => self.map_from_vals(pairs, &map.key(), &map.value(), depth)?,
            (Val::Record(fields), Type::Record(record)) if fields.len() == record.fields().len() => {
                let members = fields.iter().zip(record.fields()).map(|((name, val), field)| {
                    let value = self.lift(val, &field.ty, depth).map_err(|error| error.below(name))?;
                    Ok((name.clone(), value))
                });
                Value::Object(members.collect::<Result<_>>()?)
            }
            (Val::Tuple(vals), Type::Tuple(tuple)) if vals.len() == tuple.types().len() => {
                let items = vals
                    .iter()
                    .zip(tuple.types())
                    .enumerate()
                    .map(|(index, (val, ty))| self.lift(val, &ty, depth).map_err(|error| error.below_index(index)));
                Value::Array(items.collect::<Result<_>>()?)
            }
            (Val::Variant(tag, payload), Type::Variant(variant)) => {
                let case = variant.cases().find(|case| case.name == tag);
                let case = case.ok_or_else(|| wrong_val("a case of the variant"))?;
                let mut members = Map::new();
                members.insert("tag".to_owned(), Value::String(tag.clone()));
                if let Some(value) = self.payload_from_val(payload.as_deref(), case.ty, depth, "val")? {
                    members.insert("val".to_owned(), value);
                }
                Value::Object(members)
            }
            (Val::Enum(name), Type::Enum(_)) => Value::String(name.clone()),
            (Val::Flags(names), Type::Flags(_)) => {
                self.count(names.len())?;
                Value::Array(names.iter().cloned().map(Value::String).collect())
            }
            (Val::Option(None), Type::Option(_)) => Value::Null,
            (Val::Option(Some(val)), Type::Option(option)) => match option.ty() {
                inner @ Type::Option(_) => {
                    let value = self.lift(val, &inner, depth).map_err(|error| error.below("some"))?;
                    Value::Object(Map::from_iter([("some".to_owned(), value)]))
                }
                inner => self.lift(val, &inner, depth)?,
            },
            (Val::Result(result), Type::Result(ty)) => {
                let (side, payload, ty) = match result {
                    Ok(payload) => ("ok", payload, ty.ok()),
                    Err(payload) => ("err", payload, ty.err()),
                };
                let value = self.payload_from_val(payload.as_deref(), ty, depth, side)?;
                Value::Object(Map::from_iter([(side.to_owned(), value.unwrap_or_default())]))
            }
            (_, Type::Own(_) | Type::Borrow(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext) => {
                return Err(ConvertError::NoJsonForm { type_name: type_name(ty) });
            }
            (_, ty) => return Err(wrong_val(type_name(ty))),
        })
    }

    fn payload_from_val(
        &mut self,
        val: Option<&Val>,
        ty: Option<Type>,
        depth: usize,
        key: &str,
    ) -> Result<Option<Value>> {
        match (val, ty) {
            (Some(val), Some(ty)) => self.lift(val, &ty, depth).map(Some).map_err(|error| error.below(key)),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(wrong_val("a case with the payload of its type").below(key)),
        }
    }

    fn bytes_from_vals(&mut self, vals: &[Val]) -> Result<Value> {
        self.count(vals.len())?;
        let bytes = vals.iter().map(|val| match val {
            Val::U8(byte) => Ok(*byte),
            _ => Err(wrong_val("a byte")),
        });
        Ok(Value::String(BASE64.encode(bytes.collect::<Result<Vec<u8>>>()?)))
    }

    fn items_from_vals(&mut self, vals: &[Val], element: &Type, depth: usize) -> Result<Value> {
        let mut items = Vec::with_capacity(vals.len().min(limits::VALUES_MAX));
        for (index, val) in vals.iter().enumerate() {
            items.push(self.lift(val, element, depth).map_err(|error| error.below_index(index))?);
        }
        Ok(Value::Array(items))
    }

    fn map_from_vals(&mut self, pairs: &[(Val, Val)], key: &Type, element: &Type, depth: usize) -> Result<Value> {
        if let Type::String = key {
            let members = pairs.iter().map(|(name, val)| {
                let Val::String(name) = name else { return Err(wrong_val("a string key")) };
                self.count(1)?;
                Ok((name.clone(), self.lift(val, element, depth).map_err(|error| error.below(name))?))
            });
            // A key that comes twice keeps its last value: so says the component model.
            return Ok(Value::Object(members.collect::<Result<_>>()?));
        }
        let items = pairs.iter().enumerate().map(|(index, (name, val))| {
            let name = self.lift(name, key, depth).map_err(|error| error.below_index(index))?;
            let value = self.lift(val, element, depth).map_err(|error| error.below_index(index))?;
            Ok(Value::Array(vec![name, value]))
        });
        Ok(Value::Array(items.collect::<Result<_>>()?))
    }
}

/// The elements of an array; of exactly `count` where given.
fn array_of(value: &Value, count: Option<usize>) -> Result<&[Value]> {
    match (value, count) {
        (Value::Array(items), None) => Ok(items),
        (Value::Array(items), Some(count)) if items.len() == count => Ok(items),
        (_, Some(count)) => Err(mismatch(&format!("an array of {count}"), value)),
        (_, None) => Err(mismatch("an array", value)),
    }
}

/// The tag and payload of a variant's JSON form.
fn tagged(value: &Value) -> Result<(&str, Option<&Value>)> {
    let wrong = || mismatch("{\"tag\": case} or {\"tag\": case, \"val\": payload}", value);
    let Value::Object(members) = value else { return Err(wrong()) };
    let tag = members.get("tag").and_then(Value::as_str).ok_or_else(wrong)?;
    let payload = members.get("val");
    if members.len() != 1 + usize::from(payload.is_some()) {
        return Err(wrong());
    }
    Ok((tag, payload))
}

fn unknown_name(kind: &str, name: &str, known: &[&str]) -> ConvertError {
    let mut message = format!("there is no {kind} {}", excerpt(name));
    if let Some(suggestion) = crate::problem::suggestion(name, known.iter().copied()) {
        message.push_str(", ");
        message.push_str(&suggestion);
    }
    ConvertError::Mismatch { pointer: String::new(), message }
}

/// An integer in the range of `T`. A number written as `5.0` or `5e0` is the integer 5, as in JSON Schema and in canonical JSON.
fn integer<T: TryFrom<i128>>(value: &Value, expected: &str) -> Result<T> {
    let found = value.as_number().and_then(check::integer).and_then(|integer| T::try_from(integer).ok());
    found.ok_or_else(|| mismatch(expected, value))
}

/// The integer that `value` is, within ±2^53.
fn exact_integer(value: f64) -> Option<i64> {
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "an integer within ±2^53 by the line above")]
        return Some(value as i64);
    }
    None
}

fn non_finite(value: &Value) -> Option<f64> {
    match value.as_str()? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

const FLOAT_EXPECTED: &str = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";

fn float64(value: &Value) -> Result<f64> {
    if let Some(float) = non_finite(value) {
        return Ok(float);
    }
    // Adding zero turns `-0` into `0`, which is what canonical JSON makes of it.
    value.as_f64().map(|float| float + 0.0).ok_or_else(|| mismatch(FLOAT_EXPECTED, value))
}

fn float32(value: &Value) -> Result<f32> {
    if non_finite(value).is_none() && !value.is_number() {
        return Err(mismatch(FLOAT_EXPECTED, value));
    }
    let double = float64(value)?;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is meant")]
    let float = double as f32;
    if double.is_finite() && !float.is_finite() {
        return Err(mismatch("a number in the range of f32", value));
    }
    Ok(float)
}

fn character(value: &Value) -> Result<char> {
    let mut chars = value.as_str().unwrap_or_default().chars();
    match (chars.next(), chars.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(mismatch("a string of exactly one character", value)),
    }
}

fn json_of_f64(value: f64) -> Value {
    if value.is_nan() {
        return Value::from("NaN");
    }
    if let Some(integer) = exact_integer(value) {
        return Value::from(integer);
    }
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

/// An f32 appears with the fewest digits that read back as it: `0.1`, not `0.10000000149011612`.
fn json_of_f32(value: f32) -> Value {
    if !value.is_finite() {
        return json_of_f64(f64::from(value));
    }
    let shortest = ryu_js::Buffer::new().format_finite(value).parse::<f64>();
    json_of_f64(shortest.unwrap_or_else(|_| f64::from(value)))
}

/// What messages call the type.
pub(crate) const fn type_name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "a bool",
        Type::S8 => "an s8",
        Type::U8 => "a u8",
        Type::S16 => "an s16",
        Type::U16 => "a u16",
        Type::S32 => "an s32",
        Type::U32 => "a u32",
        Type::S64 => "an s64",
        Type::U64 => "a u64",
        Type::Float32 => "an f32",
        Type::Float64 => "an f64",
        Type::Char => "a char",
        Type::String => "a string",
        Type::List(_) | Type::FixedLengthList(_) => "a list",
        Type::Map(_) => "a map",
        Type::Record(_) => "a record",
        Type::Tuple(_) => "a tuple",
        Type::Variant(_) => "a variant",
        Type::Enum(_) => "an enum",
        Type::Option(_) => "an option",
        Type::Result(_) => "a result",
        Type::Flags(_) => "a flags type",
        Type::Own(_) | Type::Borrow(_) => "a resource handle",
        Type::Future(_) => "a future",
        Type::Stream(_) => "a stream",
        Type::ErrorContext => "an error context",
    }
}

#[cfg(test)]
mod tests;
