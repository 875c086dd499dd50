//! Whether what a condition compares can be the same, and whether an expected output can be one of the tool.

use serde_json::Value;

use super::references::{Known, Types};
use crate::plan::flow::{Comparison, Condition, Expect, ExpectKind};
use crate::plan::template::{Node, Template};
use crate::problem::{Problem, Problems};
use crate::skill::Tool;
use crate::types::Ty;
use crate::types::assign::assignable;
use crate::types::check::{FLOAT_NAMES, check_tree_as};

/// What is known of one side of a condition before the run.
enum Side<'p> {
    Value(&'p Value),
    Type(&'p Ty),
    /// An array or object as the plan writes it, perhaps with references inside.
    Tree(&'p Node),
    /// Nothing, or what is wrong with it has been reported.
    Unknown,
}

static NULL: Value = Value::Null;

impl<'p> Types<'p> {
    /// Reports a condition that compares what cannot be compared, or what is always the same.
    pub(super) fn check_condition(&self, condition: &Condition, problems: &mut Problems) {
        let Condition { value, comparison, operand } = condition;
        if value.references().is_empty() && !matches!(value.root(), Node::Unreadable(_)) {
            let message = "the value of the condition holds no reference: it is always the same";
            let hint = "write `{{steps.id.field}}` or `{{inputs.name}}`";
            problems.push(Problem::new("constant-condition", value.pointer(), message).with_hint(hint));
            return;
        }
        if comparison.is_of_numbers() {
            self.check_number(value, *comparison, problems);
            self.check_number(operand, *comparison, problems);
            return;
        }
        match (self.side(value), self.side(operand)) {
            (Side::Value(left), Side::Value(right)) => {
                let (left, right) = (kind(left), kind(right));
                if left != right && left != "null" && right != "null" {
                    mismatch(operand, format!("{left} is never {right}"), "compare values of one kind", problems);
                }
            }
            (Side::Type(ty), Side::Value(fixed)) => self.check_value(fixed, ty, operand.pointer(), problems),
            (Side::Value(fixed), Side::Type(ty)) => self.check_value(fixed, ty, value.pointer(), problems),
            (Side::Type(left), Side::Type(right)) if !are_comparable(left, right) => {
                let message = format!("`{left:.80}` is never `{right:.80}`");
                mismatch(operand, message, "compare values of one type", problems);
            }
            (Side::Type(ty), Side::Tree(tree)) => self.check_tree(tree, ty, operand, problems),
            (Side::Tree(tree), Side::Type(ty)) => self.check_tree(tree, ty, value, problems),
            _ => {}
        }
    }

    fn side<'s>(&'s self, template: &'s Template) -> Side<'s> {
        match template.root() {
            Node::Scalar(value) => Side::Value(value),
            Node::Whole(reference) => match self.known(reference) {
                Ok(Known::Value(value)) => Side::Value(value),
                Ok(Known::Type(ty)) => Side::Type(ty),
                Ok(Known::Null) => Side::Value(&NULL),
                Ok(Known::Nothing) | Err(_) => Side::Unknown,
            },
            Node::Text(_) => Side::Type(&Ty::String),
            tree @ (Node::Array(_) | Node::Object(_)) => Side::Tree(tree),
            Node::Unreadable(_) => Side::Unknown,
        }
    }

    fn check_tree(&self, tree: &Node, ty: &Ty, template: &Template, problems: &mut Problems) {
        check_tree_as(tree, ty, template.pointer(), problems, &mut |node, ty, path, problems| {
            self.check_hole(node, ty, &path.pointer(), problems);
        });
    }

    fn check_number(&self, template: &Template, comparison: Comparison, problems: &mut Problems) {
        let got = match self.side(template) {
            Side::Unknown => return,
            Side::Value(Value::Number(_)) => return,
            Side::Value(Value::String(text)) if FLOAT_NAMES.contains(&text.as_str()) => return,
            Side::Type(ty) if is_number(ty) => return,
            Side::Value(Value::String(_)) => "a string".to_owned(),
            Side::Value(value) => kind(value).to_owned(),
            Side::Type(ty) => format!("`{ty:.80}`"),
            Side::Tree(_) => "an array or an object".to_owned(),
        };
        let message = format!("`{}` compares numbers, got {got}", comparison.name());
        mismatch(template, message, "write a number without quotes, or compare with `is`", problems);
    }
}

/// Reports that a step's output can never be what is expected of it.
pub(super) fn check_expect(expect: &Expect, tool: &Tool, label: &str, pointer: &str, problems: &mut Problems) {
    let ok = tool.result.ok.as_ref();
    if expect.kind == ExpectKind::Text && !ok.is_some_and(may_be_text) {
        let gives = ok.map_or_else(|| "nothing".to_owned(), |ty| format!("`{ty:.80}`"));
        let message = format!("{label} (`{}`) gives {gives}, which is never a text", tool.name);
        problems.push(Problem::new("type-mismatch", pointer, message).with_hint("write `\"kind\": \"json\"`"));
    }
}

fn mismatch(template: &Template, message: String, hint: &str, problems: &mut Problems) {
    problems.push(Problem::new("type-mismatch", template.pointer(), message).with_hint(hint));
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn without_option(ty: &Ty) -> &Ty {
    match ty {
        Ty::Option(inner) => without_option(inner),
        ty => ty,
    }
}

/// Whether a value of this type is a number, or null.
fn is_number(ty: &Ty) -> bool {
    use Ty::{F32, F64, S8, S16, S32, S64, U8, U16, U32, U64};
    matches!(without_option(ty), S8 | U8 | S16 | U16 | S32 | U32 | S64 | U64 | F32 | F64)
}

fn may_be_text(ty: &Ty) -> bool {
    matches!(without_option(ty), Ty::String | Ty::Char | Ty::Enum(_) | Ty::Bytes)
}

/// Whether a value of one type can be one of the other.
fn are_comparable(one: &Ty, other: &Ty) -> bool {
    let (one, other) = (without_option(one), without_option(other));
    (is_number(one) && is_number(other))
        || (may_be_text(one) && may_be_text(other))
        || assignable(one, other).is_ok()
        || assignable(other, one).is_ok()
}
