//! A skill that is ready to be invoked many times: linked once, with its exports looked up.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Type};

use crate::policy::Grant;
use crate::sandbox::SandboxError;
use crate::sandbox::ctx::SkillCtx;
use crate::sandbox::engine::SandboxEngine;
use crate::skill::{Export, Need, Skill};

/// What a program may be linked with: what a grant has, before anything of the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Links {
    /// No network.
    Local,
    /// HTTP as well.
    Network,
}

impl Links {
    /// What `grant` allows.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        if grant.network.is_empty() { Self::Local } else { Self::Network }
    }
}

/// A linked skill.
pub struct Program {
    pub(super) skill: Arc<Skill>,
    pub(super) pre: InstancePre<SkillCtx>,
    pub(super) exports: BTreeMap<String, ExportedFunction>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("skill", &self.skill.name).finish_non_exhaustive()
    }
}

/// One tool's function.
pub(super) struct ExportedFunction {
    pub(super) index: ComponentExportIndex,
    pub(super) params: Vec<(String, Type)>,
    pub(super) result: Option<Type>,
}

impl Program {
    /// Links `component`.
    ///
    /// # Errors
    ///
    /// [`SandboxError::NotGranted`] when it imports HTTP and may not, [`SandboxError::Link`] when it imports what the host does not
    /// provide, or with another type than the host has.
    pub(crate) fn new(
        sandbox: &SandboxEngine,
        skill: Arc<Skill>,
        component: &Component,
        links: Links,
    ) -> Result<Self, SandboxError> {
        let link =
            |error: wasmtime::Error| SandboxError::Link { skill: skill.name.clone(), message: format!("{error:#}") };
        if links == Links::Local
            && let Some(import) = skill.imports.iter().find(|import| import.needs == Need::Network)
        {
            return Err(SandboxError::NotGranted { skill: skill.name.clone(), import: import.name.clone() });
        }
        let pre = sandbox.linker(links).and_then(|linker| linker.instantiate_pre(component)).map_err(link)?;
        let mut exports = BTreeMap::new();
        for (name, tool) in &skill.tools {
            let (interface, function) = match &tool.export {
                Export::Function { interface, function } => (interface.as_deref(), function.as_str()),
                Export::Command { interface } => (Some(interface.as_str()), "run"),
                Export::Host(_) => return Err(link(wasmtime::format_err!("`{name}` is the host itself"))),
            };
            let found = exported(component, interface, function);
            let found = found.ok_or_else(|| link(wasmtime::format_err!("the export of `{name}` is not a function")))?;
            exports.insert(name.clone(), found);
        }
        Ok(Self { skill, pre, exports })
    }

    /// The skill.
    #[must_use]
    pub const fn skill(&self) -> &Arc<Skill> {
        &self.skill
    }
}

fn exported(component: &Component, interface: Option<&str>, function: &str) -> Option<ExportedFunction> {
    let outer = match interface {
        Some(interface) => Some(component.get_export(None, interface)?.1),
        None => None,
    };
    let (item, index) = component.get_export(outer.as_ref(), function)?;
    let ComponentItem::ComponentFunc(ty) = item else { return None };
    Some(ExportedFunction { index, params: params(&ty), result: ty.results().next() })
}

fn params(ty: &ComponentFunc) -> Vec<(String, Type)> {
    ty.params().map(|(name, ty)| (name.to_owned(), ty)).collect()
}
