//! Idempotency keys: which request was made under which, who answers it, what was answered. Knows nothing of what an answer is; whether
//! whoever answers is still there, [`super::super::keys`] finds out.

use rusqlite::params;

use super::db::Db;
use super::{Index, IndexError};
use crate::clock;
use crate::context::RequestKey;
use crate::limits;

/// What is known of a key when somebody wants to answer a request with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing was: whoever has asked is to answer it now.
    New,
    /// The answer.
    Answered(String),
    /// It was used for another request.
    Other,
    /// Somebody answers it, or did when it was killed.
    UnderWay {
        /// Who.
        owner: String,
        /// When that was said.
        asked_at: String,
    },
    /// It was answered, and the answer is not known any more.
    Lost {
        /// The run that it asked for, where one is known.
        run: Option<String>,
    },
    /// As many keys as may be are known.
    Full,
}

impl Index {
    /// Lets `owner` answer a request, unless its key is known.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn claim_request(&mut self, key: &RequestKey, owner: &str) -> Result<Claim, IndexError> {
        self.transaction("claim a key", |db| {
            let known = db.one(
                "SELECT request, owner, run, answer, asked_at FROM requests WHERE key = ?1",
                [&key.key],
                |row| {
                    let is_other = row.get::<_, String>(0)? != key.request.to_string();
                    let (owner, run, answer, asked_at) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
                    Ok(match (owner, answer) {
                        _ if is_other => Claim::Other,
                        (Some(owner), _) => Claim::UnderWay { owner, asked_at },
                        (None, Some(answer)) => Claim::Answered(answer),
                        (None, None) => Claim::Lost { run },
                    })
                },
            )?;
            if let Some(known) = known {
                return Ok(known);
            }
            let count = db.one("SELECT count(*) FROM requests", [], |row| row.get::<_, i64>(0))?.unwrap_or_default();
            if count >= limits::IDEMPOTENCY_KEYS_MAX {
                return Ok(Claim::Full);
            }
            let sql = "INSERT INTO requests (key, request, owner, asked_at) VALUES (?1, ?2, ?3, ?4)";
            db.execute(sql, params![key.key, key.request.to_string(), owner, clock::utc_now()])?;
            Ok(Claim::New)
        })
    }

    /// Lets another one answer a request whose owner is gone. Gives whether it was not taken over before.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn take_over_request(&mut self, key: &str, from: &str, owner: &str) -> Result<bool, IndexError> {
        let sql = "UPDATE requests SET owner = ?3, asked_at = ?4 WHERE key = ?1 AND owner = ?2";
        let taken = self.db("claim a key").execute(sql, params![key, from, owner, clock::utc_now()])?;
        Ok(taken > 0)
    }

    /// Keeps what `owner` has answered, and the run that was asked for; `None` where the answer is not known or too long.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn answer_request(
        &mut self,
        (key, owner): (&str, &str),
        answer: Option<&str>,
        run: Option<&str>,
    ) -> Result<(), IndexError> {
        let answer = answer.filter(|answer| answer.len() <= limits::IDEMPOTENT_ANSWER_BYTES_MAX);
        let sql =
            "UPDATE requests SET owner = NULL, answer = ?3, run = ?4, answered_at = ?5 WHERE key = ?1 AND owner = ?2";
        self.db("keep an answer").execute(sql, params![key, owner, answer, run, clock::utc_now()]).map(drop)
    }

    /// Lets go of a key under which nothing was done.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn release_request(&mut self, key: &str, owner: &str) -> Result<(), IndexError> {
        let sql = "DELETE FROM requests WHERE key = ?1 AND owner = ?2";
        self.db("let go of a key").execute(sql, params![key, owner]).map(drop)
    }

    /// Forgets the keys of requests from before `until` that nobody answers. Gives how many, or how many it would.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn forget_requests(&mut self, until: &str, dry_run: bool) -> Result<usize, IndexError> {
        let db = self.db("forget keys");
        if dry_run {
            let sql = "SELECT count(*) FROM requests WHERE asked_at <= ?1 AND owner IS NULL";
            let count: Option<i64> = db.one(sql, [until], |row| row.get(0))?;
            return Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or_default());
        }
        db.execute("DELETE FROM requests WHERE asked_at <= ?1 AND owner IS NULL", [until])
    }
}

/// Takes note of the key that a run's folder knows, where the index does not and something of the run has begun or waits: of what was
/// answered nothing is known.
pub(super) fn found(db: Db<'_>, key: &RequestKey, run: &str) -> Result<(), IndexError> {
    let begun = "SELECT 1 FROM steps WHERE run = ?1 AND begin_seq IS NOT NULL \
         UNION ALL SELECT 1 FROM approvals WHERE run = ?1 LIMIT 1";
    if db.one(begun, [run], |_| Ok(()))?.is_none() {
        return Ok(());
    }
    let sql = "INSERT INTO requests (key, request, run, asked_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO NOTHING";
    db.execute(sql, params![key.key, key.request.to_string(), run, clock::utc_now()]).map(drop)
}
