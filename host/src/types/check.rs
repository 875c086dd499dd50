//! Whether a JSON value is a value of a type, exactly: nothing is coerced, rounded into range or ignored.
//!
//! One walk serves two kinds of trees: plain JSON, and a plan's templates, whose references are holes of which only a type is known.

use std::fmt::Write as _;

use base64::Engine as _;
use serde_json::{Number, Value};

use super::{Ty, one_of};
use crate::limits;
use crate::problem::{Problem, Problems, pointer_to, shown, suggestion};

/// Checks that `value` is a value of type `ty`; what is not is added to `problems` with its place below `pointer`.
pub fn check(value: &Value, ty: &Ty, pointer: &str, problems: &mut Problems) {
    Walk::new(problems, &mut |_, _, _, _| ()).value(value, ty, &Path::root(pointer));
}

/// Checks that `input` is an object with a value for each parameter and nothing else. `owner` begins the messages, such as
/// "step `sum`".
pub fn check_params(input: &Value, params: &[(String, Ty)], owner: &str, pointer: &str, problems: &mut Problems) {
    check_tree(input, params, owner, pointer, problems, &mut |_, _, _, _| ());
}

/// Whether `value` is a value of type `ty`.
#[must_use]
pub fn is_valid(value: &Value, ty: &Ty) -> bool {
    let mut problems = Problems::default();
    check(value, ty, "", &mut problems);
    problems.is_empty()
}

/// The integer that a JSON number is, `1.0` and `1e3` included; `None` if it has a fraction or is beyond 64 bits. The one decision of the check
/// and of the conversion.
#[must_use]
pub fn integer(number: &Number) -> Option<i128> {
    const TWO_64: f64 = 18_446_744_073_709_551_616.0;
    // What is read as this float was an integer below the range of 64 bits: the lowest of them is read as an integer, however it is written.
    const BELOW: f64 = -9_223_372_036_854_775_808.0;
    if let Some(integer) = number.as_u64() {
        return Some(i128::from(integer));
    }
    if let Some(integer) = number.as_i64() {
        return Some(i128::from(integer));
    }
    let float = number.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^64 in magnitude fits an i128")]
    (float.fract() == 0.0 && float.abs() < TWO_64 && float != BELOW).then_some(float as i128)
}

/// The range of an integer type.
#[must_use]
pub const fn integer_range(ty: &Ty) -> Option<(i128, i128)> {
    Some(match ty {
        Ty::S8 => (i8::MIN as i128, i8::MAX as i128),
        Ty::U8 => (0, u8::MAX as i128),
        Ty::S16 => (i16::MIN as i128, i16::MAX as i128),
        Ty::U16 => (0, u16::MAX as i128),
        Ty::S32 => (i32::MIN as i128, i32::MAX as i128),
        Ty::U32 => (0, u32::MAX as i128),
        Ty::S64 => (i64::MIN as i128, i64::MAX as i128),
        Ty::U64 => (0, u64::MAX as i128),
        _ => return None,
    })
}

/// Whether a number rounds to one of type `f32`.
#[must_use]
pub fn is_of_f32(float: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is meant")]
    let rounded = float as f32;
    rounded.is_finite()
}

/// The strings that stand for the floats that JSON numbers cannot write.
pub const FLOAT_NAMES: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// A tree of values, some of which may be holes that are filled at run time.
pub(crate) trait Tree: Sized {
    /// What this node is.
    fn kind(&self) -> Kind<'_, Self>;
    /// The member of that name, if this is an object.
    fn member(&self, key: &str) -> Option<&Self>;
    /// The names of the members, if this is an object.
    fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

/// One node of a [`Tree`].
pub(crate) enum Kind<'a, T> {
    /// Null, a boolean, a number or a string.
    Scalar(&'a Value),
    /// An array.
    Items(&'a [T]),
    /// An object with that many members.
    Members(usize),
    /// A value that is not known yet.
    Hole,
}

impl Tree for Value {
    fn kind(&self) -> Kind<'_, Self> {
        match self {
            Self::Array(items) => Kind::Items(items),
            Self::Object(members) => Kind::Members(members.len()),
            scalar => Kind::Scalar(scalar),
        }
    }

    fn member(&self, key: &str) -> Option<&Self> {
        self.get(key)
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.as_object().into_iter().flat_map(|members| members.keys().map(String::as_str)))
    }
}

/// A place in a tree; becomes a JSON pointer only when there is something to report.
pub(crate) struct Path<'p> {
    parent: Option<&'p Self>,
    segment: Segment<'p>,
    depth: usize,
}

enum Segment<'p> {
    Root(&'p str),
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub(crate) const fn root(pointer: &'p str) -> Self {
        Self { parent: None, segment: Segment::Root(pointer), depth: 0 }
    }

    pub(crate) const fn key(&'p self, key: &'p str) -> Self {
        Self { parent: Some(self), segment: Segment::Key(key), depth: self.depth.saturating_add(1) }
    }

    pub(crate) const fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), segment: Segment::Index(index), depth: self.depth.saturating_add(1) }
    }

    pub(crate) fn pointer(&self) -> String {
        let parent = self.parent.map(Self::pointer).unwrap_or_default();
        match self.segment {
            Segment::Root(pointer) => pointer.to_owned(),
            Segment::Key(key) => pointer_to(&parent, key),
            Segment::Index(index) => {
                let mut pointer = parent;
                // Writing to a string does not fail.
                let _infallible = write!(pointer, "/{index}");
                pointer
            }
        }
    }
}

/// What judges a hole: the node, the type it has to be of, its place.
pub(crate) type Holes<'h, T> = dyn FnMut(&T, &Ty, &Path<'_>, &mut Problems) + 'h;

/// [`check_params`] for any tree.
pub(crate) fn check_tree<T: Tree>(
    input: &T,
    params: &[(String, Ty)],
    owner: &str,
    pointer: &str,
    problems: &mut Problems,
    holes: &mut Holes<'_, T>,
) {
    let path = Path::root(pointer);
    if !matches!(input.kind(), Kind::Members(_)) {
        let message = format!("the input of {owner} must be an object with a member for each parameter");
        problems.push(Problem::new("wrong-type", pointer, message));
        return;
    }
    for key in input.keys() {
        if !params.iter().any(|(name, _)| name == key) {
            if problems.is_full() {
                problems.skip();
                break;
            }
            let names = params.iter().map(|(name, _)| name.as_str());
            let hint = suggestion(key, names.clone()).unwrap_or_else(|| one_of("its parameters are", names));
            let message = format!("{owner} has no parameter `{}`", shown(key));
            problems.push(Problem::new("unknown-param", pointer_to(pointer, key), message).with_hint(hint));
        }
    }
    let mut walk = Walk::new(problems, holes);
    for (name, ty) in params {
        match input.member(name) {
            Some(value) => walk.value(value, ty, &path.key(name)),
            None if ty.is_nullable() => {}
            None => {
                let message = format!("{owner} lacks the parameter `{name}` (`{ty:.80}`)");
                let problem = Problem::new("missing-param", pointer_to(pointer, name), message);
                walk.problems.push(problem.with_hint(format!("add `{name}` to its input")));
            }
        }
    }
}

/// [`check`] for any tree.
pub(crate) fn check_tree_as<T: Tree>(
    tree: &T,
    ty: &Ty,
    pointer: &str,
    problems: &mut Problems,
    holes: &mut Holes<'_, T>,
) {
    Walk::new(problems, holes).value(tree, ty, &Path::root(pointer));
}

struct Walk<'w, 'h, T> {
    problems: &'w mut Problems,
    holes: &'w mut Holes<'h, T>,
    /// Values that may still be looked at.
    left: usize,
    is_exhausted: bool,
}

impl<'w, 'h, T: Tree> Walk<'w, 'h, T> {
    fn new(problems: &'w mut Problems, holes: &'w mut Holes<'h, T>) -> Self {
        Self { problems, holes, left: limits::VALUES_MAX, is_exhausted: false }
    }

    fn report(&mut self, code: &str, path: &Path<'_>, message: String, hint: Option<String>) {
        let mut problem = Problem::new(code, path.pointer(), message);
        problem.hint = hint;
        self.problems.push(problem);
    }

    fn wrong(&mut self, node: &T, ty: &Ty, path: &Path<'_>) {
        let message = format!("expected {}, got {}", expected(ty), got(node));
        self.report("wrong-type", path, message, coercion_hint(node, ty));
    }

    fn value(&mut self, node: &T, ty: &Ty, path: &Path<'_>) {
        if self.problems.is_full() {
            return self.problems.skip();
        }
        if !self.spend(1, path) {
            return;
        }
        if path.depth > 2 * limits::TYPE_DEPTH_MAX {
            return self.report("too-deep", path, format!("nested deeper than {}", limits::TYPE_DEPTH_MAX), None);
        }
        match node.kind() {
            Kind::Hole => (self.holes)(node, ty, path, self.problems),
            Kind::Scalar(Value::Null) if ty.is_nullable() => {}
            _ if ty.is_nullable() => self.some(node, ty, path),
            Kind::Scalar(value) => self.scalar(value, node, ty, path),
            Kind::Items(items) => self.items(items, node, ty, path),
            Kind::Members(count) => self.members(count, node, ty, path),
        }
    }

    /// Counts values. Whether there may be so many more: the conversion counts them in the same way.
    fn spend(&mut self, values: usize, path: &Path<'_>) -> bool {
        if let Some(left) = self.left.checked_sub(values) {
            self.left = left;
            return true;
        }
        self.left = 0;
        if !std::mem::replace(&mut self.is_exhausted, true) {
            let hint = "each byte of a list of bytes is one; pass large data between steps in files";
            let message = format!("more than {} values", limits::VALUES_MAX);
            self.report("too-many-values", path, message, Some(hint.to_owned()));
        }
        false
    }

    fn some(&mut self, node: &T, ty: &Ty, path: &Path<'_>) {
        let Ty::Option(inner) = ty else { return };
        if !inner.is_nullable() {
            return self.value(node, inner, path);
        }
        match (node.kind(), node.member("some")) {
            (Kind::Members(1), Some(some)) => self.value(some, inner, &path.key("some")),
            _ => {
                let message = format!("expected null or `{{\"some\": …}}` for `{ty:.80}`, got {}", got(node));
                let hint = "an option in an option is wrapped to tell its two nothings apart";
                self.report("wrong-type", path, message, Some(hint.to_owned()));
            }
        }
    }

    fn scalar(&mut self, value: &Value, node: &T, ty: &Ty, path: &Path<'_>) {
        match (ty, value) {
            (Ty::Bool, Value::Bool(_)) | (Ty::F64, Value::Number(_)) | (Ty::String, Value::String(_)) => {}
            (Ty::F32, Value::Number(number)) => {
                if number.as_f64().is_none_or(|float| !is_of_f32(float)) {
                    let message = format!("`{number}` is out of the range of `f32`");
                    self.report("out-of-range", path, message, None);
                }
            }
            (Ty::F32 | Ty::F64, Value::String(text)) if FLOAT_NAMES.contains(&text.as_str()) => {}
            (Ty::Char, Value::String(text)) => {
                if text.chars().nth(1).is_some() || text.is_empty() {
                    let message = format!("expected one character, got the string `{}`", shown(text));
                    self.report("wrong-type", path, message, None);
                }
            }
            (Ty::Bytes, Value::String(text)) => {
                if !self.spend(text.len() / 4 * 3, path) {
                    return;
                }
                if base64::engine::general_purpose::STANDARD.decode(text).is_err() {
                    let message = format!("`{}` is not base64", shown(text));
                    let hint = "bytes are written in the standard alphabet with padding, such as `aGVsbG8=`";
                    self.report("bad-base64", path, message, Some(hint.to_owned()));
                }
            }
            (Ty::Enum(names), Value::String(text)) => self.case(names.iter(), text, "case", path),
            (_, Value::Number(number)) if integer_range(ty).is_some() => self.integer(number, node, ty, path),
            _ => self.wrong(node, ty, path),
        }
    }

    fn integer(&mut self, number: &Number, node: &T, ty: &Ty, path: &Path<'_>) {
        let Some((min, max)) = integer_range(ty) else { return };
        match integer(number) {
            Some(integer) if (min..=max).contains(&integer) => {}
            None if number.as_f64().is_some_and(|float| float.fract() != 0.0) => self.wrong(node, ty, path),
            _ => {
                let message = format!("`{number}` is out of the range of `{ty}`: {min} to {max}");
                self.report("out-of-range", path, message, None);
            }
        }
    }

    fn case<'n>(&mut self, names: impl Iterator<Item = &'n String> + Clone, text: &str, kind: &str, path: &Path<'_>) {
        let names = names.map(String::as_str);
        if !names.clone().any(|name| name == text) {
            let hint = suggestion(text, names.clone()).unwrap_or_else(|| one_of("known are", names));
            self.report("unknown-case", path, format!("there is no {kind} `{}`", shown(text)), Some(hint));
        }
    }

    fn items(&mut self, items: &[T], node: &T, ty: &Ty, path: &Path<'_>) {
        match ty {
            Ty::List(item) => self.each(items, item, path),
            Ty::FixedList(item, length) => {
                if self.length(items, u64::from(*length), ty, path) {
                    self.each(items, item, path);
                }
            }
            Ty::Tuple(types) => {
                if self.length(items, types.len() as u64, ty, path) {
                    for (position, (node, ty)) in items.iter().zip(types).enumerate() {
                        self.value(node, ty, &path.index(position));
                    }
                }
            }
            Ty::Map(key, value) if **key != Ty::String => {
                for (position, pair) in items.iter().enumerate() {
                    if self.problems.is_full() {
                        return self.problems.skip();
                    }
                    let path = path.index(position);
                    match pair.kind() {
                        Kind::Items([first, second]) => {
                            self.value(first, key, &path.index(0));
                            self.value(second, value, &path.index(1));
                        }
                        _ => {
                            let message = format!("expected a pair `[key, value]` of `{ty:.80}`, got {}", got(pair));
                            self.report("wrong-type", &path, message, None);
                        }
                    }
                }
            }
            Ty::Flags(names) => self.flags(items, names, path),
            _ => self.wrong(node, ty, path),
        }
    }

    fn each(&mut self, items: &[T], ty: &Ty, path: &Path<'_>) {
        for (position, item) in items.iter().enumerate() {
            self.value(item, ty, &path.index(position));
        }
    }

    fn length(&mut self, items: &[T], length: u64, ty: &Ty, path: &Path<'_>) -> bool {
        let fits = items.len() as u64 == length;
        if !fits {
            let message = format!("expected {length} elements for `{ty:.80}`, got {}", items.len());
            self.report("wrong-length", path, message, None);
        }
        fits
    }

    fn flags(&mut self, items: &[T], names: &[String], path: &Path<'_>) {
        if !self.spend(items.len(), path) {
            return;
        }
        let mut seen = std::collections::BTreeSet::new();
        let name = Ty::Enum(names.to_vec());
        for (position, item) in items.iter().enumerate() {
            if self.problems.is_full() {
                return self.problems.skip();
            }
            let path = path.index(position);
            match item.kind() {
                Kind::Scalar(Value::String(text)) => {
                    self.case(names.iter(), text, "flag", &path);
                    if !seen.insert(text.as_str()) {
                        let message = format!("the flag `{}` is named twice", shown(text));
                        self.report("duplicate-flag", &path, message, None);
                    }
                }
                Kind::Hole => (self.holes)(item, &name, &path, self.problems),
                _ => self.wrong(item, &name, &path),
            }
        }
    }

    fn members(&mut self, count: usize, node: &T, ty: &Ty, path: &Path<'_>) {
        match ty {
            Ty::Record(fields) => self.record(node, fields, ty, path),
            Ty::Map(key, value) if **key == Ty::String => {
                for key in node.keys() {
                    if let Some(member) = node.member(key) {
                        if !self.spend(1, path) {
                            return;
                        }
                        self.value(member, value, &path.key(key));
                    }
                }
            }
            Ty::Variant(cases) => self.variant(count, node, cases, ty, path),
            Ty::Result(ok, err) => {
                let side = match (node.member("ok"), node.member("err")) {
                    (Some(value), None) if count == 1 => Some(("ok", value, ok)),
                    (None, Some(value)) if count == 1 => Some(("err", value, err)),
                    _ => None,
                };
                match side {
                    Some((name, value, Some(ty))) => self.value(value, ty, &path.key(name)),
                    Some((_, value, None)) if matches!(value.kind(), Kind::Scalar(Value::Null)) => {}
                    Some((name, value, None)) => {
                        let message =
                            format!("expected null, for `{name}` of `{ty:.80}` has no payload, got {}", got(value));
                        self.report("wrong-type", &path.key(name), message, None);
                    }
                    None => {
                        let message = format!("expected either `{{\"ok\": …}}` or `{{\"err\": …}}` for `{ty:.80}`");
                        self.report("wrong-type", path, message, None);
                    }
                }
            }
            _ => self.wrong(node, ty, path),
        }
    }

    fn record(&mut self, node: &T, fields: &[(String, Ty)], ty: &Ty, path: &Path<'_>) {
        for key in node.keys() {
            if self.problems.is_full() {
                return self.problems.skip();
            }
            if !fields.iter().any(|(name, _)| name == key) {
                let names = fields.iter().map(|(name, _)| name.as_str());
                let hint = suggestion(key, names.clone()).unwrap_or_else(|| one_of("its fields are", names));
                let message = format!("`{ty:.80}` has no field `{}`", shown(key));
                self.report("unknown-key", &path.key(key), message, Some(hint));
            }
        }
        for (name, ty) in fields {
            match node.member(name) {
                Some(member) => self.value(member, ty, &path.key(name)),
                None if ty.is_nullable() => {}
                None => self.report("missing-key", path, format!("lacks the field `{name}` (`{ty:.80}`)"), None),
            }
        }
    }

    fn variant(&mut self, count: usize, node: &T, cases: &[(String, Option<Ty>)], ty: &Ty, path: &Path<'_>) {
        let tag = match node.member("tag").map(Tree::kind) {
            Some(Kind::Scalar(Value::String(tag))) => tag,
            Some(Kind::Hole) => {
                let hint = "write the case; which one it is must be known before the run";
                let message = format!("the `tag` of `{ty:.80}` is a reference");
                return self.report("wrong-type", &path.key("tag"), message, Some(hint.to_owned()));
            }
            _ => {
                let message = format!("expected `{{\"tag\": case}}` or `{{\"tag\": case, \"val\": …}}` for `{ty:.80}`");
                return self.report("wrong-type", path, message, None);
            }
        };
        let Some((_, payload)) = cases.iter().find(|(name, _)| name == tag) else {
            return self.case(cases.iter().map(|(name, _)| name), tag, "case", &path.key("tag"));
        };
        match (payload, node.member("val")) {
            (Some(payload), Some(val)) => {
                self.value(val, payload, &path.key("val"));
                self.only(count, 2, node, &["tag", "val"], path);
            }
            (Some(payload), None) => {
                let message = format!("the case `{tag}` lacks its `val` (`{payload:.80}`)");
                self.report("missing-key", path, message, None);
            }
            (None, _) => self.only(count, 1, node, &["tag"], path),
        }
    }

    fn only(&mut self, count: usize, expected: usize, node: &T, known: &[&str], path: &Path<'_>) {
        if count == expected {
            return;
        }
        for key in node.keys().filter(|key| !known.contains(key)) {
            if self.problems.is_full() {
                return self.problems.skip();
            }
            let message = format!("unknown key `{}`", shown(key));
            self.report("unknown-key", &path.key(key), message, Some(one_of("here belong", known.iter().copied())));
        }
    }
}

fn expected(ty: &Ty) -> String {
    match ty {
        Ty::Bool => "true or false".to_owned(),
        Ty::F32 | Ty::F64 => format!("a number (`{ty}`)"),
        Ty::String => "a string".to_owned(),
        Ty::Char => "a string of one character".to_owned(),
        Ty::Bytes => "a string of base64 (`list<u8>`)".to_owned(),
        Ty::Enum(_) => format!("a string (`{ty:.80}`)"),
        Ty::List(_) | Ty::FixedList(..) | Ty::Tuple(_) | Ty::Flags(_) => format!("an array (`{ty:.80}`)"),
        Ty::Map(key, _) if **key != Ty::String => format!("an array of pairs (`{ty:.80}`)"),
        Ty::Map(..) | Ty::Record(_) | Ty::Variant(_) | Ty::Result(..) => format!("an object (`{ty:.80}`)"),
        integer if integer_range(integer).is_some() => format!("an integer (`{ty}`)"),
        other => format!("`{other:.80}`"),
    }
}

fn got<T: Tree>(node: &T) -> String {
    match node.kind() {
        Kind::Scalar(Value::Bool(value)) => format!("{value}"),
        Kind::Scalar(Value::Number(number)) => format!("the number `{number}`"),
        Kind::Scalar(Value::String(text)) => format!("the string `{}`", shown(text)),
        Kind::Scalar(_) => "null".to_owned(),
        Kind::Items(_) => "an array".to_owned(),
        Kind::Members(_) => "an object".to_owned(),
        Kind::Hole => "a reference".to_owned(),
    }
}

fn coercion_hint<T: Tree>(node: &T, ty: &Ty) -> Option<String> {
    let Kind::Scalar(value) = node.kind() else { return None };
    let hint = match (value, ty) {
        (Value::String(text), Ty::F32 | Ty::F64 | Ty::Bool)
            if text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok() =>
        {
            "write it without quotes: nothing is coerced"
        }
        (Value::String(text), _) if integer_range(ty).is_some() && text.parse::<i128>().is_ok() => {
            "write it without quotes: nothing is coerced"
        }
        (Value::Number(_) | Value::Bool(_), Ty::String) => "write it in quotes: nothing is coerced",
        (Value::Null, _) => "only an option may be null",
        _ => return None,
    };
    Some(hint.to_owned())
}
