//! Taking back: the steps that completed, the last one first. First what the journal knows of files, then what the plan says of the rest;
//! never both for the same effect. What cannot be taken back is listed and stops nothing.

use std::path::PathBuf;

use super::attempt::Attempt;
use super::failure::left_of;
use super::log::{Go, Next, StepLog};
use super::own;
use super::reuse::Purpose;
use super::steps::{Done, SoFar, Steps};
use crate::id::StepId;
use crate::limits;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::AuthorizedStep;
use crate::report::{RollbackReport, StepReport};
use crate::trace::event::{Event, Flow};
use crate::trace::flow::{Rollback, Undone};
use crate::validate::{Call, ValidStep};

impl Steps<'_> {
    /// Takes back everything that completed.
    pub(super) fn roll_back(
        &self,
        because: String,
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
        done: &mut Done,
    ) -> Go<()> {
        log.note(&Flow::Rollback(Rollback { because: because.clone() }).of_run())?;
        log.commit()?;
        if let (Some(earlier), Some(ledger)) = (&self.earlier, log.ledger()) {
            // Before anything is taken back: from here on nobody goes on with that run.
            earlier.folder().keep_taken_back(ledger.run())?;
        }
        let mut left = std::mem::take(&mut so_far.left);
        let steps: Vec<ValidStep<'_>> = self.checked.plan.steps().collect();
        for (position, attempt) in std::mem::take(&mut so_far.completed).into_iter().rev() {
            let (Some(step), Some(report)) = (steps.get(position), done.steps.get_mut(position)) else { continue };
            if so_far.purpose.is_none() && report.reused.is_some() {
                // Another run has done that, and it stays.
                continue;
            }
            let journal = (attempt, so_far.journals.get(&position).cloned());
            self.take_back(step, journal, report, log, so_far, &mut left)?;
        }
        let plan = &self.checked.plan;
        for (index, (call, granted)) in plan.compensations().zip(self.authorized.compensations()).enumerate() {
            let whose = format!("the plan's compensation {index} ({})", call.tool.name);
            let input = match plan.resolve_last(index) {
                Ok(input) => input.unwrap_or_default(),
                Err(problem) => {
                    left.push(format!("{whose} cannot be made: {}", problem.message));
                    continue;
                }
            };
            let outcome = self.compensate(&granted.step, call, granted, &input, log, so_far)?;
            if !outcome.is_completed() {
                left.push(format!("{whose} ended as {}", outcome.name()));
            }
            left.append(&mut so_far.left);
        }
        left.truncate(limits::ROLLBACK_LEFT_MAX);
        if let (Some(earlier), Some(ledger)) = (&self.earlier, log.ledger()) {
            ledger.taken_back(&earlier.run, left.is_empty())?;
        }
        done.outcome = if left.is_empty() { RunOutcome::RolledBack } else { RunOutcome::RollbackIncomplete };
        done.rollback = Some(RollbackReport { because, left });
        Ok(())
    }

    fn take_back(
        &self,
        step: &ValidStep<'_>,
        journal: (u32, Option<PathBuf>),
        report: &mut StepReport,
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
        left: &mut Vec<String>,
    ) -> Go<()> {
        // What a step of the run took back is so already.
        let was_undone = so_far.taken_back.contains(step.id);
        let undone = if was_undone { Undone::default() } else { self.undo_completed(step, journal, log)? };
        let Some(authorized) = self.authorized.step(step.id) else { return Ok(()) };
        if !undone.conflicts.is_empty() {
            let paths = undone.conflicts.join(", ");
            left.push(format!("step `{}` ({}): somebody else has changed {paths} since", step.id, report.tool));
        }
        left.extend(left_of(step.id, &undone));
        // What only reads, or cannot reach anything, has done nothing that is not undone.
        report.undone = undone.conflicts.is_empty() && undone.failed.is_empty();
        if let (Some(call), Some(output)) = (step.call(), so_far.outputs.get(step.id)) {
            let foreign = own::foreign(call.tool, output);
            if foreign > 0 && step.compensation.is_none() {
                report.undone = false;
                if !step.irreversible {
                    let line = "what it took back of earlier runs is not put there again";
                    left.push(format!("step `{}` ({}): {line}", step.id, report.tool));
                }
            }
        }
        // What changed files and could reach nothing else is as it was, or is somebody else's by now: it is not for a compensation.
        let has_changed =
            was_undone || !undone.changes.is_empty() || !undone.conflicts.is_empty() || !undone.failed.is_empty();
        let is_all = has_changed && authorized.grant.network.is_empty();
        let (Some(call), Some(granted), false) = (step.compensation, &authorized.compensation, is_all) else {
            if step.compensation.is_none() && self.authorized.delegation().may_send_unsafe(&authorized.grant) {
                report.undone = false;
                if !step.irreversible {
                    let line = "what it may have sent cannot be taken back";
                    left.push(format!("step `{}` ({}): {line}", step.id, report.tool));
                }
            }
            return Ok(());
        };
        let input = self.checked.plan.resolve_compensation(step, &so_far.outputs);
        let input = match input {
            Ok(input) => input.unwrap_or_default(),
            Err(problem) => {
                report.undone = false;
                let tool = &call.tool.name;
                left.push(format!("step `{}`: its compensation {tool} cannot be made: {}", step.id, problem.message));
                return Ok(());
            }
        };
        let outcome = self.compensate(step.id, call, granted, &input, log, so_far)?;
        left.append(&mut so_far.left);
        if !outcome.is_completed() {
            report.undone = false;
            left.push(format!("step `{}`: its compensation {} ended as {}", step.id, call.tool.name, outcome.name()));
        }
        Ok(())
    }

    /// Makes the call that takes something back.
    fn compensate(
        &self,
        step: &StepId,
        call: Call<'_>,
        granted: &AuthorizedStep,
        input: &serde_json::Value,
        log: &mut dyn StepLog,
        so_far: &mut SoFar,
    ) -> Go<Outcome> {
        let permission = match self.authorized.permission(granted, step, 1, call.tool, input) {
            Ok(permission) => permission,
            // A rule that reads the input forbids it: that is said by the list of what is left.
            Err(denial) => return Ok(Outcome::Failed { error: denial.reason.into() }),
        };
        if self.was_compensated(step, log, so_far)? {
            return Ok(Outcome::Completed { output: serde_json::Value::Null });
        }
        let attempt = Attempt {
            step,
            call,
            number: 1,
            compensates: true,
            input,
            grant_index: granted.grant_index,
            grant: &granted.grant,
            rules: permission.rules,
            limits: granted.limits,
            run_deadline: None,
            expect: None,
            position: usize::MAX,
        };
        let mut report = StepReport::of(step.clone(), call.tool.name.clone());
        let outcome = self.attempt(&attempt, None, so_far, log, &mut report)?;
        log.commit()?;
        Ok(outcome)
    }

    /// Whether a rollback before this one has made the call. A record says so by having none.
    fn was_compensated(&self, step: &StepId, log: &mut dyn StepLog, so_far: &SoFar) -> Go<bool> {
        if so_far.purpose != Some(Purpose::Rollback) {
            return Ok(false);
        }
        Ok(match log.next()? {
            Next::Live => self.earlier.as_ref().is_some_and(|earlier| earlier.restored.is_compensated(step)),
            Next::Event(event) => {
                !matches!(*event, Event::StepBegin(begin) if begin.compensates && begin.step == *step)
            }
            Next::End => false,
        })
    }
}
