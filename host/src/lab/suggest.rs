//! The smallest policy under which recorded runs still pass: exact tools, the folders that were used, narrowed and with the least access,
//! variables that were seen, real clocks and randomness only where they were used, limits rounded up from use.
//!
//! A folder is narrowed to what the tools touched in it, where that was there before the run: the guest's paths stay what they are, since
//! a guest finds a file by the granted folder that its path begins with. What the suggestion says of the runs is compared with them before
//! it is handed out. What a trace does not hold is not narrowed: where symbolic links lead, memory, time.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use super::Recorded;
use super::replay::{Finding, compare, permitted};
use super::usage::{Request, StepUsage, Touch};
use crate::guest_path;
use crate::id::ToolName;
use crate::policy::document::places;
use crate::policy::network::{HostPattern, NetworkRule, PathPattern};
use crate::policy::{Access, Approval, Clocks, Decision, EnvValue, Grant, Policy, Preopen, Random, decide};
use crate::skill::{FolderNeed, Need, Needs, Risk, Skill};

/// The limits that a grant of a suggestion states; the others are those of the default, or higher where a run had more.
const STATED: [&str; 3] = ["fuel", "host_calls", "output_bytes"];

/// A policy that was made from runs.
#[derive(Debug, Clone)]
pub struct Suggestion {
    /// Its text: the same for the same runs.
    pub text: String,
    /// The same, read back.
    pub policy: Policy,
}

/// Why no policy can be suggested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuggestError {
    /// A run kept no policy that can be read: where its folders are on the host is not known.
    #[error("the policy of run {run} is not known")]
    NoPolicy {
        /// The run.
        run: String,
    },
    /// No step began in any of the runs.
    #[error("no step ran, so nothing is known of what the plan needs")]
    NothingRan,
    /// One tool saw different folders under one path: no single grant can give both.
    #[error("`{tool}` had `{one}` as `{guest}` in one step and `{two}` in another")]
    TwoFolders {
        /// The tool.
        tool: String,
        /// The guest path.
        guest: String,
        /// One host folder.
        one: String,
        /// The other.
        two: String,
    },
    /// The suggestion would deny a part of what was recorded: it is not handed out.
    #[error("no policy made from these runs would let them pass: {0}")]
    NotEnough(Box<Finding>),
}

/// What one tool needs.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wants {
    folders: Vec<Preopen>,
    clocks: bool,
    random: bool,
    network: Vec<NetworkRule>,
    sockets: bool,
    env: BTreeMap<String, EnvValue>,
    config: BTreeMap<String, EnvValue>,
    calls: BTreeSet<ToolName>,
    approval: Option<Approval>,
    limits: BTreeMap<&'static str, u64>,
}

impl Wants {
    /// Whether one grant can serve both tools.
    fn is_like(&self, other: &Self) -> bool {
        let without_limits = |wants: &Self| Self { limits: BTreeMap::new(), ..wants.clone() };
        without_limits(self) == without_limits(other)
    }
}

/// Makes a policy from runs.
///
/// # Errors
///
/// [`SuggestError`]; where a policy is made, it denies nothing that was recorded.
pub fn suggest(runs: &[Recorded]) -> Result<Suggestion, SuggestError> {
    if let Some(run) = runs.iter().find(|run| run.policy.is_none()) {
        return Err(SuggestError::NoPolicy { run: run.run.clone() });
    }
    let new: BTreeSet<&str> = all_steps(runs)
        .flat_map(|(_, step)| &step.touched)
        .filter(|(_, touch)| touch.is_new)
        .map(|(path, _)| path.as_str())
        .collect();
    let mut tools: Vec<&ToolName> = Vec::new();
    for (_, step) in all_steps(runs) {
        if !tools.contains(&&step.tool) {
            tools.push(&step.tool);
        }
    }
    if tools.is_empty() {
        return Err(SuggestError::NothingRan);
    }
    // Without a grant for what takes its steps back a plan is denied as a whole.
    let used = tools.len();
    for tool in runs.iter().flat_map(Recorded::unused_compensations).map(|(_, tool)| tool) {
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    }
    let mut grants: Vec<(Vec<&ToolName>, Wants)> = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        let wants = if index < used { wants_of(tool, runs, &new)? } else { as_granted(tool, runs)? };
        let same = grants
            .iter_mut()
            .find(|(others, other)| others.iter().all(|other| other.skill() == tool.skill()) && other.is_like(&wants));
        match same {
            Some((tools, merged)) => {
                tools.push(tool);
                for (name, limit) in wants.limits {
                    let highest = merged.limits.entry(name).or_default();
                    *highest = limit.max(*highest);
                }
            }
            None => grants.push((vec![tool], wants)),
        }
    }
    let text = text::written(runs, &grants);
    let policy = Policy::parse(&text);
    // What was written here is a policy: that it reads back is a promise of our own, and a finding of the comparison if it is broken.
    let policy = policy.unwrap_or_else(|_| Policy::deny_all());
    let comparison = compare(runs, &policy);
    match comparison.findings.into_iter().find(|finding| finding.change == super::Change::Denies) {
        Some(finding) => Err(SuggestError::NotEnough(Box::new(finding))),
        None => Ok(Suggestion { text, policy }),
    }
}

fn all_steps(runs: &[Recorded]) -> impl Iterator<Item = (&Recorded, &StepUsage)> {
    runs.iter().flat_map(|run| run.usage.steps.iter().map(move |step| (run, step)))
}

fn wants_of(tool: &ToolName, runs: &[Recorded], new: &BTreeSet<&str>) -> Result<Wants, SuggestError> {
    let mut wants = Wants::default();
    for (run, step) in all_steps(runs).filter(|(_, step)| step.tool == *tool) {
        let needs = run.skill(tool).and_then(|skill| skill.needs(tool.function())).unwrap_or_default();
        let nothing = Grant::empty();
        let had = run.old_grant(step).unwrap_or(&nothing);
        for preopen in folders_of(had, step, &needs, new) {
            add_folder(&mut wants.folders, preopen, tool)?;
        }
        for request in step.requests.iter().filter(|(_, answer)| answer.denied.is_none()).map(|(request, _)| request) {
            add_request(&mut wants.network, had, request);
        }
        add_needed_rules(&mut wants.network, had, &needs);
        // What is imported has to be there, whether it is called or not.
        let imports = |skill: &Skill| skill.imports.iter().any(|import| import.needs == Need::Sockets);
        wants.sockets |= had.sockets.is_some() && run.skill(tool).is_none_or(imports);
        wants.calls.extend(step.calls.keys().cloned());
        wants.clocks |= needs.clocks || (had.clocks == Clocks::Real && step.clocks > 0);
        wants.random |= needs.random || (had.random == Random::Real && step.random > 0);
        let seen =
            |name: &String| step.env.as_ref().is_some_and(|seen| seen.contains(name)) || needs.env.contains(name);
        wants
            .env
            .extend(had.env.iter().filter(|(name, _)| seen(name)).map(|(name, value)| (name.clone(), value.clone())));
        let told = |key: &String| step.config.as_ref().is_some_and(|told| told.contains(key));
        let config = had.config.iter().filter(|(key, _)| told(key));
        wants.config.extend(config.map(|(key, value)| (key.clone(), value.clone())));
        // Whether somebody is asked is not for a run to say: it stays what it was, where it says more than the tool's risk does.
        let risk = run.skill(tool).and_then(|skill| skill.tool(tool.function())).and_then(|tool| tool.annotations.risk);
        let is_risky = matches!(risk, Some(Risk::High | Risk::Critical));
        wants.approval = wants.approval.or(had.approval.filter(|approval| *approval == Approval::Required || is_risky));
        add_limits(&mut wants.limits, step);
    }
    Ok(wants)
}

/// What the runs' policies granted a tool that none of them called: there is no use of it by which it could be narrowed.
fn as_granted(tool: &ToolName, runs: &[Recorded]) -> Result<Wants, SuggestError> {
    let mut wants = Wants::default();
    for run in runs.iter().filter(|run| run.compensations.iter().any(|(_, declared)| declared == tool)) {
        let Some(Decision::Allow { grant, .. }) = run.policy.as_ref().map(|policy| decide(policy, tool)) else {
            continue;
        };
        for preopen in &grant.filesystem {
            add_folder(&mut wants.folders, preopen.clone(), tool)?;
        }
        for rule in &grant.network {
            if !wants.network.contains(rule) {
                wants.network.push(rule.clone());
            }
        }
        // Of a skill as a whole it is not known which tools are meant.
        wants.calls.extend(grant.calls.iter().filter_map(|pattern| pattern.to_string().parse().ok()));
        wants.sockets |= grant.sockets.is_some();
        wants.clocks |= grant.clocks == Clocks::Real;
        wants.random |= grant.random == Random::Real;
        wants.env.extend(grant.env.clone());
        wants.config.extend(grant.config.clone());
        wants.approval = wants.approval.or(grant.approval);
        for (name, limit) in grant.limits.entries() {
            let highest = wants.limits.entry(name).or_default();
            *highest = limit.max(*highest);
        }
    }
    Ok(wants)
}

/// The folders of a grant that a step used, with the access that it needed, in the grant's order.
fn folders_of(had: &Grant, step: &StepUsage, needs: &Needs, new: &BTreeSet<&str>) -> Vec<Preopen> {
    let mut folders: Vec<Preopen> = Vec::new();
    for (index, preopen) in had.filesystem.iter().enumerate() {
        let touched: Vec<(&str, &Touch)> = step
            .touched
            .iter()
            .filter(|(_, touch)| touch.folder == preopen.guest && (touch.read.or(touch.write)).is_some())
            .map(|(path, touch)| (path.as_str(), touch))
            .collect();
        // The first folder is the one that a program starts in.
        let is_start = index == 0 && step.asks_where_it_starts;
        if touched.is_empty() && !is_start {
            continue;
        }
        let writes = touched.iter().any(|(_, touch)| touch.write.is_some());
        let access = if writes { Access::ReadWrite } else { Access::ReadOnly };
        let narrowed = if is_start { preopen.clone() } else { narrowed(preopen, &touched, new) };
        folders.push(Preopen { access, ..narrowed });
    }
    // A folder that a tool declares to need is needed also where this run did not come to use it.
    let enough =
        |need: FolderNeed, preopen: &Preopen| need == FolderNeed::ReadOnly || preopen.access == Access::ReadWrite;
    if let Some(need) = needs.filesystem
        && !folders.iter().any(|preopen| enough(need, preopen))
    {
        let access = if need == FolderNeed::ReadWrite { Access::ReadWrite } else { Access::ReadOnly };
        let writable = |folder: &&mut Preopen| {
            let origin = had.filesystem.iter().find(|had| guest_path::below(&folder.guest, &had.guest).is_some());
            origin.is_some_and(|origin| enough(need, origin))
        };
        match folders.iter_mut().find(writable) {
            Some(folder) => folder.access = access,
            None => {
                let unused = had.filesystem.iter().find(|preopen| enough(need, preopen));
                folders.extend(unused.map(|preopen| Preopen { access, ..preopen.clone() }));
            }
        }
    }
    folders
}

/// The deepest folder that holds all that was touched and was there before the runs.
fn narrowed(preopen: &Preopen, touched: &[(&str, &Touch)], new: &BTreeSet<&str>) -> Preopen {
    let folder = |(path, touch): &(&str, &Touch)| {
        let folder = if touch.is_folder { *path } else { guest_path::parent(path) };
        guest_path::below(folder, &preopen.guest).map_or_else(|| preopen.guest.clone(), |_| folder.to_owned())
    };
    let deepest = touched.iter().map(folder).reduce(|one, two| guest_path::common(&one, &two));
    let deepest = deepest.unwrap_or_else(|| preopen.guest.clone());
    let mut guest = preopen.guest.clone();
    for part in
        guest_path::below(&deepest, &preopen.guest).unwrap_or_default().split('/').filter(|part| !part.is_empty())
    {
        let next = guest_path::join(&guest, part);
        if new.contains(next.as_str()) {
            break;
        }
        guest = next;
    }
    Preopen { host: super::replay::host_path(preopen, &guest), guest, access: preopen.access }
}

/// Adds a folder to those that a tool needs; two that hold each other become the outer one.
fn add_folder(folders: &mut Vec<Preopen>, mut adding: Preopen, tool: &ToolName) -> Result<(), SuggestError> {
    let mut kept = Vec::with_capacity(folders.len() + 1);
    let mut place = None;
    for folder in folders.drain(..) {
        let (inside, outside) = (
            guest_path::below(&adding.guest, &folder.guest).is_some(),
            guest_path::below(&folder.guest, &adding.guest).is_some(),
        );
        if !inside && !outside {
            kept.push(folder);
            continue;
        }
        let (outer, inner) = if inside { (&folder, &adding) } else { (&adding, &folder) };
        let expected = super::replay::host_path(outer, &inner.guest);
        if expected.trim_end_matches('/') != inner.host.trim_end_matches('/') {
            return Err(SuggestError::TwoFolders {
                tool: tool.to_string(),
                guest: inner.guest.clone(),
                one: expected,
                two: inner.host.clone(),
            });
        }
        let writes = [&folder, &adding].iter().any(|folder| folder.access == Access::ReadWrite);
        let access = if writes { Access::ReadWrite } else { Access::ReadOnly };
        adding = Preopen { access, ..outer.clone() };
        place.get_or_insert(kept.len());
    }
    let place = place.unwrap_or(kept.len());
    kept.insert(place, adding);
    *folders = kept;
    Ok(())
}

/// Adds the rule that a request needs: its place alone, with what the rule that allowed it has beside.
fn add_request(rules: &mut Vec<NetworkRule>, had: &Grant, request: &Request) {
    let Ok((index, target)) = permitted(had, request) else { return };
    let Some(rule) = had.network.get(index) else { return };
    let adding = NetworkRule {
        host: HostPattern::Exact(target.host().to_owned()),
        path: PathPattern::Exact(target.path().to_owned()),
        methods: BTreeSet::from([request.method.clone()]),
        ..rule.clone()
    };
    let same =
        rules.iter_mut().find(|rule| NetworkRule { methods: adding.methods.clone(), ..(*rule).clone() } == adding);
    match same {
        Some(rule) => rule.methods.extend(adding.methods),
        None => rules.push(adding),
    }
}

/// Adds the rules of the grant for what a tool declares to need, where nothing that was asked for covers it.
fn add_needed_rules(rules: &mut Vec<NetworkRule>, had: &Grant, needs: &Needs) {
    for needed in needs.network.iter().filter_map(|url| places(url)) {
        if rules.iter().any(|rule| rule.covers_place(&needed)) {
            continue;
        }
        if let Some(rule) = had.network.iter().find(|rule| rule.covers_place(&needed)) {
            // Before the narrower ones: the first rule that allows a request applies alone.
            rules.retain(|narrower| !(rule.covers_place(narrower) && narrower.methods.is_subset(&rule.methods)));
            let NetworkRule { host, path, .. } = needed;
            rules.push(NetworkRule { host, path, ..rule.clone() });
        }
    }
}

/// Raises the limits to what a step used, rounded up, and never above what it had.
fn add_limits(limits: &mut BTreeMap<&'static str, u64>, step: &StepUsage) {
    for (name, had) in step.limits.entries() {
        let used = step.used.entries().into_iter().find(|(key, _)| *key == name).and_then(|(_, used)| used);
        let needed = match used {
            Some(used) if STATED.contains(&name) || name.ends_with("_bytes") => {
                round_up(used.max(1)).min(had).max(used)
            }
            // Of memory and time a trace says nothing: what the step had is what it may need.
            _ => had,
        };
        let highest = limits.entry(name).or_default();
        *highest = needed.max(*highest);
    }
}

/// The next of 1, 2, 5, 10, 20, 50 …
fn round_up(number: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            match power.checked_mul(factor) {
                Some(round) if round >= number => return round,
                Some(_) => {}
                None => return number,
            }
        }
        match power.checked_mul(10) {
            Some(next) => power = next,
            None => return number,
        }
    }
}

#[cfg(test)]
mod tests;
