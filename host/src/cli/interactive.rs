//! `--interactive`: asks on the terminal where a step needs approval. Anything but a yes is a no.

use crate::canonical;
use crate::cli::output::Output;
use crate::limits;
use crate::outcome::Outcome;
use crate::policy::place::{self, with_places};
use crate::policy::{ApprovalAnswer, ApprovalRequest, Approve, Preview};
use crate::report::human::{self, Append as _, Look};

/// Who answers, in the trace.
const TERMINAL: &str = "terminal";
/// Characters of the input that are shown.
const INPUT_CHARS_MAX: usize = 400;

/// Asks on stderr and reads the answer from stdin.
pub(crate) fn approver(output: Output) -> impl Approve + 'static {
    move |request: &ApprovalRequest<'_>| match output.ask(&question(request)) {
        Some(line) if is_yes(&line) => ApprovalAnswer::approve(TERMINAL, ""),
        Some(_) => ApprovalAnswer::reject(TERMINAL, ""),
        None => ApprovalAnswer::reject(TERMINAL, "no answer"),
    }
}

/// `y` or `yes`, in any case.
fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// All that the answer depends on; the last line is the question itself.
fn question(request: &ApprovalRequest<'_>) -> String {
    let ApprovalRequest { step, tool, input, principal, grant_index, grant, risk, needed_by, rules, reasons, .. } =
        *request;
    let mut text = format!("step `{step}` needs approval: {}\n", with_places(&needed_by.join(", ")));
    text.add(format_args!("  tool: {tool}, called by {principal}\n"));
    let input = canonical::to_string(input);
    match input.char_indices().nth(INPUT_CHARS_MAX) {
        Some((end, _)) => {
            text.add(format_args!("  input: {}… ({} bytes)\n", input.get(..end).unwrap_or_default(), input.len()));
        }
        None => text.add(format_args!("  input: {input}\n")),
    }
    text.add(format_args!("  risk: {}\n", risk.map_or("not declared", crate::skill::Risk::name)));
    let folders = grant.filesystem.iter().map(|one| format!("{} = {} ({})", one.guest, one.host, one.access.name()));
    let folders: Vec<String> = folders.collect();
    let folders = if folders.is_empty() { "no folders".to_owned() } else { folders.join(", ") };
    text.add(format_args!(
        "  {}: {folders}; clocks {}, random {}\n",
        place::grant(grant_index as u64),
        grant.clocks.name(),
        grant.random.name()
    ));
    if !rules.is_empty() {
        text.add(format_args!("  permitted by: {}\n", rules.join(", ")));
    }
    for reason in reasons {
        text.add(format_args!("  reason: {reason}\n"));
    }
    if let Some(preview) = request.rehearsal.preview() {
        add_preview(&mut text, &preview);
    }
    text.push_str("may it run? [y/N] ");
    text
}

/// What a rehearsal of the step found out.
fn add_preview(text: &mut String, Preview { ended, changes }: &Preview) {
    match ended {
        Ok(outcome) if outcome.is_completed() => text.push_str("  rehearsed on a copy: it completed\n"),
        Ok(outcome) => {
            let why = match outcome {
                Outcome::Failed { error } => canonical::to_string(error),
                Outcome::Trapped { message, .. } => message.clone(),
                Outcome::LimitExceeded { limit, allowed, .. } => format!("{} of {allowed}", limit.name()),
                _ => String::new(),
            };
            let why: String = why.chars().take(INPUT_CHARS_MAX).collect();
            text.add(format_args!("  rehearsed on a copy: it ended as {}: {why}\n", outcome.name()));
        }
        Err(why) => {
            text.add(format_args!("  what it would change is not known, it could not be rehearsed: {why}\n"));
            return;
        }
    }
    let changes = human::changes(changes, &Look::default());
    let lines = changes.lines().count();
    for line in changes.lines().take(limits::PREVIEW_LINES_MAX) {
        let indent = if line.is_empty() { "" } else { "  " };
        text.add(format_args!("{indent}{line}\n"));
    }
    if lines > limits::PREVIEW_LINES_MAX {
        text.add(format_args!("  … {} more lines\n", lines - limits::PREVIEW_LINES_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Changes;
    use crate::policy::Rehearsal;
    use serde_json::json;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y", " yes \n", "YES\r\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yess\n", "ja\n", "y y\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }

    #[test]
    fn the_question_says_what_the_answer_depends_on() {
        let text = "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\nclocks = \"real\"\n\
                    filesystem = [{ host = \"{workspace}\", guest = \"/w\", access = \"read-write\" }]\n";
        let grant = crate::policy::Policy::parse(text).unwrap().grants.remove(0);
        let input = json!({"path": "x".repeat(1_000)});
        let preview = || Preview {
            ended: Ok(Outcome::Completed { output: json!(null) }),
            changes: Changes { notices: vec!["n".to_owned(); limits::PREVIEW_LINES_MAX], ..Changes::default() },
        };
        let asked = question(&ApprovalRequest {
            step: &"wipe".parse().unwrap(),
            tool: &"files.remove".parse().unwrap(),
            input: &input,
            principal: &"agent:a".parse().unwrap(),
            grant_index: 2,
            grant: &grant,
            risk: Some(crate::skill::Risk::High),
            needed_by: &["risk high".to_owned()],
            rules: &["all".to_owned()],
            reasons: &["agents may tidy up".to_owned()],
            rehearsal: Rehearsal::of(&preview),
        });
        let shown = format!("{{\"path\":\"{}… (1011 bytes)", "x".repeat(391));
        assert_eq!(
            asked,
            format!(
                "step `wipe` needs approval: risk high\n  tool: files.remove, called by agent:a\n  input: {shown}\n  risk: high\n  \
                 grant 2 (the third): /w = {{workspace}} (read-write); clocks real, random seeded\n  permitted by: all\n  reason: agents may tidy \
                 up\n  rehearsed on a copy: it completed\n  no changes\n{}  … 1 more lines\nmay it run? [y/N] ",
                "  note: n\n".repeat(limits::PREVIEW_LINES_MAX - 1)
            )
        );
    }
}
