//! What one step would do, found out by running it on throw-away copies before somebody approves of it.

use std::io;
use std::sync::Arc;

use serde_json::Value;

use super::delegation::Callees;
use super::dry;
use super::steps::Steps;
use crate::diff::Changes;
use crate::host::Error;
use crate::limits::{self, StepLimits};
use crate::outcome::Outcome;
use crate::policy::{Access, AuthorizedStep, Grant, Preview};
use crate::sandbox::tape::Tape;
use crate::sandbox::{Delegate, Invocation, Links};
use crate::scratch::{Bounds, Scratch, ScratchError};
use crate::trace::recorder::Recorder;
use crate::validate::{Call, ValidStep};

impl Steps<'_> {
    /// Whether a rehearsal of a step could show anything: whether a guest runs that may write any folder, itself or through what it calls.
    pub(super) fn can_rehearse(&self, call: Call<'_>, authorized: &AuthorizedStep) -> bool {
        let delegation = self.authorized.delegation();
        let may_write = |grant: &Grant| grant.filesystem.iter().any(|preopen| preopen.access == Access::ReadWrite);
        call.tool.of_the_host().is_none()
            && (may_write(&authorized.grant)
                || delegation.within(&authorized.grant).values().any(|(_, _, grant)| may_write(grant)))
    }

    /// Rehearses one step: on copies of what it may write as it is now, without network. Nothing of it is recorded.
    pub(super) fn preview(
        &self,
        (step, call): (&ValidStep<'_>, Call<'_>),
        authorized: &AuthorizedStep,
        input: &Value,
    ) -> Preview {
        let rehearsed = self.rehearse((step, call), authorized, input);
        let (ended, mut changes) = match rehearsed {
            Ok((outcome, changes)) => (Ok(outcome), changes),
            Err(Error::Scratch(ScratchError::Cancelled)) => (Err("it was cancelled".to_owned()), Changes::default()),
            Err(error) => (Err(error.to_string()), Changes::default()),
        };
        if ended.is_ok() && !authorized.grant.network.is_empty() {
            changes.notices.push("it had no network: every request of it was refused".to_owned());
        }
        Preview { ended, changes }
    }

    fn rehearse(
        &self,
        (step, call): (&ValidStep<'_>, Call<'_>),
        authorized: &AuthorizedStep,
        input: &Value,
    ) -> Result<(Outcome, Changes), Error> {
        let plan = self.checked.plan.plan();
        let mut scratch = Scratch::create(self.host.store.state(), Bounds::PREVIEW)?;
        let goes_on = || !self.cancel.is_cancelled();
        let grant = authorized.grant.as_ref();
        let delegation = self.authorized.delegation();
        let mut grants = vec![grant];
        grants.extend(delegation.within(grant).into_values().map(|(_, _, grant)| &**grant));
        let directories = dry::copies(&mut scratch, self.host, &grants, &goes_on)?;
        let delegate = self.callees.as_deref().map(|callees| -> Arc<dyn Delegate> {
            Arc::new(Callees { directories: directories.clone(), reach: None, ..callees.clone() })
        });
        let limits =
            StepLimits { deadline_ms: authorized.limits.deadline_ms.min(limits::PREVIEW_MS_MAX), ..authorized.limits };
        let invocation = Invocation {
            tool: call.tool,
            input,
            grant,
            workspace: &self.host.workspace,
            directories: &directories,
            reach: None,
            limits,
            run_deadline: None,
            undo: None,
            delegate: delegate.as_ref(),
            plan: &plan.name,
            request: &self.request,
            step: step.id,
            attempt: 1,
            seed: plan.seed,
            start_time: plan.start_time,
        };
        let program = self.program(&call.tool.name, Links::of(grant))?;
        let tape = Tape::Record(Box::new(Recorder::new(Box::new(io::sink()), "a rehearsal", None)));
        let invoked = self.runtime.block_on(self.engine.invoke(program, invocation, tape, self.cancel))?;
        // Nothing is compared with a record here.
        let outcome = invoked.end.map_err(|divergence| Error::Damaged { what: divergence.what })?;
        Ok((outcome, scratch.changes()?))
    }
}
