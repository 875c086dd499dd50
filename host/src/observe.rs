//! What observers see while a run goes on. Observers change nothing: they get shared references, and one that panics is ignored.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::id::{StepId, ToolName};
use crate::notify::Delivery;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::ApprovalRequest;
use crate::problem::Problem;

/// Something that happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum HostEvent<'a> {
    /// A run begins; its plan was not looked at yet.
    RunBegin {
        /// The run's id.
        run: &'a str,
    },
    /// The plan is valid and allowed.
    PlanReady {
        /// How many steps will run.
        steps: usize,
    },
    /// The plan is refused.
    PlanRefused {
        /// Why.
        problems: &'a [Problem],
    },
    /// The policy does not allow a step.
    StepDenied {
        /// The step.
        step: &'a StepId,
        /// Its tool.
        tool: &'a ToolName,
        /// Why.
        reason: &'a str,
    },
    /// The policy does not allow a step, and the run goes on because it only records that.
    StepWouldBeDenied {
        /// The step.
        step: &'a StepId,
        /// Its tool.
        tool: &'a ToolName,
        /// Why.
        reason: &'a str,
    },
    /// A step begins.
    StepBegin {
        /// The step.
        step: &'a StepId,
        /// Its tool.
        tool: &'a ToolName,
        /// Which attempt it is, from 1.
        attempt: u32,
        /// Whether it takes back what the step did.
        compensates: bool,
    },
    /// A step does not run, because of what came before.
    StepSkipped {
        /// The step.
        step: &'a StepId,
        /// Why: lower case, no final period.
        reason: &'a str,
    },
    /// A step ended.
    StepEnd {
        /// The step.
        step: &'a StepId,
        /// Which attempt it was, from 1.
        attempt: u32,
        /// Whether it took back what the step had done.
        compensates: bool,
        /// How.
        outcome: &'a Outcome,
        /// Host calls.
        calls: u64,
        /// Fuel, where known.
        fuel: Option<u64>,
        /// Wall time in microseconds.
        duration_us: u64,
    },
    /// A recorded result of a step cannot be taken: the step runs again.
    NotReused {
        /// The step.
        step: &'a StepId,
        /// Why: lower case, no final period.
        why: &'a str,
    },
    /// The run waits for somebody's answer. What the step would do can be asked of the request while the event lasts.
    Asks {
        /// What is asked.
        request: &'a ApprovalRequest<'a>,
    },
    /// Somebody was told, or should have been, that the run waits.
    Notified {
        /// The step.
        step: &'a StepId,
        /// What became of it.
        delivery: &'a Delivery,
    },
    /// The run ended, or waits.
    RunEnd {
        /// How.
        outcome: RunOutcome,
    },
    /// Something a person may want to know; the run is right all the same.
    Warning {
        /// What.
        message: &'a str,
    },
}

/// Gets every event of every run, on the thread that runs it.
pub trait Observer: Send + Sync {
    /// Takes note of an event. Shall be quick: the run waits for it.
    fn event(&self, event: &HostEvent<'_>);
}

impl<F: Fn(&HostEvent<'_>) + Send + Sync> Observer for F {
    fn event(&self, event: &HostEvent<'_>) {
        self(event);
    }
}

/// All observers of a host.
#[derive(Clone, Default)]
pub(crate) struct Observers(Vec<Arc<dyn Observer>>);

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}

impl Observers {
    pub(crate) fn add(&mut self, observer: Arc<dyn Observer>) {
        self.0.push(observer);
    }

    /// Tells all of them. A panic in one is its own affair: run and trace are the same with it and without it.
    pub(crate) fn tell(&self, event: HostEvent<'_>) {
        for observer in &self.0 {
            let _ignored = catch_unwind(AssertUnwindSafe(|| observer.event(&event)));
        }
    }
}
