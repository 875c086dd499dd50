//! The end of a run that waits and cannot go on: the answer is no, and that is the end of its trace. Needs neither plan nor policy nor
//! folders, and touches nothing that the run did.

use super::facts;
use crate::host::{Error, SkillHost};
use crate::id::ToolName;
use crate::outcome::RunOutcome;
use crate::policy::ApprovalAnswer;
use crate::store::{Index, RunDir, RunLock, StoreError};
use crate::trace::blob::BlobStore;
use crate::trace::committed::{Committed, committed};
use crate::trace::event::{ApprovalEvent, Event, Flow, FlowEvent, Kind};
use crate::trace::reader::Reader;
use crate::trace::recorder::Recorder;

/// Ends the run.
pub(crate) fn end_waiting(host: &SkillHost, folder: &RunDir, answer: ApprovalAnswer) -> Result<(), Error> {
    let run = || folder.id().to_owned();
    let _lock = RunLock::acquire(folder.path()).map_err(StoreError::from)?;
    let Some(settled) = committed(&folder.trace())? else { return Err(Error::NotBegun { run: run() }) };
    if settled.has_ended {
        return Err(Error::HasEnded { run: run() });
    }
    if let Some(by) = folder.taken_back()? {
        return Err(Error::TakenBack { run: run(), by });
    }
    end(host, folder, &settled, answer)
}

/// The same of a run that is locked and waits. What its trace has to say is settled.
pub(super) fn end(host: &SkillHost, folder: &RunDir, settled: &Committed, answer: ApprovalAnswer) -> Result<(), Error> {
    let run = || folder.id().to_owned();
    let (true, Some((question, steps))) = (settled.is_asking && !answer.approved, asked(folder, settled.events)?)
    else {
        return Err(Error::NotWaiting { run: run() });
    };
    let kept = (settled.bytes, settled.events, settled.head);
    let mut recorder = Recorder::resume(&folder.trace(), Some(BlobStore::new(folder.blobs())), kept)?;
    let answer = answer.bounded();
    recorder.append(&Event::Approval(ApprovalEvent { answer, ..question }))?;
    recorder.append(&Event::RunEnd { outcome: RunOutcome::Denied, output: serde_json::Value::Null, steps })?;
    recorder.sync()?;
    let mut index = Index::open(host.store.state(), host.durability)?;
    index.reindex_run(&host.store, folder.id(), &facts::of_run)?;
    Ok(())
}

/// The question that stands at the end of a trace, and how many steps began before it.
fn asked(folder: &RunDir, events: u64) -> Result<Option<(ApprovalEvent, u64)>, Error> {
    let mut reader = Reader::open(&folder.trace())?;
    let (mut asked, mut begun) = (None, 0);
    while reader.head().0 < events
        && let Some(line) = reader.next_line()?
    {
        match line.kind() {
            Kind::StepBegin => begun += 1,
            Kind::ApprovalRequest => {
                if let Event::Flow(FlowEvent { step: Some(step), flow: Flow::ApprovalRequest(request) }) =
                    line.event()?
                {
                    let tool = request.tool.unwrap_or_else(ToolName::approve);
                    let answer = ApprovalAnswer::reject("", "");
                    asked = Some(ApprovalEvent { step, tool, needs_approval: request.needs_approval, answer });
                }
            }
            _ => {}
        }
    }
    Ok(asked.map(|asked| (asked, begun)))
}
