//! A run that was stopped goes on: after a crash, or after somebody answered what it waited for. What is settled of it stays as it is; what
//! was under way is taken back and done again.

use super::ledger::Ledger;
use super::log::Recording;
use super::prepare::{Given, Stage, open_reach, prepare_with};
use super::reuse::{Earlier, Purpose};
use super::{Phases, Run};
use crate::host::{Error, GoOnOptions, SkillHost};
use crate::observe::HostEvent;
use crate::report::Report;
use crate::skills::{self, SkillLoader};
use crate::store::{RunDir, RunLock, StoreError};
use crate::trace::blob::BlobStore;
use crate::trace::committed::{Committed, committed};
use crate::trace::recorder::Recorder;
use crate::trace::replay::ReplayReader;

/// What is settled of a run that may go on.
pub(crate) fn may_go_on(host: &SkillHost, folder: &RunDir) -> Result<Committed, Error> {
    let run = || folder.id().to_owned();
    let Some(settled) = committed(&folder.trace())? else { return Err(Error::NotBegun { run: run() }) };
    if settled.has_ended {
        return Err(Error::HasEnded { run: run() });
    }
    if let Some(by) = folder.taken_back()? {
        return Err(Error::TakenBack { run: run(), by });
    }
    let policy = &host.policy.policy;
    if settled.header.policy != policy.digest
        || settled.header.rules != policy.rules.as_ref().map(|rules| rules.digest())
    {
        return Err(Error::PolicyChanged { run: run() });
    }
    let above = policy
        .ceiling
        .as_ref()
        .map(|above| (above.text.clone(), above.policy.rules.as_ref().map(|rules| rules.text().to_owned())));
    if folder.ceiling_text()? != above {
        return Err(Error::PolicyChanged { run: run() });
    }
    Ok(settled)
}

/// Goes on with a run.
pub(crate) fn go_on(host: &SkillHost, folder: RunDir, options: &GoOnOptions) -> Result<Report, Error> {
    let mut phases = Phases::default();
    let lock = RunLock::acquire(folder.path()).map_err(StoreError::from)?;
    let reach = open_reach(host)?;
    let settled = may_go_on(host, &folder)?;
    let (header, policy) = (&settled.header, &host.policy.policy);
    host.observers.tell(HostEvent::RunBegin { run: folder.id() });
    let document = folder.plan_document()?;
    let engine = host.engine()?;
    let loader = SkillLoader::new(std::sync::Arc::clone(&engine), host.compiling()).cancelled_by(&options.cancel);
    // The components of the run itself: those that the plan names may be others by now.
    let kept = skills::kept(&folder, &header.skills);
    let given = Given {
        inputs: &header.inputs,
        policy,
        principal: &header.principal,
        has_approver: host.can_ask(),
        log_only: header.log_only,
        replaced: &[],
        snapshot: header.snapshot,
    };
    let prepared =
        prepare_with(engine, &document, &given, |plan| loader.for_plan_under(plan, (folder.path(), &kept), policy))?;
    // A run that continues another one goes on doing so.
    let place = folder.place()?;
    let request = place.as_ref().and_then(|place| place.request.clone()).map(std::sync::Arc::new);
    let earlier = match place.and_then(|place| place.continues) {
        Some((run, purpose)) => {
            let purpose = Purpose::from_name(&purpose)
                .ok_or_else(|| Error::Damaged { what: format!("`{purpose}` is nothing that a run continues for") })?;
            Some(Earlier::read(&host.store.find(&run)?, purpose, Some(folder.id()))?)
        }
        None => None,
    };
    phases.done("load and validate");

    if let (Some(step), Stage::Ready { authorized, .. }, false) = (&settled.under_way, &prepared.stage, options.again)
        && authorized.step(step).is_some_and(|step| authorized.delegation().may_send_unsafe(&step.grant))
    {
        return Err(Error::UnknownEffect { run: folder.id().to_owned(), step: step.clone() });
    }
    super::transaction::put_in_order(&folder, &settled.settled)?;
    let kept = (settled.bytes, settled.events, settled.head);
    let recorder = Recorder::resume(&folder.trace(), Some(BlobStore::new(folder.blobs())), kept)?;
    let ledger = Ledger::go_on(host, &folder, lock)?;
    let log = Recording::after(ReplayReader::open(folder.path())?, host, recorder, ledger);
    let run = Run { host, log, folder, phases, warnings: prepared.warnings(), request };
    run.drive(&document, &prepared, reach, &options.cancel, (earlier, false))
}
