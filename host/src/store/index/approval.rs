//! What people are asked and what they answer: the one thing that no trace holds until the run goes on. A question is answered once.

use std::time::Duration;

use rusqlite::{Row, params};

use super::db::Db;
use super::status::ApprovalState;
use super::{Index, IndexError};
use crate::clock;
use crate::id::Digest;
use crate::limits;
use crate::policy::is_name;

/// Somebody shall be asked about a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// The digest of all that the answer is about. An answer about something else does not count.
    pub subject: Digest,
    /// What is asked, as JSON.
    pub request: String,
    /// Until when it can be answered, as the time since 1970.
    pub expires_at: Option<Duration>,
}

/// A request with what became of it. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// As in [`ApprovalRequest::subject`].
    pub subject: Digest,
    /// What it is.
    pub state: ApprovalState,
    /// What is asked, as JSON.
    pub request: String,
    /// When it was asked.
    pub requested_at: String,
    /// Until when it can be answered.
    pub expires_at: Option<String>,
    /// When it was answered, expired or became invalid.
    pub decided_at: Option<String>,
    /// Who answered.
    pub decided_by: Option<String>,
    /// Why.
    pub reason: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Yes or no.
    pub approved: bool,
    /// Who answers.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A message to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// Where to. Only scheme, host, port and path are kept: the rest may hold secrets.
    pub url: String,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// Why there is none.
    pub error: Option<String>,
}

/// Runs that have not ended, and so may wait.
const WAITS: &str = "runs.status IN ('pending', 'running', 'paused', 'unknown')";
const COLUMNS: &str =
    "run, step, subject, state, request, requested_at, expires_at, decided_at, decided_by, reason FROM approvals";

impl Index {
    /// Asks. What was asked before with the same subject is not asked again, unless something else was asked since; a question about the same step with
    /// another subject becomes invalid. Gives the question as it stands now.
    ///
    /// # Errors
    ///
    /// [`IndexError::NoSuchRun`], [`IndexError::TooLong`], and what SQLite says.
    pub fn request_approval(&mut self, asked: &ApprovalRequest) -> Result<Approval, IndexError> {
        bounded("request for approval", &asked.request, limits::APPROVAL_REQUEST_BYTES_MAX)?;
        let now = clock::utc_now();
        self.transaction("ask for approval", |db| {
            let ApprovalRequest { run, step, subject, request, expires_at } = asked;
            if db.one("SELECT 1 FROM runs WHERE id = ?1", [run], |_| Ok(()))?.is_none() {
                return Err(IndexError::NoSuchRun { run: run.clone() });
            }
            let subject = subject.to_string();
            let find = || {
                let sql = format!("SELECT {COLUMNS} WHERE run = ?1 AND step = ?2 AND subject = ?3");
                db.one(&sql, params![run, step, subject], approval)
            };
            match find()? {
                Some(known) if known.state != ApprovalState::Invalid => return Ok(known),
                // It was something else for a while, and is the same again.
                Some(_) => {
                    db.execute(
                        "DELETE FROM approvals WHERE run = ?1 AND step = ?2 AND subject = ?3",
                        params![run, step, subject],
                    )?;
                }
                None => {}
            }
            // To ask anew gives nobody more time.
            let before = "SELECT min(expires_at) FROM approvals WHERE run = ?1 AND step = ?2";
            let before: Option<String> = db.one(before, params![run, step], |row| row.get(0))?.flatten();
            let expires_at = before.or_else(|| expires_at.map(clock::rfc3339));
            db.execute(
                "UPDATE approvals SET state = 'invalid', decided_at = ?3, reason = 'something else is asked now' \
                 WHERE run = ?1 AND step = ?2 AND state = 'pending'",
                params![run, step, now],
            )?;
            db.execute(
                "INSERT INTO approvals (run, step, subject, request, requested_at, expires_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![run, step, subject, request, now, expires_at],
            )?;
            find()?.ok_or_else(|| IndexError::NotAsked { run: run.clone(), step: step.clone() })
        })
    }

    /// Answers the question that is open for a step, at the time `now`.
    ///
    /// # Errors
    ///
    /// * [`IndexError::NotAsked`] where there is none;
    /// * [`IndexError::Decided`] where it was answered before, or is invalid;
    /// * [`IndexError::Expired`] where it is too late: then it is expired from now on;
    /// * [`IndexError::TooLong`], and what SQLite says.
    pub fn decide_approval(
        &mut self,
        run: &str,
        step: &str,
        answer: &Answer,
        now: Duration,
    ) -> Result<Approval, IndexError> {
        self.decide_about(run, step, None, answer, now)
    }

    /// The same, if it is what is asked: `subject` is what whoever answers was shown.
    ///
    /// # Errors
    ///
    /// As [`Self::decide_approval`], and [`IndexError::OtherSubject`].
    pub fn decide_about(
        &mut self,
        run: &str,
        step: &str,
        subject: Option<Digest>,
        answer: &Answer,
        now: Duration,
    ) -> Result<Approval, IndexError> {
        if !is_name(&answer.by) {
            return Err(IndexError::NoName);
        }
        bounded("name of who answers", &answer.by, limits::APPROVAL_TEXT_BYTES_MAX)?;
        bounded("reason", &answer.reason, limits::APPROVAL_TEXT_BYTES_MAX)?;
        let now = clock::rfc3339(now);
        // A question that has expired is written as such although the answer is refused.
        self.transaction("decide an approval", |db| {
            let known = last(db, run, step)?;
            let refused = match &known {
                None => Some(IndexError::NotAsked { run: run.to_owned(), step: step.to_owned() }),
                Some(known) => known.refusal(&now).or_else(|| {
                    let asked = known.subject;
                    subject.filter(|subject| *subject != asked).map(|_| IndexError::OtherSubject {
                        run: run.to_owned(),
                        step: step.to_owned(),
                        asked,
                    })
                }),
            };
            let (state, by, reason) = match (&refused, answer.approved) {
                (None, true) => (ApprovalState::Approved, Some(&answer.by), answer.reason.as_str()),
                (None, false) => (ApprovalState::Rejected, Some(&answer.by), answer.reason.as_str()),
                (Some(_), _) => (ApprovalState::Expired, None, ""),
            };
            if refused.is_none() || known.as_ref().is_some_and(|known| known.is_late(&now)) {
                db.execute(
                    "UPDATE approvals SET state = ?3, decided_at = ?4, decided_by = ?5, reason = ?6 \
                     WHERE run = ?1 AND step = ?2 AND state = 'pending'",
                    params![run, step, state.name(), now, by, reason],
                )?;
            }
            let known = last(db, run, step)?;
            let missing = || IndexError::NotAsked { run: run.to_owned(), step: step.to_owned() };
            Ok(refused.map_or_else(|| known.ok_or_else(missing), Err))
        })?
    }

    /// Takes back what is asked for a run: nobody waits for an answer any more. Gives how many questions were open.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn invalidate_approvals(&mut self, run: &str, reason: &str) -> Result<usize, IndexError> {
        let now = clock::utc_now();
        self.transaction("take back a request", |db| {
            db.execute(
                "UPDATE approvals SET state = 'invalid', decided_at = ?2, reason = ?3 \
                 WHERE run = ?1 AND state = 'pending'",
                params![run, now, reason],
            )
        })
    }

    /// Ends the questions that nobody has answered in time, and gives them.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn expire_approvals(&mut self, now: Duration) -> Result<Vec<Approval>, IndexError> {
        let now = clock::rfc3339(now);
        self.transaction("expire approvals", |db| {
            let sql = format!("SELECT {COLUMNS} WHERE state = 'pending' AND expires_at <= ?1 ORDER BY run, step");
            let late = db.all(&sql, [&now], approval)?;
            db.execute(
                "UPDATE approvals SET state = 'expired', decided_at = ?1 WHERE state = 'pending' AND expires_at <= ?1",
                [&now],
            )?;
            let expired =
                |late: Approval| Approval { state: ApprovalState::Expired, decided_at: Some(now.clone()), ..late };
            Ok(late.into_iter().map(expired).collect())
        })
    }

    /// All that was asked for a run, in the order in which it was.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn approvals(&self, run: &str) -> Result<Vec<Approval>, IndexError> {
        let sql = format!("SELECT {COLUMNS} WHERE run = ?1 ORDER BY requested_at, step");
        self.db("list approvals").all(&sql, [run], approval)
    }

    /// The runs that wait although it is too late for an answer: they are to end.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn expired_runs(&self, now: Duration) -> Result<Vec<String>, IndexError> {
        let sql = format!(
            "SELECT id FROM runs WHERE {WAITS} AND EXISTS (SELECT 1 FROM approvals WHERE approvals.run = runs.id \
             AND (state = 'expired' OR (state = 'pending' AND expires_at <= ?1))) \
             AND NOT EXISTS (SELECT 1 FROM approvals WHERE approvals.run = runs.id \
             AND state = 'pending' AND (expires_at IS NULL OR expires_at > ?1)) ORDER BY id"
        );
        self.db("look for what has expired").all(&sql, [clock::rfc3339(now)], |row| row.get(0))
    }

    /// All questions of runs that wait, over all runs: those that are open, and those that have expired while their run has not ended yet.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn pending_approvals(&self) -> Result<Vec<Approval>, IndexError> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE state IN ('pending', 'expired') AND run IN (SELECT id FROM runs WHERE {WAITS}) \
             ORDER BY requested_at, run, step"
        );
        self.db("list approvals").all(&sql, [], approval)
    }

    /// Notes that a webhook was called.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn record_delivery(&mut self, delivery: &Delivery) -> Result<(), IndexError> {
        let Delivery { run, step, url, status, error } = delivery;
        let (url, now) = (without_secrets(url), clock::utc_now());
        self.transaction("note a delivery", |db| {
            db.execute(
                "INSERT INTO deliveries (run, step, url, at, status, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![run, step, url, now, status, error],
            )
            .map(drop)
        })
    }

    /// The messages that were sent for a run, in their order; each with when it was.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn deliveries(&self, run: &str) -> Result<Vec<(String, Delivery)>, IndexError> {
        self.db("list deliveries").all(
            "SELECT at, run, step, url, status, error FROM deliveries WHERE run = ?1 ORDER BY id",
            [run],
            |row| {
                let (run, step, url) = (row.get(1)?, row.get(2)?, row.get(3)?);
                Ok((row.get(0)?, Delivery { run, step, url, status: row.get(4)?, error: row.get(5)? }))
            },
        )
    }
}

impl Approval {
    /// Whether it waits for an answer and it is too late for one. The times have one form and compare as text.
    fn is_late(&self, now: &str) -> bool {
        self.state == ApprovalState::Pending && self.expires_at.as_deref().is_some_and(|end| end <= now)
    }

    /// Why it cannot be answered at that time, if it cannot.
    #[must_use]
    pub fn refusal_at(&self, now: Duration) -> Option<IndexError> {
        self.refusal(&clock::rfc3339(now))
    }

    /// Why it cannot be answered.
    fn refusal(&self, now: &str) -> Option<IndexError> {
        let (run, step) = (self.run.clone(), self.step.clone());
        match self.state {
            ApprovalState::Pending if !self.is_late(now) => None,
            ApprovalState::Pending | ApprovalState::Expired => {
                Some(IndexError::Expired { run, step, at: self.expires_at.clone().unwrap_or_default() })
            }
            state => Some(IndexError::Decided { run, step, state, decided_by: self.decided_by.clone() }),
        }
    }
}

/// The question that is open for a step, else the one that was asked last.
fn last(db: Db<'_>, run: &str, step: &str) -> Result<Option<Approval>, IndexError> {
    let order = "ORDER BY state = 'pending' DESC, requested_at DESC LIMIT 1";
    db.one(&format!("SELECT {COLUMNS} WHERE run = ?1 AND step = ?2 {order}"), [run, step], approval)
}

pub(super) fn approval(row: &Row<'_>) -> rusqlite::Result<Approval> {
    let subject = row.get_ref(2)?.as_str()?.parse().unwrap_or(Digest::from_bytes([0; 32]));
    let state = ApprovalState::from_name(row.get_ref(3)?.as_str()?).unwrap_or(ApprovalState::Invalid);
    Ok(Approval {
        run: row.get(0)?,
        step: row.get(1)?,
        subject,
        state,
        request: row.get(4)?,
        requested_at: row.get(5)?,
        expires_at: row.get(6)?,
        decided_at: row.get(7)?,
        decided_by: row.get(8)?,
        reason: row.get(9)?,
    })
}

fn bounded(what: &'static str, text: &str, max: usize) -> Result<(), IndexError> {
    if text.len() > max { Err(IndexError::TooLong { what, max }) } else { Ok(()) }
}

/// Scheme, host, port and path of a URL; nothing of what is none.
fn without_secrets(url: &str) -> String {
    let Ok(mut url) = url::Url::parse(url) else { return String::new() };
    url.set_query(None);
    url.set_fragment(None);
    // Refused only for URLs that have neither.
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    if cleared.is_err() && url.has_authority() { String::new() } else { url.into() }
}
