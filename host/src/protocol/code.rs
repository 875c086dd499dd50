//! The table of errors: what each detail means as one of the six codes, as HTTP status and as exit code. The only place that knows it.

use crate::report::human::Append as _;

/// The six codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The request, or what it names, is wrong.
    ValidationError,
    /// There is no such thing.
    NotFound,
    /// It is not allowed.
    SecurityViolation,
    /// It took too long, or was cancelled.
    Timeout,
    /// The skill failed.
    UserCodeError,
    /// The host failed.
    Internal,
}

impl Code {
    /// As answers write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ValidationError => "VALIDATION_ERROR",
            Self::NotFound => "NOT_FOUND",
            Self::SecurityViolation => "SECURITY_VIOLATION",
            Self::Timeout => "TIMEOUT",
            Self::UserCodeError => "USER_CODE_ERROR",
            Self::Internal => "INTERNAL",
        }
    }
}

/// What an error means outside of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// `error.details.code`.
    pub name: &'static str,
    /// `error.code`.
    pub code: Code,
    /// `http_status`.
    pub http_status: u16,
    /// The exit code of `host exec`.
    pub exit: u8,
    /// `error.details.legacy_code`, where older hosts had one.
    pub legacy: Option<&'static str>,
    /// What to do where nothing better is known.
    pub hint: &'static str,
}

macro_rules! details {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $code:ident $http:literal, exit $exit:literal, $legacy:expr, $hint:literal;)*) => {
        /// What went wrong, exactly: `error.details.code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Detail { $($(#[$doc])* $name,)* }

        impl Detail {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> Meaning {
                match self {
                    $(Self::$name => Meaning {
                        name: $text, code: Code::$code, http_status: $http, exit: $exit, legacy: $legacy, hint: $hint,
                    },)*
                }
            }
        }
    };
}

const BAD_REQUEST: Option<&str> = Some("BAD_REQUEST");
const MISSING_DEPENDENCY: Option<&str> = Some("MISSING_DEPENDENCY");
const HANDLER: Option<&str> = Some("HANDLER_NOT_FOUND");
const SECURITY: Option<&str> = Some("SECURITY_VIOLATION");
const LOAD: Option<&str> = Some("SNAPSHOT_LOAD_ERROR");

details! {
    /// The request cannot be read, or says what no request can say.
    RequestInvalid = "REQUEST_INVALID", ValidationError 400, exit 2, BAD_REQUEST,
        "see `host schema request` for the form of a request";
    /// A request of this id is under way or was answered.
    DuplicateRequest = "DUPLICATE_REQUEST", ValidationError 409, exit 2, None,
        "give every request an id of its own, or none";
    /// The idempotency key was used for another request.
    KeyReused = "IDEMPOTENCY_KEY_REUSED", ValidationError 409, exit 2, None, "give what is another request another key";
    /// A request with the same idempotency key is being answered.
    RequestUnderWay = "REQUEST_UNDER_WAY", ValidationError 409, exit 2, None, "send it again when that one has its answer";
    /// The policy cannot be put into force.
    PolicyInvalid = "POLICY_INVALID", ValidationError 400, exit 2, None, "`host policy check` shows all mistakes of a policy";
    /// The plan of a flow is not valid.
    PlanInvalid = "PLAN_INVALID", ValidationError 400, exit 2, BAD_REQUEST, "`host check` shows all mistakes of a plan";
    /// There is no bundle where one was named.
    BundleNotFound = "BUNDLE_NOT_FOUND", NotFound 404, exit 3, Some("ENTRYPOINT_NOT_FOUND"), "name the folder that has `bundle.toml`";
    /// A bundle cannot be used.
    BundleInvalid = "BUNDLE_INVALID", ValidationError 400, exit 3, LOAD, "`host bundle verify` shows all that is wrong with it";
    /// A bundle is not what it was when it was opened.
    BundleChanged = "BUNDLE_CHANGED", ValidationError 409, exit 3, LOAD, "open it again: a bundle is not changed while it is used";
    /// A skill cannot be loaded.
    SkillInvalid = "SKILL_INVALID", ValidationError 400, exit 3, MISSING_DEPENDENCY, "`host inspect` shows what is wrong with it";
    /// A skill imports what the host does not provide.
    ImportNotProvided = "IMPORT_NOT_PROVIDED", SecurityViolation 403, exit 3, SECURITY,
        "build the skill without it: `host inspect` lists its imports";
    /// The skill or the tool used up its time.
    Deadline = "DEADLINE", Timeout 504, exit 4, None, "if it shall have more time, raise `meta.timeout_ms`, and `deadline_ms` of the policy";
    /// It used up its fuel.
    FuelExhausted = "FUEL_EXHAUSTED", Timeout 504, exit 4, None, "if it shall do more, raise `fuel` in the policy's limits";
    /// There is no such skill.
    SkillNotFound = "SKILL_NOT_FOUND", NotFound 404, exit 5, HANDLER, "the action `describe` lists what can be invoked";
    /// There is no such tool or other export.
    HandlerNotFound = "HANDLER_NOT_FOUND", NotFound 404, exit 5, HANDLER, "the action `describe` lists what can be invoked";
    /// The input does not fit the tool.
    ParamInvalid = "PARAM_INVALID", ValidationError 400, exit 6, None, "the action `describe` shows the schema of each input";
    /// An agent, a flow or a router gave something else than an object.
    OutputInvalid = "OUTPUT_INVALID", ValidationError 400, exit 6, None, "agents, flows and routers give an object";
    /// The skill ended abnormally.
    Trap = "TRAP", UserCodeError 500, exit 7, None, "this is a fault of the skill";
    /// The skill says that it failed.
    SkillError = "SKILL_ERROR", UserCodeError 500, exit 7, None, "what the skill says of it is in `error.details.error`";
    /// It took more memory than it may have.
    MemoryLimit = "RESOURCE_LIMIT_MEMORY", UserCodeError 500, exit 7, None, "if it shall have more, raise `memory_bytes` in the policy's limits";
    /// It gave more than it may give.
    OutputLimit = "RESOURCE_LIMIT_OUTPUT", UserCodeError 500, exit 7, None, "if it shall give more, raise `output_bytes` or `stdio_bytes` in the policy's limits";
    /// It called the host more often, or with more, than it may.
    EventsLimit = "RESOURCE_LIMIT_EVENTS", UserCodeError 500, exit 7, None, "if it shall do more, raise `host_calls` or `trace_bytes` in the policy's limits";
    /// It exceeded a bound that is fixed.
    OtherLimit = "RESOURCE_LIMIT_OTHER", UserCodeError 500, exit 7, None, "this bound is fixed";
    /// It gave what its export or its plan says that it does not give.
    OutputDrift = "OUTPUT_DRIFT", UserCodeError 500, exit 7, None, "`output_schema` of the export, or `expect` of the plan, says what it has to be";
    /// The policy does not allow it.
    PolicyDenied = "POLICY_DENIED", SecurityViolation 403, exit 11, SECURITY, "`host policy explain` shows what the policy says";
    /// The request asks for what no skill can have, or forbids what the tool is granted.
    CapabilityDenied = "CAPABILITY_DENIED", SecurityViolation 403, exit 11, SECURITY, "say what the tool needs in `meta.capabilities`, or leave it out";
    /// An MCP server does not offer the tool.
    ToolNotOffered = "TOOL_NOT_OFFERED", SecurityViolation 403, exit 11, SECURITY, "the action `describe` lists the tools of each server";
    /// A budget of the policy is used up.
    BudgetExceeded = "BUDGET_EXCEEDED", SecurityViolation 429, exit 11, None, "if there shall be more, raise it in `[run]` of the policy";
    /// Somebody was asked, and said no.
    ApprovalRejected = "APPROVAL_REJECTED", SecurityViolation 403, exit 14, SECURITY, "ask whoever rejected it";
    /// It was cancelled.
    Cancelled = "CANCELLED", Timeout 499, exit 16, None, "send it again";
    /// The state folder cannot be read or written.
    StateError = "STATE_ERROR", Internal 500, exit 20, None, "look at the state folder: its disk may be full";
    /// The host failed.
    Internal = "INTERNAL", Internal 500, exit 20, LOAD, "send it again; where it fails again, this is a fault of the host";
    /// A request with the same idempotency key was begun, and what became of it is not known here.
    AnswerLost = "ANSWER_LOST", Internal 500, exit 20, None, "look what became of it; give another key to have it done again";
    /// A run failed and was taken back, and not all of it could be.
    RollbackIncomplete = "ROLLBACK_INCOMPLETE", Internal 500, exit 21, None,
        "do by hand what `error.details.rollback.left` lists";
    /// Somebody has to say yes first.
    ApprovalRequired = "APPROVAL_REQUIRED", SecurityViolation 202, exit 30, None, "`host approve RUN` lets it run and goes on";
}

impl Detail {
    /// `error.details.code`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.meaning().name
    }
}

/// The table as Markdown, as the documentation has it.
#[must_use]
pub fn table() -> String {
    let mut text =
        "| `error.details.code` | `error.code` | `http_status` | exit | legacy |\n|---|---|---|---|---|\n".to_owned();
    for detail in Detail::ALL {
        let Meaning { name, code, http_status, exit, legacy, .. } = detail.meaning();
        let legacy = legacy.unwrap_or_default();
        text.add(format_args!("| {name} | {} | {http_status} | {exit} | {legacy} |\n", code.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_every_detail_says_what_to_do() {
        let names: std::collections::BTreeSet<&str> = Detail::ALL.iter().map(|detail| detail.name()).collect();
        assert_eq!(names.len(), Detail::ALL.len());
        assert!(Detail::ALL.iter().all(|detail| !detail.meaning().hint.is_empty()));
    }

    #[test]
    fn the_documentation_has_the_table() {
        assert!(include_str!("../../../docs/protocol.md").contains(&table()), "{}", table());
    }
}
