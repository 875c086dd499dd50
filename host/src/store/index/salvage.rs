//! What people have decided, kept where the index is built again: taken out of a damaged file as far as it can be read, and out of the traces,
//! which hold every decision that a run has gone on with.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, params};
use serde_json::json;

use super::access::{Access, access};
use super::approval::{Approval, approval};
use super::db::Db;
use super::{ApprovalState, Index, IndexError};
use crate::canonical;
use crate::id::Digest;
use crate::limits;
use crate::trace::event::{Event, Flow, FlowEvent};

/// What only an index knows.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    approvals: Vec<Approval>,
    accesses: Vec<Access>,
}

impl Salvaged {
    /// What can still be read of a file that is damaged: each table up to its first bad page.
    pub(super) fn of(path: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let Ok(connection) = Connection::open_with_flags(path, flags) else { return Self::default() };
        Self {
            approvals: rows(
                &connection,
                "SELECT run, step, subject, state, request, requested_at, expires_at, decided_at, decided_by, reason FROM approvals",
                approval,
            ),
            accesses: rows(&connection, "SELECT at, action, who, run, step, detail FROM accesses ORDER BY id", access),
        }
    }

    /// Puts it into a new index whose runs are there. What belongs to a run that is not has nothing to belong to.
    pub(super) fn put_back(&self, index: &mut Index) -> Result<(), IndexError> {
        index.transaction("keep what was decided", |db| {
            for kept in &self.approvals {
                // It says more of a decision than the trace, by which it may be there already.
                if kept.state != ApprovalState::Pending {
                    db.execute(
                        "DELETE FROM approvals WHERE run = ?1 AND step = ?2 AND subject = ?3",
                        params![kept.run, kept.step, kept.subject.to_string()],
                    )?;
                }
                put_approval(db, kept)?;
            }
            for Access { at, action, who, run, step, detail } in &self.accesses {
                db.execute(
                    "INSERT OR IGNORE INTO accesses (at, action, who, run, step, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![at, action, who, run, step, detail],
                )?;
            }
            Ok(())
        })
    }
}

fn rows<T>(connection: &Connection, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let Ok(found) = statement.query_map([], read) else { return Vec::new() };
    // Behind a bad page there is nothing more to be had.
    found.map_while(Result::ok).collect()
}

/// Adds a question with its answer, where its run is there. One that is open becomes answered; what is decided stays as it is.
fn put_approval(db: Db<'_>, kept: &Approval) -> Result<(), IndexError> {
    let Approval { run, step, subject, state, request, requested_at, expires_at, decided_at, decided_by, reason } =
        kept;
    let subject = subject.to_string();
    let answered = db.execute(
        "UPDATE approvals SET state = ?4, decided_at = ?5, decided_by = ?6, reason = ?7 \
         WHERE run = ?1 AND step = ?2 AND subject = ?3 AND state = 'pending' AND ?4 <> 'pending'",
        params![run, step, subject, state.name(), decided_at, decided_by, reason],
    )?;
    if answered > 0 {
        return Ok(());
    }
    db.execute(
        "INSERT OR IGNORE INTO approvals (run, step, subject, state, request, requested_at, expires_at, decided_at, decided_by, \
         reason) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE EXISTS (SELECT 1 FROM runs WHERE id = ?1)",
        params![run, step, subject, state.name(), request, requested_at, expires_at, decided_at, decided_by, reason],
    )
    .map(drop)
}

/// The decisions that a trace tells of.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// What was asked last for each step.
    asked: BTreeMap<String, (Digest, String)>,
    made: Vec<(String, Digest, String, crate::policy::ApprovalAnswer)>,
}

impl Decisions {
    /// Follows the events of a trace.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::Flow(FlowEvent { step: Some(step), flow: Flow::ApprovalRequest(asked) }) => {
                let request = json!({
                    "message": asked.message,
                    "needed_by": asked.needs_approval,
                    "step": step,
                    "subject": asked.subject,
                    "tool": asked.tool,
                });
                let mut request = canonical::to_string(&request);
                if request.len() > limits::APPROVAL_REQUEST_BYTES_MAX {
                    request = canonical::to_string(&json!({ "step": step, "subject": asked.subject }));
                }
                self.asked.insert(step.to_string(), (asked.subject, request));
            }
            Event::Approval(approval) => {
                let step = approval.step.to_string();
                // Who was there and answered at once was not asked through the index.
                if let Some((subject, request)) = self.asked.remove(&step) {
                    self.made.push((step, subject, request, approval.answer.clone()));
                }
            }
            _ => {}
        }
    }

    /// Adds those that the index does not have. Of their times a trace says nothing: they lie between `created`, when the run was, and `changed`,
    /// when its trace was written last.
    pub(super) fn put(self, db: Db<'_>, run: &str, (created, changed): (&str, &str)) -> Result<(), IndexError> {
        for (step, subject, request, answer) in self.made {
            let state = if answer.approved { ApprovalState::Approved } else { ApprovalState::Rejected };
            // What the index binds an answer to is more than what a trace has of it.
            let known = db.execute(
                "UPDATE approvals SET state = ?3, decided_at = ?4, decided_by = ?5, reason = ?6 \
                 WHERE run = ?1 AND step = ?2 AND state = 'pending'",
                params![run, step, state.name(), changed, answer.by, answer.reason],
            )?;
            let same = "SELECT 1 FROM approvals WHERE run = ?1 AND step = ?2 AND state = ?3 AND decided_by IS ?4";
            let late = "SELECT 1 FROM approvals WHERE run = ?1 AND step = ?2 AND state IN ('expired', 'invalid') AND ?3 = 'rejected' AND ?4 = 'nobody'";
            let asked = params![run, step, state.name(), answer.by];
            if known > 0 || db.one(same, asked, |_| Ok(()))?.is_some() || db.one(late, asked, |_| Ok(()))?.is_some() {
                continue;
            }
            let kept = Approval {
                run: run.to_owned(),
                step,
                subject,
                state,
                request,
                requested_at: created.to_owned(),
                expires_at: None,
                decided_at: Some(changed.to_owned()),
                decided_by: Some(answer.by),
                reason: answer.reason,
            };
            put_approval(db, &kept)?;
        }
        Ok(())
    }
}
