//! `host approve` and `host reject`: what a run waits for is decided, and the run goes on.

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::run::{go_on, reply};
use crate::cli::session::{GoOnArgs, Session};
use crate::clock;
use crate::report::{human, json};
use crate::store::index::{AccessAction, Answer, Approval, ApprovalState};
use crate::store::{Index, RunDir, StoreError};

/// Lets a step run that waits for approval, and goes on with its run
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    decision: Decision,
}

/// Refuses a step that waits for approval, and ends its run as the plan says
#[derive(Debug, clap::Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    decision: Decision,
}

#[derive(Debug, clap::Args)]
struct Decision {
    /// The run: the beginning of its id, or `last`
    run: String,
    /// The step, where the run waits for several
    step: Option<String>,
    /// Who decides: it is recorded
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Records the decision and leaves the run where it is: `host recover` goes on with it
    #[arg(long)]
    no_continue: bool,
    #[command(flatten)]
    go_on: GoOnArgs,
}

impl Approve {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        self.decision.execute(session, true)
    }
}

impl Reject {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        self.decision.execute(session, false)
    }
}

impl Decision {
    fn execute(&self, session: &Session, approved: bool) -> Result<Reply, Error> {
        let store = session.store();
        let run = store.find(&self.run)?;
        // Nothing is decided about a run that cannot go on under what holds now.
        let builder = session.continuing_builder(&run, &self.go_on)?;
        let host = builder.build();
        host.check_may_go_on(&run)?;
        let mut index = Index::open(store.state(), session.durability()).map_err(StoreError::from)?;
        let step = self.step(&index.approvals(run.id()).map_err(StoreError::from)?, &run)?;
        let answer = Answer { approved, by: self.by.clone(), reason: self.reason.clone() };
        let decided = index.decide_approval(run.id(), &step, &answer, clock::since_epoch());
        decided.map_err(StoreError::from)?;
        drop(index);
        let action = if approved { AccessAction::Approve } else { AccessAction::Reject };
        session.note_access(action, Some(&self.by), (Some(run.id()), Some(&step)), &self.reason);
        let word = if approved { "approved" } else { "rejected" };
        session.note(&format!("step `{step}` of run {} is {word} by {}", run.id(), self.by));
        if self.no_continue {
            let text = format!("{word}; `host recover {}` goes on with the run\n", run.id());
            return Ok(Reply::new(text, serde_json::json!({ "run": run.id(), "step": step, "decision": word })));
        }
        let (report, failure) = go_on(session, &host, run, false)?;
        let text = human::report(&report, &session.output.look);
        Ok(reply(text, &report, json::report(&report)).failure(failure))
    }

    /// The step that is decided about.
    fn step(&self, approvals: &[Approval], run: &RunDir) -> Result<String, Error> {
        if let Some(step) = &self.step {
            return Ok(step.clone());
        }
        let pending = |approval: &&Approval| approval.state == ApprovalState::Pending;
        let mut waiting = approvals.iter().filter(pending);
        match (waiting.next(), waiting.next()) {
            (Some(only), None) => Ok(only.step.clone()),
            (Some(_), Some(_)) => {
                let steps: Vec<&str> =
                    approvals.iter().filter(pending).map(|approval| approval.step.as_str()).collect();
                let message = format!("the run `{}` waits for {} steps: {}", run.id(), steps.len(), steps.join(", "));
                Err(Error::request(message).hint("name one of them behind the run"))
            }
            // What became of the last one says most.
            (None, _) => match approvals.last() {
                Some(last) => Ok(last.step.clone()),
                None => Err(Error::request(format!("the run `{}` does not wait for approval", run.id()))),
            },
        }
    }
}
