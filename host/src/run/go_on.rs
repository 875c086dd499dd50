//! A run that was stopped goes on: after a crash, or after somebody answered what it waited for. What is settled of it stays as it is; what
//! was under way is taken back and done again.

use std::collections::BTreeMap;

use super::log::Recording;
use super::prepare::{Given, open_reach, prepare_with};
use super::{Phases, Run};
use crate::host::{Error, GoOnOptions, SkillHost};
use crate::observe::HostEvent;
use crate::report::Report;
use crate::skills::{SkillBytes, SkillLoader};
use crate::store::RunDir;
use crate::trace::blob::BlobStore;
use crate::trace::committed::committed;
use crate::trace::recorder::Recorder;
use crate::trace::replay::ReplayReader;

/// Goes on with a run.
pub(crate) fn go_on(host: &SkillHost, folder: RunDir, options: &GoOnOptions) -> Result<Report, Error> {
    let mut phases = Phases::default();
    let reach = open_reach(host)?;
    let Some(settled) = committed(&folder.trace())? else {
        return Err(Error::NotBegun { run: folder.id().to_owned() });
    };
    if settled.has_ended {
        return Err(Error::HasEnded { run: folder.id().to_owned() });
    }
    let header = &settled.header;
    let policy = &host.policy.policy;
    if header.policy != policy.digest || header.rules != policy.rules.as_ref().map(|rules| rules.digest()) {
        return Err(Error::PolicyChanged { run: folder.id().to_owned() });
    }
    host.observers.tell(HostEvent::RunBegin { run: folder.id() });
    let document = folder.plan_document()?;
    let engine = host.engine()?;
    let loader = SkillLoader::new(std::sync::Arc::clone(&engine), &host.cache);
    // The components of the run itself: those that the plan names may be others by now.
    let kept: BTreeMap<_, _> =
        header.skills.iter().map(|(name, digest)| (name.clone(), SkillBytes::File(folder.component(digest)))).collect();
    let given = Given {
        inputs: &header.inputs,
        policy,
        principal: &header.principal,
        has_approver: host.can_ask(),
        log_only: header.log_only,
        replaced: &[],
    };
    let prepared = prepare_with(engine, &document, &given, |plan| loader.for_plan(plan, folder.path(), &kept))?;
    phases.done("load and validate");

    let kept = (settled.bytes, settled.events, settled.head);
    let recorder = Recorder::resume(&folder.trace(), Some(BlobStore::new(folder.blobs())), kept)?;
    let log = Recording::after(ReplayReader::open(folder.path())?, recorder, host.durability);
    let run = Run { host, log, folder, phases, warnings: prepared.warnings() };
    run.drive(&document, &prepared, reach, &options.cancel)
}
