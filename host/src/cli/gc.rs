//! `host gc`.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::clock;
use crate::id::Digest;
use crate::report::human::{Append as _, bytes, counted, harmless};
use crate::skills::{SkillBytes, builtin};
use crate::store::gc::{Collected, GcOptions, collect};
use crate::store::index::AccessAction;

/// The age of what is deleted where nothing is said.
const DEFAULT_AGE: Duration = Duration::from_hours(30 * 24);

/// Deletes old runs, and the components that no run names any more
///
/// Never a run that has not ended, waits for a decision or is worked on. With both `--older-than` and `--keep` a run is deleted only where
/// both say so.
#[derive(Debug, clap::Args)]
pub(crate) struct Gc {
    /// Runs at least so old, such as `30d`, `12h` or `2w`, and never one that its policy keeps longer [default: what the policy says, else 30d,
    /// unless `--keep` is given]
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// All but the newest N that have ended
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Deletes nothing and says what would be
    #[arg(long)]
    dry_run: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not an age: it must be a number with `s`, `m`, `h`, `d` or `w`, such as `30d`");
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match text.strip_prefix(number) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        Some("w") => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { number.parse::<u64>().ok() } else { None };
    number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs).ok_or_else(wrong)
}

impl Gc {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let options = GcOptions {
            older_than: self.older_than,
            default_age: (self.older_than.is_none() && self.keep.is_none()).then_some(DEFAULT_AGE),
            keep: self.keep.unwrap_or_default(),
            dry_run: self.dry_run,
            in_use: builtin::names().filter_map(builtin::find).filter_map(|skill| digest(&skill)).collect(),
        };
        let done = collect(host.store(), &options, clock::since_epoch())?;
        if !self.dry_run {
            for run in &done.runs {
                session.note_access(AccessAction::Gc, None, (Some(run), None), "");
            }
        }
        Ok(Reply::new(text(&done, self.dry_run), result(&done, self.dry_run)))
    }
}

fn digest(skill: &SkillBytes) -> Option<Digest> {
    match skill {
        SkillBytes::Memory { component: Cow::Borrowed(bytes), .. } => Some(Digest::of(bytes)),
        _ => None,
    }
}

fn text(done: &Collected, dry_run: bool) -> String {
    let mut out = String::new();
    for run in &done.runs {
        out.add(format_args!("{}\n", harmless(run)));
    }
    for (run, reason) in &done.spared {
        out.add(format_args!("{}  stays: {}\n", harmless(run), harmless(reason)));
    }
    let count = |number: usize, what| counted(u64::try_from(number).unwrap_or(u64::MAX), what);
    out.add(format_args!(
        "{}: {}, {}, {}, {}\n",
        if dry_run { "would be deleted" } else { "deleted" },
        count(done.runs.len(), "run"),
        counted(done.components, "component"),
        counted(done.compiled, "compiled component"),
        bytes(done.bytes)
    ));
    if done.keys > 0 {
        let gone = if dry_run { "would be forgotten" } else { "forgotten" };
        out.add(format_args!("{gone}: {}\n", count(done.keys, "idempotency key")));
    }
    if done.undo_steps > 0 {
        let can = if dry_run { "could not" } else { "cannot" };
        out.add(format_args!("{} of them {can} be undone any more\n", count(done.undo_steps, "step")));
    }
    out
}

fn result(done: &Collected, dry_run: bool) -> Value {
    let spared: Vec<Value> = done.spared.iter().map(|(run, reason)| json!({"run": run, "reason": reason})).collect();
    json!({
        "dry_run": dry_run,
        "runs": done.runs,
        "spared": spared,
        "forgotten": done.forgotten,
        "undo_steps": done.undo_steps,
        "components": done.components,
        "compiled": done.compiled,
        "keys": done.keys,
        "leftovers": done.leftovers,
        "bytes": done.bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_numbers_with_a_unit() {
        assert_eq!(age("30d"), Ok(DEFAULT_AGE));
        assert_eq!(age("2w"), Ok(Duration::from_hours(14 * 24)));
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        for bad in ["", "30", "d", "-1d", "1.5h", "3 d", "1y", "99999999999999999999d", "18446744073709551615w", "+1d"]
        {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
