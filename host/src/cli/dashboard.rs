//! `host dashboard`: what there is to know and to do, on one screen.

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::runs::readable_index;
use crate::cli::session::Session;
use crate::report::human::{Append as _, Tone, bytes, counted, harmless};
use crate::store::Overview;
use crate::store::dashboard::Dashboard;
use crate::store::index::{Approval, ApprovalState, RunStatus};

/// How many lines each part has at the most.
const LINES_MAX: usize = 10;

/// Shows on one screen how many runs are what, what waits for approval, what a crash has left, what failed last and how much room it takes
#[derive(Debug, clap::Args)]
pub(crate) struct ShowDashboard {
    /// How many of the last failures
    #[arg(long, value_name = "N", default_value_t = 5)]
    failures: usize,
}

impl ShowDashboard {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let store = session.store();
        let index = readable_index(session, &store);
        let dashboard = Dashboard::of(&store, index.as_ref(), self.failures)?;
        Ok(Reply::new(text(session, &dashboard), result(&dashboard)))
    }
}

fn text(session: &Session, dashboard: &Dashboard) -> String {
    let look = &session.output.look;
    let mut out = String::new();
    let strong = |text: &str| look.paint(Tone::Strong, text);
    let counts: Vec<String> =
        dashboard.runs.iter().map(|(status, count)| format!("{count} {}", status.name())).collect();
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    out.add(format_args!("{}     {counts}\n", strong("runs")));
    if !dashboard.active.is_empty() {
        out.add(format_args!("{}\n", strong("at work")));
        lines(&mut out, &dashboard.active, |run| format!("{}  {}", run.id, harmless(&run.plan)));
    }
    if !dashboard.waiting.is_empty() {
        out.add(format_args!("{}\n", strong("waits for approval")));
        lines(&mut out, &dashboard.waiting, |Approval { run, step, requested_at, expires_at, state, .. }| {
            let until = match (state, expires_at) {
                (ApprovalState::Pending, None) => "no end".to_owned(),
                (ApprovalState::Pending, Some(until)) => format!("until {until}"),
                _ => "too late now: `host recover` ends it".to_owned(),
            };
            format!("{run}  step `{}`  since {requested_at}, {until}", harmless(step))
        });
        let host = harmless(&session.host());
        out.add(format_args!(
            "  `{host} approve RUN --show` shows what is asked, whole\n  `{host} approve RUN STEP --by NAME` or `{host} reject RUN STEP --by NAME` decides\n"
        ));
    }
    if !dashboard.stopped.is_empty() {
        out.add(format_args!("{}\n", strong("stopped by a crash")));
        lines(&mut out, &dashboard.stopped, |run| {
            let unknown = if run.status == RunStatus::Unknown { "  what it did outside is unknown" } else { "" };
            format!("{}  {}  {} done{unknown}", run.id, harmless(&run.plan), counted(run.steps, "step"))
        });
        out.add(format_args!("  `host recover` goes on with them\n"));
    }
    if !dashboard.failures.is_empty() {
        out.add(format_args!("{}\n", strong("last failures")));
        lines(&mut out, &dashboard.failures, |run| {
            format!("{}  {}  {}", run.id, harmless(&run.plan), look.paint(Tone::Bad, run.status.name()))
        });
        out.add(format_args!("  `host trace show RUN` says why\n"));
    }
    let sizes: Vec<String> = dashboard.sizes.iter().map(|(name, size)| format!("{name} {}", bytes(*size))).collect();
    out.add(format_args!("{}  {} ({})\n", strong("storage"), bytes(dashboard.bytes()), sizes.join(", ")));
    out
}

/// A line for each, and one that says how many more there are.
fn lines<T>(out: &mut String, items: &[T], line: impl Fn(&T) -> String) {
    for item in items.iter().take(LINES_MAX) {
        out.add(format_args!("  {}\n", line(item)));
    }
    if items.len() > LINES_MAX {
        out.add(format_args!("  and {} more\n", items.len() - LINES_MAX));
    }
}

fn result(dashboard: &Dashboard) -> Value {
    let runs = |runs: &[Overview]| -> Vec<Value> {
        let run = |run: &Overview| json!({ "run": run.id, "plan": run.plan, "status": run.status.name(), "steps": run.steps });
        runs.iter().map(run).collect()
    };
    let waiting = |asked: &Approval| {
        json!({
            "run": asked.run, "step": asked.step, "subject": asked.subject, "state": asked.state.name(),
            "requested_at": asked.requested_at, "expires_at": asked.expires_at,
        })
    };
    let counts: serde_json::Map<String, Value> =
        dashboard.runs.iter().map(|(status, count)| (status.name().to_owned(), json!(count))).collect();
    let sizes: serde_json::Map<String, Value> =
        dashboard.sizes.iter().map(|(name, size)| ((*name).to_owned(), json!(size))).collect();
    json!({
        "runs": counts,
        "active": runs(&dashboard.active),
        "waiting": dashboard.waiting.iter().map(waiting).collect::<Vec<_>>(),
        "stopped": runs(&dashboard.stopped),
        "failures": runs(&dashboard.failures),
        "bytes": sizes,
    })
}
