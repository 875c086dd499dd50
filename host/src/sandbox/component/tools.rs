//! What a component exports as tools and what it imports.

use std::collections::BTreeMap;

use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Component, Type};

use super::{LoadError, ty};
use crate::id::{SkillName, ToolName};
use crate::limits;
use crate::skill::{self, Annotations, Export, Import, Need, Tool, ToolResult};
use crate::types::Ty;

/// The tools and the exported functions that are none.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) tools: BTreeMap<String, Tool>,
    pub(super) not_tools: Vec<(String, String)>,
    /// Parts of types that were looked at: functions may share types, so a small component can have many functions of huge ones.
    parts: usize,
}

/// The imports in the component's order.
pub(super) fn imports(engine: &Engine, component: &Component) -> Vec<Import> {
    let ty = component.component_type();
    let imports = ty.imports(engine).map(|(name, item)| {
        let needs = if is_only_types(engine, &item.ty) { Need::Nothing } else { skill::need_of(name) };
        Import { name: name.to_owned(), needs }
    });
    imports.collect()
}

/// Whether the import holds nothing that anybody would have to provide: interfaces of shared types are such.
fn is_only_types(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
        }
        _ => false,
    }
}

/// Reads the exports.
pub(super) fn tools(engine: &Engine, component: &Component, name: &SkillName) -> Result<Tools, LoadError> {
    let mut found = Tools::default();
    let mut interfaces: Vec<(String, ComponentInstance)> = Vec::new();
    let ty = component.component_type();
    for (export, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(function) if is_for_its_builder(export, &function) => {
                found.not_tools.push((export.to_owned(), FOR_ITS_BUILDER.to_owned()));
            }
            ComponentItem::ComponentFunc(function) => found.add(name, None, export, export, &function)?,
            ComponentItem::ComponentInstance(instance) if skill::is_command(export) => {
                found.add_command(engine, name, export, &instance)?;
            }
            ComponentItem::ComponentInstance(_) if export.starts_with("wasi:") || export.starts_with("skillhost:") => {
                let reason = "it is not an interface of tools; of the exported `wasi:` interfaces the host calls \
                              `wasi:cli/run@0.2` alone";
                found.not_tools.push((export.to_owned(), reason.to_owned()));
            }
            ComponentItem::ComponentInstance(instance) if functions(engine, &instance).next().is_some() => {
                if functions(engine, &instance).all(|(function, ty)| is_for_its_builder(&function, &ty)) {
                    found.not_tools.push((export.to_owned(), FOR_ITS_BUILDER.to_owned()));
                    continue;
                }
                interfaces.push((export.to_owned(), instance));
            }
            _ => {}
        }
    }
    let one = interfaces.len() == 1;
    for (interface, instance) in &interfaces {
        for (function, ty) in functions(engine, instance) {
            let tool = if one { function.clone() } else { format!("{}.{function}", short_name(interface)) };
            found.add(name, Some(interface), &function, &tool, &ty)?;
        }
    }
    Ok(found)
}

fn functions<'i>(
    engine: &'i Engine,
    instance: &'i ComponentInstance,
) -> impl Iterator<Item = (String, ComponentFunc)> + 'i {
    instance.exports(engine).filter_map(|(name, item)| match item.ty {
        ComponentItem::ComponentFunc(function) => Some((name.to_owned(), function)),
        _ => None,
    })
}

/// What componentize-qjs and componentize-py export beside the functions of an author: they call it once, before they take the snapshot
/// that is the component. As a tool it would be of no use, and it would give the tools of a single interface longer names.
const BUILDER_PARAMS: [&[&str]; 2] =
    [&["shim", "script", "entry-path", "disable-gc"], &["app-name", "symbols", "stub-wasi"]];

const FOR_ITS_BUILDER: &str = "it is for the program that built the component, which has called it already";

fn is_for_its_builder(function: &str, ty: &ComponentFunc) -> bool {
    let named = |names: &[&str]| ty.params().map(|(name, _)| name).eq(names.iter().copied());
    function == "init" && BUILDER_PARAMS.iter().any(|names| named(names))
}

/// `tools` of `acme:text/tools@1.0.0`; a plain name is its own.
fn short_name(interface: &str) -> &str {
    let path = interface.split_once('@').map_or(interface, |(path, _)| path);
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

impl Tools {
    fn add(
        &mut self,
        skill: &SkillName,
        interface: Option<&str>,
        function: &str,
        tool: &str,
        ty: &ComponentFunc,
    ) -> Result<(), LoadError> {
        let read = signature(function, ty, &mut self.parts);
        if self.parts > limits::COMPONENT_TYPE_PARTS_MAX {
            let message =
                format!("the types of its functions have more than {} parts", limits::COMPONENT_TYPE_PARTS_MAX);
            return Err(LoadError::TooComplex { message });
        }
        match read {
            Ok((params, result)) => {
                let export =
                    Export::Function { interface: interface.map(str::to_owned), function: function.to_owned() };
                self.insert(skill, tool, export, params, result)
            }
            Err(reason) => {
                let place = interface.map_or_else(|| function.to_owned(), |name| format!("{name}#{function}"));
                if self.not_tools.len() == limits::NOT_TOOLS_MAX {
                    return Err(LoadError::TooManyTools);
                }
                self.not_tools.push((place, reason));
                Ok(())
            }
        }
    }

    fn add_command(
        &mut self,
        engine: &Engine,
        skill: &SkillName,
        interface: &str,
        instance: &ComponentInstance,
    ) -> Result<(), LoadError> {
        let is_run = |function: &ComponentFunc| {
            let mut results = function.results();
            let plain = matches!(results.next(), Some(Type::Result(result)) if result.ok().or(result.err()).is_none());
            plain && function.params().len() == 0 && !function.async_()
        };
        if !functions(engine, instance).any(|(name, function)| name == "run" && is_run(&function)) {
            let reason = "it has no function `run: func() -> result`";
            self.not_tools.push((interface.to_owned(), reason.to_owned()));
            return Ok(());
        }
        let export = Export::Command { interface: interface.to_owned() };
        self.insert(skill, "run", export, skill::command_params(), skill::command_result())
    }

    fn insert(
        &mut self,
        skill: &SkillName,
        tool: &str,
        export: Export,
        params: Vec<(String, Ty)>,
        result: ToolResult,
    ) -> Result<(), LoadError> {
        let Ok(name) = ToolName::new(skill.clone(), tool) else {
            let reason = format!("`{tool}` is too long for a tool name or not of its form");
            self.not_tools.push((place(&export), reason));
            return Ok(());
        };
        if let Some(first) = self.tools.get(tool) {
            return Err(LoadError::SameTool {
                tool: tool.to_owned(),
                first: place(&first.export),
                second: place(&export),
            });
        }
        if self.tools.len() == limits::TOOLS_MAX {
            return Err(LoadError::TooManyTools);
        }
        let tool_read = Tool { name, export, params, result, annotations: Annotations::default() };
        self.tools.insert(tool.to_owned(), tool_read);
        Ok(())
    }
}

/// How an export is called in messages.
fn place(export: &Export) -> String {
    match export {
        Export::Function { interface: Some(interface), function } => format!("{interface}#{function}"),
        Export::Function { interface: None, function } => function.clone(),
        Export::Command { interface } => format!("{interface}#run"),
        Export::Host(tool) => tool.name().to_owned(),
    }
}

/// The parameters and the result as plain data, or why the function is no tool.
fn signature(function: &str, ty: &ComponentFunc, parts: &mut usize) -> Result<(Vec<(String, Ty)>, ToolResult), String> {
    if function.starts_with('[') {
        return Err("it belongs to a resource: a step has no handle to call it on".to_owned());
    }
    if ty.async_() {
        return Err("it is async".to_owned());
    }
    let params = ty.params().map(|(name, ty)| {
        let ty = ty::counted(&ty, parts).map_err(|reason| format!("parameter `{name}`: {reason}"))?;
        Ok((name.to_owned(), ty))
    });
    let params = params.collect::<Result<_, String>>()?;
    let mut of_result = |ty: Option<Type>| {
        ty.map(|ty| ty::counted(&ty, parts)).transpose().map_err(|reason| format!("result: {reason}"))
    };
    let result = match ty.results().next() {
        Some(Type::Result(result)) => {
            ToolResult { ok: of_result(result.ok())?, err: of_result(result.err())?, fallible: true }
        }
        other => ToolResult { ok: of_result(other)?, err: None, fallible: false },
    };
    Ok((params, result))
}
