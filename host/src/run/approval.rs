//! Asking somebody: the one who is there now, the one whose answer is recorded, or the one who will answer later.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ledger::Ledger;
use super::log::{Go, Next, StepLog};
use super::steps::{SoFar, Steps};
use super::turn::{Permitted, Turned};
use crate::canonical;
use crate::clock;
use crate::host::Error;
use crate::id::{Digest, ToolName};
use crate::limits;
use crate::notify::{ApprovalNotice, Via, Webhook, redacted};
use crate::observe::HostEvent;
use crate::outcome::{Outcome, RunOutcome};
use crate::plan::ApproveStep;
use crate::policy::{ApprovalAnswer, ApprovalRequest, AuthorizedStep, Denial, Grant, Permission, Rehearsal};
use crate::report::{Pending, StepReport};
use crate::sandbox::Divergence;
use crate::skill::Risk;
use crate::store::index;
use crate::trace::event::{ApprovalEvent, Event, Flow};
use crate::trace::flow::ApprovalRequested;
use crate::validate::{Call, Question, ValidStep};

/// What came of asking.
pub(super) enum Asked {
    /// Somebody answered.
    Answered(ApprovalAnswer),
    /// Nobody has answered yet.
    Waits(Pending),
    /// The answer was no, and the run was ended so where it could not go on: see [`super::settle`].
    Settled(RunOutcome),
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
        let preview = || self.preview((step, call), authorized, input);
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
            rehearsal: if self.can_rehearse(call, authorized) { Rehearsal::of(&preview) } else { Rehearsal::default() },
            document: &Value::Null,
            subject: Digest::from_bytes([0; 32]),
        };
        let subject = self.subject(&request, Some(call.skill.digest));
        let context = Map::new();
        let asking = Asking {
            request: &request,
            call: Some(call),
            subject,
            message: "",
            context: &context,
            webhook: None,
            expires_in_s: None,
        };
        Ok(match self.ask(&asking, log)? {
            Asked::Answered(answer) if answer.approved => Permitted::Yes(permission),
            Asked::Answered(answer) => Permitted::No(Box::new(Denial::rejected(&request, &answer))),
            Asked::Waits(pending) => Permitted::Waits(pending),
            Asked::Settled(outcome) => Permitted::Settled(outcome),
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
            rehearsal: Rehearsal::default(),
            document: &Value::Null,
            subject: Digest::from_bytes([0; 32]),
        };
        let subject = self.subject(&request, None);
        if self.reused(step, None, (&tool, subject), so_far, log, report)? {
            return Ok(Turned::Completed);
        }
        let (webhook, expires_in_s) = (approve.webhook_url.as_deref(), approve.expires_in_s);
        let (message, context) = (message.as_str(), &context);
        let asking = Asking { request: &request, call: None, subject, message, context, webhook, expires_in_s };
        Ok(match self.ask(&asking, log)? {
            Asked::Answered(answer) if answer.approved => {
                let output = json!({ "by": answer.by, "reason": answer.reason });
                report.outcome = Some(Outcome::Completed { output: output.clone() });
                Self::keep_output(so_far, step.id, output);
                Turned::Completed
            }
            Asked::Answered(answer) => self.denied(Box::new(Denial::rejected(&request, &answer)), log)?,
            Asked::Waits(pending) => Turned::Paused(pending),
            Asked::Settled(outcome) => Turned::Settled(outcome),
        })
    }

    /// What of a question a trace has: the same on every machine. What an answer is bound to is more, see [`Steps::subject_of`].
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
    pub(super) fn ask(&self, question: &Asking<'_>, log: &mut dyn StepLog) -> Go<Asked> {
        let Asking { request, subject, message, context, .. } = *question;
        let answered = |answer| Event::Approval(approval_event(request, answer));
        let asked = Flow::ApprovalRequest(ApprovalRequested {
            tool: (!request.tool.is_approve()).then(|| request.tool.clone()),
            needs_approval: request.needed_by.to_vec(),
            subject,
            message: message.to_owned(),
            context: context.clone(),
        });
        let asked = asked.of(request.step);
        let mut is_asked = false;
        let mut bound = subject;
        loop {
            match log.next()? {
                Next::Event(event) => match *event {
                    Event::Approval(approval) => {
                        log.note(&answered(approval.answer.clone()))?;
                        return Ok(match log.next()? {
                            Next::Event(event) if !approval.answer.approved => match *event {
                                Event::RunEnd { outcome, .. } => Asked::Settled(outcome),
                                _ => Asked::Answered(approval.answer),
                            },
                            _ => Asked::Answered(approval.answer),
                        });
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
                    let about = self.subject_of(question);
                    bound = about.digest;
                    let shown = ApprovalRequest { document: &about.document, subject: about.digest, ..*request };
                    let answer = match (approver, log.ledger()) {
                        (Some(approver), _) => Some(approver.approve(&shown).bounded().named()),
                        (None, Some(ledger)) => ledger.answer(request.step.as_str(), about.digest)?,
                        (None, None) => None,
                    };
                    if let Some(answer) = answer {
                        log.note(&answered(answer.clone()))?;
                        log.commit()?;
                        return Ok(Asked::Answered(answer));
                    }
                    if !is_asked {
                        may_be_asked(question)?;
                        log.note(&asked)?;
                    }
                    self.wait_for((question, &shown), !is_asked, log)?;
                    break;
                }
                Next::End => break,
            }
        }
        Ok(Asked::Waits(Pending {
            step: request.step.clone(),
            tool: request.tool.clone(),
            needs_approval: request.needed_by.to_vec(),
            subject: bound,
            message: message.to_owned(),
            told: self.webhook(question).is_some(),
        }))
    }

    /// Puts the question where people find it, and tells them the first time.
    fn wait_for(
        &self,
        (question, shown): (&Asking<'_>, &ApprovalRequest<'_>),
        is_new: bool,
        log: &mut dyn StepLog,
    ) -> Go<()> {
        log.commit()?;
        let Some(ledger) = log.ledger() else { return Ok(()) };
        if let Some(placed) = &self.placed {
            placed.folder.keep_asked(&shown.subject, &canonical::to_vec(shown.document))?;
        }
        let settings = &self.host.policy.policy.approval;
        let expires_in = question.expires_in_s.or(settings.expires_in_s).map(Duration::from_secs);
        let step = question.request.step.as_str();
        // A run that was killed right here asks again; the index knows whether it did.
        let listed = canonical::to_string(&question.listed(shown.subject));
        ledger.ask(step, shown.subject, listed, expires_in)?;
        self.host.observers.tell(HostEvent::Asks { request: shown });
        if is_new && let Some(webhook) = self.webhook(question) {
            self.tell(&webhook, question, expires_in, ledger)?;
        }
        Ok(())
    }

    /// Whom to tell.
    fn webhook(&self, question: &Asking<'_>) -> Option<Webhook> {
        Webhook::choose(question.webhook, &self.host.policy.policy, &self.host.operator)
    }

    fn tell(&self, webhook: &Webhook, question: &Asking<'_>, expires_in: Option<Duration>, ledger: &Ledger) -> Go<()> {
        let Asking { request, message, context, .. } = question;
        let now = clock::since_epoch();
        let expires_at = expires_in.map(|time| clock::rfc3339(now + time));
        let run = ledger.run();
        let (approve, reject) = (format!("host approve {run} --by NAME"), format!("host reject {run} --by NAME"));
        let tool = (!request.tool.is_approve()).then(|| request.tool.to_string());
        let description = self.checked.plan.plan().steps.iter().find(|step| step.id == *request.step);
        let body = ApprovalNotice {
            run,
            plan: &self.checked.plan.plan().name,
            step: request.step.as_str(),
            message,
            context: &Value::Object((*context).clone()),
            tool: tool.as_deref(),
            input: request.input,
            risk: request.risk.map(Risk::name),
            description: description.and_then(|step| step.description.as_deref()),
            requested_at: &clock::rfc3339(now),
            expires_at: expires_at.as_deref(),
            approve: &approve,
            reject: &reject,
            approve_url: None,
            reject_url: None,
        };
        let (secrets, resolver) = (self.host.secrets.clone(), self.host.resolver.clone());
        let via = Via { policy: &self.host.policy.policy, secrets, resolver };
        let delivery = webhook.deliver(&via, body.to_bytes());
        self.host.observers.tell(HostEvent::Notified { step: request.step, delivery: &delivery });
        let (status, error) = match &delivery.status {
            Ok(status) => (Some(*status), None),
            Err(why) => (None, Some(why.clone())),
        };
        let step = request.step.to_string();
        // Whether it arrived changes nothing: the run waits.
        Ok(ledger.delivered(index::Delivery { run: run.to_owned(), step, url: delivery.to, status, error })?)
    }
}

/// What somebody is asked.
pub(super) struct Asking<'q> {
    pub(super) request: &'q ApprovalRequest<'q>,
    /// What would be called.
    pub(super) call: Option<Call<'q>>,
    /// What the trace has of it.
    pub(super) subject: Digest,
    /// What the plan says and shows; nothing where it is the policy that asks.
    pub(super) message: &'q str,
    pub(super) context: &'q Map<String, Value>,
    /// Whom the plan wants to be told.
    pub(super) webhook: Option<&'q str>,
    /// How long the plan waits.
    pub(super) expires_in_s: Option<u64>,
}

impl Asking<'_> {
    /// What the index keeps of it, for lists: values with sensitive names are not in it.
    fn listed(&self, subject: Digest) -> Value {
        let ApprovalRequest { step, tool, input, principal, grant_index, risk, needed_by, rules, reasons, .. } =
            self.request;
        json!({
            "context": redacted(&Value::Object(self.context.clone())),
            "grant": grant_index,
            "input": redacted(input),
            "message": self.message,
            "needed_by": needed_by,
            "principal": principal.to_string(),
            "reasons": reasons,
            "risk": risk.map(Risk::name),
            "rules": rules,
            "step": step,
            "subject": subject,
            "tool": tool,
        })
    }
}

/// Refuses what is too long to be put where people find it, before anything of it is recorded.
fn may_be_asked(question: &Asking<'_>) -> Result<(), Error> {
    let bytes = canonical::to_string(&question.listed(question.subject)).len();
    let most = limits::APPROVAL_REQUEST_BYTES_MAX;
    if bytes <= most {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("somebody has to be asked, and the question has {bytes} bytes of at most {most}"),
    })
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
