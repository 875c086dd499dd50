//! A report as text for people. Pure: what the terminal is like comes in as a [`Look`].

mod dry;
#[cfg(feature = "cli")]
mod subject;

use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::id::{Digest, SkillName};
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::Denial;
use crate::policy::place::with_places;
use crate::report::{Report, StepReport};
use crate::skill::SkillOrigin;

#[cfg(feature = "cli")]
pub(crate) use dry::changes;
#[cfg(feature = "cli")]
pub(crate) use subject::subject;

/// Appends formatted text to a string.
pub(crate) trait Append {
    /// Appends it.
    fn add(&mut self, text: fmt::Arguments<'_>);
}

impl Append for String {
    fn add(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _: fmt::Result = self.write_fmt(text);
    }
}

/// How text shall look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Whether colours are wanted.
    pub color: bool,
    /// The width of the terminal; `None` where lines may be of any length.
    pub width: Option<usize>,
    /// Whether details are wanted that most people do not need.
    pub verbose: bool,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something good.
    Good,
    /// Something bad.
    Bad,
    /// Something to note.
    Note,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
}

impl Look {
    /// `text` in `tone`, where colours are wanted.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Note => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The report of a run. What went wrong is not in it, only that something did: errors are told apart.
#[must_use]
pub fn report(report: &Report, look: &Look) -> String {
    let mut out = String::new();
    let tone = if report.outcome == RunOutcome::Completed { Tone::Good } else { Tone::Bad };
    let plan = if report.plan.is_empty() { "plan".to_owned() } else { format!("plan `{}`", harmless(&report.plan)) };
    out.add(format_args!("{plan} {}\n", look.paint(tone, outcome_text(report))));
    if !report.tags.is_empty() {
        out.add(format_args!("tags: {}\n", harmless(&report.tags.join(", "))));
    }
    if report.log_only {
        out += &log_only(&report.would_deny, look);
    }
    if let Some(dry_run) = &report.dry_run {
        out += &dry::banner(dry_run, look);
    }
    if !report.output.is_null() {
        out.add(format_args!("\n{}\n{}\n", look.paint(Tone::Strong, "output"), pretty(&report.output)));
    }
    if !report.steps.is_empty() {
        out.add(format_args!("\n{}", steps(&report.steps, &report.denials, look)));
    }
    let cost = report.cost();
    if cost.reused > 0 {
        let (executed, saved) = (counted(cost.calls, "call"), counted(cost.saved_calls, "call"));
        let (fuel, saved_fuel) = (thousands(cost.fuel), thousands(cost.saved_fuel));
        let steps = counted(cost.reused, "reused step");
        out.add(format_args!("\nexecuted  fuel {fuel}, {executed}\nsaved     fuel {saved_fuel}, {saved} ({steps})\n"));
    }
    let said = stderr(&report.steps, look);
    if !said.is_empty() {
        out.add(format_args!("\n{said}"));
    }
    if look.verbose && !report.phases.is_empty() {
        let listed = |times: &[(&str, u64)]| {
            let times: Vec<String> = times.iter().map(|(name, us)| format!("{name} {}", duration(*us))).collect();
            times.join(", ")
        };
        out.add(format_args!("\ntime   {}\n", listed(&report.phases)));
        if !report.parts.is_empty() {
            out.add(format_args!("of it  {}\n", listed(&report.parts)));
        }
    } else {
        out.push('\n');
    }
    let shown = report.skills.iter().filter(|(_, origin, _)| look.verbose || !is_ours(*origin));
    let skills: Vec<String> = shown.map(|(name, origin, digest)| skill(name, *origin, digest)).collect();
    if !skills.is_empty() {
        out.add(format_args!("skills {}\n", skills.join(", ")));
    }
    if let Some(policy) = &report.policy {
        out.add(format_args!("policy {}\n", harmless(&policy.to_string())));
    }
    if let Some(dry_run) = &report.dry_run {
        out += &dry::changes(&dry_run.changes, look);
        return out;
    }
    out.add(format_args!("run    {}\n", harmless(&report.run)));
    out.add(format_args!(
        "trace  {} ({})\n",
        harmless(&report.folder.join("trace.jsonl").to_string_lossy()),
        counted(report.events, "event")
    ));
    out.add(format_args!("head   {}\n", report.head));
    out
}

/// Whether a skill is what its name says on every machine.
const fn is_ours(origin: SkillOrigin) -> bool {
    matches!(origin, SkillOrigin::BuiltIn | SkillOrigin::Host)
}

/// A skill with where it is from and how its digest begins.
pub(crate) fn skill(name: &SkillName, origin: SkillOrigin, digest: &Digest) -> String {
    let digest: String = digest.to_string().chars().take(12).collect();
    format!("{name} ({}) {digest}", origin.name())
}

/// That the policy was not enforced, and what it would have denied. Said before everything else.
fn log_only(would_deny: &[Denial], look: &Look) -> String {
    let count = match would_deny.len() {
        0 => "it would have denied nothing".to_owned(),
        count => format!("it would have denied {}", counted(count as u64, "step")),
    };
    let heading = format!("LOG ONLY: the policy was asked and not enforced; {count}");
    let mut out = format!("\n{}\n", look.paint(Tone::Bad, &heading));
    for Denial { step, tool, reason, .. } in would_deny {
        out.add(format_args!("  {step} ({tool}): {}\n", harmless(&with_places(reason))));
    }
    out
}

/// What steps that did not complete wrote to stderr last.
#[must_use]
pub fn stderr(steps: &[StepReport], look: &Look) -> String {
    let mut out = String::new();
    for step in steps.iter().filter(|step| !step.stderr.trim().is_empty()) {
        let heading = format!("stderr of step `{}`", step.id);
        out.add(format_args!("{}\n", look.paint(Tone::Strong, &heading)));
        for line in step.stderr.trim_end().lines() {
            out.add(format_args!("  {}\n", harmless(line)));
        }
    }
    out
}

fn outcome_text(report: &Report) -> &'static str {
    match report.outcome {
        RunOutcome::Completed => "completed",
        RunOutcome::Failed => "failed",
        RunOutcome::Refused => "refused: nothing ran",
        RunOutcome::Denied if report.steps.iter().any(|step| step.outcome.is_some()) => {
            "denied: later steps did not run"
        }
        RunOutcome::Denied => "denied: nothing ran",
        RunOutcome::Cancelled => "cancelled",
        RunOutcome::RolledBack => "rolled back: everything is as it was",
        RunOutcome::RollbackIncomplete => "rolled back, but not all of it",
        RunOutcome::Paused => "paused: it waits for approval",
    }
}

fn steps(steps: &[StepReport], denials: &[Denial], look: &Look) -> String {
    let mut table = Table::new(&[("step", Align::Left), ("tool", Align::Left), ("outcome", Align::Left)]).and(&[
        ("fuel", Align::Right),
        ("calls", Align::Right),
        ("memory", Align::Right),
        ("time", Align::Right),
    ]);
    for step in steps {
        let name = (step.id.to_string(), step.tool.to_string());
        match &step.outcome {
            None if denials.iter().any(|denial| denial.step == step.id) => {
                table.row(&[&name.0, &name.1, "denied", "", "", "", ""], Some((2, Tone::Bad)));
            }
            None if step.awaits_approval => {
                table.row(&[&name.0, &name.1, "waits for approval", "", "", "", ""], Some((2, Tone::Strong)));
            }
            None if step.skipped.is_some() => {
                table.row(&[&name.0, &name.1, "skipped", "", "", "", ""], Some((2, Tone::Dim)));
            }
            None => table.row(&[&name.0, &name.1, "not run", "", "", "", ""], Some((2, Tone::Dim))),
            Some(outcome) => {
                let tone = if outcome.is_completed() { Tone::Good } else { Tone::Bad };
                let fuel = step.fuel.map_or_else(|| "-".to_owned(), thousands);
                let cells = [
                    name.0.as_str(),
                    &name.1,
                    outcome_name(step, outcome),
                    &fuel,
                    &thousands(step.calls),
                    &bytes(step.memory_bytes),
                    &duration(step.duration_us),
                ];
                table.row(&cells, Some((2, tone)));
            }
        }
    }
    table.render(look)
}

fn outcome_name(step: &StepReport, outcome: &Outcome) -> &'static str {
    match (step.reused.is_some(), step.undone) {
        (_, true) => "undone",
        (true, false) => "reused",
        (false, false) => outcome.name(),
    }
}

/// `1 event`, `2 events`.
#[must_use]
pub fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// A number with its digits in groups: `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size: `512 B`, `64 KiB`, `1.5 MiB`.
#[must_use]
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let (mut tenths, mut unit) = (u128::from(size) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    tenth(tenths, UNITS.get(unit).copied().unwrap_or("TiB"))
}

/// A duration given in microseconds: `870 us`, `12.3 ms`, `4.5 s`.
#[must_use]
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => tenth(u128::from(us / 100), "ms"),
        _ => tenth(u128::from(us / 100_000), "s"),
    }
}

fn tenth(tenths: u128, unit: &str) -> String {
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, _) if whole >= 100 => format!("{whole} {unit}"),
        (whole, part) => format!("{whole}.{part} {unit}"),
    }
}

/// JSON over several lines, members sorted. What a terminal would act upon is escaped: the value is the same.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    crate::harmless::json(&serde_json::to_string_pretty(&value).unwrap_or_default()).into_owned()
}

/// The text on one line, with what a terminal would act upon or nobody would see made visible: see [`crate::harmless`].
#[must_use]
pub fn harmless(text: &str) -> String {
    crate::harmless::line(text).into_owned()
}

/// On which side a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Left.
    Left,
    /// Right, for numbers.
    Right,
}

/// The cells of a row, and the one that has a tone.
type Row = (Vec<String>, Option<(usize, Tone)>);

/// A table of text.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Row>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: Vec::new(), rows: Vec::new() }.and(columns)
    }

    /// The table with more columns.
    #[must_use]
    pub fn and(mut self, columns: &[(&str, Align)]) -> Self {
        self.columns.extend(columns.iter().map(|(name, align)| ((*name).to_owned(), *align)));
        self
    }

    /// Appends a row, with one cell in a tone.
    pub fn row(&mut self, cells: &[&str], tone: Option<(usize, Tone)>) {
        self.rows.push((cells.iter().map(|cell| crate::problem::shown(cell)).collect(), tone));
    }

    /// The table as text. Where it is wider than the terminal, the widest left column is cut.
    #[must_use]
    pub fn render(&self, look: &Look) -> String {
        const GAP: usize = 2;
        const NARROWEST: usize = 8;
        let cell_width = |column: usize| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(column)).map(|cell| cell.chars().count());
            cells.max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, _))| name.chars().count().max(cell_width(index)))
            .collect();
        while let Some(width) = look.width
            && widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1) > width
        {
            let left = widths.iter_mut().zip(&self.columns).filter(|(_, (_, align))| *align == Align::Left);
            match left.map(|(width, _)| width).max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        let mut out = String::new();
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        self.line(&mut out, &heading, &widths, &|_, cell| look.paint(Tone::Dim, cell));
        for (cells, tone) in &self.rows {
            self.line(&mut out, cells, &widths, &|index, cell| match tone {
                Some((toned, tone)) if *toned == index => look.paint(*tone, cell),
                _ => cell.to_owned(),
            });
        }
        out
    }

    fn line(&self, out: &mut String, cells: &[String], widths: &[usize], paint: &dyn Fn(usize, &str) -> String) {
        let mut pad = 0;
        for (index, ((cell, width), (_, align))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            let length = cell.chars().count();
            let cell: String = if length > *width {
                cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
            } else {
                cell.clone()
            };
            let room = width.saturating_sub(length);
            let before = if *align == Align::Right { room } else { 0 };
            // Padding is written before a cell, so that no line ends in blanks.
            if !cell.is_empty() {
                out.add(format_args!("{:pad$}{}", "", paint(index, &cell), pad = pad + before));
                pad = 0;
            } else {
                pad += before;
            }
            pad += 2 + if *align == Align::Right { 0 } else { room };
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::Digest;
    use crate::limits::LimitKind;
    use crate::outcome::Outcome;

    fn step(id: &str, outcome: Option<Outcome>) -> StepReport {
        StepReport {
            outcome,
            calls: 12,
            fuel: Some(1_234_567),
            memory_bytes: 1_179_648,
            duration_us: 870,
            instantiate_us: 0,
            ..StepReport::of(id.parse().unwrap(), "files.read-text".parse().unwrap())
        }
    }

    fn sample(outcome: RunOutcome, steps: Vec<StepReport>) -> Report {
        Report {
            run: "r1".to_owned(),
            folder: "state/runs/r1".into(),
            plan: "p".to_owned(),
            snapshot: None,
            skills: Vec::new(),
            policy: None,
            tags: Vec::new(),
            outcome,
            output: if outcome == RunOutcome::Completed { json!({"total": 3}) } else { Value::Null },
            steps,
            problems: Vec::new(),
            denials: Vec::new(),
            log_only: false,
            would_deny: Vec::new(),
            pending: None,
            rollback: None,
            failure: None,
            dry_run: None,
            head: Digest::of(b""),
            events: 1,
            phases: vec![("store", 12), ("steps", 1_500)],
            parts: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_completed_run() {
        let completed = Outcome::Completed { output: json!(1) };
        let text = report(&sample(RunOutcome::Completed, vec![step("read", Some(completed))]), &Look::default());
        assert_eq!(
            text,
            "plan `p` completed

output
{
  \"total\": 3
}

step  tool             outcome         fuel  calls   memory    time
read  files.read-text  completed  1,234,567     12  1.1 MiB  870 us

run    r1
trace  state/runs/r1/trace.jsonl (1 event)
head   e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
"
        );
    }

    #[test]
    fn a_failed_run_shows_what_did_not_run() {
        let limit = Outcome::LimitExceeded { limit: LimitKind::Deadline, allowed: 5, backtrace: Vec::new() };
        let failed = StepReport { fuel: None, ..step("slow", Some(limit)) };
        let look = Look { verbose: true, ..Look::default() };
        let text = report(&sample(RunOutcome::Failed, vec![failed, step("later", None)]), &look);
        assert!(text.starts_with("plan `p` failed\n\nstep "), "{text}");
        assert!(text.contains("slow   files.read-text  limit-exceeded     -     12  1.1 MiB  870 us\n"), "{text}");
        assert!(text.contains("later  files.read-text  not run\n"), "{text}");
        assert!(text.contains("\ntime   store 12 us, steps 1.5 ms\n"), "{text}");
    }

    #[test]
    fn the_last_words_of_a_guest_are_shown() {
        let trapped = Outcome::Trapped { message: "unreachable".to_owned(), backtrace: Vec::new() };
        let words = "panicked at src/lib.rs:1:1:\n\x1b[31mno\n".to_owned();
        let failed = StepReport { stderr: words, ..step("it", Some(trapped)) };
        let text = report(&sample(RunOutcome::Failed, vec![failed]), &Look::default());
        let said = "\n\nstderr of step `it`\n  panicked at src/lib.rs:1:1:\n  \\u{1b}[31mno\n\nrun    r1\n";
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_name() {
        let look = Look { width: Some(70), ..Look::default() };
        let completed = Outcome::Completed { output: json!(1) };
        let text = steps(&[step("a-step-with-a-very-long-name-that-never-ends", Some(completed))], &[], &look);
        assert!(text.lines().all(|line| line.chars().count() <= 70), "{text}");
        assert!(text.contains('…'));
    }

    #[test]
    fn colours_come_only_where_asked_for() {
        let plain = Look::default();
        let color = Look { color: true, ..plain };
        assert_eq!(plain.paint(Tone::Bad, "x"), "x");
        assert_eq!(color.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(color.paint(Tone::Bad, ""), "");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(thousands), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 1 << 20, 150 << 20].map(bytes),
            ["0 B", "1023 B", "1 KiB", "1.5 KiB", "1 MiB", "150 MiB"]
        );
        assert_eq!(bytes(u64::MAX), "16777215 TiB");
        assert_eq!([0, 999, 1_000, 12_340, 2_500_000].map(duration), ["0 us", "999 us", "1 ms", "12.3 ms", "2.5 s"]);
        assert_eq!([1, 2].map(|count| counted(count, "event")), ["1 event", "2 events"]);
    }

    #[test]
    fn what_a_guest_says_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\x1b[31m\r\nb"), "a\\u{1b}[31m\\r\\nb");
        let mut table = Table::new(&[("x", Align::Left)]);
        table.row(&["a\nb\x1b"], None);
        assert_eq!(table.render(&Look::default()), "x\na\\nb\\u{1b}\n");
    }

    /// How many lines a text has, each of which holds nothing that is hidden.
    fn clean_lines(text: &str) -> usize {
        assert!(!text.chars().any(|c| crate::harmless::is_hidden(c) && c != '\n'), "{text:?}");
        text.lines().count()
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_report_holds_its_records_stay_on_their_lines(foreign in crate::harmless::tests::hostile()) {
            use crate::diff::{Change, Changes, What};
            use crate::report::{DryRun, Rehearsed};

            let report_of = |text: &str| {
                let text = || text.to_owned();
                let failed = Outcome::Failed { error: json!(text()) };
                let mut report = sample(RunOutcome::Failed, vec![step("it", Some(failed)), step("next", None)]);
                (report.plan, report.run, report.tags) = (text(), text(), vec![text()]);
                report.folder = text().into();
                report.output = json!({ text(): text() });
                report.log_only = true;
                report.would_deny.push(Denial {
                    step: "it".parse().unwrap(),
                    tool: "files.remove".parse().unwrap(),
                    why: crate::policy::Why::Forbidden,
                    rules: vec![text()],
                    needs_approval: vec![text()],
                    reason: text(),
                    hint: text(),
                    missing: Vec::new(),
                });
                let change = Change { path: text(), what: What::Removed, before: None, after: None, diff: String::new() };
                let changes = Changes { list: vec![change], more: 1, notices: vec![text()] };
                let asks = Rehearsed { step: "it".parse().unwrap(), needs_approval: vec![text()] };
                let rehearsed = DryRun { approvals: vec![asks], network: Vec::new(), changes };
                let kept = super::report(&report, &Look::default());
                report.dry_run = Some(rehearsed);
                kept + &super::report(&report, &Look { verbose: true, ..Look::default() })
            };
            proptest::prop_assert_eq!(clean_lines(&report_of(&foreign)), clean_lines(&report_of("x")));
        }
    }
}
