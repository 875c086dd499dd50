//! Asking somebody: the one who is there now, the one whose answer is recorded, or the one who will answer later.

use serde_json::{Map, Value, json};

use super::log::{Go, Next, StepLog};
use super::steps::{SoFar, Steps};
use super::turn::{Permitted, Turned};
use crate::canonical;
use crate::host::Error;
use crate::id::{Digest, ToolName};
use crate::outcome::Outcome;
use crate::plan::ApproveStep;
use crate::policy::{ApprovalAnswer, ApprovalRequest, AuthorizedStep, Denial, Grant, Permission};
use crate::report::{Pending, StepReport};
use crate::sandbox::Divergence;
use crate::trace::event::{ApprovalEvent, Event, Flow};
use crate::trace::flow::ApprovalRequested;
use crate::validate::{Call, Question, ValidStep};

/// What came of asking.
pub(super) enum Asked {
    /// Somebody answered.
    Answered(ApprovalAnswer),
    /// Nobody has answered yet.
    Waits(Pending),
}

impl Steps<'_> {
    /// Decides about a step whose input is known now: asks the rules where that had to wait, and whoever has to approve.
    pub(super) fn permission(
        &self,
        (step, call): (&ValidStep<'_>, Call<'_>),
        attempt: u32,
        authorized: &AuthorizedStep,
        input: &Value,
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
    ) -> Go<Permitted> {
        let tool = call.tool;
        let permission = match self.authorized.permission(authorized, step.id, attempt, tool, input) {
            Ok(permission) => permission,
            Err(denial) if self.authorized.is_log_only() => {
                self.lifted(&denial, log, so_far)?;
                return Ok(Permitted::Yes(Permission::default()));
            }
            Err(denial) => return Ok(Permitted::No(denial)),
        };
        // Whoever approved a step approved of the attempts that the plan makes at it.
        if permission.needs_approval.is_empty() || attempt > 1 {
            return Ok(Permitted::Yes(permission));
        }
        let request = ApprovalRequest {
            step: step.id,
            tool: &tool.name,
            input,
            principal: self.principal,
            grant_index: authorized.grant_index,
            grant: &authorized.grant,
            risk: tool.annotations.risk,
            needed_by: &permission.needs_approval,
            rules: &permission.rules,
            reasons: &permission.reasons,
        };
        let subject = self.subject(&request, Some(call.skill.digest));
        Ok(match self.ask(&request, subject, (String::new(), Map::new()), log)? {
            Asked::Answered(answer) if answer.approved => Permitted::Yes(permission),
            Asked::Answered(answer) => Permitted::No(Box::new(Denial::rejected(&request, &answer))),
            Asked::Waits(pending) => Permitted::Waits(pending),
        })
    }

    /// The turn of a step that only asks.
    pub(super) fn question(
        &self,
        (step, approve): (&ValidStep<'_>, &ApproveStep),
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<Turned> {
        let question = self.checked.plan.resolve_question(approve, &so_far.outputs);
        let Question { message, context } = question.map_err(|problem| Error::Resolve(Box::new(problem)))?;
        let input = json!({ "context": context, "message": message });
        let (tool, nothing) = (ToolName::approve(), Grant::empty());
        let request = ApprovalRequest {
            step: step.id,
            tool: &tool,
            input: &input,
            principal: self.principal,
            grant_index: 0,
            grant: &nothing,
            risk: None,
            needed_by: &["the plan".to_owned()],
            rules: &[],
            reasons: &[],
        };
        let subject = self.subject(&request, None);
        Ok(match self.ask(&request, subject, (message, context), log)? {
            Asked::Answered(answer) if answer.approved => {
                let output = json!({ "by": answer.by, "reason": answer.reason });
                report.outcome = Some(Outcome::Completed { output: output.clone() });
                Self::keep_output(so_far, step.id, output);
                Turned::Completed
            }
            Asked::Answered(answer) => self.denied(Box::new(Denial::rejected(&request, &answer)), log)?,
            Asked::Waits(pending) => Turned::Paused(pending),
        })
    }

    /// What an answer is bound to: where any of this changes, it is an answer to another question.
    fn subject(&self, request: &ApprovalRequest<'_>, component: Option<Digest>) -> Digest {
        let bound = json!({
            "component": component,
            "grant": request.grant_index,
            "input": request.input,
            "plan": self.checked.plan.plan().digest,
            "policy": self.policy,
            "principal": request.principal.to_string(),
            "step": request.step,
            "tool": request.tool,
        });
        Digest::of(&canonical::to_vec(&bound))
    }

    /// Asks, or takes the answer from where it is.
    pub(super) fn ask(
        &self,
        request: &ApprovalRequest<'_>,
        subject: Digest,
        (message, context): (String, Map<String, Value>),
        log: &mut dyn StepLog,
    ) -> Go<Asked> {
        let answered = |answer| Event::Approval(approval_event(request, answer));
        let asked = Flow::ApprovalRequest(ApprovalRequested {
            tool: (!request.tool.is_approve()).then(|| request.tool.clone()),
            needs_approval: request.needed_by.to_vec(),
            subject,
            message: message.clone(),
            context,
        });
        let asked = asked.of(request.step);
        let mut is_asked = false;
        loop {
            match log.next()? {
                Next::Event(event) => match *event {
                    Event::Approval(approval) => {
                        log.note(&answered(approval.answer.clone()))?;
                        return Ok(Asked::Answered(approval.answer));
                    }
                    _ if is_asked => {
                        let what = "a request for approval is followed by something else than its answer".to_owned();
                        return Err(Divergence { seq: None, what }.into());
                    }
                    _ => {
                        log.note(&asked)?;
                        is_asked = true;
                    }
                },
                Next::Live => {
                    let approver = self.host.approver.as_deref().filter(|_| !is_asked);
                    let answer = match approver {
                        Some(approver) => Some(approver.approve(request).bounded()),
                        None => self.decision(request, subject),
                    };
                    if let Some(answer) = answer {
                        log.note(&answered(answer.clone()))?;
                        log.commit()?;
                        return Ok(Asked::Answered(answer));
                    }
                    if !is_asked {
                        log.note(&asked)?;
                        log.commit()?;
                    }
                    break;
                }
                Next::End => break,
            }
        }
        Ok(Asked::Waits(Pending {
            step: request.step.clone(),
            tool: request.tool.clone(),
            needs_approval: request.needed_by.to_vec(),
            subject,
            message,
        }))
    }

    /// The answer that somebody gave since the run was paused.
    fn decision(&self, _request: &ApprovalRequest<'_>, _subject: Digest) -> Option<ApprovalAnswer> {
        None
    }
}

/// The event of an answer.
fn approval_event(request: &ApprovalRequest<'_>, answer: ApprovalAnswer) -> ApprovalEvent {
    ApprovalEvent {
        step: request.step.clone(),
        tool: request.tool.clone(),
        needs_approval: request.needed_by.to_vec(),
        answer,
    }
}
