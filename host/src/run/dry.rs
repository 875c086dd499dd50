//! Rehearsals: steps really run, on throw-away copies of what they may write, without network and without asking anybody. What they would
//! change is told, and nothing of it stays.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::diff::Changes;
use crate::durability::Durability;
use crate::host::{Error, RunOptions, SkillHost};
use crate::id::StepId;
use crate::plan::PlanDocument;
use crate::policy::{Access, ApprovalAnswer, ApprovalRequest, AuthorizedPlan, Grant, WORKSPACE};
use crate::report::{DryRun, Rehearsed, Report};
use crate::sandbox::{CancelToken, Directories, Ground, OwnFiles, SandboxError, check_folder};
use crate::scratch::{Bounds, Scratch, ScratchError};

/// Who approves in a dry run.
const REHEARSAL: &str = "dry run";

/// What a dry run has in place of the real things. Its run's folder, its index and its copies are in one folder that is removed with it.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    scratch: Mutex<Scratch>,
    /// The steps that needed approval, and why.
    approvals: Mutex<Vec<Rehearsed>>,
    cancel: CancelToken,
}

/// Runs a plan without changing anything.
pub(crate) fn dry_run(host: &SkillHost, document: &PlanDocument, options: &RunOptions) -> Result<Report, Error> {
    let scratch = Scratch::create(host.store.state(), Bounds::DRY_RUN)?;
    let state = scratch.path().join("state");
    let rehearsal = Arc::new(Rehearsal {
        scratch: Mutex::new(scratch),
        approvals: Mutex::default(),
        cancel: options.cancel.clone(),
    });
    let noted = Arc::clone(&rehearsal);
    let approver = move |request: &ApprovalRequest<'_>| noted.approve(request);
    let rehearsing = host.rehearsing(state, Arc::clone(&rehearsal), approver);
    let report = super::run(&rehearsing, document, options, None)?;
    let (changes, approvals) = (rehearsal.changes()?, rehearsal.approvals());
    let network = report.dry_run.map(|dry_run| dry_run.network).unwrap_or_default();
    let (run, folder) = (String::new(), PathBuf::new());
    Ok(Report { run, folder, dry_run: Some(DryRun { approvals, network, changes }), ..report })
}

impl SkillHost {
    /// The same host with a state of its own, of which nothing needs to last.
    fn rehearsing(
        &self,
        state: PathBuf,
        rehearsal: Arc<Rehearsal>,
        approver: impl Fn(&ApprovalRequest<'_>) -> ApprovalAnswer + Send + Sync + 'static,
    ) -> Self {
        // Where nobody could be asked the real run is denied, and so is this one.
        let can_ask = self.can_ask();
        let mut host = self.at(state);
        host.set_approver(can_ask.then_some(approver));
        host.pauses = false;
        host.durability = Durability::Buffered;
        host.rehearsal = Some(rehearsal);
        host
    }

    /// Opens what the grants of a run name: in a rehearsal, copies of what they may write.
    pub(super) fn open_directories(&self, authorized: &AuthorizedPlan) -> Result<Directories, Error> {
        let grants: Vec<&Grant> = authorized.grants().collect();
        // A plan that is granted no folder pays for none.
        if grants.iter().all(|grant| grant.filesystem.is_empty()) {
            return Ok(Directories::default());
        }
        let Some(rehearsal) = &self.rehearsal else {
            super::prepare::create_workspace(self, authorized)?;
            let preopens = grants.iter().flat_map(|grant| &grant.filesystem);
            let own = OwnFiles::look(&self.own_paths());
            return Ok(Directories::open_on(&self.ground()?, own, preopens, &|_| None)?);
        };
        let mut scratch = rehearsal.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = || !rehearsal.cancel.is_cancelled();
        match copies(&mut scratch, self, &grants, &goes_on) {
            Ok(directories) => Ok(directories),
            // The run ends before its first step.
            Err(Error::Scratch(ScratchError::Cancelled)) => Ok(Directories::default()),
            Err(error) => Err(error),
        }
    }

    /// How the folders of its policy are opened.
    fn ground(&self) -> Result<Ground<'_>, Error> {
        let grants = self.policy.policy.grants.iter().map(|grant| &**grant);
        let ground = Ground::of(grants, &self.workspace, self.workspace_is_named);
        ground.map_err(|source| Error::Workspace { path: self.workspace.clone(), source })
    }
}

impl Rehearsal {
    fn approve(&self, request: &ApprovalRequest<'_>) -> ApprovalAnswer {
        let needed = Rehearsed { step: request.step.clone(), needs_approval: request.needed_by.to_vec() };
        self.approvals.lock().unwrap_or_else(PoisonError::into_inner).push(needed);
        ApprovalAnswer::approve(REHEARSAL, "")
    }

    fn approvals(&self) -> Vec<Rehearsed> {
        self.approvals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn changes(&self) -> Result<Changes, ScratchError> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).changes()
    }
}

/// What a report says of a dry run before its changes are known: the steps that began although they would reach servers.
pub(super) fn without_network<'s>(authorized: &AuthorizedPlan, begun: impl Iterator<Item = &'s StepId>) -> DryRun {
    let reaches = |step: &&StepId| authorized.step(step).is_some_and(|step| !step.grant.network.is_empty());
    DryRun { network: begun.filter(reaches).cloned().collect(), ..DryRun::default() }
}

/// Opens copies of all that `grants` may write, and of what is in it or around it: whoever reads through another grant sees what was
/// written. Everything else is opened itself.
pub(super) fn copies(
    scratch: &mut Scratch,
    host: &SkillHost,
    grants: &[&Grant],
    goes_on: &dyn Fn() -> bool,
) -> Result<Directories, Error> {
    let (workspace, ground) = (host.workspace.as_path(), host.ground()?);
    let mut own = OwnFiles::look(&host.own_paths());
    let preopens = || grants.iter().flat_map(|grant| &grant.filesystem);
    let makes_workspace = preopens().any(|one| one.access == Access::ReadWrite && one.host.starts_with(WORKSPACE));
    // The real path of each folder as grants call it, and whether it may be written.
    let mut real: BTreeMap<PathBuf, Option<PathBuf>> = BTreeMap::new();
    let mut written = Vec::new();
    for preopen in preopens() {
        let named = preopen.resolve_host(workspace);
        let path = match ground.open(&named) {
            Ok(opened) => {
                check_folder(&own, &named, &opened.folder)?;
                Some(opened.at)
            }
            Err(SandboxError::Directory { source, .. })
                if source.kind() == io::ErrorKind::NotFound && makes_workspace && named == workspace =>
            {
                None
            }
            Err(error) => return Err(error.into()),
        };
        if let (Some(path), Access::ReadWrite) = (&path, preopen.access) {
            written.push(path.clone());
        }
        real.insert(named, path);
    }
    let overlaps = |path: &PathBuf| written.iter().any(|one| one.starts_with(path) || path.starts_with(one));
    let copied: Vec<(&PathBuf, &PathBuf)> = real
        .iter()
        .filter_map(|(named, path)| Some((named, path.as_ref()?)))
        .filter(|(_, path)| overlaps(path))
        .collect();
    let mut tops: BTreeMap<&PathBuf, PathBuf> = BTreeMap::new();
    for (named, path) in &copied {
        let is_below = |other: &&PathBuf| other != path && path.starts_with(other);
        if !tops.contains_key(path) && !copied.iter().any(|(_, other)| is_below(other)) {
            let (copy, left_out) = scratch.copy(Some(path), named, (&own, goes_on))?;
            // A guest meets in the copy what it would meet there.
            left_out.iter().for_each(|path| drop(own.add(path, "the host's own files")));
            tops.insert(path, copy);
        }
    }
    let mut places: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for (named, path) in copied {
        let top = tops.iter().find_map(|(top, copy)| Some(copy.join(path.strip_prefix(top).ok()?)));
        places.extend(top.map(|place| (named.clone(), place)));
    }
    for (named, _) in real.iter().filter(|(_, path)| path.is_none()) {
        places.insert(named.clone(), scratch.copy(None, named, (&own, goes_on))?.0);
    }
    let place = |path: &Path| places.get(path).cloned();
    Ok(Directories::open_on(&ground, own, preopens(), &place)?)
}
