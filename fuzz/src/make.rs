//! Components from choices.

use arbitrary::{Result, Unstructured};
use wasm_encoder::{ComponentBuilder, ComponentExportKind, ComponentValType, ExportKind, PrimitiveValType};
use wasm_mutate::WasmMutate;
use wasm_smith::{Component, Config, Module};
use wasmparser::{ExternalKind, Parser, Payload, ValType};

/// The committed guests that are small enough to be compiled often.
const GUESTS: [&[u8]; 3] = [
    include_bytes!("../../guest-skills/components/probe.wasm"),
    include_bytes!("../../guest-skills/components/files.wasm"),
    include_bytes!("../../guest-skills/components/csv.wasm"),
];
/// Mutations of one guest.
const MUTATIONS_MAX: usize = 4;
/// Parameters of a function that do not go through memory.
const FLAT_PARAMS_MAX: usize = 16;
/// The header of a component.
const HEADER_BYTES: usize = 8;

/// A component of any form, or a module of any form around which a component is built.
pub(crate) fn arbitrary(choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if choices.ratio(1, 4)? {
        let config = Config { gc_enabled: choices.ratio(1, 8)?, ..Config::default() };
        return Ok(Component::new(config, choices)?.to_bytes());
    }
    let mut config =
        Config { max_imports: 0, min_funcs: 1, min_exports: 1, export_everything: true, ..Config::default() };
    // What the host does not run is tried now and then.
    if choices.ratio(7, 8)? {
        config.threads_enabled = false;
        config.memory64_enabled = false;
        config.gc_enabled = false;
        config.exceptions_enabled = false;
        config.wide_arithmetic_enabled = false;
        config.compact_imports_enabled = false;
        config.reference_types_enabled = false;
        // Functions of numbers can be tools.
        config.multi_value_enabled = false;
        config.simd_enabled = choices.ratio(1, 4)?;
        config.relaxed_simd_enabled = config.simd_enabled;
    }
    config.max_memory32_bytes = 64 << 20;
    let module = Module::new(config, choices)?.to_bytes();
    Ok(wrapped(&module).unwrap_or(module))
}

/// A component whose tools are the module's exported functions that take and return at most numbers.
fn wrapped(module: &[u8]) -> Option<Vec<u8>> {
    let (mut types, mut functions, mut exports) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group.ok()?.into_types() {
                        types.push(match ty.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(ty) => Some(ty),
                            _ => None,
                        });
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    functions.push(index.ok()?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    if export.kind == ExternalKind::Func {
                        exports.push((export.name.to_owned(), export.index));
                    }
                }
            }
            _ => {}
        }
    }
    let mut component = ComponentBuilder::default();
    let module = component.core_module_raw(None, module);
    let instance = component.core_instantiate(None, module, []);
    for (index, (name, function)) in exports.iter().enumerate() {
        let ty = functions.get(*function as usize).and_then(|at| types.get(*at as usize)?.clone());
        let Some(ty) = ty else { continue };
        let params: Option<Vec<_>> = ty.params().iter().map(|ty| number(*ty)).collect();
        let results: Option<Vec<_>> = ty.results().iter().map(|ty| number(*ty)).collect();
        let (Some(params), Some(results)) = (params, results) else { continue };
        if params.len() > FLAT_PARAMS_MAX || results.len() > 1 {
            continue;
        }
        let names: Vec<String> = (0..params.len()).map(|at| format!("p{at}")).collect();
        let core = component.core_alias_export(None, instance, name, ExportKind::Func);
        let (ty, mut encoder) = component.type_function(None);
        encoder.async_(false).params(names.iter().map(String::as_str).zip(params)).result(results.first().copied());
        let lifted = component.lift_func(None, core, ty, []);
        component.export(format!("t{index}").as_str(), ComponentExportKind::Func, lifted, None);
    }
    Some(component.finish())
}

fn number(ty: ValType) -> Option<ComponentValType> {
    let primitive = match ty {
        ValType::I32 => PrimitiveValType::S32,
        ValType::I64 => PrimitiveValType::U64,
        ValType::F32 => PrimitiveValType::F32,
        ValType::F64 => PrimitiveValType::F64,
        _ => return None,
    };
    Some(ComponentValType::Primitive(primitive))
}

/// A guest with some bytes, sections or instructions changed.
pub(crate) fn mutated(choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = choices.choose(&GUESTS)?.to_vec();
    for _ in 0..choices.int_in_range(1..=MUTATIONS_MAX)? {
        match choices.int_in_range(0..=7_u8)? {
            0 => flip(&mut bytes, choices)?,
            1 => bytes.truncate(choices.int_in_range(HEADER_BYTES..=bytes.len())?),
            2 => splice(&mut bytes, choices)?,
            3 => sections(&mut bytes, choices)?,
            _ => instructions(&mut bytes, choices)?,
        }
        if bytes.len() <= HEADER_BYTES {
            break;
        }
    }
    Ok(bytes)
}

fn flip(bytes: &mut [u8], choices: &mut Unstructured<'_>) -> Result<()> {
    let at = choices.choose_index(bytes.len())?;
    bytes[at] = choices.arbitrary()?;
    Ok(())
}

/// Copies a piece to another place.
fn splice(bytes: &mut Vec<u8>, choices: &mut Unstructured<'_>) -> Result<()> {
    let (from, to) = (choices.choose_index(bytes.len())?, choices.choose_index(bytes.len())?);
    let end = (from + choices.int_in_range(1..=64)?).min(bytes.len());
    let piece = bytes[from..end].to_vec();
    let replaced = if choices.arbitrary()? { (to + piece.len()).min(bytes.len()) } else { to };
    bytes.splice(to..replaced, piece);
    Ok(())
}

/// The sections of a component: identifier and content.
fn split(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut reader = wasmparser::BinaryReader::new(bytes.get(HEADER_BYTES..).unwrap_or_default(), 0);
    let mut found = Vec::new();
    while !reader.eof() {
        let Ok(id) = reader.read_u8() else { break };
        let Ok(size) = reader.read_var_u32() else { break };
        let Ok(content) = reader.read_bytes(size as usize) else { break };
        found.push((id, content.to_vec()));
    }
    found
}

fn join(header: &[u8], sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for (id, content) in sections {
        bytes.push(*id);
        let mut size = content.len();
        while size >= 0x80 {
            bytes.push(size as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        bytes.extend_from_slice(content);
    }
    bytes
}

/// Removes, repeats or exchanges a section.
fn sections(bytes: &mut Vec<u8>, choices: &mut Unstructured<'_>) -> Result<()> {
    let mut sections = split(bytes);
    if sections.is_empty() {
        return Ok(());
    }
    let (one, other) = (choices.choose_index(sections.len())?, choices.choose_index(sections.len())?);
    match choices.int_in_range(0..=2_u8)? {
        0 => drop(sections.remove(one)),
        1 => sections.insert(other, sections[one].clone()),
        _ => sections.swap(one, other),
    }
    *bytes = join(&bytes[..HEADER_BYTES], &sections);
    Ok(())
}

/// Changes the instructions, types or exports of one of the component's modules.
fn instructions(bytes: &mut Vec<u8>, choices: &mut Unstructured<'_>) -> Result<()> {
    let mut sections = split(bytes);
    let modules: Vec<usize> = (0..sections.len()).filter(|at| sections[*at].0 == 1).collect();
    if modules.is_empty() {
        return Ok(());
    }
    let module = *choices.choose(&modules)?;
    let mut mutation = WasmMutate::default();
    mutation.seed(choices.arbitrary()?).fuel(1_000).preserve_semantics(choices.ratio(1, 4)?);
    let changed = match mutation.run(&sections[module].1) {
        Ok(mut found) => found.next().and_then(std::result::Result::ok),
        // Nothing that it can change, or a module that an earlier mutation broke.
        Err(_) => None,
    };
    if let Some(changed) = changed {
        sections[module].1 = changed;
        *bytes = join(&bytes[..HEADER_BYTES], &sections);
    }
    Ok(())
}
