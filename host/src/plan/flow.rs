//! What a plan says about the course of a run beside its steps' work: conditions, repetition, what an output has to be, what undoes a
//! step, who is asked. Plain data as it was read; nothing here decides.

use crate::plan::schema::OutputSchema;
use crate::plan::template::Template;

/// `on_failure`: what becomes of a run in which a step does not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// `stop` (default): no further step runs, what completed stays.
    #[default]
    Stop,
    /// `rollback`: what completed is undone, the last step first.
    Rollback,
}

impl OnFailure {
    /// As plans write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Rollback => "rollback",
        }
    }
}

/// What a step does: `tool` or `approve`.
#[derive(Debug, Clone)]
pub enum Action {
    /// It calls a tool.
    Tool(ToolCall),
    /// It waits for a decision.
    Approve(ApproveStep),
}

/// A tool and its input.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// `tool` as written; may name nothing.
    pub tool: String,
    /// `input`: an object whose strings may hold references.
    pub input: Template,
}

/// `approve`: what is asked, and for how long.
#[derive(Debug, Clone)]
pub struct ApproveStep {
    /// `message`: a string that may hold references.
    pub message: Template,
    /// `context`: an object whose strings may hold references.
    pub context: Option<Template>,
    /// `webhook_url`: whom to tell that a decision is awaited.
    pub webhook_url: Option<String>,
    /// `expires_in_s`: after so many seconds the answer is no.
    pub expires_in_s: Option<u64>,
}

/// One condition of `when`.
#[derive(Debug, Clone)]
pub struct Condition {
    /// `value`: what is looked at; it holds a reference.
    pub value: Template,
    /// How it is compared.
    pub comparison: Comparison,
    /// What it is compared with.
    pub operand: Template,
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `is`: the same JSON value; numbers by their amount.
    Is,
    /// `is_not`.
    IsNot,
    /// `less_than`: of numbers.
    LessThan,
    /// `at_most`: of numbers.
    AtMost,
    /// `more_than`: of numbers.
    MoreThan,
    /// `at_least`: of numbers.
    AtLeast,
}

impl Comparison {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Is, Self::IsNot, Self::LessThan, Self::AtMost, Self::MoreThan, Self::AtLeast];

    /// Its key in a condition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Is => "is",
            Self::IsNot => "is_not",
            Self::LessThan => "less_than",
            Self::AtMost => "at_most",
            Self::MoreThan => "more_than",
            Self::AtLeast => "at_least",
        }
    }

    /// Whether it compares numbers alone.
    #[must_use]
    pub const fn is_of_numbers(self) -> bool {
        !matches!(self, Self::Is | Self::IsNot)
    }
}

/// `retry`: how often a step may begin, and after what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// `attempts`: 2 to [`crate::limits::ATTEMPTS_MAX`], the first included. The policy's `[run] attempts` is the ceiling.
    pub attempts: u32,
    /// `backoff_ms`: the wait before the second attempt, doubled before each further one.
    pub backoff_ms: u64,
    /// `on`: the ends of an attempt after which there is another; not empty.
    pub on: Vec<RetryOn>,
}

/// An end of an attempt after which there may be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// `failed`: the tool gave an error.
    Failed,
    /// `trapped`: the guest trapped.
    Trapped,
    /// `deadline`: the step took too long.
    Deadline,
}

impl RetryOn {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Failed, Self::Trapped, Self::Deadline];

    /// As plans write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Trapped => "trapped",
            Self::Deadline => "deadline",
        }
    }
}

/// `expect`: what a step's output has to be, beyond its tool's type.
#[derive(Debug, Clone)]
pub struct Expect {
    /// `kind`.
    pub kind: ExpectKind,
    /// `schema`, where given; not with [`ExpectKind::Text`].
    pub schema: Option<OutputSchema>,
    /// `mode`.
    pub mode: ExpectMode,
}

/// What kind of output is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectKind {
    /// `text`: a string.
    Text,
    /// `json`: anything but a string, or a string that is one JSON text and nothing else.
    Json,
    /// `value`: anything, a string being a string.
    Value,
}

impl ExpectKind {
    /// As plans write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Value => "value",
        }
    }
}

/// What becomes of a step whose output is not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpectMode {
    /// `strict` (default): the step failed.
    #[default]
    Strict,
    /// `warn`: it is recorded, and the run goes on.
    Warn,
}

impl ExpectMode {
    /// As plans write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Warn => "warn",
        }
    }
}
