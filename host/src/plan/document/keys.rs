//! The keys of a plan: what its reader knows and what its JSON Schema says, in one table.

use serde_json::Value;

use crate::form::{DIGEST, Form, Key, LIMITS, MEMBERS, NAME, Rule, Shape, TAGS, TEXT};
use crate::limits;
use crate::plan::SCHEMA;

/// The largest seed: every JSON reader keeps it exact.
const SEED_MAX: u64 = (1 << 53) - 1;

/// Semantic Versioning 2.0.0, as its own document gives it.
const VERSION: Form = Form::Text {
    max: usize::MAX,
    pattern: "^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\
              (-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?\
              (\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?$",
};
/// One line that is not blank.
const LINE: Form = Form::Text { max: limits::NAME_BYTES_MAX, pattern: "^(?=.*\\S)[^\\u0000-\\u001f\\u007f-\\u009f]*$" };
const TIME: Form =
    Form::Text { max: 25, pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$" };
/// Not blank.
const SAID: Form = Form::Text { max: usize::MAX, pattern: "\\S" };

/// The whole plan.
pub(super) const PLAN: Shape = Shape::of(&[
    Key::new("schema", Form::Word(&[SCHEMA]), "The version of the form.").required(),
    Key::new("name", LINE, "What the plan is called.").required(),
    Key::new("version", VERSION, "The plan's own version."),
    Key::new("description", TEXT, "What it is for."),
    Key::new("tags", TAGS, "Labels of its runs, such as `soc2`."),
    Key::new("inputs", MEMBERS, "The inputs with their values, for `{{inputs.…}}`."),
    Key::new(
        "skills",
        Form::Map { names: NAME_PATTERN, max: usize::MAX, of: &Form::Object(&SKILL) },
        "Where skills are that are not built in.",
    ),
    Key::new("seed", Form::Integer(0, SEED_MAX), "What seeded random bytes come from; 0 where it is absent."),
    Key::new("start_time", TIME, "Where virtual clocks start (RFC 3339, whole seconds)."),
    Key::new(
        "on_failure",
        Form::Word(&["stop", "rollback"]),
        "What becomes of a run in which a step does not complete.",
    ),
    Key::new(
        "parallel",
        Form::Integer(1, limits::PARALLEL_MAX as u64),
        "How many steps may run at one time; 1 where it is absent.",
    ),
    Key::new(
        "deadline_ms",
        Form::Integer(1, limits::RUN_DEADLINE_MS_MAX),
        "How long the run may take. Only tightens the policy's.",
    ),
    Key::new(
        "steps",
        Form::List { of: &Form::Object(&STEP), min: 1, max: limits::STEPS_MAX, unique: false },
        "The steps.",
    )
    .required(),
    Key::new(
        "compensate",
        Form::List { of: &Form::Object(&COMPENSATION), min: 0, max: limits::COMPENSATIONS_MAX, unique: false },
        "The calls that end a rollback, in this order.",
    ),
    Key::new("output", Form::Any, "What the run gives back: a value whose strings may hold references."),
]);

const NAME_PATTERN: &str = "^[A-Za-z][A-Za-z0-9_-]{0,127}$";

/// An entry of `skills`.
pub(super) const SKILL: Shape = Shape::of(&[
    Key::new("path", Form::Text { max: usize::MAX, pattern: "^[^\\u0000]+$" }, "The component's file.").required(),
    Key::new("sha256", DIGEST, "What its bytes have to be."),
]);

/// A step.
pub(super) const STEP: Shape = Shape {
    keys: &[
        Key::new("id", NAME, "The step's name in its plan.").required(),
        Key::new("tool", TEXT, "What it calls: `skill.function`."),
        Key::new("approve", Form::Object(&APPROVE), "What somebody is asked, instead of a call."),
        Key::new("description", TEXT, "What it is for."),
        Key::new("input", MEMBERS, "The tool's input: an object whose strings may hold references."),
        Key::new(
            "depends_on",
            Form::List { of: &TEXT, min: 0, max: usize::MAX, unique: true },
            "Steps that run before it, beside those that it refers to.",
        ),
        Key::new(
            "when",
            Form::AnyOf(&[
                Form::Object(&CONDITION),
                Form::List { of: &Form::Object(&CONDITION), min: 1, max: limits::CONDITIONS_MAX, unique: false },
            ]),
            "The step runs only where all of these hold.",
        ),
        Key::new("limits", Form::Object(&LIMITS), "Limits of its own. Only tighten the policy's."),
        Key::new("retry", Form::Object(&RETRY), "Whether it is tried again."),
        Key::new("expect", Form::Object(&EXPECT), "What its output has to be."),
        Key::new("compensate", Form::Object(&COMPENSATION), "What takes back what the step did outside of files."),
        Key::new("reuse", Form::Flag, "Its result may be taken from the record of an equal call."),
        Key::new("irreversible", Form::Flag, "A rollback may leave what it did as it is."),
    ],
    rules: &[Rule::One(&["tool", "approve"]), Rule::Without("approve", &CALL_KEYS)],
};

/// What says something about the call of a tool.
pub(super) const CALL_KEYS: [&str; 7] = ["input", "limits", "retry", "expect", "compensate", "reuse", "irreversible"];

/// A call that takes something back.
pub(super) const COMPENSATION: Shape = Shape::of(&[
    Key::new("tool", TEXT, "What it calls: `skill.function`.").required(),
    Key::new("input", MEMBERS, "The tool's input: an object whose strings may hold references."),
]);

/// A condition.
pub(super) const CONDITION: Shape = Shape {
    keys: &[
        Key::new("value", Form::Any, "What is looked at; it holds a reference.").required(),
        Key::new("is", Form::Any, "The same JSON value."),
        Key::new("is_not", Form::Any, "Another JSON value."),
        Key::new("less_than", Form::Any, "A larger number."),
        Key::new("at_most", Form::Any, "This number or a larger one."),
        Key::new("more_than", Form::Any, "A smaller number."),
        Key::new("at_least", Form::Any, "This number or a smaller one."),
    ],
    rules: &[Rule::One(&["is", "is_not", "less_than", "at_most", "more_than", "at_least"])],
};

/// `retry`.
pub(super) const RETRY: Shape = Shape::of(&[
    Key::new("attempts", Form::Integer(2, limits::ATTEMPTS_MAX as u64), "How often in all.").required(),
    Key::new(
        "backoff_ms",
        Form::Integer(0, limits::BACKOFF_MS_MAX),
        "The wait before the second attempt; twice as long before each further one.",
    ),
    Key::new(
        "on",
        Form::List { of: &Form::Word(&["failed", "trapped", "deadline"]), min: 1, max: usize::MAX, unique: true },
        "After which ends.",
    )
    .required(),
]);

/// `expect`.
pub(super) const EXPECT: Shape = Shape {
    keys: &[
        Key::new("kind", Form::Word(&["text", "json", "value"]), "What the output is.").required(),
        Key::new(
            "schema",
            Form::AnyOf(&[MEMBERS, Form::Flag]),
            "The JSON Schema of the output, which is no `text` then.",
        ),
        Key::new("mode", Form::Word(&["strict", "warn"]), "Whether another output ends the step or is only noted."),
    ],
    rules: &[Rule::WordWithout("kind", "text", "schema")],
};

/// `approve`.
pub(super) const APPROVE: Shape = Shape::of(&[
    Key::new("message", SAID, "What is to be decided; may hold references.").required(),
    Key::new("context", MEMBERS, "What is shown beside it; its strings may hold references."),
    Key::new("webhook_url", Form::Text { max: limits::URL_BYTES_MAX, pattern: "" }, "Whom to tell."),
    Key::new(
        "expires_in_s",
        Form::Integer(1, limits::APPROVAL_EXPIRES_S_MAX),
        "After so many seconds the answer is no.",
    ),
]);

/// The JSON Schema of a plan.
pub(in crate::plan) fn schema() -> Value {
    PLAN.document("A plan")
}

#[cfg(test)]
mod tests;
