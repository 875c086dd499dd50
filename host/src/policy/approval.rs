//! When a person has to approve a call, and the seam through which one is asked.
//!
//! An explicit `required` anywhere wins; an explicit `never` lifts what the risk alone would ask for; nothing approves by default.

use serde_json::Value;

use crate::diff::Changes;
use crate::id::{Digest, StepId, ToolName};
use crate::outcome::Outcome;
use crate::policy::network::NetworkRule;
use crate::policy::principal::Principal;
use crate::policy::{Approval, Grant};
use crate::skill::Risk;
use crate::{harmless, limits};

/// `[approval]`: who is told that a run waits for a person, and for how long it waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApprovalSettings {
    /// `webhook`: the URL that is told where the plan's step names none.
    pub webhook: Option<String>,
    /// `expires_in_s`: how long a request is open where the plan's step does not say less.
    pub expires_in_s: Option<u64>,
    /// `network`: which URLs of plans may be told. The first rule that allows one applies alone.
    pub network: Vec<NetworkRule>,
}

/// What an approver is asked.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalRequest<'a> {
    /// The step.
    pub step: &'a StepId,
    /// Its tool.
    pub tool: &'a ToolName,
    /// The input that the tool would get.
    pub input: &'a Value,
    /// In whose name it would run.
    pub principal: &'a Principal,
    /// The index of the grant that applies.
    pub grant_index: usize,
    /// The grant.
    pub grant: &'a Grant,
    /// The risk that the skill declares for the tool; `None` counts as high.
    pub risk: Option<Risk>,
    /// Why approval is needed: `grant 0`, ``rule `id` ``, `risk high`.
    pub needed_by: &'a [String],
    /// The ids of the rules that permit the call; empty where the policy has no rules.
    pub rules: &'a [String],
    /// What those rules say in their `@reason`.
    pub reasons: &'a [String],
    /// What the step would do, for whoever wants to know.
    pub rehearsal: Rehearsal<'a>,
    /// All that the answer depends on, as `docs/policy-format.md` has it: what is above, the component and where it is from, the folders,
    /// rules of the network and names of secrets of the grant, the policy and the place of the run. `null` before anybody is asked.
    pub document: &'a Value,
    /// The digest of the document's canonical bytes.
    pub subject: Digest,
}

/// Finds out what a step would do. Nothing is copied and nothing runs before [`Rehearsal::preview`] is called.
#[derive(Clone, Copy, Default)]
pub struct Rehearsal<'a>(Option<&'a dyn Fn() -> Preview>);

impl std::fmt::Debug for Rehearsal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "a rehearsal" } else { "no rehearsal" })
    }
}

impl<'a> Rehearsal<'a> {
    /// One that can be had.
    pub fn of(rehearse: &'a dyn Fn() -> Preview) -> Self {
        Self(Some(rehearse))
    }

    /// Runs the step on throw-away copies of the folders that it may write, without network. `None` where it may write none. Takes as
    /// long as the step does, and up to [`limits::PREVIEW_MS_MAX`].
    #[must_use]
    pub fn preview(&self) -> Option<Preview> {
        self.0.map(|rehearse| rehearse())
    }
}

/// What one step would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// How it would end, or why that is not known.
    pub ended: Result<Outcome, String>,
    /// What would change in the folders that it may write.
    pub changes: Changes,
}

/// What an approver says. It is recorded in the trace, cut to [`limits::APPROVAL_TEXT_BYTES_MAX`] bytes a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalAnswer {
    /// Whether the step may run.
    pub approved: bool,
    /// Who says so.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

impl ApprovalAnswer {
    /// The step may run.
    pub fn approve(by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { approved: true, by: by.into(), reason: reason.into() }
    }

    /// It may not.
    pub fn reject(by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { approved: false, by: by.into(), reason: reason.into() }
    }

    /// The answer, which is a no where nobody says that it is theirs.
    pub(crate) fn named(self) -> Self {
        if is_name(&self.by) { self } else { Self::reject("nobody", "whoever answered gave no name") }
    }

    /// The answer with texts of a bounded length: it goes into the trace.
    pub(crate) fn bounded(mut self) -> Self {
        for text in [&mut self.by, &mut self.reason] {
            let mut end = text.len().min(limits::APPROVAL_TEXT_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        self
    }
}

/// Whether a text can be the name of who answers: something that can be read, on one line.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.chars().any(|c| c.is_alphanumeric()) && !text.chars().any(harmless::is_hidden)
}

/// Asked once for each step that needs approval, right before it would run. The run waits for the answer.
pub trait Approve: Send + Sync {
    /// Whether the step may run.
    fn approve(&self, request: &ApprovalRequest<'_>) -> ApprovalAnswer;
}

impl<F: Fn(&ApprovalRequest<'_>) -> ApprovalAnswer + Send + Sync> Approve for F {
    fn approve(&self, request: &ApprovalRequest<'_>) -> ApprovalAnswer {
        self(request)
    }
}

/// Why a call needs approval; empty where it needs none. `rules` are the rules that permit it, by id, with their `@approval`; `None`
/// where the policy has no rules. Without rules only a risk that the skill declares counts: a policy of grants alone names what it trusts,
/// and most components come without a manifest. Rules are for those who do not trust, and there silence counts as high.
pub(crate) fn needed_by(
    grant_index: usize,
    grant: &Grant,
    rules: Option<&[(&str, Option<Approval>)]>,
    risk: Option<Risk>,
) -> Vec<String> {
    let mut needed = Vec::new();
    if grant.approval == Some(Approval::Required) {
        needed.push(format!("grant {grant_index}"));
    }
    let permitting = rules.unwrap_or_default();
    for (id, _) in permitting.iter().filter(|(_, approval)| *approval == Some(Approval::Required)) {
        needed.push(format!("rule `{id}`"));
    }
    let is_lifted = grant.approval == Some(Approval::Never)
        || permitting.iter().any(|(_, approval)| *approval == Some(Approval::Never));
    if needed.is_empty() && !is_lifted {
        match risk {
            Some(Risk::High | Risk::Critical) => needed.push(format!("risk {}", risk.map_or("", Risk::name))),
            None if rules.is_some() => needed.push("risk high, because the skill declares none".to_owned()),
            _ => {}
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn an_explicit_required_wins_and_an_explicit_never_lifts_the_risk() {
        let text = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";
        let plain = Policy::parse(text).unwrap().grants.remove(0);
        let (required, never) = (Some(Approval::Required), Some(Approval::Never));
        let high = Some(Risk::High);
        // grant, rules, risk, what is needed
        type Case<'a> = (Option<Approval>, Option<&'a [(&'a str, Option<Approval>)]>, Option<Risk>, &'a [&'a str]);
        let table: &[Case<'_>] = &[
            (None, None, None, &[]),
            (None, None, Some(Risk::Low), &[]),
            (None, None, Some(Risk::Medium), &[]),
            (None, None, high, &["risk high"]),
            (None, None, Some(Risk::Critical), &["risk critical"]),
            (never, None, high, &[]),
            (required, None, Some(Risk::Low), &["grant 3"]),
            (required, None, high, &["grant 3"]),
            (None, Some(&[("a", None)]), None, &["risk high, because the skill declares none"]),
            (None, Some(&[("a", None)]), Some(Risk::Medium), &[]),
            (None, Some(&[("a", never)]), None, &[]),
            (never, Some(&[("a", None)]), None, &[]),
            (None, Some(&[("a", required)]), Some(Risk::Low), &["rule `a`"]),
            (never, Some(&[("a", required)]), high, &["rule `a`"]),
            (None, Some(&[("a", never), ("b", required)]), high, &["rule `b`"]),
            (required, Some(&[("a", never)]), high, &["grant 3"]),
            (required, Some(&[("a", required)]), high, &["grant 3", "rule `a`"]),
        ];
        for (approval, rules, risk, expected) in table {
            let grant = Grant { approval: *approval, ..Grant::clone(&plain) };
            assert_eq!(needed_by(3, &grant, *rules, *risk), *expected, "{approval:?} {rules:?} {risk:?}");
        }
    }

    #[test]
    fn a_name_can_be_read() {
        for name in ["ann", "Ann Müller", "安", "a-1", "user:ann"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            " ",
            "\t",
            "\n",
            "ann\n",
            "\u{a0}",
            "\u{200b}",
            "ann\u{202e}",
            "\u{1b}[1mann",
            "--",
            "\u{9b}ann",
            "\u{3164}",
        ] {
            assert!(!is_name(name), "{name:?}");
            assert!(!ApprovalAnswer::approve(name, "").named().approved);
        }
    }

    #[test]
    fn an_answer_is_cut_at_a_character() {
        let long = "é".repeat(limits::APPROVAL_TEXT_BYTES_MAX);
        let answer = ApprovalAnswer::approve(format!("a{long}"), "short").bounded();
        assert_eq!((answer.by.len(), answer.reason.as_str()), (limits::APPROVAL_TEXT_BYTES_MAX - 1, "short"));
        assert!(answer.approved);
    }
}
