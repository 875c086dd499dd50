//! Holds outputs against what the plan expects of them. The work is bounded by what schema and output are (`flow::contract`), so that it ends in the same way in
//! a replay; of a live step it counts as the step's: its deadline, the run's and a cancellation end it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::flow::contract::{self, Drift, TooMuch};
use crate::limits::{self, LimitKind, StepLimits};
use crate::outcome::Outcome;
use crate::plan::{Expect, ExpectMode};
use crate::sandbox::{CancelToken, RunDeadline};

/// The stack of the thread that holds a large output against a schema: both may be nested as deep as documents are.
const STACK_BYTES: usize = 8 << 20;

/// For how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within<'c> {
    left: Duration,
    over: (LimitKind, u64),
    cancel: &'c CancelToken,
}

impl<'c> Within<'c> {
    /// What is left of a step's time after it has run for so long.
    pub(super) fn left(
        limits: &StepLimits,
        run: Option<RunDeadline>,
        passed: Duration,
        cancel: &'c CancelToken,
    ) -> Self {
        let (ms, over) = match run {
            Some(run) if run.left_ms < limits.deadline_ms => (run.left_ms, (LimitKind::RunDeadline, run.amount_ms)),
            _ => (limits.deadline_ms, (LimitKind::Deadline, limits.deadline_ms)),
        };
        Self { left: Duration::from_millis(ms).saturating_sub(passed), over, cancel }
    }

    const fn late(&self) -> Outcome {
        let (limit, allowed) = self.over;
        Outcome::LimitExceeded { limit, allowed, backtrace: Vec::new() }
    }
}

/// How a step ended, seen with what was expected of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) outcome: Outcome,
    pub(super) drift: Option<(Drift, ExpectMode)>,
    /// Whether it was ended from outside meanwhile, which comes at no certain place.
    pub(super) is_untimed: bool,
}

impl Held {
    const fn of(outcome: Outcome) -> Self {
        Self { outcome, drift: None, is_untimed: false }
    }
}

/// Holds the output of a step that completed against what is expected of it; `within` is `None` in a replay, which has the time that it needs.
pub(super) fn hold(expect: Option<&Expect>, outcome: Outcome, within: Option<Within<'_>>, runtime: &Runtime) -> Held {
    let Some(expect) = expect else { return Held::of(outcome) };
    let output = match outcome {
        Outcome::Completed { output } => output,
        outcome => return Held::of(outcome),
    };
    let (output, found) = match within.filter(|_| !contract::is_little(expect, &output)) {
        None => {
            let found = contract::check(expect, &output);
            (output, found)
        }
        Some(within) => match beside(expect, output, within, runtime) {
            Ok(found) => found,
            Err(outcome) => return Held { outcome, drift: None, is_untimed: true },
        },
    };
    match found {
        Ok(None) => Held::of(Outcome::Completed { output }),
        Ok(Some(drift)) => {
            let outcome = match expect.mode {
                ExpectMode::Strict => {
                    Outcome::Failed { error: json!({ "code": "output-drift", "message": drift.message }) }
                }
                _ => Outcome::Completed { output },
            };
            Held { outcome, drift: Some((drift, expect.mode)), is_untimed: false }
        }
        Err(TooMuch) => Held::of(too_much()),
    }
}

fn too_much() -> Outcome {
    let (limit, allowed) = (LimitKind::Contract, limits::CONTRACT_WORK_MAX);
    Outcome::LimitExceeded { limit, allowed, backtrace: Vec::new() }
}

type Found = Result<Option<Drift>, TooMuch>;

/// On a thread of its own, which is left behind where it is late: it ends by the bound on its work.
fn beside(expect: &Expect, output: Value, within: Within<'_>, runtime: &Runtime) -> Result<(Value, Found), Outcome> {
    if within.cancel.is_cancelled() {
        return Err(Outcome::Cancelled);
    }
    if within.left.is_zero() {
        return Err(within.late());
    }
    let output = Arc::new(output);
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("contract".to_owned()).stack_size(STACK_BYTES);
    let (theirs, expected) = (Arc::clone(&output), expect.clone());
    let begun = thread.spawn(move || {
        let found = contract::check(&expected, &theirs);
        drop(theirs);
        // Nobody may wait for it any more.
        drop(tell.send(found));
    });
    if begun.is_err() {
        let found = contract::check(expect, &output);
        return Ok((Arc::unwrap_or_clone(output), found));
    }
    let waited = runtime.block_on(async {
        let both = async {
            let (mut told, mut cancelled) = (pin!(told), pin!(within.cancel.cancelled()));
            poll_fn(|context| match told.as_mut().poll(context) {
                Poll::Ready(found) => Poll::Ready(Some(found)),
                Poll::Pending => cancelled.as_mut().poll(context).map(|()| None),
            })
            .await
        };
        tokio::time::timeout(within.left, both).await
    });
    match waited {
        // A thread that has given up without a word did not come to an end.
        Ok(Some(found)) => Ok((Arc::unwrap_or_clone(output), found.unwrap_or(Err(TooMuch)))),
        Ok(None) => Err(Outcome::Cancelled),
        Err(_) => Err(within.late()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ExpectKind, OutputSchema};

    fn held((schema, output): &(Value, Value), within: Option<Within<'_>>) -> Held {
        let runtime = crate::sandbox::runtime::new(false).unwrap();
        let schema = Some(OutputSchema::compile(schema, "").unwrap());
        let expect = Expect { kind: ExpectKind::Value, schema, mode: ExpectMode::Strict };
        hold(Some(&expect), Outcome::Completed { output: output.clone() }, within, &runtime)
    }

    fn within(left: Duration, cancel: &CancelToken) -> Within<'_> {
        Within { left, over: (LimitKind::RunDeadline, 7), cancel }
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn more_than_may_be_is_a_limit_whatever_the_time() {
        let too_large = (json!({ "pattern": "(?:a|b)*a(?:a|b){900}c0" }), json!(crate::plan::schema::letters(500_000)));
        let cancel = CancelToken::new();
        for within in [None, Some(within(HOUR, &cancel))] {
            let held = held(&too_large, within);
            assert_eq!((held.outcome, held.is_untimed), (too_much(), false));
        }
    }

    #[test]
    fn a_step_that_is_late_or_cancelled_ends_before_its_output_was_looked_at() {
        // More than what is done at once.
        let large = (json!({ "items": { "anyOf": vec![json!({ "const": 1 }); 100] } }), json!(vec![0; 2_000]));
        let cancel = CancelToken::new();
        let late = held(&large, Some(within(Duration::ZERO, &cancel)));
        assert!(late.is_untimed);
        assert!(matches!(late.outcome, Outcome::LimitExceeded { limit: LimitKind::RunDeadline, allowed: 7, .. }));
        let in_time = held(&large, Some(within(HOUR, &cancel)));
        assert!(!in_time.is_untimed && in_time.drift.is_some(), "{in_time:?}");
        cancel.cancel();
        let cancelled = held(&large, Some(within(HOUR, &cancel)));
        assert!(cancelled.is_untimed && cancelled.outcome == Outcome::Cancelled);
        // In a replay it has the time that it needs.
        assert_eq!(held(&large, None).outcome, in_time.outcome);
    }
}
