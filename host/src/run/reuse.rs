//! Results of an earlier run that need not be made again: of the run that is resumed or taken back, or of any run with a step of the same
//! key. A result counts where component, tool, input and grant are what they were, and so is what the step read and wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::log::{Go, Next, StepLog};
use super::steps::{SoFar, Steps};
use super::transaction;
use crate::host::Error;
use crate::id::{Digest, StepId, ToolName};
use crate::observe::HostEvent;
use crate::outcome::{Outcome, RunOutcome};
use crate::policy::Grant;
use crate::report::{Saved, StepReport};
use crate::sandbox::Divergence;
use crate::store::RunDir;
use crate::store::index::StepFacts;
use crate::trace::TraceError;
use crate::trace::event::{Event, Flow, FlowEvent, Kind, StepBegin};
use crate::trace::flow::{Continues, Reused};
use crate::trace::reader::Reader;
use crate::validate::{Call, ValidStep};

/// Why an earlier run is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// What completed in it is not done again.
    Resume,
    /// What completed in it is taken back.
    Rollback,
}

impl Purpose {
    /// As traces write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Rollback => "rollback",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Resume, Self::Rollback].into_iter().find(|purpose| purpose.name() == name)
    }
}

/// What an earlier run did.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) purpose: Purpose,
    pub(crate) run: String,
    head: Digest,
    steps: BTreeMap<StepId, EarlierStep>,
    /// The steps in the order in which they completed.
    order: Vec<StepId>,
    /// Answers to questions of the plan, by what they are bound to.
    answers: BTreeMap<Digest, Reused>,
}

/// A step that completed.
#[derive(Debug, Clone)]
struct EarlierStep {
    begin: Option<StepBegin>,
    reused: Reused,
    /// The folder of the journal of the attempt that completed.
    journal: PathBuf,
}

impl Earlier {
    /// Reads what a run did.
    pub(crate) fn read(folder: &RunDir, purpose: Purpose) -> Result<Self, Error> {
        let mut reader = Reader::open(&folder.trace())?;
        let mut earlier = Self {
            purpose,
            run: folder.id().to_owned(),
            head: Digest::from_bytes([0; 32]),
            steps: BTreeMap::new(),
            order: Vec::new(),
            answers: BTreeMap::new(),
        };
        let (mut begun, mut asked) = (None, None);
        loop {
            let (hash, event) = match reader.next_line() {
                Ok(None) | Err(TraceError::Torn { .. }) => break,
                Err(error) => return Err(error.into()),
                Ok(Some(line)) if line.kind() == Kind::Call => continue,
                Ok(Some(line)) => (line.hash(), line.event()?),
            };
            earlier.head = hash;
            match event {
                Event::StepBegin(begin) if !begin.compensates => begun = Some(begin),
                Event::StepEnd(end) => {
                    if let (Some(begin), Outcome::Completed { output }) = (begun.take(), end.outcome) {
                        let fingerprint = begin.key.unwrap_or(hash);
                        let (calls, fuel, tool) = (end.calls, end.fuel.unwrap_or_default(), begin.tool.clone());
                        let reused = Reused { tool, fingerprint, source: hash, output, calls, fuel };
                        let journal = transaction::folder(folder.path(), &begin.step, begin.attempt, false);
                        earlier.order.push(end.step.clone());
                        earlier.steps.insert(end.step, EarlierStep { begin: Some(begin), reused, journal });
                    }
                }
                Event::Flow(FlowEvent { step: Some(step), flow }) => earlier.flow(folder, step, flow, &mut asked),
                Event::Approval(approval) if approval.answer.approved && approval.tool.is_approve() => {
                    if let Some(subject) = asked.take() {
                        let output = json!({ "by": approval.answer.by, "reason": approval.answer.reason });
                        let tool = approval.tool;
                        let reused = Reused { tool, fingerprint: subject, source: hash, output, calls: 0, fuel: 0 };
                        earlier.answers.insert(subject, reused);
                    }
                }
                Event::RunEnd { outcome: RunOutcome::RolledBack | RunOutcome::RollbackIncomplete, .. } => {
                    earlier.steps.clear();
                }
                _ => {}
            }
        }
        Ok(earlier)
    }

    fn flow(&mut self, folder: &RunDir, step: StepId, flow: Flow, asked: &mut Option<Digest>) {
        match flow {
            Flow::Reused(reused) if reused.tool.is_approve() => {
                self.answers.insert(reused.fingerprint, reused);
            }
            Flow::Reused(reused) => {
                // Where the step ran is beside the trace: which run that was is a fact of this machine.
                let journal = transaction::link(folder.path(), &step);
                self.order.push(step.clone());
                self.steps.insert(step, EarlierStep { begin: None, reused, journal });
            }
            Flow::ApprovalRequest(request) => *asked = Some(request.subject),
            _ => {}
        }
    }

    /// Whether a step's result is known, or that of nothing: a question is asked by no run that takes back.
    pub(super) fn has(&self, step: &StepId) -> bool {
        self.steps.contains_key(step) || !self.answers.is_empty()
    }

    /// Whether what a step read and wrote is as it left it, but for what later steps of its run have written.
    fn changed_since(&self, step: &StepId, found: &EarlierStep, grant: &Grant) -> Result<(), String> {
        if grant.filesystem.is_empty() {
            return Ok(());
        }
        let later = self.order.iter().skip_while(|of| *of != step).skip(1).filter_map(|of| self.steps.get(of));
        let later: BTreeSet<String> = later.flat_map(|step| transaction::writes(&step.journal)).collect();
        transaction::changed_since(&found.journal, &later)
    }

    /// The event that says so.
    pub(super) fn event(&self) -> Event {
        Flow::Continues(Continues { head: self.head, why: self.purpose.name().to_owned() }).of_run()
    }
}

impl Steps<'_> {
    /// Takes a step's result from a record, if that may be.
    pub(super) fn reused(
        &self,
        step: &ValidStep<'_>,
        made: Option<(Call<'_>, &Value, &Grant)>,
        (tool, key): (&ToolName, Digest),
        so_far: &mut SoFar,
        log: &mut dyn StepLog,
        report: &mut StepReport,
    ) -> Go<bool> {
        let reused = match log.next()? {
            Next::Event(event) => match *event {
                Event::Flow(FlowEvent { step: Some(of), flow: Flow::Reused(reused) }) if of == *step.id => {
                    if reused.fingerprint != key || reused.tool != *tool {
                        let what =
                            format!("step `{}` is not the one whose result is recorded: its key is {key}", step.id);
                        return Err(Divergence { seq: None, what }.into());
                    }
                    reused
                }
                _ => return Ok(false),
            },
            Next::End => return Ok(false),
            Next::Live => match self.found(step, made, key, report)? {
                Some((reused, journal)) => {
                    if let (Some(journals), true) = (&self.journals, journal.is_dir()) {
                        transaction::keep_link(&journals.run, step.id, &journal)?;
                    }
                    so_far.journals.insert(so_far.position, journal);
                    reused
                }
                None => return Ok(false),
            },
        };
        if let (Some(claims), Some(journals)) = (so_far.ahead.claims(), &self.journals) {
            // Two steps are in each other's way wherever the result of one is from.
            transaction::claim_again(claims, so_far.position, &transaction::link(&journals.run, step.id))?;
        }
        let Reused { output, calls, fuel, .. } = reused.clone();
        let is_live = log.is_live()?;
        log.note(&Flow::Reused(reused).of(step.id))?;
        if is_live && let Some(ledger) = log.ledger() {
            let reused_from = self.earlier.as_ref().map(|earlier| earlier.run.clone());
            ledger.fact(StepFacts { step: step.id.to_string(), reused_from, ..StepFacts::default() });
        }
        log.commit()?;
        report.outcome = Some(Outcome::Completed { output: output.clone() });
        report.reused = Some(Saved { fuel, calls });
        report.fuel = Some(0);
        Self::keep_output(so_far, step.id, output);
        Ok(true)
    }

    /// The result of an earlier run, where there is one that still counts.
    fn found(
        &self,
        step: &ValidStep<'_>,
        made: Option<(Call<'_>, &Value, &Grant)>,
        key: Digest,
        report: &mut StepReport,
    ) -> Go<Option<(Reused, PathBuf)>> {
        let Some(earlier) = &self.earlier else { return self.of_any_run(step, made, key) };
        let Some((call, input, grant)) = made else {
            return Ok(earlier.answers.get(&key).map(|reused| (reused.clone(), PathBuf::new())));
        };
        let Some(found) = earlier.steps.get(step.id) else { return Ok(None) };
        if earlier.purpose == Purpose::Rollback {
            let reused = Reused { fingerprint: key, tool: call.tool.name.clone(), ..found.reused.clone() };
            return Ok(Some((reused, found.journal.clone())));
        }
        let changed = match found.reused.fingerprint == key {
            false => Some(what_changed(call, input, found)),
            true => earlier.changed_since(step.id, found, grant).err(),
        };
        if let Some(why) = changed {
            self.host.observers.tell(HostEvent::NotReused { step: step.id, why: &why });
            report.ran_again = Some(why);
            return Ok(None);
        }
        Ok(Some((found.reused.clone(), found.journal.clone())))
    }

    /// A result of any run, for a step that may take one.
    fn of_any_run(
        &self,
        step: &ValidStep<'_>,
        made: Option<(Call<'_>, &Value, &Grant)>,
        key: Digest,
    ) -> Go<Option<(Reused, PathBuf)>> {
        let (Some(library), Some((call, _, grant))) = (&self.library, made) else { return Ok(None) };
        let annotations = &call.tool.annotations;
        if !(annotations.read_only || annotations.idempotent || step.reuse) {
            return Ok(None);
        }
        for candidate in library.find(key)? {
            let Ok(folder) = library.store.find(&candidate.run) else { continue };
            let Ok(earlier) = Earlier::read(&folder, Purpose::Resume) else { continue };
            let name: StepId = match candidate.step.parse() {
                Ok(name) => name,
                Err(_) => continue,
            };
            let Some(found) = earlier.steps.get(&name).filter(|found| found.reused.fingerprint == key) else {
                continue;
            };
            match earlier.changed_since(&name, found, grant) {
                Ok(()) => return Ok(Some((found.reused.clone(), found.journal.clone()))),
                Err(why) => self.host.observers.tell(HostEvent::NotReused { step: step.id, why: &why }),
            }
        }
        Ok(None)
    }
}

/// Why a key is another one.
fn what_changed(Call { tool, skill }: Call<'_>, input: &Value, found: &EarlierStep) -> String {
    let Some(begin) = &found.begin else { return "its component, input or grant has changed".to_owned() };
    if begin.tool != tool.name {
        return format!("its tool was `{}`", begin.tool);
    }
    if begin.skill != skill.digest {
        return "its component has changed".to_owned();
    }
    if begin.input != *input {
        return "its input has changed".to_owned();
    }
    "its grant, or the plan's seed or start time, has changed".to_owned()
}

/// Where results of any run are looked for.
#[derive(Debug)]
pub(crate) struct Library<'a> {
    pub(crate) store: &'a crate::store::RunStore,
    pub(crate) durability: crate::durability::Durability,
}

impl Library<'_> {
    fn find(&self, key: Digest) -> Result<Vec<crate::store::index::Reusable>, Error> {
        let index = crate::store::Index::existing(self.store.state(), self.durability)?;
        Ok(index.map(|index| index.find_reusable(key)).transpose()?.unwrap_or_default())
    }
}
