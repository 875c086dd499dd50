//! What a dry run has found out, as text.

use super::{Append as _, Look, Tone, counted, harmless};
use crate::diff::{Change, Changes};
use crate::report::{DryRun, Rehearsed};

/// That nothing was changed, and what was otherwise than in a run. Said before everything else.
pub(super) fn banner(dry_run: &DryRun, look: &Look) -> String {
    let DryRun { approvals, network, .. } = dry_run;
    let mut out = format!("\n{}\n", look.paint(Tone::Note, "DRY RUN: nothing was changed"));
    for Rehearsed { step, needs_approval } in approvals {
        out.add(format_args!("  {step} needs approval: {}\n", harmless(&needs_approval.join(", "))));
    }
    for step in network {
        out.add(format_args!("  {step} had no network: every request of it was refused\n"));
    }
    out
}

/// What would have changed.
pub(crate) fn changes(changes: &Changes, look: &Look) -> String {
    let Changes { list, more, notices } = changes;
    let mut out = String::new();
    let heading = match list.len() as u64 + more {
        0 => "no changes".to_owned(),
        count => counted(count, "change"),
    };
    out.add(format_args!("{}\n", look.paint(Tone::Strong, &heading)));
    for change in list {
        out.add(format_args!("{}\n", harmless(&change.line())));
    }
    if *more > 0 {
        out.add(format_args!("… {}\n", counted(*more, "more change")));
    }
    for notice in notices {
        out.add(format_args!("note: {}\n", harmless(notice)));
    }
    for Change { diff, .. } in list.iter().filter(|change| !change.diff.is_empty()) {
        out.push('\n');
        for line in diff.lines() {
            let tone = match line.as_bytes().first() {
                Some(b'+') if !line.starts_with("+++ ") => Tone::Good,
                Some(b'-') if !line.starts_with("--- ") => Tone::Bad,
                Some(b'@') => Tone::Dim,
                Some(b'+' | b'-') => Tone::Strong,
                _ => {
                    out.add(format_args!("{}\n", harmless(line)));
                    continue;
                }
            };
            out.add(format_args!("{}\n", look.paint(tone, &harmless(line))));
        }
    }
    out
}
