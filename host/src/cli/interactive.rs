//! `--interactive`: asks on the terminal where a step needs approval. Anything but a yes is a no.

use crate::canonical;
use crate::cli::output::Output;
use crate::limits;
use crate::outcome::Outcome;
use crate::policy::{ApprovalAnswer, ApprovalRequest, Approve, Preview};
use crate::report::human::{self, Append as _, Look};

/// Who answers, in the trace.
const TERMINAL: &str = "terminal";
/// Characters of why a rehearsal ended that are shown.
const WHY_CHARS_MAX: usize = 400;

/// Asks on stderr and reads the answer from stdin.
pub(crate) fn approver(output: Output) -> impl Approve + 'static {
    move |request: &ApprovalRequest<'_>| match output.ask(&question(request)) {
        Some(line) if is_yes(&line) => ApprovalAnswer::approve(TERMINAL, ""),
        Some(_) => ApprovalAnswer::reject(TERMINAL, ""),
        None => ApprovalAnswer::reject(TERMINAL, "no answer"),
    }
}

/// `y` or `yes`, in any case.
pub(crate) fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// All that the answer depends on, and what the step would do; the last line is the question itself.
fn question(request: &ApprovalRequest<'_>) -> String {
    let mut text = human::subject(request.document, &request.subject);
    if let Some(preview) = request.rehearsal.preview() {
        add_preview(&mut text, &preview);
    }
    text.push_str("may it run? [y/N] ");
    text
}

/// What a rehearsal of the step found out.
pub(crate) fn add_preview(text: &mut String, Preview { ended, changes }: &Preview) {
    match ended {
        Ok(outcome) if outcome.is_completed() => text.push_str("  rehearsed on a copy: it completed\n"),
        Ok(outcome) => {
            let why = match outcome {
                Outcome::Failed { error } => canonical::to_string(error),
                Outcome::Trapped { message, .. } => message.clone(),
                Outcome::LimitExceeded { limit, allowed, .. } => format!("{} of {allowed}", limit.name()),
                _ => String::new(),
            };
            let why = human::harmless(&why.chars().take(WHY_CHARS_MAX).collect::<String>());
            text.add(format_args!("  rehearsed on a copy: it ended as {}: {why}\n", outcome.name()));
        }
        Err(why) => {
            text.add(format_args!(
                "  what it would change is not known, it could not be rehearsed: {}\n",
                human::harmless(why)
            ));
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
    fn the_question_says_what_the_answer_depends_on_and_what_would_happen() {
        let grant = crate::policy::Grant::empty();
        let input = json!({"path": "x".repeat(1_000)});
        let document = json!({"step": "wipe", "tool": "files.remove", "input": input});
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
            rules: &[],
            reasons: &[],
            rehearsal: Rehearsal::of(&preview),
            document: &document,
            subject: crate::id::Digest::of(b"it"),
        });
        let subject = human::subject(&document, &crate::id::Digest::of(b"it"));
        assert!(subject.contains(&"x".repeat(1_000)), "{subject}");
        let notes = "  note: n\n".repeat(limits::PREVIEW_LINES_MAX - 1);
        let rest =
            format!("  rehearsed on a copy: it completed\n  no changes\n{notes}  … 1 more lines\nmay it run? [y/N] ");
        assert_eq!(asked, subject + &rest);
    }
}
