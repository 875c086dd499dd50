use super::*;
use crate::canonical;
use crate::sandbox::component::ty_of;
use crate::types::Ty;
use proptest::prelude::*;
use serde_json::json;
use std::fmt::Write as _;
use std::sync::LazyLock;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model_map(true).wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
});

/// Writes the type and all its parts as named type imports; gives its name.
fn emit(ty: &Ty, text: &mut String, count: &mut usize) -> String {
    let mut part = |ty: &Ty, text: &mut String| emit(ty, text, count);
    let quoted = |names: &[String]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" ");
    let body = match ty {
        Ty::Bool => "bool".to_owned(),
        Ty::S8 => "s8".to_owned(),
        Ty::U8 => "u8".to_owned(),
        Ty::S16 => "s16".to_owned(),
        Ty::U16 => "u16".to_owned(),
        Ty::S32 => "s32".to_owned(),
        Ty::U32 => "u32".to_owned(),
        Ty::S64 => "s64".to_owned(),
        Ty::U64 => "u64".to_owned(),
        Ty::F32 => "f32".to_owned(),
        Ty::F64 => "f64".to_owned(),
        Ty::Char => "char".to_owned(),
        Ty::String => "string".to_owned(),
        Ty::Bytes => "(list u8)".to_owned(),
        Ty::List(element) => format!("(list {})", part(element, text)),
        Ty::FixedList(element, count) => format!("(list {} {count})", part(element, text)),
        Ty::Map(key, value) => {
            let key = emit_key(key);
            format!("(map {key} {})", part(value, text))
        }
        Ty::Tuple(items) => {
            let items: Vec<String> = items.iter().map(|ty| part(ty, text)).collect();
            format!("(tuple {})", items.join(" "))
        }
        Ty::Record(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, ty)| format!("(field \"{name}\" {})", part(ty, text))).collect();
            format!("(record {})", fields.join(" "))
        }
        Ty::Variant(cases) => {
            let cases: Vec<String> = cases
                .iter()
                .map(|(name, ty)| match ty {
                    Some(ty) => format!("(case \"{name}\" {})", part(ty, text)),
                    None => format!("(case \"{name}\")"),
                })
                .collect();
            format!("(variant {})", cases.join(" "))
        }
        Ty::Enum(names) => format!("(enum {})", quoted(names)),
        Ty::Flags(names) => format!("(flags {})", quoted(names)),
        Ty::Option(inner) => format!("(option {})", part(inner, text)),
        Ty::Result(ok, err) => {
            let ok = ok.as_ref().map(|ty| part(ty, text)).unwrap_or_default();
            let err = err.as_ref().map(|ty| format!("(error {})", part(ty, text))).unwrap_or_default();
            format!("(result {ok} {err})")
        }
    };
    *count += 1;
    writeln!(text, "(type $r{count} {body}) (import \"t{count}\" (type $t{count} (eq $r{count})))").unwrap();
    format!("$t{count}")
}

/// Keys of maps are primitive and need no name.
fn emit_key(ty: &Ty) -> &'static str {
    match ty {
        Ty::String => "string",
        Ty::U32 => "u32",
        Ty::Char => "char",
        _ => unreachable!("not a key of these tests"),
    }
}

/// The wasmtime type of `ty`, taken from a component that names it.
fn wasmtime_type(ty: &Ty) -> Type {
    let (mut text, mut count) = (String::new(), 0);
    let name = emit(ty, &mut text, &mut count);
    let bytes = wat::parse_str(format!("(component {text} (import \"f\" (func (param \"x\" {name}))))")).unwrap();
    let component = Component::from_binary(&ENGINE, &bytes).unwrap();
    let item = component.component_type().get_import(&ENGINE, "f").unwrap().ty;
    let ComponentItem::ComponentFunc(function) = item else { panic!("{item:?}") };
    let found = function.params().next().unwrap().1;
    assert_eq!(ty_of(&found).as_ref(), Ok(ty), "the type reads back");
    found
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("n{index}-x")).collect()
}

fn any_ty() -> impl Strategy<Value = Ty> {
    let leaf = prop_oneof![
        Just(Ty::Bool),
        Just(Ty::S8),
        Just(Ty::U8),
        Just(Ty::S16),
        Just(Ty::U16),
        Just(Ty::S32),
        Just(Ty::U32),
        Just(Ty::S64),
        Just(Ty::U64),
        Just(Ty::F32),
        Just(Ty::F64),
        Just(Ty::Char),
        Just(Ty::String),
        Just(Ty::Bytes),
        (1_usize..5).prop_map(|count| Ty::Enum(names(count))),
        (1_usize..9).prop_map(|count| Ty::Flags(names(count))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            inner.clone().prop_map(|ty| if ty == Ty::U8 { Ty::Bytes } else { Ty::List(Box::new(ty)) }),
            (boxed.clone(), 1_u32..4).prop_map(|(ty, count)| Ty::FixedList(ty, count)),
            (prop_oneof![Just(Ty::String), Just(Ty::U32), Just(Ty::Char)], boxed.clone())
                .prop_map(|(key, value)| Ty::Map(Box::new(key), value)),
            several.clone().prop_map(Ty::Tuple),
            several.prop_map(|types| Ty::Record(names(types.len()).into_iter().zip(types).collect())),
            prop::collection::vec(prop::option::of(inner), 1..4)
                .prop_map(|types| Ty::Variant(names(types.len()).into_iter().zip(types).collect())),
            boxed.clone().prop_map(Ty::Option),
            (prop::option::of(boxed.clone()), prop::option::of(boxed)).prop_map(|(ok, err)| Ty::Result(ok, err)),
        ]
    })
}

/// A value of `ty` in both forms, each written down on its own: what the conversion is held against.
fn any_value(ty: &Ty) -> BoxedStrategy<(Val, Value)> {
    fn float_json(float: f64, shortest: &str) -> Value {
        if float.is_nan() {
            json!("NaN")
        } else if float.is_infinite() {
            json!(if float > 0.0 { "Infinity" } else { "-Infinity" })
        } else {
            json!(shortest.parse::<f64>().unwrap())
        }
    }
    fn all(types: &[Ty]) -> BoxedStrategy<Vec<(Val, Value)>> {
        types.iter().map(any_value).collect::<Vec<_>>().boxed()
    }
    fn payload(ty: Option<&Ty>) -> BoxedStrategy<Option<(Val, Value)>> {
        ty.map_or_else(|| Just(None).boxed(), |ty| any_value(ty).prop_map(Some).boxed())
    }
    match ty {
        Ty::Bool => any::<bool>().prop_map(|v| (Val::Bool(v), json!(v))).boxed(),
        Ty::S8 => any::<i8>().prop_map(|v| (Val::S8(v), json!(v))).boxed(),
        Ty::U8 => any::<u8>().prop_map(|v| (Val::U8(v), json!(v))).boxed(),
        Ty::S16 => any::<i16>().prop_map(|v| (Val::S16(v), json!(v))).boxed(),
        Ty::U16 => any::<u16>().prop_map(|v| (Val::U16(v), json!(v))).boxed(),
        Ty::S32 => any::<i32>().prop_map(|v| (Val::S32(v), json!(v))).boxed(),
        Ty::U32 => any::<u32>().prop_map(|v| (Val::U32(v), json!(v))).boxed(),
        Ty::S64 => any::<i64>().prop_map(|v| (Val::S64(v), json!(v))).boxed(),
        Ty::U64 => any::<u64>().prop_map(|v| (Val::U64(v), json!(v))).boxed(),
        // Of these each has one shortest spelling; `every_f32_reads_back` takes all the others.
        Ty::F32 => prop_oneof![
            any::<i16>().prop_map(|eighths| f32::from(eighths) / 8.0),
            prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.1, 1e-7, 3e38, 16_777_216.0]),
        ]
        .prop_map(|v| (Val::Float32(v), float_json(f64::from(v), &format!("{v}"))))
        .boxed(),
        Ty::F64 => prop_oneof![prop::num::f64::ANY, any::<i32>().prop_map(f64::from)]
            .prop_map(|v| v + 0.0)
            .prop_map(|v| (Val::Float64(v), float_json(v, &format!("{v:?}"))))
            .boxed(),
        Ty::Char => any::<char>().prop_map(|v| (Val::Char(v), json!(v.to_string()))).boxed(),
        Ty::String => any::<String>().prop_map(|v| (Val::String(v.clone()), json!(v))).boxed(),
        Ty::Bytes => prop::collection::vec(any::<u8>(), 0..8)
            .prop_map(|v| {
                let text = naive_base64(&v);
                (Val::List(v.into_iter().map(Val::U8).collect()), json!(text))
            })
            .boxed(),
        Ty::List(element) => prop::collection::vec(any_value(element), 0..4)
            .prop_map(|items| {
                let (vals, values) = items.into_iter().unzip::<_, _, Vec<Val>, Vec<Value>>();
                (Val::List(vals), Value::Array(values))
            })
            .boxed(),
        Ty::FixedList(element, count) => all(&vec![(**element).clone(); *count as usize])
            .prop_map(|items| {
                let (vals, values) = items.into_iter().unzip::<_, _, Vec<Val>, Vec<Value>>();
                (Val::FixedLengthList(vals), Value::Array(values))
            })
            .boxed(),
        Ty::Map(key, element) if **key == Ty::String => {
            prop::collection::btree_map(any::<String>(), any_value(element), 0..4)
                .prop_map(|items| {
                    let vals = items.iter().map(|(name, (val, _))| (Val::String(name.clone()), val.clone()));
                    let members = items.iter().map(|(name, (_, value))| (name.clone(), value.clone()));
                    (Val::Map(vals.collect()), Value::Object(members.collect()))
                })
                .boxed()
        }
        Ty::Map(key, element) => prop::collection::vec((any_value(key), any_value(element)), 0..4)
            .prop_map(|items| {
                let vals = items.iter().map(|((key, _), (val, _))| (key.clone(), val.clone()));
                let pairs = items.iter().map(|((_, key), (_, value))| json!([key, value]));
                (Val::Map(vals.collect()), Value::Array(pairs.collect()))
            })
            .boxed(),
        Ty::Tuple(types) => all(types)
            .prop_map(|items| {
                let (vals, values) = items.into_iter().unzip::<_, _, Vec<Val>, Vec<Value>>();
                (Val::Tuple(vals), Value::Array(values))
            })
            .boxed(),
        Ty::Record(fields) => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            let types: Vec<Ty> = fields.iter().map(|(_, ty)| ty.clone()).collect();
            all(&types)
                .prop_map(move |items| {
                    let (vals, values) = items.into_iter().unzip::<_, _, Vec<Val>, Vec<Value>>();
                    let vals = names.iter().cloned().zip(vals).collect();
                    (Val::Record(vals), Value::Object(names.iter().cloned().zip(values).collect()))
                })
                .boxed()
        }
        Ty::Variant(cases) => prop::sample::select(cases.clone())
            .prop_flat_map(|(tag, ty)| payload(ty.as_ref()).prop_map(move |payload| (tag.clone(), payload)))
            .prop_map(|(tag, payload)| match payload {
                None => (Val::Variant(tag.clone(), None), json!({ "tag": tag })),
                Some((val, value)) => {
                    (Val::Variant(tag.clone(), Some(Box::new(val))), json!({ "tag": tag, "val": value }))
                }
            })
            .boxed(),
        Ty::Enum(names) => {
            prop::sample::select(names.clone()).prop_map(|name| (Val::Enum(name.clone()), json!(name))).boxed()
        }
        Ty::Flags(names) => prop::sample::subsequence(names.clone(), 0..=names.len())
            .prop_map(|names| (Val::Flags(names.clone()), json!(names)))
            .boxed(),
        Ty::Option(inner) => {
            let nested = matches!(**inner, Ty::Option(_));
            prop::option::of(any_value(inner))
                .prop_map(move |some| match some {
                    None => (Val::Option(None), Value::Null),
                    Some((val, value)) if nested => (Val::Option(Some(Box::new(val))), json!({ "some": value })),
                    Some((val, value)) => (Val::Option(Some(Box::new(val))), value),
                })
                .boxed()
        }
        Ty::Result(ok, err) => {
            let side = |name: &'static str, ty: Option<&Ty>| payload(ty).prop_map(move |payload| (name, payload));
            prop_oneof![side("ok", ok.as_deref()), side("err", err.as_deref())]
                .prop_map(|(side, payload)| {
                    let (val, value) = payload.map_or((None, Value::Null), |(val, value)| (Some(Box::new(val)), value));
                    let val = Val::Result(if side == "ok" { Ok(val) } else { Err(val) });
                    (val, Value::Object(Map::from_iter([(side.to_owned(), value)])))
                })
                .boxed()
        }
    }
}

fn naive_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize] as char;
            text.push(if index <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

/// What stands at the edges of types, and what is of none.
fn edges() -> impl Strategy<Value = Value> {
    let numbers = [
        "0",
        "-0.0",
        "1.5",
        "-1",
        "127",
        "128",
        "-128",
        "-129",
        "255",
        "256",
        "32768",
        "-32769",
        "65536",
        "2147483648",
        "-2147483649",
        "4294967296",
        "9007199254740993",
        "9007199254740992.0",
        "1152921504606846976.0",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "3.4028235e38",
        "3.4028235677973366e38",
        "3.5e38",
        "-1e300",
        "1e-320",
    ];
    let numbers = numbers.map(|number| crate::json::parse(number.as_bytes()).unwrap());
    let others = [
        json!(null),
        json!(true),
        json!(""),
        json!("a"),
        json!("ab"),
        json!("NaN"),
        json!("-Infinity"),
        json!("aGk="),
        json!("aGk"),
        json!([]),
        json!([1]),
        json!(["n0-x"]),
        json!(["n0-x", "n0-x"]),
        json!({}),
        json!({"some": null}),
        json!({"some": 1}),
        json!({"tag": "n0-x"}),
        json!({"tag": "n0-x", "val": null}),
        json!({"ok": null}),
        json!({"err": null}),
        json!({"ok": null, "err": null}),
        json!({"n0-x": 1}),
        json!("n0-x"),
        json!("n9-x"),
    ];
    prop::sample::select(numbers.into_iter().chain(others).collect::<Vec<Value>>())
}

/// Puts `edge` in the place of one of the parts of a value, counted from the outermost.
fn replace(value: &mut Value, left: &mut usize, edge: &Value) -> bool {
    if *left == 0 {
        *value = edge.clone();
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, left, edge)),
        Value::Object(members) => members.values_mut().any(|member| replace(member, left, edge)),
        _ => false,
    }
}

#[test]
fn bytes_are_counted_alike() {
    let (ty, list) = (Ty::Bytes, wasmtime_type(&Ty::Bytes));
    // With the list itself.
    for (bytes, fits) in [(limits::VALUES_MAX - 1, true), (limits::VALUES_MAX + 2, false), (5_000_000, false)] {
        let value = json!(BASE64.encode(vec![0; bytes]));
        assert_eq!(
            (crate::types::check::is_valid(&value, &ty), to_val(&value, &list).is_ok()),
            (fits, fits),
            "{bytes}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_check_accepts_what_the_conversion_accepts(
        (ty, value) in any_ty().prop_flat_map(|ty| {
            let values = (any_value(&ty), prop::collection::vec((0_usize..12, edges()), 0..3));
            (Just(ty), values.prop_map(|((_, mut value), changes)| {
                for (mut at, edge) in changes {
                    replace(&mut value, &mut at, &edge);
                }
                value
            }))
        })
    ) {
        let converted = to_val(&value, &wasmtime_type(&ty));
        let mut problems = crate::problem::Problems::default();
        crate::types::check::check(&value, &ty, "", &mut problems);
        prop_assert_eq!(problems.is_empty(), converted.is_ok(), "{:?} {} {:?} {:?}", ty, value, problems, converted);
    }

    #[test]
    fn both_directions_agree_with_a_naive_encoder(
        (ty, pairs) in any_ty().prop_flat_map(|ty| {
            let pairs = prop::collection::vec(any_value(&ty), 4);
            (Just(ty), pairs)
        })
    ) {
        let ty = wasmtime_type(&ty);
        for (val, value) in pairs {
            let converted = to_val(&value, &ty);
            prop_assert_eq!(converted.as_ref(), Ok(&val));
            let back = from_val(&val, &ty).unwrap();
            prop_assert_eq!(canonical::to_string(&back), canonical::to_string(&value));
            // What comes back from the trace, where everything is canonical JSON, is the same value again.
            let reread: Value = serde_json::from_slice(&canonical::to_vec(&back)).unwrap();
            prop_assert_eq!(to_val(&reread, &ty), Ok(val));
        }
    }

    #[test]
    fn every_f32_reads_back(float in prop::num::f32::ANY) {
        let ty = wasmtime_type(&Ty::F32);
        let value = from_val(&Val::Float32(float), &ty).unwrap();
        prop_assert_eq!(to_val(&value, &ty), Ok(Val::Float32(float + 0.0)));
        if let Some(number) = value.as_f64() {
            // As short as the standard library's shortest; where two are equally short and near, either will do.
            let digits = |text: String| text.trim_start_matches('-').split('e').next().unwrap().replace('.', "")
                .trim_matches('0').len();
            prop_assert!(digits(format!("{number:e}")) <= digits(format!("{float:e}")), "{} {}", number, float);
        }
    }

    #[test]
    fn no_json_makes_it_panic(ty in any_ty(), other in any_ty().prop_flat_map(|ty| any_value(&ty))) {
        let ty = wasmtime_type(&ty);
        if let Ok(val) = to_val(&other.1, &ty) {
            prop_assert!(from_val(&val, &ty).is_ok());
        }
        drop(from_val(&other.0, &ty));
    }
}

fn refused(ty: &Ty, value: &Value) -> String {
    to_val(value, &wasmtime_type(ty)).unwrap_err().to_string()
}

#[test]
fn nothing_is_coerced() {
    let point = || Ty::Record(vec![("x".to_owned(), Ty::U8), ("tag".to_owned(), Ty::Option(Box::new(Ty::String)))]);
    let cases = [
        (Ty::S32, json!("5"), "expected an integer from -2147483648 to 2147483647, found the string `5`"),
        (Ty::U8, json!(256), "expected an integer from 0 to 255, found the number 256"),
        (Ty::U8, json!(-1), "expected an integer from 0 to 255, found the number -1"),
        (Ty::U8, json!(1.5), "expected an integer from 0 to 255, found the number 1.5"),
        (Ty::U8, json!(true), "expected an integer from 0 to 255, found `true`"),
        (Ty::U64, json!(1e20), "expected an integer from 0 to 18446744073709551615, found the number 1e+20"),
        (Ty::Bool, json!(1), "expected a boolean, found the number 1"),
        (Ty::F32, json!(1e39), "expected a number in the range of f32, found the number 1e+39"),
        (Ty::F64, json!("nan"), "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\", found the string `nan`"),
        (Ty::Char, json!("ab"), "expected a string of exactly one character, found the string `ab`"),
        (Ty::Char, json!(""), "expected a string of exactly one character, found the string ``"),
        (Ty::String, json!(null), "expected a string, found null"),
        (Ty::Bytes, json!("a"), "the string is not standard base64 with padding: Invalid input length: 1"),
        (Ty::Bytes, json!([1]), "expected a string of base64, found an array of 1"),
        (Ty::FixedList(Box::new(Ty::U8), 2), json!([1]), "expected an array of 2, found an array of 1"),
        (
            Ty::List(Box::new(point())),
            json!([{"x": 1}, {"x": "1"}]),
            "/1/x: expected an integer from 0 to 255, found the string `1`",
        ),
        (point(), json!({}), "the field `x` is missing"),
        (point(), json!({"x": 1, "tagg": "a"}), "there is no field `tagg`, did you mean `tag`?"),
        (Ty::Enum(vec!["red".to_owned()]), json!("rod"), "there is no case `rod`, did you mean `red`?"),
        (Ty::Flags(vec!["r".to_owned()]), json!(["r", "r"]), "/1: the flag `r` is given twice"),
        (
            Ty::Option(Box::new(Ty::Option(Box::new(Ty::U8)))),
            json!(1),
            "expected null or {\"some\": value}, found the number 1",
        ),
        (
            Ty::Result(None, Some(Box::new(Ty::U8))),
            json!({"ok": 1}),
            "/ok: expected null: this side has no payload, found the number 1",
        ),
        (
            Ty::Result(None, None),
            json!({"ok": null, "err": null}),
            "expected {\"ok\": value} or {\"err\": value}, found an object",
        ),
        (Ty::Variant(vec![("a".to_owned(), None)]), json!({"tag": "a", "val": 1}), "/val: the case `a` has no payload"),
        (
            Ty::Variant(vec![("a".to_owned(), Some(Ty::U8))]),
            json!({"tag": "a"}),
            "the case `a` needs its payload as `val`",
        ),
        (Ty::Variant(vec![("a".to_owned(), None)]), json!({"tag": "b/"}), "/tag: there is no case `b/`"),
    ];
    for (ty, value, message) in cases {
        assert_eq!(refused(&ty, &value), message);
    }
}

#[test]
fn options_may_be_absent_and_floats_are_spelled_shortly() {
    let ty = Ty::Record(vec![("a".to_owned(), Ty::Option(Box::new(Ty::U8))), ("b".to_owned(), Ty::F32)]);
    let ty = wasmtime_type(&ty);
    let val = to_val(&json!({"b": 0.1}), &ty).unwrap();
    assert_eq!(from_val(&val, &ty).unwrap(), json!({"a": null, "b": 0.1}));
    let f64_ty = wasmtime_type(&Ty::F64);
    assert_eq!(from_val(&Val::Float64(-0.0), &f64_ty).unwrap(), json!(0));
    assert_eq!(to_val(&json!(-0.0), &f64_ty).unwrap(), Val::Float64(0.0));
    assert_eq!(to_val(&json!(5.0), &wasmtime_type(&Ty::U8)).unwrap(), Val::U8(5));
}

#[test]
fn values_are_counted() {
    let ty = wasmtime_type(&Ty::List(Box::new(Ty::Bool)));
    let value = Value::Array(vec![Value::Bool(true); limits::VALUES_MAX]);
    assert_eq!(to_val(&value, &ty), Err(ConvertError::TooManyValues));
    let bytes = wasmtime_type(&Ty::Bytes);
    let value = Value::String("AAAA".repeat(limits::VALUES_MAX / 3 + 1));
    assert_eq!(to_val(&value, &bytes), Err(ConvertError::TooManyValues));
    let val = Val::List(vec![Val::U8(0); limits::VALUES_MAX]);
    assert_eq!(from_val(&val, &bytes), Err(ConvertError::TooManyValues));
}

#[test]
fn a_parameter_s_place_is_named() {
    let params = || [("text", wasmtime_type(&Ty::String)), ("n", wasmtime_type(&Ty::Option(Box::new(Ty::U8))))];
    assert_eq!(
        params_to_vals(&json!({"text": "a"}), params()),
        Ok(vec![Val::String("a".to_owned()), Val::Option(None)])
    );
    let message = |input: Value| params_to_vals(&input, params()).unwrap_err().to_string();
    assert_eq!(message(json!({"text": 1})), "/text: expected a string, found the number 1");
    assert_eq!(message(json!({"n": 1})), "the parameter `text` is missing");
    assert_eq!(message(json!({"text": "a", "txt": 1})), "there is no parameter `txt`, did you mean `text`?");
    assert_eq!(message(json!([])), "expected an object with the tool's parameters, found an array of 0");
}

/// Components whose function gives back its argument: values truly cross into linear memory and out of it.
#[test]
fn values_survive_a_running_component() {
    let echo = |types: &str, ty: &str, core: &str, body: &str| {
        format!(
            r#"(component {types}
                (core module $mm (memory (export "m") 4) (global $top (mut i32) (i32.const 64))
                  (func (export "r") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                    (global.set $top (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                  (func (export "f") {core} (result i32) {body} (i32.const 0)))
                (core instance $m (instantiate $mm))
                (alias core export $m "m" (core memory $mem))
                (alias core export $m "r" (core func $realloc))
                (alias core export $m "f" (core func $f))
                (func $x (param "x" {ty}) (result {ty}) (canon lift (core func $f) (memory $mem) (realloc $realloc)))
                (export "f" (func $x)))"#
        )
    };
    let pair = "(i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))";
    let record = "(i32.store8 (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1))
                  (i32.store (i32.const 8) (local.get 2))";
    let variant = "(i32.store8 (i32.const 0) (local.get 0)) (f32.store (i32.const 4) (local.get 1))";
    let cases = [
        (echo("", "string", "(param i32 i32)", pair), json!("grüße 🦀")),
        (echo("", "(list u8)", "(param i32 i32)", pair), json!(naive_base64(&[7; 100_000]))),
        (echo("", "(list (tuple u16 (option string)))", "(param i32 i32)", pair), json!([[1, null], [65535, "x"]])),
        (echo("", "(map string s64)", "(param i32 i32)", pair), json!({"a": i64::MIN, "b": i64::MAX})),
        (
            echo(
                r#"(type $r' (record (field "a" u8) (field "b" string))) (import "r" (type $r (eq $r')))"#,
                "$r",
                "(param i32 i32 i32)",
                record,
            ),
            json!({"a": 255, "b": "text"}),
        ),
        (
            echo(
                r#"(type $v' (variant (case "x") (case "y" f32))) (import "v" (type $v (eq $v')))"#,
                "$v",
                "(param i32 f32)",
                variant,
            ),
            json!({"tag": "y", "val": 0.1}),
        ),
    ];
    for (text, value) in cases {
        let component = Component::from_binary(&ENGINE, &wat::parse_str(&text).unwrap()).unwrap();
        let mut store = Store::new(&ENGINE, ());
        let instance = Linker::new(&ENGINE).instantiate(&mut store, &component).unwrap();
        let function = instance.get_func(&mut store, "f").unwrap();
        let ty = function.ty(&store);
        let params = params_to_vals(&json!({"x": value}), ty.params()).unwrap();
        let mut results = [Val::Bool(false)];
        function.call(&mut store, &params, &mut results).unwrap();
        assert_eq!(from_val(&results[0], &ty.results().next().unwrap()).unwrap(), value);
    }
}
