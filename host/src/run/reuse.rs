//! Results of an earlier run that need not be made again: of the run that is resumed or taken back, or of any run with a step of the same
//! key. A result counts where component, tool, input and grant are what they were, and so is what the step read and wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::attempt::is_as_expected;
use super::log::{Go, Next, StepLog};
use super::restored::Restored;
use super::steps::{SoFar, Steps};
use super::{own, transaction};
use crate::host::Error;
use crate::id::{Digest, StepId, ToolName};
use crate::observe::HostEvent;
use crate::outcome::Outcome;
use crate::policy::Grant;
use crate::report::{Saved, StepReport};
use crate::sandbox::Divergence;
use crate::skill::{self, Tool};
use crate::store::index::StepFacts;
use crate::store::{RunDir, taken};
use crate::trace::TraceError;
use crate::trace::event::{Begun, Event, Flow, FlowEvent, Kind};
use crate::trace::flow::{Continues, Reused};
use crate::trace::reader::{Reader, event_at};
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
    /// Whether this process holds its lock.
    pub(crate) is_held: bool,
    folder: RunDir,
    head: Digest,
    steps: BTreeMap<StepId, EarlierStep>,
    /// The steps in the order in which they completed.
    order: Vec<StepId>,
    /// Answers to questions of the plan, by what they are bound to.
    answers: BTreeMap<Digest, Reused>,
    /// The same by the step that asked, also where nothing says what they are bound to.
    answered: BTreeMap<StepId, Reused>,
    /// The run that has taken it back last.
    taken_back_by: Option<String>,
    /// What was taken back of it, where it is to be.
    pub(super) restored: Restored,
    /// The journals of the steps whose results it has taken itself.
    taken: BTreeMap<StepId, PathBuf>,
    /// The last step that wrote each path, by its number in `order`.
    writers: OnceLock<BTreeMap<String, usize>>,
}

/// A step that completed.
#[derive(Debug, Clone)]
struct EarlierStep {
    /// How it began, where it ran in that run.
    begun: Option<Begun>,
    /// Its number in the order of completion.
    number: usize,
    reused: Reused,
    /// The folder of the journal of the attempt that completed.
    journal: PathBuf,
}

impl Earlier {
    /// Reads what a run did. What `reads`, a run that goes on, has taken back of it is not looked at: it says so itself.
    pub(crate) fn read(folder: &RunDir, purpose: Purpose, reads: Option<&str>) -> Result<Self, Error> {
        let mut reader = Reader::open(&folder.trace())?;
        let mut earlier = Self {
            purpose,
            run: folder.id().to_owned(),
            is_held: false,
            folder: RunDir::open(folder.path())?,
            head: Digest::from_bytes([0; 32]),
            steps: BTreeMap::new(),
            order: Vec::new(),
            answers: BTreeMap::new(),
            answered: BTreeMap::new(),
            taken_back_by: None,
            restored: Restored::default(),
            taken: taken::read(folder.path())
                .map_err(|source| Error::Journals { path: folder.path().to_owned(), source })?,
            writers: OnceLock::new(),
        };
        let (mut begun, mut asked) = (None, None);
        loop {
            let at = reader.bytes();
            let (hash, event) = match reader.next_line() {
                Ok(None) | Err(TraceError::Torn { .. }) => break,
                Err(error) => return Err(error.into()),
                Ok(Some(line)) if line.kind().is_inside_of_step() => continue,
                Ok(Some(line)) if line.kind() == Kind::StepBegin => {
                    // Its input is the most of the trace, and hardly ever needed.
                    begun = Some(line.begun(at)?).filter(|begun| !begun.compensates);
                    earlier.head = line.hash();
                    continue;
                }
                Ok(Some(line)) => (line.hash(), line.event()?),
            };
            earlier.head = hash;
            match event {
                Event::StepEnd(end) => {
                    if let (Some(begun), Outcome::Completed { output }) = (begun.take(), end.outcome) {
                        let fingerprint = begun.key.unwrap_or(hash);
                        let (calls, fuel, tool) = (end.calls, end.fuel.unwrap_or_default(), begun.tool.clone());
                        let reused = Reused { tool, fingerprint, source: hash, output, calls, fuel };
                        let journal = transaction::journal(folder.path(), &end.step, begun.attempt, false);
                        earlier.completed(end.step, Some(begun), reused, journal);
                    }
                }
                Event::Flow(FlowEvent { step: Some(step), flow }) => earlier.flow(step, flow, &mut asked),
                Event::Flow(FlowEvent { flow: Flow::Rollback(_), .. }) => {
                    earlier.taken_back_by = Some(earlier.run.clone());
                }
                Event::Approval(approval) if approval.answer.approved && approval.tool.is_approve() => {
                    let output = json!({ "by": approval.answer.by, "reason": approval.answer.reason });
                    let (subject, tool) = (asked.take(), approval.tool);
                    let fingerprint = subject.unwrap_or(hash);
                    let reused = Reused { tool, fingerprint, source: hash, output, calls: 0, fuel: 0 };
                    earlier.answered.insert(approval.step, reused.clone());
                    earlier.answers.extend(subject.map(|subject| (subject, reused)));
                }
                _ => {}
            }
        }
        let mut takers = folder.takers()?;
        takers.retain(|taker| Some(taker.as_str()) != reads);
        if purpose == Purpose::Rollback {
            if earlier.taken_back_by.is_some() {
                earlier.restored.read(folder)?;
            }
            for taker in &takers {
                earlier.restored.read(&RunDir::open(&folder.path().with_file_name(taker))?)?;
            }
        }
        earlier.taken_back_by = takers.pop().or(earlier.taken_back_by);
        if purpose == Purpose::Resume && earlier.taken_back_by.is_some() {
            earlier.steps.clear();
        }
        Ok(earlier)
    }

    fn completed(&mut self, step: StepId, begun: Option<Begun>, reused: Reused, journal: PathBuf) {
        let number = self.order.len();
        self.order.push(step.clone());
        self.steps.insert(step, EarlierStep { begun, number, reused, journal });
    }

    /// The run that has taken it back, itself or another one.
    pub(crate) fn taken_back_by(&self) -> Option<&str> {
        self.taken_back_by.as_deref()
    }

    /// Its folder.
    pub(super) const fn folder(&self) -> &RunDir {
        &self.folder
    }

    fn flow(&mut self, step: StepId, flow: Flow, asked: &mut Option<Digest>) {
        match flow {
            Flow::Reused(reused) if reused.tool.is_approve() => {
                self.answered.insert(step, reused.clone());
                self.answers.insert(reused.fingerprint, reused);
            }
            Flow::Reused(reused) => {
                // Where the step ran is beside the trace: which run that was is a fact of this machine.
                let journal = self.taken.get(&step).cloned().unwrap_or_default();
                self.completed(step, None, reused, journal);
            }
            Flow::ApprovalRequest(request) => *asked = Some(request.subject),
            _ => {}
        }
    }

    /// Whether a step's result is known.
    pub(super) fn has(&self, step: &StepId) -> bool {
        self.steps.contains_key(step) || self.answered.contains_key(step)
    }

    /// Whether what a step read and wrote, if it has any folder, is as it left it, but for what later steps of its run have written. What
    /// the run that looks has itself written anew (`rewritten`) is excused by nothing.
    fn changed_since(
        &self,
        found: &EarlierStep,
        has_folders: bool,
        rewritten: &BTreeSet<String>,
    ) -> Result<(), String> {
        if !has_folders {
            return Ok(());
        }
        let writers = self.writers.get_or_init(|| {
            let steps = self.order.iter().filter_map(|step| self.steps.get(step));
            let writes = steps.map(|step| {
                let mut writes = transaction::writes(&step.journal);
                writes.extend(tool_of(&step.reused).iter().flat_map(|tool| own::paths_of(tool, &step.reused.output)));
                (step.number, writes)
            });
            writes.flat_map(|(number, paths)| paths.into_iter().map(move |path| (path, number))).collect()
        });
        transaction::changed_since(&found.journal, |path| {
            let folder = format!("{}/", path.trim_end_matches('/'));
            let is_below = |written: &&String| written.starts_with(&folder);
            let later = |number: &usize| *number > found.number;
            let is_later = writers.get(path).is_some_and(later)
                || writers
                    .range(folder.clone()..)
                    .take_while(|(written, _)| is_below(written))
                    .any(|(_, at)| later(at));
            let is_rewritten =
                || rewritten.contains(path) || rewritten.range(folder.clone()..).next().is_some_and(|p| is_below(&p));
            is_later && !is_rewritten()
        })
    }

    /// Why a step's key is another one.
    fn what_changed(
        &self,
        Call { tool, skill, .. }: Call<'_>,
        input: &Value,
        found: &EarlierStep,
    ) -> Result<String, TraceError> {
        let Some(begun) = &found.begun else { return Ok("its component, input or grant has changed".to_owned()) };
        if begun.tool != tool.name {
            return Ok(format!("its tool was `{}`", begun.tool));
        }
        if begun.skill != skill.digest {
            return Ok("its component has changed".to_owned());
        }
        Ok(match event_at(&self.folder.trace(), begun.at)? {
            Event::StepBegin(begin) if begin.input == *input => {
                "its grant, or the plan's seed or start time, has changed".to_owned()
            }
            _ => "its input has changed".to_owned(),
        })
    }

    /// Whether a step of the host's own took back steps of runs before it.
    pub(super) fn took_back_foreign(&self, step: &StepId, tool: &Tool) -> bool {
        self.steps.get(step).is_some_and(|known| own::foreign(tool, &known.reused.output) > 0)
    }

    /// The journals of a step and of those after it that have written to the same files, the last one first.
    pub(super) fn built_on(&self, step: &StepId) -> Vec<(StepId, PathBuf)> {
        let Some(first) = self.steps.get(step) else { return Vec::new() };
        let mut paths = Paths::default();
        paths.0.extend(transaction::writes(&first.journal));
        let mut found = vec![(step.clone(), first.journal.clone())];
        for (number, step) in self.order.iter().enumerate().skip(first.number + 1) {
            let Some(known) = self.steps.get(step).filter(|known| known.number == number) else { continue };
            let writes = transaction::writes(&known.journal);
            if writes.iter().any(|path| paths.overlap(path)) {
                paths.0.extend(writes);
                found.push((step.clone(), known.journal.clone()));
            }
        }
        found.reverse();
        found
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
        let mut from = None;
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
            Next::Live => match self.found(step, made, key, so_far, report)? {
                Some(Found { reused, journal, run }) => {
                    from = Some(run);
                    if let (Some(journals), true) = (&self.journals, transaction::is_there(&journal)) {
                        transaction::keep_taken(&journals.run, step.id, &journal)?;
                    }
                    so_far.journals.insert(so_far.position, journal);
                    reused
                }
                None => return Ok(false),
            },
        };
        if let (Some(claims), Some(journals)) = (so_far.ahead.claims(), &self.journals) {
            // Two steps are in each other's way wherever the result of one is from.
            let known = so_far.journals.get(&so_far.position).cloned();
            let journal = known.or_else(|| transaction::taken(&journals.run, step.id)).unwrap_or_default();
            transaction::claim_again(claims, so_far.position, &journal)?;
        }
        let Reused { output, calls, fuel, .. } = reused.clone();
        let is_live = log.is_live()?;
        log.note(&Flow::Reused(reused).of(step.id))?;
        if is_live && let Some(ledger) = log.ledger() {
            ledger.fact(StepFacts { step: step.id.to_string(), reused_from: from, ..StepFacts::default() });
        }
        // Nothing has happened that could be lost: a run that goes on finds the result again in the run that it continues. Other runs may
        // have changed by then.
        if self.library.is_some() {
            log.commit()?;
        }
        report.outcome = Some(Outcome::Completed { output: output.clone() });
        if let Some((call, ..)) = made {
            self.settled_by_host((step.id, call.tool), &Outcome::Completed { output: output.clone() }, so_far, None)?;
        }
        report.reused = Some(Saved { fuel, calls });
        report.fuel = Some(0);
        Self::keep_output(so_far, step.id, output);
        Ok(true)
    }

    /// Whether a step's result may turn out to be known; `made` is its input, as far as that is, and its grant.
    pub(super) fn may_be_taken(&self, step: &ValidStep<'_>, made: Option<(&Value, &Grant)>) -> Go<bool> {
        if let Some(earlier) = &self.earlier {
            return Ok(earlier.has(step.id));
        }
        let (Some(library), Some(call)) = (&self.library, step.call()) else { return Ok(false) };
        if !may_be_of_any_run(step, call) {
            return Ok(false);
        }
        let Some((input, grant)) = made else { return Ok(true) };
        if self.asks_of_request(grant) {
            return Ok(false);
        }
        Ok(!library.find(self.key(step.id, call, input, grant))?.is_empty())
    }

    /// The result of an earlier run, where there is one that still counts.
    fn found(
        &self,
        step: &ValidStep<'_>,
        made: Option<(Call<'_>, &Value, &Grant)>,
        key: Digest,
        so_far: &SoFar,
        report: &mut StepReport,
    ) -> Go<Option<Found>> {
        let Some(earlier) = &self.earlier else { return self.of_any_run(step, made, key, report) };
        let found = |reused: &Reused, journal| {
            let reused = Reused { fingerprint: key, ..reused.clone() };
            Some(Found { reused, journal, run: earlier.run.clone() })
        };
        let takes_back = earlier.purpose == Purpose::Rollback;
        let Some((call, input, grant)) = made else {
            // What is taken back is taken back whatever the answer is bound to.
            let answer = if takes_back { earlier.answered.get(step.id) } else { earlier.answers.get(&key) };
            return Ok(answer.and_then(|reused| found(reused, PathBuf::new())));
        };
        let Some(known) = earlier.steps.get(step.id) else { return Ok(None) };
        if takes_back {
            let reused = Reused { tool: call.tool.name.clone(), ..known.reused.clone() };
            return Ok(found(&reused, known.journal.clone()));
        }
        let changed = match known.reused.fingerprint == key {
            false => Some(earlier.what_changed(call, input, known)?),
            true if call.tool.of_the_host().is_some() => self.taken_back_again(call, known, so_far).err(),
            true => earlier.changed_since(known, self.has_folders(grant), &so_far.rewritten).err(),
        };
        if let Some(why) = changed {
            self.runs_again(step, why, report);
            return Ok(None);
        }
        Ok(found(&known.reused, known.journal.clone()))
    }

    /// Whether a tool with this grant sees any folder, itself or through what it calls.
    fn has_folders(&self, grant: &Grant) -> bool {
        self.authorized.delegation().any(grant, |grant| !grant.filesystem.is_empty())
    }

    /// Whether a tool with this grant, or one that it calls, is told what the request says: another request may say something else.
    fn asks_of_request(&self, grant: &Grant) -> bool {
        self.authorized.delegation().any(grant, |grant| grant.asks_of_request().next().is_some())
    }

    /// A result of any run, for a step that may take one.
    fn of_any_run(
        &self,
        step: &ValidStep<'_>,
        made: Option<(Call<'_>, &Value, &Grant)>,
        key: Digest,
        report: &mut StepReport,
    ) -> Go<Option<Found>> {
        let (Some(library), Some((call, _, grant))) = (&self.library, made) else { return Ok(None) };
        if !may_be_of_any_run(step, call) || self.asks_of_request(grant) {
            return Ok(None);
        }
        let mut changed = None;
        for candidate in library.find(key)? {
            let Ok(folder) = library.store.find(&candidate.run) else { continue };
            let Ok(earlier) = Earlier::read(&folder, Purpose::Resume, None) else { continue };
            let name: StepId = match candidate.step.parse() {
                Ok(name) => name,
                Err(_) => continue,
            };
            let Some(found) = earlier.steps.get(&name).filter(|found| found.reused.fingerprint == key) else {
                continue;
            };
            // Another plan may expect something else of it: then this one runs, and says what came.
            if !is_as_expected(step.expect, &found.reused.output) {
                continue;
            }
            match earlier.changed_since(found, self.has_folders(grant), &BTreeSet::new()) {
                Ok(()) => {
                    let (reused, journal) = (found.reused.clone(), found.journal.clone());
                    return Ok(Some(Found { reused, journal, run: candidate.run }));
                }
                // Of several the newest is what is told of.
                Err(why) => changed = changed.or(Some(why)),
            }
        }
        if let Some(why) = changed {
            self.runs_again(step, why, report);
        }
        Ok(None)
    }

    /// Whether what a step of the host's own took back still is: all of it was taken from the record as well.
    fn taken_back_again(&self, call: Call<'_>, known: &EarlierStep, so_far: &SoFar) -> Result<(), String> {
        let steps: Vec<StepId> = self.checked.plan.steps().map(|step| step.id.clone()).collect();
        let ran = so_far.completed.iter().filter(|(_, attempts)| *attempts > 0).filter_map(|(at, _)| steps.get(*at));
        let ran: BTreeSet<&StepId> = ran.collect();
        match own::steps_of(call.tool, &known.reused.output).iter().find(|step| ran.contains(step)) {
            Some(step) => Err(format!("step `{step}`, which it takes back, ran again")),
            None => Ok(()),
        }
    }

    fn runs_again(&self, step: &ValidStep<'_>, why: String, report: &mut StepReport) {
        self.host.observers.tell(HostEvent::NotReused { step: step.id, why: &why });
        report.ran_again = Some(why);
    }
}

/// The tool of the host's own that gave a result.
fn tool_of(reused: &Reused) -> Option<&'static Tool> {
    let sys = skill::own::sys();
    sys.tool(reused.tool.function()).filter(|_| skill::own::is_own(reused.tool.skill()))
}

/// Guest paths.
#[derive(Debug, Default)]
struct Paths(BTreeSet<String>);

impl Paths {
    /// Whether a path is one of them, or below or above one.
    fn overlap(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let has_below = self.0.range(folder.clone()..).next().is_some_and(|known| known.starts_with(&folder));
        let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        has_below || self.0.contains(path) || above.into_iter().any(|above| self.0.contains(above))
    }
}

/// A result that still counts.
struct Found {
    reused: Reused,
    /// The folder of the journal of the step that gave it.
    journal: PathBuf,
    /// The run that it is taken from.
    run: String,
}

/// Whether the result of a step may be that of any run.
const fn may_be_of_any_run(step: &ValidStep<'_>, call: Call<'_>) -> bool {
    let annotations = &call.tool.annotations;
    annotations.read_only || annotations.idempotent || step.reuse
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
