//! Progress of a run on stderr: one line that is redrawn, and nothing where stderr is not a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::output::Output;
use crate::observe::{HostEvent, Observer};
use crate::report::human::harmless;

/// The time between two turns of the spinner.
const TICK: Duration = Duration::from_millis(120);

/// A progress line.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn new(output: &Output) -> Self {
        if !output.progress {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message("loading skills");
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }

    pub(crate) fn observer(&self) -> impl Observer + 'static {
        let bar = self.0.clone();
        move |event: &HostEvent<'_>| {
            let Some(bar) = &bar else { return };
            match event {
                HostEvent::PlanReady { steps } => bar.set_length(*steps as u64),
                HostEvent::StepBegin { step, tool, .. } => {
                    let (at, of) = (bar.position() + 1, bar.length().unwrap_or_default());
                    bar.set_message(harmless(&format!("step {at} of {of}: {step} ({tool})")));
                }
                HostEvent::StepEnd { .. } => bar.inc(1),
                _ => {}
            }
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
