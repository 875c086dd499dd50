//! How far a trace is settled that was cut off: what a run that goes on keeps of it.

use std::collections::BTreeSet;
use std::path::Path;

use super::TraceError;
use super::event::{Event, Flow, FlowEvent, Header, Kind};
use super::reader::Reader;
use crate::id::{Digest, StepId};

/// What of a trace is settled: everything before a step that did not end, or that ended without what belongs to its end.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The header.
    pub header: Header,
    /// The bytes to keep, which end with a whole event.
    pub bytes: u64,
    /// Events in them.
    pub events: u64,
    /// The hash of the last of them.
    pub head: Digest,
    /// The attempts at steps that they settle: step and attempt; compensations are attempt 0.
    pub settled: BTreeSet<(StepId, u32)>,
    /// Those of them that did not complete.
    pub failed: BTreeSet<(StepId, u32)>,
    /// The step that began behind them and did not end.
    pub under_way: Option<StepId>,
    /// Whether they end with the end of the run.
    pub has_ended: bool,
    /// Whether they end with a question that nobody has answered.
    pub is_asking: bool,
}

/// Reads a trace as far as it is whole. `None` where not even its header is: the run had not begun.
///
/// # Errors
///
/// [`TraceError`] where a whole line is not what a recorder wrote: that is no crash but damage.
pub fn committed(path: &Path) -> Result<Option<Committed>, TraceError> {
    let mut reader = Reader::open(path)?;
    let mut committed: Option<Committed> = None;
    let mut begun: Option<(StepId, u32)> = None;
    let (mut ended, mut has_failed) = (None, false);
    loop {
        let (kind, event) = match reader.next_line() {
            Ok(None) | Err(TraceError::Torn { .. }) => break,
            Err(error) => return Err(error),
            Ok(Some(line)) if line.kind().is_inside_of_step() => continue,
            Ok(Some(line)) => (line.kind(), line.event()?),
        };
        match event {
            Event::Header(header) => {
                let (events, head) = reader.head();
                let (settled, failed) = (BTreeSet::new(), BTreeSet::new());
                let bytes = reader.bytes();
                let (under_way, has_ended, is_asking) = (None, false, false);
                committed =
                    Some(Committed { header, bytes, events, head, settled, failed, under_way, has_ended, is_asking });
                continue;
            }
            Event::StepBegin(begin) => {
                begun = Some((begin.step, if begin.compensates { 0 } else { begin.attempt }));
                continue;
            }
            // An end that is no success has what was restored behind it, or the end of the run.
            Event::StepEnd(end) => {
                ended = begun.take();
                if !end.outcome.is_completed() {
                    has_failed = true;
                    continue;
                }
                has_failed = false;
            }
            _ if kind == Kind::Contract => continue,
            // Of the attempt that has ended: what was restored is still to come.
            Event::Flow(FlowEvent { flow: Flow::Failed(_), .. }) if ended.is_some() => continue,
            _ => {}
        }
        if let Some(committed) = &mut committed {
            (committed.events, committed.head) = reader.head();
            committed.bytes = reader.bytes();
            committed.failed.extend(ended.clone().filter(|_| has_failed));
            committed.settled.extend(ended.take());
            committed.has_ended = kind == Kind::RunEnd;
            committed.is_asking = kind == Kind::ApprovalRequest;
        }
    }
    if let Some(committed) = &mut committed {
        committed.under_way = begun.map(|(step, _)| step);
    }
    Ok(committed)
}
