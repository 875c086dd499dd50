//! Whether a step runs: what its references need is there, and its conditions hold.

use std::cmp::Ordering;

use serde_json::Value;

use crate::canonical;
use crate::plan::template::Budget;
use crate::plan::{Comparison, Condition};
use crate::problem::{Problem, shown};
use crate::types::check::integer;
use crate::validate::{Outputs, ValidPlan, ValidStep};

/// Whether a step's turn is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It runs.
    Run,
    /// It is skipped.
    Skip {
        /// Why: lower case, no final period. Plan, inputs and outputs alone decide what it says.
        reason: String,
    },
}

/// What becomes of `step`, whose turn has come: the steps before it have completed and are in `outputs`, or they were skipped.
///
/// # Errors
///
/// The first side of a condition that cannot be resolved, such as an index beyond a list's end.
pub fn turn(plan: &ValidPlan, step: &ValidStep<'_>, outputs: &Outputs) -> Result<Turn, Problem> {
    let referred = step.references.iter().filter_map(|&index| plan.step(index));
    if let Some(skipped) = referred.map(|step| step.id).find(|id| !outputs.contains_key(*id)) {
        return Ok(Turn::Skip { reason: format!("it refers to `steps.{skipped}`, which was skipped") });
    }
    let mut budget = Budget::default();
    for condition in step.when {
        let (value, operand) = plan.resolve_condition(condition, outputs, &mut budget)?;
        if let Err(reason) = evaluate(condition, &value, &operand) {
            return Ok(Turn::Skip { reason });
        }
    }
    Ok(Turn::Run)
}

/// Whether a condition holds for its resolved sides.
///
/// # Errors
///
/// In words, why it does not.
pub fn evaluate(condition: &Condition, value: &Value, operand: &Value) -> Result<(), String> {
    if holds(condition.comparison, value, operand) {
        return Ok(());
    }
    let name = match condition.value.references().as_slice() {
        [only] if condition.value.is_reference() => format!("`{}`", only.reference),
        _ => "the value".to_owned(),
    };
    let text = |value: &Value| shown(&canonical::to_string(value));
    Err(format!("{name} is {}, and `{}` {} is asked", text(value), condition.comparison.name(), text(operand)))
}

/// Whether `value` compares with `operand` so. What is no number is neither less nor more than anything.
fn holds(comparison: Comparison, value: &Value, operand: &Value) -> bool {
    // Canonical JSON spells one number in one way, whether it is written as an integer or not.
    let is_same = || canonical::to_vec(value) == canonical::to_vec(operand);
    let is_ordered = |wanted: &[Ordering]| order(value, operand).is_some_and(|order| wanted.contains(&order));
    match comparison {
        Comparison::Is => is_same(),
        Comparison::IsNot => !is_same(),
        Comparison::LessThan => is_ordered(&[Ordering::Less]),
        Comparison::AtMost => is_ordered(&[Ordering::Less, Ordering::Equal]),
        Comparison::MoreThan => is_ordered(&[Ordering::Greater]),
        Comparison::AtLeast => is_ordered(&[Ordering::Greater, Ordering::Equal]),
    }
}

/// The order of two numbers, exactly; `None` where one of them is none.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return Some(left.cmp(&right));
    }
    // One of them has a fraction, and so less than 53 bits before it, or is beyond 64 bits: rounding the other one does not change their
    // order.
    float(left)?.partial_cmp(&float(right)?)
}

fn whole(value: &Value) -> Option<i128> {
    value.as_number().and_then(integer)
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        // How outputs write what JSON numbers cannot.
        Value::String(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::template::Template;
    use crate::problem::Problems;
    use crate::validate::tests::{catalog, id, plan};
    use crate::validate::validate;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

    fn condition(value: &str, comparison: Comparison) -> Condition {
        let mut problems = Problems::default();
        let value = Template::parse(&json!(value), "", &mut problems);
        let operand = Template::parse(&Value::Null, "", &mut problems);
        assert!(problems.is_empty());
        Condition { value, comparison, operand }
    }

    fn is(comparison: Comparison, value: &Value, operand: &Value) -> bool {
        evaluate(&condition("{{steps.a}}", comparison), value, operand).is_ok()
    }

    #[test]
    fn values_are_the_same_as_json() {
        for (left, right, is_same) in [
            (json!(1), json!(1.0), true),
            (json!("1"), json!(1), false),
            (json!(u64::MAX), json!(u64::MAX - 1), false),
            (json!({"a": [1, null], "b": 2}), json!({"b": 2.0, "a": [1, null]}), true),
            (json!([1, 2]), json!([2, 1]), false),
            (json!(null), json!(false), false),
        ] {
            assert_eq!(is(Comparison::Is, &left, &right), is_same, "{left} {right}");
            assert_eq!(is(Comparison::IsNot, &left, &right), !is_same, "{left} {right}");
        }
    }

    #[test]
    fn numbers_are_compared_exactly() {
        for (left, right) in [
            (json!(4), json!(5)),
            (json!(u64::MAX - 1), json!(u64::MAX)),
            (json!(9_007_199_254_740_992_u64), json!(9_007_199_254_740_993_u64)),
            (json!(-0.5), json!(0)),
            (json!(u64::MAX), json!(1e300)),
            (json!(5), json!("Infinity")),
        ] {
            assert!(is(Comparison::LessThan, &left, &right) && is(Comparison::AtMost, &left, &right), "{left} {right}");
            assert!(is(Comparison::MoreThan, &right, &left) && is(Comparison::AtLeast, &right, &left));
            assert!(!is(Comparison::AtLeast, &left, &right) && !is(Comparison::MoreThan, &left, &right));
        }
        assert!(is(Comparison::AtMost, &json!(2), &json!(2.0)) && is(Comparison::AtLeast, &json!(2), &json!(2.0)));
        for nothing in [json!(null), json!("NaN"), json!("7"), json!([7])] {
            assert!(!is(Comparison::LessThan, &nothing, &json!(8)) && !is(Comparison::AtLeast, &nothing, &json!(0)));
        }
    }

    #[test]
    fn a_reason_names_what_is_and_what_is_asked() {
        let reason = |value: &str, left: Value, right: Value| {
            evaluate(&condition(value, Comparison::MoreThan), &left, &right).unwrap_err()
        };
        assert_eq!(
            reason("{{steps.count.total}}", json!(3), json!(5)),
            "`steps.count.total` is 3, and `more_than` 5 is asked"
        );
        assert_eq!(
            reason("n {{inputs.n}}", json!("n 3"), json!(5)),
            "the value is \"n 3\", and `more_than` 5 is asked"
        );
        let long = reason("{{steps.a}}", json!("x".repeat(1000)), json!(1));
        assert!(long.chars().count() < 150, "{long}");
    }

    #[test]
    fn a_step_runs_where_its_conditions_hold_and_its_references_ran() {
        let document = json!({
            "steps": [
                {"id": "read", "tool": "csv.read", "input": {"path": "x"}},
                {"id": "sum", "tool": "csv.sum", "input": {"text": "{{steps.read}}"},
                    "when": [{"value": "{{steps.read}}", "is_not": ""}, {"value": "{{inputs.n}}", "more_than": 5}]},
                {"id": "uses", "tool": "csv.read", "input": {"path": "{{steps.sum.total}}.csv"}},
                {"id": "after", "tool": "csv.read", "input": {"path": "x"}, "depends_on": ["sum"]}],
            "inputs": {"n": 3}, "output": {"total": "{{steps.sum.total}}", "text": "t {{steps.uses}}", "read": "{{steps.read}}"}});
        let valid = validate(plan(&document), &catalog()).unwrap();
        let turn =
            |step: &str, outputs: &Outputs| turn(&valid, &valid.step_by_id(&id(step)).unwrap(), outputs).unwrap();
        let mut outputs = Outputs::new();
        assert_eq!(turn("read", &outputs), Turn::Run);
        outputs.insert(id("read"), Arc::new(json!("text")));
        let reason = "`inputs.n` is 3, and `more_than` 5 is asked".to_owned();
        assert_eq!(turn("sum", &outputs), Turn::Skip { reason });
        let reason = "it refers to `steps.sum`, which was skipped".to_owned();
        assert_eq!(turn("uses", &outputs), Turn::Skip { reason });
        assert_eq!(turn("after", &outputs), Turn::Run);
        // What was skipped is null in what the run gives back.
        outputs.insert(id("after"), Arc::new(json!("x")));
        assert_eq!(valid.resolve_output(&outputs).unwrap(), json!({"total": null, "text": "t null", "read": "text"}));
        outputs.insert(id("read"), Arc::new(json!("")));
        let reason = "`steps.read` is \"\", and `is_not` \"\" is asked".to_owned();
        assert_eq!(turn("sum", &outputs), Turn::Skip { reason });
    }

    proptest! {
        #[test]
        fn each_comparison_has_its_opposite(left in -5.0..5.0_f64, right in any::<i8>()) {
            for (left, right) in [(json!(left), json!(right)), (json!(right), json!(left)), (json!(right), json!(right))] {
                let holds = |comparison| holds(comparison, &left, &right);
                prop_assert_ne!(holds(Comparison::LessThan), holds(Comparison::AtLeast));
                prop_assert_ne!(holds(Comparison::MoreThan), holds(Comparison::AtMost));
                prop_assert_ne!(holds(Comparison::Is), holds(Comparison::IsNot));
                let is_equal = holds(Comparison::AtLeast) && holds(Comparison::AtMost);
                prop_assert_eq!(holds(Comparison::Is), is_equal);
            }
        }
    }
}
