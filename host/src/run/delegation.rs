//! What the tools of a run may call from inside: the policy's decision, with what was linked and opened before the first step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::context::RequestContext;
use crate::id::{SkillName, ToolName};
use crate::policy::{Delegation, Inside, NotDelegated};
use crate::sandbox::engine::SandboxEngine;
use crate::sandbox::{Chosen, Delegate, Directories, Links, Program, Reach, Scene};

/// The callees of one run.
#[derive(Debug, Clone)]
pub(super) struct Callees {
    pub(super) delegation: Arc<Delegation>,
    pub(super) engine: Arc<SandboxEngine>,
    pub(super) programs: BTreeMap<(SkillName, Links), Arc<Program>>,
    pub(super) directories: Directories,
    pub(super) reach: Option<Reach>,
    pub(super) workspace: PathBuf,
    pub(super) plan: String,
    pub(super) seed: u64,
    pub(super) start_time: u64,
    /// What the request says that asked for the run.
    pub(super) request: Arc<RequestContext>,
}

impl Callees {
    /// What has to be linked for those that may be called.
    pub(super) fn wanted(delegation: &Delegation) -> impl Iterator<Item = (SkillName, Links)> {
        let granted = delegation.callees().filter_map(|(tool, callee)| Some((tool, callee.granted.as_ref().ok()?)));
        granted.map(|(tool, (_, grant))| (tool.skill().clone(), Links::of(grant)))
    }
}

impl Delegate for Callees {
    fn choose(&self, inside: &Inside<'_>, tool: &ToolName, input: &Value) -> Result<Chosen, NotDelegated> {
        let delegated = self.delegation.decide(inside, tool, input)?;
        let program = self.programs.get(&(tool.skill().clone(), Links::of(&delegated.grant)));
        // All of them were linked before the run.
        let program = program.ok_or(NotDelegated::NoSuchTool)?;
        Ok(Chosen {
            program: Arc::clone(program),
            grant: delegated.grant,
            grant_index: delegated.grant_index,
            rules: delegated.rules,
        })
    }

    fn available(&self, inside: &Inside<'_>) -> Vec<String> {
        self.delegation.available(inside)
    }

    fn depth_max(&self) -> u64 {
        self.delegation.depth_max()
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            engine: &self.engine,
            workspace: &self.workspace,
            directories: &self.directories,
            reach: self.reach.as_ref(),
            plan: &self.plan,
            request: &self.request,
            seed: self.seed,
            start_time: self.start_time,
        }
    }
}
