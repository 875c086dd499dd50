//! Why a step may not run: the kinds of reasons, and one denial in words.

use crate::id::{StepId, ToolName};
use crate::policy::needs::{self, Missing};
use crate::policy::{ApprovalAnswer, ApprovalRequest, Exhausted, NetworkRule};

/// The kinds of reasons for which a step does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No grant names the tool.
    NotGranted,
    /// The grant that names the tool gives less than it needs.
    NeedsMissing,
    /// A rule forbids the call.
    Forbidden,
    /// No rule permits the call.
    NotPermitted,
    /// A rule cannot be evaluated for the call.
    RuleError,
    /// It needs approval, and nobody can be asked.
    ApprovalRequired,
    /// It needed approval, and the answer was no.
    Rejected,
    /// Nothing is left of a budget of the run, or it asks for more than the policy lets any step have.
    Budget,
    /// The run shall be rolled back where it fails, and nothing would undo what the step may send.
    Irreversible,
    /// The operator's policy, which is above the one that decides, does not give what that one gives.
    AboveCeiling,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NotGranted,
        Self::NeedsMissing,
        Self::Forbidden,
        Self::NotPermitted,
        Self::RuleError,
        Self::ApprovalRequired,
        Self::Rejected,
        Self::Budget,
        Self::Irreversible,
        Self::AboveCeiling,
    ];

    /// Its name in traces and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotGranted => "not-granted",
            Self::NeedsMissing => "needs-missing",
            Self::Forbidden => "forbidden",
            Self::NotPermitted => "not-permitted",
            Self::RuleError => "rule-error",
            Self::ApprovalRequired => "approval-required",
            Self::Rejected => "rejected",
            Self::Budget => "budget",
            Self::Irreversible => "irreversible",
            Self::AboveCeiling => "above-ceiling",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.name() == name)
    }
}

/// Why a call may not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: Why,
    /// The ids of the rules that decided.
    pub(crate) rules: Vec<String>,
    pub(crate) reason: String,
    pub(crate) hint: String,
    /// Why approval is needed, where that is what is missing.
    pub(crate) needs_approval: Vec<String>,
    /// What the grant does not give, where that is why.
    pub(crate) missing: Box<[Missing]>,
}

impl Refusal {
    /// A refusal that is about neither approval nor something that is missing.
    pub(crate) fn new(why: Why, rules: Vec<String>, reason: String, hint: String) -> Self {
        Self { why, rules, reason, hint, needs_approval: Vec::new(), missing: Box::default() }
    }

    /// No grant names the tool.
    pub(crate) fn not_granted(reason: String, hint: String) -> Self {
        Self::new(Why::NotGranted, Vec::new(), reason, hint)
    }

    /// The grant gives less than the tool needs.
    pub(crate) fn incomplete(grant_index: usize, tool: &ToolName, missing: Vec<Missing>) -> Self {
        let (reason, hint) = (needs::reason(grant_index, tool, &missing), needs::hint(grant_index, &missing));
        Self { missing: missing.into(), ..Self::new(Why::NeedsMissing, Vec::new(), reason, hint) }
    }

    /// More attempts than the policy lets a step have.
    pub(crate) fn too_many_attempts(attempts: u32, ceiling: u32) -> Self {
        let reason = format!("the step asks for {attempts} attempts, and the policy lets a step have {ceiling}");
        let hint = format!(
            "if it shall be tried again, write `attempts = {attempts}` into `[run]` of the policy; otherwise take `retry` out of the step"
        );
        Self::new(Why::Budget, Vec::new(), reason, hint)
    }

    /// What a rollback would leave behind.
    pub(crate) fn irreversible(grant_index: usize, rule: &NetworkRule) -> Self {
        let reason = format!(
            "a failed run shall be rolled back, and nothing undoes what grant {grant_index} lets the step send (`{rule}`)"
        );
        let hint = "give the step a `compensate`, or `\"irreversible\": true` if what it sends may stay".to_owned();
        Self::new(Why::Irreversible, Vec::new(), reason, hint)
    }

    /// Rules that cannot be evaluated.
    pub(crate) fn broken(rules: Vec<String>, reason: String) -> Self {
        let hint =
            "a call is denied where a rule about it cannot be evaluated: mend the rule, or narrow its scope".to_owned();
        Self::new(Why::RuleError, rules, reason, hint)
    }

    /// The denial of a step.
    pub(crate) fn of_step(self, step: &StepId, tool: &ToolName) -> Box<Denial> {
        let Self { why, rules, reason, hint, needs_approval, missing } = self;
        let (step, tool) = (step.clone(), tool.clone());
        Box::new(Denial { step, tool, why, rules, reason, hint, needs_approval, missing: missing.into_vec() })
    }
}

/// A step that is not allowed, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// The kind of reason.
    pub why: Why,
    /// The ids of the rules that decided; empty where none did.
    pub rules: Vec<String>,
    /// Why approval is needed, where that is what is missing.
    pub needs_approval: Vec<String>,
    /// Why: lower case, no final period.
    pub reason: String,
    /// What to add to the policy.
    pub hint: String,
    /// What the grant that names the tool does not give; empty where no grant names it.
    pub missing: Vec<Missing>,
}

impl Denial {
    /// The denial of a step whose approval was refused.
    pub(crate) fn rejected(request: &ApprovalRequest<'_>, answer: &ApprovalAnswer) -> Self {
        let reason = match answer.reason.as_str() {
            "" => format!("rejected by {}", answer.by),
            reason => format!("rejected by {}: {reason}", answer.by),
        };
        Self {
            step: request.step.clone(),
            tool: request.tool.clone(),
            why: Why::Rejected,
            rules: request.rules.to_vec(),
            needs_approval: request.needed_by.to_vec(),
            reason,
            hint: "the step and those after it did not run; run the plan again to be asked again".to_owned(),
            missing: Vec::new(),
        }
    }
}

impl Denial {
    /// The denial of a step for which nothing is left of the run's budget.
    pub(crate) fn over_budget(step: &StepId, tool: &ToolName, exhausted: Exhausted) -> Self {
        let (reason, hint) = (exhausted.reason(), exhausted.hint());
        Self {
            step: step.clone(),
            tool: tool.clone(),
            why: Why::Budget,
            rules: Vec::new(),
            needs_approval: Vec::new(),
            reason,
            hint,
            missing: Vec::new(),
        }
    }
}
