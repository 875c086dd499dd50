//! A skill that is ready to be invoked many times: linked once, with its exports looked up.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Type};

use crate::policy::Grant;
use crate::sandbox::SandboxError;
use crate::sandbox::ctx::SkillCtx;
use crate::sandbox::engine::SandboxEngine;
use crate::skill::{Export, Need, Skill};

/// What a program is linked with beyond what every program is: what a grant has, before anything of the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Links {
    /// HTTP.
    pub http: bool,
    /// Sockets, all of them closed.
    pub sockets: bool,
}

impl Links {
    /// Nothing more.
    pub const NONE: Self = Self { http: false, sockets: false };

    /// What `grant` allows.
    #[must_use]
    pub const fn of(grant: &Grant) -> Self {
        Self { http: grant.provides(Need::Network), sockets: grant.provides(Need::Sockets) }
    }

    const fn provide(self, need: Need) -> bool {
        match need {
            Need::Network => self.http,
            Need::Sockets => self.sockets,
            _ => true,
        }
    }
}

/// A value for each [`Links`], made when it is first asked for.
#[derive(Debug)]
pub(crate) struct PerLinks<T>([OnceLock<T>; 4]);

impl<T> Default for PerLinks<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; 4])
    }
}

impl<T> PerLinks<T> {
    /// The value for `links`. Where another thread was faster, its value is the same.
    pub(crate) fn get_or_make<E>(&self, links: Links, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let Self([none, http, sockets, both]) = self;
        let slot = match (links.http, links.sockets) {
            (false, false) => none,
            (true, false) => http,
            (false, true) => sockets,
            (true, true) => both,
        };
        if let Some(made) = slot.get() {
            return Ok(made);
        }
        let made = make()?;
        Ok(slot.get_or_init(|| made))
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
    /// [`SandboxError::NotGranted`] when it imports HTTP or sockets and may not, [`SandboxError::Link`] when it imports what the host
    /// does not provide, or with another type than the host has.
    pub(crate) fn new(
        sandbox: &SandboxEngine,
        skill: Arc<Skill>,
        component: &Component,
        links: Links,
    ) -> Result<Self, SandboxError> {
        let link =
            |error: wasmtime::Error| SandboxError::Link { skill: skill.name.clone(), message: format!("{error:#}") };
        if let Some(import) = skill.imports.iter().find(|import| !links.provide(import.needs)) {
            return Err(SandboxError::NotGranted { skill: skill.name.clone(), import: import.clone() });
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
