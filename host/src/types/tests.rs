//! The three readings of a type held together: `check`, the JSON Schema as an independent validator reads it, and `assignable`.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::assign::assignable;
use super::check::{check, check_params, is_valid};
use super::schema::{params_schema, schema};
use super::*;
use crate::problem::Problems;

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[a-c]|some|ok|tag", 1..4).prop_map(|names| names.into_iter().collect())
}

/// The types without parts.
const PLAIN: [Ty; 14] = [
    Ty::Bool,
    Ty::S8,
    Ty::U8,
    Ty::S16,
    Ty::U16,
    Ty::S32,
    Ty::U32,
    Ty::S64,
    Ty::U64,
    Ty::F32,
    Ty::F64,
    Ty::Char,
    Ty::String,
    Ty::Bytes,
];

fn scalar_type() -> impl Strategy<Value = Ty> {
    prop_oneof![prop::sample::select(&PLAIN[..]), names().prop_map(Ty::Enum), names().prop_map(Ty::Flags),]
}

fn any_type() -> impl Strategy<Value = Ty> {
    scalar_type().prop_recursive(3, 12, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let maybe = prop::option::of(boxed.clone());
        prop_oneof![
            boxed.clone().prop_map(Ty::List),
            (boxed.clone(), 0..3_u32).prop_map(|(item, length)| Ty::FixedList(item, length)),
            (prop_oneof![Just(Box::new(Ty::String)), boxed.clone()], boxed.clone()).prop_map(|(k, v)| Ty::Map(k, v)),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Ty::Tuple),
            (names(), prop::collection::vec(inner.clone(), 3))
                .prop_map(|(names, types)| Ty::Record(names.into_iter().zip(types).collect())),
            (names(), prop::collection::vec(prop::option::of(inner), 3))
                .prop_map(|(names, types)| Ty::Variant(names.into_iter().zip(types).collect())),
            boxed.prop_map(Ty::Option),
            (maybe.clone(), maybe).prop_map(|(ok, err)| Ty::Result(ok, err)),
        ]
    })
}

/// A value of the type by construction.
fn value_of(ty: &Ty) -> BoxedStrategy<Value> {
    let ranged = |(min, max): (i128, i128)| {
        let numbers = prop_oneof![Just(min), Just(max), Just(0.max(min)), min..=max];
        // A valid integer may be spelled as a double.
        numbers.prop_flat_map(|n| {
            let plain = i64::try_from(n).map_or_else(|_| json!(u64::try_from(n).unwrap()), |n| json!(n));
            #[expect(clippy::cast_precision_loss, reason = "only taken where it is exact")]
            let double = json!(n as f64);
            if n.abs() < 1 << 53 {
                prop_oneof![4 => Just(plain), 1 => Just(double)].boxed()
            } else {
                Just(plain).boxed()
            }
        })
    };
    match ty {
        Ty::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Ty::F32 => prop_oneof![
            any::<f32>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| json!(f)),
            Just(json!(f32::MAX)),
            any::<u64>().prop_map(Value::from),
            prop::sample::select(&["NaN", "Infinity", "-Infinity"][..]).prop_map(Value::from)
        ]
        .boxed(),
        Ty::F64 => prop_oneof![
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(json!("NaN"))
        ]
        .boxed(),
        Ty::Char => any::<char>().prop_map(|c| json!(c.to_string())).boxed(),
        Ty::String => ".{0,3}".prop_map(Value::from).boxed(),
        Ty::Bytes => prop::collection::vec(any::<u8>(), 0..6)
            .prop_map(|bytes| {
                use base64::Engine as _;
                Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
            })
            .boxed(),
        Ty::Enum(names) => prop::sample::select(names.clone()).prop_map(Value::from).boxed(),
        Ty::Flags(names) => prop::sample::subsequence(names.clone(), 0..=names.len()).prop_map(Value::from).boxed(),
        Ty::List(item) => prop::collection::vec(value_of(item), 0..3).prop_map(Value::from).boxed(),
        Ty::FixedList(item, length) => {
            prop::collection::vec(value_of(item), usize::try_from(*length).unwrap()).prop_map(Value::from).boxed()
        }
        Ty::Map(key, value) if **key == Ty::String => prop::collection::btree_map("[a-c ]{0,2}", value_of(value), 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
            .boxed(),
        Ty::Map(key, value) => prop::collection::vec((value_of(key), value_of(value)), 0..3)
            .prop_map(|pairs| pairs.into_iter().map(|(key, value)| json!([key, value])).collect())
            .boxed(),
        Ty::Tuple(items) => items.iter().map(value_of).collect::<Vec<_>>().prop_map(Value::from).boxed(),
        Ty::Record(fields) => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            let values: Vec<_> = fields
                .iter()
                .map(|(_, ty)| {
                    if ty.is_nullable() {
                        prop::option::of(value_of(ty)).boxed()
                    } else {
                        value_of(ty).prop_map(Some).boxed()
                    }
                })
                .collect();
            values
                .prop_map(move |values| {
                    let members = names.iter().cloned().zip(values);
                    Value::Object(members.filter_map(|(name, value)| value.map(|value| (name, value))).collect())
                })
                .boxed()
        }
        Ty::Variant(cases) => {
            let cases: Vec<_> = cases
                .iter()
                .map(|(name, payload)| {
                    let name = name.clone();
                    match payload {
                        Some(ty) => value_of(ty).prop_map(move |val| json!({"tag": name, "val": val})).boxed(),
                        None => Just(json!({"tag": name})).boxed(),
                    }
                })
                .collect();
            proptest::strategy::Union::new(cases).boxed()
        }
        Ty::Option(some) if some.is_nullable() => {
            prop_oneof![Just(Value::Null), value_of(some).prop_map(|some| json!({"some": some}))].boxed()
        }
        Ty::Option(some) => prop_oneof![Just(Value::Null), value_of(some)].boxed(),
        Ty::Result(ok, err) => {
            let side = |ty: &Option<Box<Ty>>| ty.as_ref().map_or_else(|| Just(Value::Null).boxed(), |ty| value_of(ty));
            prop_oneof![side(ok).prop_map(|ok| json!({"ok": ok})), side(err).prop_map(|err| json!({"err": err}))]
                .boxed()
        }
        integer => ranged(super::check::integer_range(integer).unwrap()).boxed(),
    }
}

/// What is almost a value of the type, beside what is one.
fn nearly(ty: &Ty) -> BoxedStrategy<Value> {
    let wrong_scalar = prop::sample::select(scalars()).boxed();
    let extra = prop::sample::select(&["a", "some", "ok", "err", "tag", "val"][..]);
    let with_extra = (value_of(ty), extra, any_scalar()).prop_map(|(mut value, key, extra)| {
        match &mut value {
            Value::Object(members) => drop(members.insert(key.to_owned(), extra)),
            Value::Array(items) => items.push(items.first().cloned().unwrap_or(extra)),
            scalar => *scalar = extra,
        }
        value
    });
    let inner = match ty {
        Ty::List(item) => prop::collection::vec(nearly(item), 1..3).prop_map(Value::from).boxed(),
        Ty::Tuple(items) => items.iter().map(nearly).collect::<Vec<_>>().prop_map(Value::from).boxed(),
        Ty::Flags(names) => {
            prop::collection::vec(prop::sample::select(names.clone()), 0..4).prop_map(Value::from).boxed()
        }
        Ty::Map(key, value) if **key != Ty::String => {
            (nearly(key), nearly(value)).prop_map(|(key, value)| json!([[key, value]])).boxed()
        }
        Ty::Map(_, value) => nearly(value).prop_map(|value| json!({"k": value})).boxed(),
        Ty::Record(fields) => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            let values: Vec<_> = fields.iter().map(|(_, ty)| prop::option::weighted(0.9, nearly(ty))).collect();
            values
                .prop_map(move |values| {
                    let members = names.iter().cloned().zip(values);
                    Value::Object(members.filter_map(|(name, value)| value.map(|value| (name, value))).collect())
                })
                .boxed()
        }
        Ty::Variant(cases) => {
            let (name, payload) = cases[cases.len() - 1].clone();
            let payload = payload.map_or_else(|| any_scalar().boxed(), |ty| nearly(&ty));
            payload.prop_map(move |val| json!({"tag": name, "val": val})).boxed()
        }
        Ty::Option(some) => prop_oneof![nearly(some), nearly(some).prop_map(|some| json!({"some": some}))].boxed(),
        Ty::Result(Some(ok), _) => nearly(ok).prop_map(|ok| json!({"ok": ok})).boxed(),
        _ => wrong_scalar,
    };
    prop_oneof![2 => value_of(ty), 3 => inner, 2 => with_extra].boxed()
}

/// Scalars at the borders of types.
fn scalars() -> Vec<Value> {
    let mut scalars =
        vec![Value::Null, json!(true), json!(0.5), json!(-0.0), json!(1e300), json!(-1e300), json!(1e15), json!(1e16)];
    for text in [
        "a",
        "",
        "ab",
        "é",
        "🙂",
        "e\u{301}",
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "+Infinity",
        "aGk=",
        "aGl=",
        "aGk",
        "aA==",
        "aB==",
        "====",
        "aGk=\n",
        "aGk=aGk=",
        "aG k",
        "_-==",
        "aaaa",
        "5",
        "tag",
        "b",
    ] {
        scalars.push(json!(text));
    }
    for bits in [7, 8, 15, 16, 24, 31, 32, 53, 63, 64] {
        let power = 1_i128 << bits;
        for integer in [power - 1, power, power + 1, -power + 1, -power, -power - 1] {
            scalars.extend(i64::try_from(integer).ok().map(|n| json!(n)));
            scalars.extend(u64::try_from(integer).ok().map(|n| json!(n)));
            #[expect(clippy::cast_precision_loss, reason = "a border is wanted, whichever")]
            scalars.push(json!(integer as f64));
        }
    }
    for float in [f32::MAX, f32::MIN, f32::MIN_POSITIVE] {
        let float = f64::from(float);
        scalars.extend([float, float.next_up(), float.next_down(), float * (1.0 + 1e-8)].map(Value::from));
    }
    scalars
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(scalars()),
        ".{0,2}".prop_map(Value::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    any_scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]|some|ok|err|tag|val", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Changes one place of a value, chosen by `at`.
fn mutate(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Array(items) => {
            if *at == 0 {
                items.push(with.clone());
            }
            *at = at.wrapping_sub(1);
            items.iter_mut().for_each(|item| mutate(item, at, with));
        }
        Value::Object(members) => {
            if *at == 0 {
                members.insert("a".to_owned(), with.clone());
            } else if *at == 1 {
                let first = members.keys().next().cloned();
                first.map(|key| members.remove(&key));
            }
            *at = at.wrapping_sub(2);
            members.values_mut().for_each(|member| mutate(member, at, with));
        }
        _ => {}
    }
}

fn agree(ty: &Ty, validator: &jsonschema::Validator, value: &Value) -> Result<bool, TestCaseError> {
    let mut problems = Problems::default();
    check(value, ty, "", &mut problems);
    let ours = problems.is_empty();
    prop_assert_eq!(ours, validator.is_valid(value), "{} / {} / {:?}", ty, value, problems);
    for problem in problems.into_vec() {
        // A pointer leads to something, or to where something lacks.
        let parent = problem.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        prop_assert!(value.pointer(parent).is_some(), "{} in {}", problem, value);
    }
    Ok(ours)
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::draft202012::meta::validate(schema).unwrap();
    jsonschema::draft202012::new(schema).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn check_and_schema_agree(
        (ty, valid, near) in any_type().prop_flat_map(|ty| {
            let values = prop::collection::vec(value_of(&ty), 4);
            let near = prop::collection::vec(nearly(&ty), 8);
            (Just(ty), values, near)
        }),
        others in prop::collection::vec(any_value(), 8),
        at in 0..8_usize,
    ) {
        let validator = validator(&schema(&ty));
        for (value, other) in valid.into_iter().zip(&others) {
            prop_assert!(agree(&ty, &validator, &value)?, "{} / {}", ty, value);
            let mut mutated = value;
            mutate(&mut mutated, &mut at.clone(), other);
            agree(&ty, &validator, &mutated)?;
        }
        for value in near.iter().chain(&others) {
            agree(&ty, &validator, value)?;
        }
    }

    #[test]
    fn params_and_their_schema_agree(
        (params, value) in (names(), prop::collection::vec(any_type(), 3)).prop_flat_map(|(names, types)| {
            let params: Vec<(String, Ty)> = names.into_iter().zip(types).collect();
            let value = value_of(&Ty::Record(params.clone()));
            (Just(params), value)
        }),
        other in any_value(),
        at in 0..8_usize,
    ) {
        let validator = validator(&params_schema(&params));
        let mut mutated = value.clone();
        mutate(&mut mutated, &mut at.clone(), &other);
        for value in [value, mutated, other] {
            let mut problems = Problems::default();
            check_params(&value, &params, "the tool", "", &mut problems);
            prop_assert_eq!(problems.is_empty(), validator.is_valid(&value), "{} {:?}", value, problems);
        }
    }

    #[test]
    fn assignable_is_sound(
        (from, values) in any_type().prop_flat_map(|ty| {
            let values = prop::collection::vec(value_of(&ty), 4);
            (Just(ty), values)
        }),
        other in any_type(),
        widen in any::<u64>(),
    ) {
        prop_assert_eq!(assignable(&from, &from), Ok(()));
        // Unrelated types seldom fit: a neighbour of the type is tried as well.
        for to in [other, neighbour(&from, &mut widen.clone())] {
            if assignable(&from, &to).is_ok() {
                for value in &values {
                    prop_assert!(is_valid(value, &to), "{} / {} / {}", from, to, value);
                }
            }
        }
    }

    #[test]
    fn a_reference_reaches_a_value_of_its_type(
        (ty, value) in any_type().prop_flat_map(|ty| { let value = value_of(&ty); (Just(ty), value) }),
        path in prop::collection::vec("[0-2a-c]|some|ok|tag|val", 1..4),
    ) {
        if let Ok(reached) = type_at(&ty, &path) {
            let pointer: String = path.iter().map(|segment| format!("/{segment}")).collect();
            if let Some(value) = value.pointer(&pointer) {
                prop_assert!(is_valid(value, reached));
            }
        }
    }
}

/// A type like `ty` with some parts exchanged for others, which are often wider.
fn neighbour(ty: &Ty, choice: &mut u64) -> Ty {
    let pick = *choice % 5;
    *choice /= 5;
    let mut near = |ty: &Ty| Box::new(neighbour(ty, choice));
    match (ty, pick) {
        (_, 0) => ty.clone(),
        (ty, 1) => Ty::Option(Box::new(ty.clone())),
        (Ty::U8, _) => Ty::U32,
        (Ty::U16 | Ty::S16 | Ty::U32, _) => Ty::F64,
        (Ty::S8, 2) => Ty::F32,
        (Ty::S8, _) => Ty::S64,
        (Ty::F32, _) => Ty::F64,
        (Ty::Char | Ty::Enum(_), _) => Ty::String,
        (Ty::Flags(names), 2) => Ty::Flags([names.clone(), vec!["more".to_owned()]].concat()),
        (Ty::Flags(_), _) => Ty::List(Box::new(Ty::String)),
        (Ty::List(item), _) => Ty::List(near(item)),
        (Ty::FixedList(item, _), 2) => Ty::List(near(item)),
        (Ty::FixedList(item, length), _) => Ty::FixedList(near(item), *length),
        (Ty::Map(key, value), _) => Ty::Map(key.clone(), near(value)),
        (Ty::Tuple(items), 2) if !items.is_empty() => Ty::List(near(&items[0])),
        (Ty::Tuple(items), _) => Ty::Tuple(items.iter().map(|item| *near(item)).collect()),
        (Ty::Record(fields), 2) => Ty::Map(Box::new(Ty::String), near(&fields[0].1)),
        (Ty::Record(fields), _) => {
            let mut fields: Vec<_> = fields.iter().map(|(name, ty)| (name.clone(), *near(ty))).collect();
            fields.push(("extra".to_owned(), Ty::Option(Box::new(Ty::Bool))));
            Ty::Record(fields)
        }
        (Ty::Variant(cases), _) => {
            let mut cases: Vec<_> =
                cases.iter().map(|(name, ty)| (name.clone(), ty.as_ref().map(|ty| *near(ty)))).collect();
            cases.push(("extra".to_owned(), None));
            Ty::Variant(cases)
        }
        (Ty::Option(some), _) => Ty::Option(near(some)),
        (Ty::Result(ok, err), _) => Ty::Result(ok.as_ref().map(|ty| near(ty)), err.clone()),
        (other, _) => other.clone(),
    }
}

#[test]
fn borders_are_where_the_schema_has_them() {
    let others = [
        Ty::Enum(vec!["a".into(), "tag".into()]),
        Ty::Option(Box::new(Ty::Option(Box::new(Ty::Bool)))),
        Ty::Flags(vec!["a".into(), "b".into()]),
    ];
    for ty in PLAIN.into_iter().chain(others) {
        let validator = validator(&schema(&ty));
        // What is read as this float was an integer that no type has; a schema is told no more than the float.
        let below = json!(-9_223_372_036_854_775_808.0);
        for value in scalars().into_iter().filter(|value| *value != below || ty != Ty::S64) {
            agree(&ty, &validator, &value).unwrap();
            agree(&ty, &validator, &json!({"some": value, "a": 1})).unwrap();
            agree(&ty, &validator, &json!([value, value])).unwrap();
        }
    }
}

#[test]
fn refusals_say_what_is_wrong_where() {
    let record = Ty::Record(vec![("total".into(), Ty::U32), ("note".into(), Ty::Option(Box::new(Ty::String)))]);
    let nested = Ty::Option(Box::new(Ty::Option(Box::new(Ty::U8))));
    let variant = Ty::Variant(vec![("none".into(), None), ("range".into(), Some(Ty::Tuple(vec![Ty::U8, Ty::U8])))]);
    for (ty, value, pointer, message, hint) in [
        (
            &Ty::U8,
            json!("5"),
            "",
            "expected an integer (`u8`), got the string `5`",
            "write it without quotes: nothing is coerced",
        ),
        (&Ty::U8, json!(256), "", "`256` is out of the range of `u8`: 0 to 255", ""),
        (&Ty::U8, json!(0.5), "", "expected an integer (`u8`), got the number `0.5`", ""),
        (
            &Ty::S64,
            json!(u64::MAX),
            "",
            "`18446744073709551615` is out of the range of `s64`: -9223372036854775808 to 9223372036854775807",
            "",
        ),
        (&Ty::String, json!(5), "", "expected a string, got the number `5`", "write it in quotes: nothing is coerced"),
        (&Ty::String, json!(null), "", "expected a string, got null", "only an option may be null"),
        (
            &Ty::Bytes,
            json!("aGl="),
            "",
            "`aGl=` is not base64",
            "bytes are written in the standard alphabet with padding, such as `aGVsbG8=`",
        ),
        (
            &record,
            json!({"totl": 1}),
            "/totl",
            "`record { total: u32, note: option<string> }` has no field `totl`",
            "did you mean `total`?",
        ),
        (&record, json!({"total": 1, "note": [1]}), "/note", "expected a string, got an array", ""),
        (
            &nested,
            json!(5),
            "",
            "expected null or `{\"some\": …}` for `option<option<u8>>`, got the number `5`",
            "an option in an option is wrapped to tell its two nothings apart",
        ),
        (&variant, json!({"tag": "rang"}), "/tag", "there is no case `rang`", "did you mean `range`?"),
        (&variant, json!({"tag": "range"}), "", "the case `range` lacks its `val` (`tuple<u8, u8>`)", ""),
        (
            &variant,
            json!({"tag": "range", "val": [1, 300]}),
            "/val/1",
            "`300` is out of the range of `u8`: 0 to 255",
            "",
        ),
        (&variant, json!({"tag": "none", "val": null}), "/val", "unknown key `val`", "here belong `tag`"),
    ] {
        let mut problems = Problems::default();
        check(&value, ty, "", &mut problems);
        let problem = problems.into_vec().remove(0);
        let found = (problem.pointer.as_str(), problem.message.as_str(), problem.hint.as_deref().unwrap_or_default());
        assert_eq!(found, (pointer, message, hint));
    }
}

#[test]
fn what_does_not_fit_is_refused_with_a_hint() {
    let option = Ty::Option(Box::new(Ty::U8));
    for (from, to, fits) in [
        (Ty::U8, Ty::U32, true),
        (Ty::U32, Ty::U8, false),
        (Ty::U32, Ty::F64, true),
        (Ty::U64, Ty::F64, false),
        (Ty::String, Ty::U32, false),
        (Ty::U32, Ty::String, false),
        (Ty::Bytes, Ty::String, false),
        (option.clone(), Ty::U8, false),
        (Ty::U8, option.clone(), true),
        (Ty::U8, Ty::Option(Box::new(option)), false),
    ] {
        assert_eq!(assignable(&from, &to).is_ok(), fits, "{from} to {to}");
    }
    let mismatch = assignable(
        &Ty::Record(vec![("a".into(), Ty::List(Box::new(Ty::String)))]),
        &Ty::Record(vec![("a".into(), Ty::List(Box::new(Ty::U8)))]),
    );
    assert_eq!(mismatch.unwrap_err().message, "`string` does not fit `u8` at `a.0`");
}

#[test]
fn paths_into_types() {
    let ty = Ty::Record(vec![
        ("rows".into(), Ty::List(Box::new(Ty::Tuple(vec![Ty::U8, Ty::String])))),
        ("by-name".into(), Ty::Map(Box::new(Ty::String), Box::new(Ty::Bool))),
        ("note".into(), Ty::Option(Box::new(Ty::Record(vec![("text".into(), Ty::String)])))),
    ]);
    let at = |path: &str| type_at(&ty, &path.split('.').map(str::to_owned).collect::<Vec<_>>()).cloned();
    assert_eq!(at("rows.5.1"), Ok(Ty::String));
    assert_eq!(at("by-name.anything"), Ok(Ty::Bool));
    for (path, hint) in [
        ("rwos", "did you mean `rows`?"),
        ("rows.first", "a list has indices from 0"),
        ("rows.0.2", "it has 2 elements, from index 0"),
        ("note.text", "it may be null: pass the whole value to a tool that takes an option"),
        ("rows.0.1.x", "only records, lists, tuples and maps with string keys have parts"),
    ] {
        assert_eq!(at(path).unwrap_err().hint.as_deref(), Some(hint), "{path}");
    }
}

#[test]
fn a_report_of_many_mistakes_is_bounded() {
    let value = Value::Array(vec![json!("x"); 100_000]);
    let mut problems = Problems::default();
    check(&value, &Ty::List(Box::new(Ty::U8)), "/in", &mut problems);
    let problems = problems.into_vec();
    assert_eq!(problems.len(), crate::limits::PROBLEMS_MAX + 1);
    assert_eq!(problems.last().unwrap().message, "there may be more problems, which have not been looked for");
    let many = Value::Array(vec![json!(1); crate::limits::VALUES_MAX]);
    let mut problems = Problems::default();
    check(&many, &Ty::List(Box::new(Ty::U8)), "", &mut problems);
    assert_eq!((problems.count(), problems.into_vec()[0].code.as_str()), (1, "too-many-values"));
    assert_eq!(schema(&Ty::Tuple(vec![])), json!({"$schema": schema::DIALECT, "type": "array", "maxItems": 0}));
    let object = json!({"a": Map::new()});
    assert!(is_valid(&object, &Ty::Record(vec![("a".into(), Ty::Record(vec![]))])));
}
