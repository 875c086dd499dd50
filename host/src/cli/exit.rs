//! How the program ends: the only place that knows exit codes. `--help` prints [`table`], the documentation repeats it, a test compares.

use crate::limits::LimitKind;
use crate::outcome::{Failure, Outcome, RunOutcome};
use crate::policy::Why;
use crate::problem::Problem;
use crate::report::Report;
use crate::report::human::Append as _;
use crate::skills::is_load_problem;
use crate::skills::origins::ANOTHER_SKILL;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// It did what it was asked for.
    Success,
    /// What was compared is not equal, or something ended otherwise than expected.
    Unexpected,
    /// The command line, a document or a plan is wrong.
    Request,
    /// A skill cannot be loaded.
    SkillLoad,
    /// A step used up its fuel or its time.
    Timeout,
    /// A plan or call names a tool that does not exist.
    ToolNotFound,
    /// An input does not fit a tool.
    Input,
    /// A skill failed or trapped, or exceeded a limit other than fuel and time.
    SkillFailed,
    /// A replay diverged, or a trace is not what was recorded.
    Diverged,
    /// The policy does not allow it.
    Denied,
    /// It needed approval, and the answer was no.
    Rejected,
    /// It was cancelled by another program (SIGTERM), or its terminal went away (SIGHUP).
    Cancelled,
    /// The state folder, the disk, or the host itself.
    Internal,
    /// A run was rolled back, and not everything could be taken back.
    RollbackIncomplete,
    /// The run waits for somebody's approval.
    Paused,
    /// It was cancelled from the keyboard (Ctrl-C).
    Interrupted,
}

impl Exit {
    /// All of them, by code.
    pub const ALL: [Self; 16] = [
        Self::Success,
        Self::Unexpected,
        Self::Request,
        Self::SkillLoad,
        Self::Timeout,
        Self::ToolNotFound,
        Self::Input,
        Self::SkillFailed,
        Self::Diverged,
        Self::Denied,
        Self::Rejected,
        Self::Cancelled,
        Self::Internal,
        Self::RollbackIncomplete,
        Self::Paused,
        Self::Interrupted,
    ];

    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Unexpected => 1,
            Self::Request => 2,
            Self::SkillLoad => 3,
            Self::Timeout => 4,
            Self::ToolNotFound => 5,
            Self::Input => 6,
            Self::SkillFailed => 7,
            Self::Diverged => 9,
            Self::Denied => 11,
            Self::Rejected => 14,
            Self::Cancelled => 16,
            Self::Internal => 20,
            Self::RollbackIncomplete => 21,
            Self::Paused => 30,
            Self::Interrupted => 130,
        }
    }

    /// The one of that code; [`Self::Internal`] where there is none.
    #[must_use]
    pub fn of_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Internal)
    }

    /// What it means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "ok",
            Self::Unexpected => "not as expected: traces or bundles differ, a demo case went otherwise",
            Self::Request => "bad request, document or plan",
            Self::SkillLoad => "a skill or bundle cannot be loaded",
            Self::Timeout => "out of fuel or past the deadline",
            Self::ToolNotFound => "no such tool",
            Self::Input => "an input does not fit the tool",
            Self::SkillFailed => "a skill failed, trapped or exceeded another limit",
            Self::Diverged => "a replay diverged, or a trace was changed",
            Self::Denied => "denied by the policy",
            Self::Rejected => "approval was asked for and refused",
            Self::Cancelled => "cancelled (SIGTERM, SIGHUP)",
            Self::Internal => "storage or internal error",
            Self::RollbackIncomplete => "a rollback left something to do by hand",
            Self::Paused => "paused: waits for `host approve` or `host reject`",
            Self::Interrupted => "interrupted (Ctrl-C)",
        }
    }

    /// The error's `code` in the JSON envelope.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "OK",
            Self::Unexpected => "UNEXPECTED",
            Self::Request => "REQUEST_INVALID",
            Self::SkillLoad => "SKILL_INVALID",
            Self::Timeout => "TIMEOUT",
            Self::ToolNotFound => "NOT_FOUND",
            Self::Input => "VALIDATION_ERROR",
            Self::SkillFailed => "USER_CODE_ERROR",
            Self::Diverged => "REPLAY_DIVERGED",
            Self::Denied => "SECURITY_VIOLATION",
            Self::Rejected => "APPROVAL_REJECTED",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL",
            Self::RollbackIncomplete => "ROLLBACK_INCOMPLETE",
            Self::Paused => "APPROVAL_REQUIRED",
            Self::Interrupted => "INTERRUPTED",
        }
    }

    /// The `http_status` of the JSON envelope.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::Request | Self::SkillLoad | Self::Input => 400,
            Self::Denied | Self::Rejected => 403,
            Self::ToolNotFound => 404,
            Self::Unexpected | Self::Diverged => 409,
            Self::Cancelled | Self::Interrupted => 499,
            Self::Paused => 202,
            Self::SkillFailed | Self::Internal | Self::RollbackIncomplete => 500,
            Self::Timeout => 504,
        }
    }

    /// For a plan that is refused: [`Self::Request`], unless all that is wrong with it is of one narrower kind.
    #[must_use]
    pub fn of_problems(problems: &[Problem]) -> Self {
        let mut kinds = problems.iter().filter(|problem| problem.code != "more-problems").map(Self::of_problem);
        let Some(first) = kinds.next() else { return Self::Request };
        if kinds.all(|kind| kind == first) { first } else { Self::Request }
    }

    fn of_problem(problem: &Problem) -> Self {
        const SKILL: [&str; 2] = ["digest-mismatch", "unknown-skill"];
        let code = problem.code.as_str();
        let in_input = problem.pointer.strip_prefix("/steps/").and_then(|rest| rest.split_once('/'));
        let in_input = in_input.is_some_and(|(_, rest)| rest == "input" || rest.starts_with("input/"));
        match code {
            "unknown-tool" => Self::ToolNotFound,
            "bad-template" => Self::Request,
            ANOTHER_SKILL => Self::Denied,
            _ if is_load_problem(problem) || SKILL.contains(&code) => Self::SkillLoad,
            _ if in_input || code == "unknown-input" => Self::Input,
            _ => Self::Request,
        }
    }

    /// For the outcome of a step.
    #[must_use]
    pub const fn of_step(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Completed { .. } => Self::Success,
            Outcome::LimitExceeded {
                limit: LimitKind::Fuel | LimitKind::Deadline | LimitKind::RunDeadline, ..
            } => Self::Timeout,
            Outcome::Failed { .. }
            | Outcome::Trapped { .. }
            | Outcome::LimitExceeded { .. }
            | Outcome::Conflict { .. } => Self::SkillFailed,
            Outcome::Cancelled => Self::Cancelled,
        }
    }

    /// For what the host could not do.
    fn of_failure(failure: &Failure) -> Self {
        match failure.code.as_str() {
            _ if !failure.is_of_host => Self::SkillFailed,
            "too-long" => Self::SkillFailed,
            "directory" | "in-use" => Self::Request,
            "skill" => Self::SkillLoad,
            _ => Self::Internal,
        }
    }

    /// For a run.
    #[must_use]
    pub fn of_report(report: &Report) -> Self {
        match report.outcome {
            RunOutcome::Completed => Self::Success,
            RunOutcome::Refused => Self::of_problems(&report.problems),
            RunOutcome::Denied if report.denials.iter().any(|denial| denial.why == Why::Rejected) => Self::Rejected,
            RunOutcome::Denied => Self::Denied,
            RunOutcome::Cancelled => Self::Cancelled,
            RunOutcome::Paused => Self::Paused,
            RunOutcome::RollbackIncomplete => Self::RollbackIncomplete,
            RunOutcome::RolledBack if report.denials.iter().any(|denial| denial.why == Why::Rejected) => Self::Rejected,
            RunOutcome::RolledBack if !report.denials.is_empty() => Self::Denied,
            RunOutcome::RolledBack if report.was_cancelled() => Self::Cancelled,
            RunOutcome::RolledBack | RunOutcome::Failed if report.failure.is_some() => {
                report.failure.as_ref().map_or(Self::Internal, Self::of_failure)
            }
            RunOutcome::RolledBack | RunOutcome::Failed => {
                let outcome = report.failed_step().and_then(|step| step.outcome.as_ref());
                outcome.map_or(Self::SkillFailed, Self::of_step)
            }
        }
    }
}

/// The table of exit codes, as `--help` shows it.
#[must_use]
pub fn table() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for exit in Exit::ALL {
        text.add(format_args!("  {:>3}  {}\n", exit.code(), exit.meaning()));
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: &str, pointer: &str) -> Problem {
        Problem::new(code, pointer, "m")
    }

    #[test]
    fn the_table_is_what_the_documentation_says() {
        assert_eq!(
            table(),
            "Exit codes:
    0  ok
    1  not as expected: traces or bundles differ, a demo case went otherwise
    2  bad request, document or plan
    3  a skill or bundle cannot be loaded
    4  out of fuel or past the deadline
    5  no such tool
    6  an input does not fit the tool
    7  a skill failed, trapped or exceeded another limit
    9  a replay diverged, or a trace was changed
   11  denied by the policy
   14  approval was asked for and refused
   16  cancelled (SIGTERM, SIGHUP)
   20  storage or internal error
   21  a rollback left something to do by hand
   30  paused: waits for `host approve` or `host reject`
  130  interrupted (Ctrl-C)"
        );
    }

    #[test]
    fn codes_ascend_and_are_distinct() {
        assert!(Exit::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
    }

    #[test]
    fn a_refusal_has_the_code_that_all_its_problems_share() {
        let input = problem("missing-param", "/steps/0/input/text");
        let tool = problem("unknown-tool", "/steps/1/tool");
        let skill = problem("component-empty", "/skills/a");
        let more = problem("more-problems", "");
        for (problems, exit) in [
            (vec![], Exit::Request),
            (vec![input.clone(), more], Exit::Input),
            (vec![tool.clone(), tool.clone()], Exit::ToolNotFound),
            (vec![skill.clone()], Exit::SkillLoad),
            (vec![input, tool], Exit::Request),
            (vec![problem("cycle", "/steps/0")], Exit::Request),
            (vec![problem("unknown-input", "/inputs/x")], Exit::Input),
        ] {
            assert_eq!(Exit::of_problems(&problems), exit, "{problems:?}");
        }
    }

    #[test]
    fn fuel_and_deadline_are_told_from_other_limits() {
        for limit in LimitKind::ALL {
            let outcome = Outcome::LimitExceeded { limit, allowed: 1, backtrace: Vec::new() };
            let timeout = matches!(limit, LimitKind::Fuel | LimitKind::Deadline | LimitKind::RunDeadline);
            assert_eq!(Exit::of_step(&outcome), if timeout { Exit::Timeout } else { Exit::SkillFailed });
        }
    }
}
