//! Why bytes that should be a component cannot be loaded. Runs only after a load failed, so it may take its time.

use wasmparser::component_types::{ComponentDefinedType, ComponentEntityType, ComponentValType};
use wasmparser::types::TypesRef;
use wasmparser::{Parser, PrimitiveValType, Validator, WasmFeatures};

use super::LoadError;

/// The first bytes of every wasm file.
const MAGIC: &[u8] = b"\0asm";
/// What follows them in a component.
const COMPONENT_VERSION: &[u8] = &[0x0d, 0, 1, 0];
/// What follows them in a core module.
const MODULE_VERSION: &[u8] = &[1, 0, 0, 0];
/// Bytes that a message shows of a file that is not wasm.
const SHOWN_BYTES: usize = 8;

/// Refuses what is not even the beginning of a component. Cheap: looks at the first bytes.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    let Some(version) = bytes.strip_prefix(MAGIC) else {
        return Err(not_wasm(bytes));
    };
    if version.starts_with(COMPONENT_VERSION) {
        return Ok(());
    }
    if version.starts_with(MODULE_VERSION) {
        return Err(LoadError::CoreModule);
    }
    let message = if version.len() < COMPONENT_VERSION.len() {
        "unexpected end".to_owned()
    } else {
        format!("unknown version {}", hex(version.get(..4).unwrap_or_default()))
    };
    Err(LoadError::Corrupt { offset: MAGIC.len(), message })
}

fn not_wasm(bytes: &[u8]) -> LoadError {
    let start = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("(component") || text.starts_with("(module") || text.starts_with(";;") || text.starts_with("(;")
    {
        return LoadError::Text;
    }
    LoadError::NotWasm { start: hex(bytes.get(..bytes.len().min(SHOWN_BYTES)).unwrap_or_default()) }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

/// The reason why the engine refused `bytes`; `refusal` is what it said.
pub(super) fn diagnose(bytes: &[u8], refusal: &wasmtime::Error) -> LoadError {
    for payload in Parser::new(0).parse_all(bytes) {
        if let Err(error) = payload {
            return LoadError::Corrupt { offset: error.offset(), message: one_line(error.message()) };
        }
    }
    let types = match Validator::new_with_features(WasmFeatures::all()).validate_all(bytes) {
        Ok(types) => types,
        Err(error) => return LoadError::Invalid { message: one_line(&error.to_string()) },
    };
    let places = async_places(bytes, types.as_ref());
    if !places.is_empty() {
        return LoadError::UsesAsync { places };
    }
    LoadError::Unsupported { message: one_line(&format!("{refusal:#}")) }
}

pub(in crate::sandbox) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The exports and imports of the component whose types are async, as `interface#function`.
fn async_places(bytes: &[u8], types: TypesRef<'_>) -> Vec<String> {
    let mut places = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes).flatten() {
        match payload {
            wasmparser::Payload::Version { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
            wasmparser::Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports.into_iter().flatten() {
                    if let Some(item) = types.component_item_for_import(import.name.name) {
                        collect_async(types, &format!("import {}", import.name.name), &item.ty, &mut places);
                    }
                }
            }
            wasmparser::Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports.into_iter().flatten() {
                    if let Some(item) = types.component_item_for_export(export.name.name) {
                        collect_async(types, &format!("export {}", export.name.name), &item.ty, &mut places);
                    }
                }
            }
            _ => {}
        }
    }
    places
}

fn collect_async(types: TypesRef<'_>, place: &str, ty: &ComponentEntityType, places: &mut Vec<String>) {
    if places.len() >= crate::limits::ASYNC_PLACES_MAX {
        return;
    }
    match ty {
        ComponentEntityType::Func(id) => {
            if let Some(function) = types.get(*id) {
                let values = function.params.iter().map(|(_, ty)| ty).chain(&function.result);
                if function.async_ || values.into_iter().any(|ty| is_async(types, ty, 0, &mut 0)) {
                    places.push(place.to_owned());
                }
            }
        }
        ComponentEntityType::Instance(id) => {
            for (name, item) in types.get(*id).into_iter().flat_map(|instance| &instance.exports) {
                // An instance inside an instance cannot come from WIT; one level is enough to name a place.
                if matches!(item.ty, ComponentEntityType::Func(_)) {
                    collect_async(types, &format!("{place}#{name}"), &item.ty, places);
                }
            }
        }
        _ => {}
    }
}

/// Whether the type holds a stream, a future or an error context. Depth and parts are bounded here: this is recursive, and types share parts.
fn is_async(types: TypesRef<'_>, ty: &ComponentValType, depth: usize, parts: &mut usize) -> bool {
    *parts += 1;
    let parts_now = *parts;
    let mut inner = |ty: &ComponentValType| is_async(types, ty, depth + 1, parts);
    let ComponentValType::Type(id) = ty else {
        return matches!(ty, ComponentValType::Primitive(PrimitiveValType::ErrorContext));
    };
    if depth > crate::limits::TYPE_DEPTH_MAX || parts_now > crate::limits::TYPE_PARTS_MAX {
        return false;
    }
    match types.get(*id) {
        Some(ComponentDefinedType::Stream { .. } | ComponentDefinedType::Future { .. }) => true,
        Some(ComponentDefinedType::Primitive(primitive)) => matches!(primitive, PrimitiveValType::ErrorContext),
        Some(ComponentDefinedType::Record(record)) => record.fields.values().any(inner),
        Some(ComponentDefinedType::Variant(variant)) => {
            variant.cases.values().filter_map(|case| case.ty.as_ref()).any(inner)
        }
        Some(ComponentDefinedType::List { element, .. } | ComponentDefinedType::FixedLengthList { element, .. }) => {
            inner(element)
        }
        Some(ComponentDefinedType::Map { key, value, .. }) => inner(key) || inner(value),
        Some(ComponentDefinedType::Tuple(tuple)) => tuple.types.iter().any(inner),
        Some(ComponentDefinedType::Option { ty, .. }) => inner(ty),
        Some(ComponentDefinedType::Result { ok, err, .. }) => ok.iter().chain(err).any(inner),
        Some(
            ComponentDefinedType::Flags(_)
            | ComponentDefinedType::Enum(_)
            | ComponentDefinedType::Own(_)
            | ComponentDefinedType::Borrow(_),
        )
        | None => false,
    }
}
