//! What a component may not be, although it is valid: small to send and huge to compile. Looked at before the engine compiles, which has
//! no such bounds: a function of a megabyte can cost it many gigabytes, and the sizes of arrays of arrays overflow its arithmetic. What the
//! host itself does with a component afterwards grows with what is counted here, and with nothing else.

mod function;

use std::collections::BTreeMap;

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentInstanceTypeId,
    ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload, PrimitiveValType, Validator, WasmFeatures};

use self::function::{Cost, Module};
use super::{LoadError, Strictness};
use crate::limits;

/// The bounds: what passed others may not pass these.
pub(super) const BOUNDS: [u64; 5] = [
    limits::TYPE_BYTES_MAX,
    limits::FUNCTION_WORK_MAX,
    limits::FUNCTION_VALUES_MAX,
    limits::COMPONENT_ITEMS_MAX,
    limits::COMPONENT_DEPTH_MAX as u64,
];

/// What the functions of a component may cost.
struct Functions {
    /// Locals times blocks of one.
    kept: u64,
    /// Values that one hands over.
    values: u64,
    /// Bytes of one.
    bytes: u64,
    /// The weights of all of them.
    all: u64,
}

impl Functions {
    const fn of(strictness: Strictness) -> Self {
        match strictness {
            Strictness::Bounded => Self {
                kept: limits::FUNCTION_WORK_MAX,
                values: limits::FUNCTION_VALUES_MAX,
                bytes: u64::MAX,
                all: u64::MAX,
            },
            Strictness::InProcess => Self {
                kept: limits::FUNCTION_WORK_IN_PROCESS_MAX,
                values: limits::FUNCTION_VALUES_IN_PROCESS_MAX,
                bytes: limits::FUNCTION_BYTES_IN_PROCESS_MAX,
                all: limits::COMPONENT_WORK_IN_PROCESS_MAX,
            },
        }
    }
}

/// Refuses what would cost the engine too much. Says nothing of a component that is not valid: that is the engine's to refuse.
pub(super) fn check(bytes: &[u8], strictness: Strictness) -> Result<(), LoadError> {
    match Shape::default().read(bytes, &Functions::of(strictness)) {
        Ok(None) | Err(_) => Ok(()),
        Ok(Some(message)) => Err(LoadError::TooComplex { message }),
    }
}

/// Bytes of a part of a type that is written inside of another one.
const BYTES_OF_AN_ITEM: u64 = 8;

/// What was seen so far.
#[derive(Default)]
struct Shape {
    /// The module that is being read.
    module: Module,
    /// The weights of its functions and those of the modules before it.
    work: u64,
    /// Types, functions, imports, exports and whatever else there is a list of, of the component and all that is in it.
    items: u64,
    /// Bytes of the types that were measured; saturating.
    sizes: BTreeMap<ComponentDefinedTypeId, u64>,
    instances: BTreeMap<ComponentInstanceTypeId, u64>,
}

impl Shape {
    /// The first thing that is too much.
    fn read(mut self, bytes: &[u8], functions: &Functions) -> Result<Option<String>, BinaryReaderError> {
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > limits::COMPONENT_DEPTH_MAX {
                return Ok(Some(format!(
                    "it has more than {} components inside of each other",
                    limits::COMPONENT_DEPTH_MAX
                )));
            }
            self.items = self.items.saturating_add(items(&payload));
            if self.items > limits::COMPONENT_ITEMS_MAX {
                return Ok(Some(format!(
                    "it has more than {} types, functions, imports, exports and the like",
                    limits::COMPONENT_ITEMS_MAX
                )));
            }
            validator.payload(&payload)?;
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } => self.module = Module::default(),
                Payload::TypeSection(types) => self.module.add_types(&types)?,
                Payload::ImportSection(imports) => self.module.add_imports(&imports)?,
                Payload::FunctionSection(all) => self.module.add_functions(&all)?,
                Payload::CodeSectionEntry(body) => {
                    let (at, cost) = self.module.next(&body)?;
                    if let Some(message) = self.too_much(at, cost, functions) {
                        return Ok(Some(message));
                    }
                }
                Payload::ComponentTypeSection(section) => {
                    let Some(types) = validator.types(0) else { continue };
                    let count = types.component_type_count();
                    for index in count.saturating_sub(section.count())..count {
                        if self.any(types, types.component_any_type_at(index)) > limits::TYPE_BYTES_MAX {
                            return Ok(Some(format!(
                                "a value of type {index} has more than {} bytes",
                                limits::TYPE_BYTES_MAX
                            )));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn too_much(&mut self, at: usize, cost: Cost, functions: &Functions) -> Option<String> {
        if cost.kept > functions.kept {
            return Some(format!("the {at}th function of a module is too large for its many locals"));
        }
        if cost.values > functions.values {
            return Some(format!("the {at}th function of a module hands over too many values in its calls and jumps"));
        }
        if cost.bytes > functions.bytes {
            return Some(format!("the {at}th function of a module has more than {} bytes", functions.bytes));
        }
        self.work = self.work.saturating_add(cost.weight());
        (self.work > functions.all).then(|| "its functions are too many and too large to be compiled here".to_owned())
    }

    /// The largest value of a type, or of the functions of an instance.
    fn any(&mut self, types: TypesRef<'_>, id: ComponentAnyTypeId) -> u64 {
        match id {
            ComponentAnyTypeId::Defined(id) => self.defined(types, id),
            ComponentAnyTypeId::Func(id) => {
                let Some(function) = types.get(id) else { return 0 };
                let params = function.params.iter().map(|(_, ty)| self.value(types, *ty));
                let params = params.fold(0, u64::saturating_add);
                params.max(function.result.map_or(0, |ty| self.value(types, ty)))
            }
            ComponentAnyTypeId::Instance(id) => self.instance(types, id),
            ComponentAnyTypeId::Component(id) => {
                let Some(component) = types.get(id) else { return 0 };
                let items = component.imports.values().chain(component.exports.values());
                items.map(|item| self.entity(types, item.ty)).max().unwrap_or(0)
            }
            ComponentAnyTypeId::Resource(_) => 0,
        }
    }

    fn instance(&mut self, types: TypesRef<'_>, id: ComponentInstanceTypeId) -> u64 {
        if let Some(known) = self.instances.get(&id) {
            return *known;
        }
        let Some(instance) = types.get(id) else { return 0 };
        let largest = instance.exports.values().map(|item| self.entity(types, item.ty)).max().unwrap_or(0);
        self.instances.insert(id, largest);
        largest
    }

    fn entity(&mut self, types: TypesRef<'_>, entity: ComponentEntityType) -> u64 {
        match entity {
            ComponentEntityType::Func(id) => self.any(types, ComponentAnyTypeId::Func(id)),
            ComponentEntityType::Instance(id) => self.instance(types, id),
            ComponentEntityType::Component(id) => self.any(types, ComponentAnyTypeId::Component(id)),
            ComponentEntityType::Type { referenced, .. } => self.any(types, referenced),
            ComponentEntityType::Value(ty) => self.value(types, ty),
            ComponentEntityType::Module(_) => 0,
        }
    }

    fn value(&mut self, types: TypesRef<'_>, ty: ComponentValType) -> u64 {
        match ty {
            // The largest of them are pairs of pointer and length, and numbers of 64 bits.
            ComponentValType::Primitive(_) => 8,
            ComponentValType::Type(id) => self.defined(types, id),
        }
    }

    /// Bytes of a value in linear memory, no alignment counted twice: an upper bound. Types are nested no deeper than the validator
    /// allows, and each is measured once.
    fn defined(&mut self, types: TypesRef<'_>, id: ComponentDefinedTypeId) -> u64 {
        if let Some(known) = self.sizes.get(&id) {
            return *known;
        }
        let Some(ty) = types.get(id) else { return 0 };
        let size = match ty {
            ComponentDefinedType::Record(record) => self.sum(types, record.fields.values().copied()),
            ComponentDefinedType::Tuple(tuple) => self.sum(types, tuple.types.iter().copied()),
            ComponentDefinedType::FixedLengthList { element, length, .. } => {
                self.element(types, *element).saturating_mul(u64::from(*length))
            }
            ComponentDefinedType::Variant(variant) => {
                let payloads = variant.cases.values().filter_map(|case| case.ty);
                payloads.map(|ty| self.padded(types, ty)).max().unwrap_or(0).saturating_add(8)
            }
            ComponentDefinedType::Option { ty, .. } => self.padded(types, *ty).saturating_add(8),
            ComponentDefinedType::Result { ok, err, .. } => {
                let sides = [ok, err].into_iter().flatten();
                sides.map(|ty| self.padded(types, *ty)).max().unwrap_or(0).saturating_add(8)
            }
            ComponentDefinedType::Flags(names) => 4 * (names.len() as u64).div_ceil(32),
            // What these hold lies elsewhere, but it must be of a size as well.
            ComponentDefinedType::List { element, .. } => self.elsewhere(types, &[*element]),
            ComponentDefinedType::Map { key, value, .. } => self.elsewhere(types, &[*key, *value]),
            _ => 8,
        };
        self.sizes.insert(id, size);
        size
    }

    fn elsewhere(&mut self, types: TypesRef<'_>, parts: &[ComponentValType]) -> u64 {
        let size = self.sum(types, parts.iter().copied());
        if size > limits::TYPE_BYTES_MAX { size } else { 8 }
    }

    fn sum(&mut self, types: TypesRef<'_>, parts: impl Iterator<Item = ComponentValType>) -> u64 {
        parts.map(|ty| self.padded(types, ty)).fold(0, u64::saturating_add)
    }

    /// An element of an array: arrays of small numbers are packed.
    fn element(&mut self, types: TypesRef<'_>, ty: ComponentValType) -> u64 {
        match ty {
            ComponentValType::Primitive(PrimitiveValType::Bool | PrimitiveValType::S8 | PrimitiveValType::U8) => 1,
            ComponentValType::Primitive(PrimitiveValType::S16 | PrimitiveValType::U16) => 2,
            ComponentValType::Primitive(
                PrimitiveValType::S32 | PrimitiveValType::U32 | PrimitiveValType::F32 | PrimitiveValType::Char,
            ) => 4,
            ty => self.padded(types, ty),
        }
    }

    /// Every part may begin at the next multiple of eight.
    fn padded(&mut self, types: TypesRef<'_>, ty: ComponentValType) -> u64 {
        self.value(types, ty).checked_next_multiple_of(8).unwrap_or(u64::MAX)
    }
}

/// How many items a section has: as many as it says, or as it has bytes. Bytes of data and code count by themselves.
fn items(payload: &Payload<'_>) -> u64 {
    let (count, range) = match payload {
        Payload::TypeSection(section) => (section.count(), section.range()),
        Payload::ImportSection(section) => (section.count(), section.range()),
        Payload::FunctionSection(section) => (section.count(), section.range()),
        Payload::TableSection(section) => (section.count(), section.range()),
        Payload::MemorySection(section) => (section.count(), section.range()),
        Payload::TagSection(section) => (section.count(), section.range()),
        Payload::GlobalSection(section) => (section.count(), section.range()),
        Payload::ExportSection(section) => (section.count(), section.range()),
        Payload::ElementSection(section) => (section.count(), section.range()),
        Payload::DataSection(section) => (section.count(), section.range()),
        Payload::InstanceSection(section) => (section.count(), section.range()),
        Payload::ComponentInstanceSection(section) => (section.count(), section.range()),
        Payload::ComponentAliasSection(section) => (section.count(), section.range()),
        Payload::ComponentCanonicalSection(section) => (section.count(), section.range()),
        Payload::ComponentImportSection(section) => (section.count(), section.range()),
        Payload::ComponentExportSection(section) => (section.count(), section.range()),
        // Types hold others that no count says; the least that one is written with are some bytes.
        Payload::ComponentTypeSection(section) => return inside(section.count(), section.range()),
        Payload::CoreTypeSection(section) => return inside(section.count(), section.range()),
        // Sections that hold nothing are something all the same.
        _ => return 1,
    };
    u64::from(count).min(range.len() as u64)
}

fn inside(count: u32, range: std::ops::Range<usize>) -> u64 {
    let bytes = range.len() as u64;
    u64::from(count).min(bytes).saturating_add(bytes / BYTES_OF_AN_ITEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complexity(text: &str) -> Result<(), String> {
        check(&wat::parse_str(text).expect("the text is a component"), Strictness::Bounded)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_are_those_of_nested_arrays_wherever_they_are() {
        let bytes = limits::TYPE_BYTES_MAX;
        assert_eq!(complexity(&format!("(component (type (list u64 {})))", bytes / 8)), Ok(()));
        for types in [
            format!("(type (list u64 {}))", bytes / 8 + 1),
            "(type $a (list u8 9000000)) (type (tuple $a $a))".to_owned(),
            "(type $a (list u8 10000)) (type $b (list $a 10000)) (type (list $b))".to_owned(),
            "(type $a (list u8 10000)) (type $b (list $a 10000)) (type (option $b))".to_owned(),
            "(type $a (list u8 10000)) (type (func (param \"x\" (list $a 10000))))".to_owned(),
            "(type (instance (type $a (list u8 10000)) (type $b (list $a 10000)) (export \"f\" (func (result $b)))))"
                .to_owned(),
            "(component (type $a (list u8 10000)) (type (list $a 10000)))".to_owned(),
        ] {
            let refused = complexity(&format!("(component {types})")).expect_err(&types);
            assert!(refused.contains("a value of type"), "{refused}");
        }
    }

    #[test]
    fn components_are_counted_inside_of_each_other_and_not_beside() {
        // In bytes: the text format has a bound of its own.
        let nested = |depth: usize| {
            let empty = b"\0asm\x0d\0\x01\0".to_vec();
            let bytes = (0..depth).fold(empty.clone(), |inner, _| {
                let mut outer = empty.clone();
                outer.push(4);
                let mut length = inner.len();
                while length > 0x7f {
                    outer.push(u8::try_from(length & 0x7f | 0x80).unwrap());
                    length >>= 7;
                }
                outer.push(u8::try_from(length).unwrap());
                [outer, inner].concat()
            });
            check(&bytes, Strictness::Bounded).map_err(|error| error.to_string())
        };
        assert_eq!(nested(limits::COMPONENT_DEPTH_MAX), Ok(()));
        let refused = nested(limits::COMPONENT_DEPTH_MAX + 1).unwrap_err();
        assert!(refused.contains("inside of each other"), "{refused}");
        let beside = "(component) (core module)".repeat(limits::COMPONENT_DEPTH_MAX);
        assert_eq!(complexity(&format!("(component {beside})")), Ok(()));
    }

    /// What the only function of a module costs.
    fn cost(module: &str) -> Cost {
        let bytes = wat::parse_str(module).unwrap();
        let (mut module, mut costs) = (Module::default(), Vec::new());
        for payload in Parser::new(0).parse_all(&bytes) {
            match payload.unwrap() {
                Payload::TypeSection(types) => module.add_types(&types).unwrap(),
                Payload::ImportSection(imports) => module.add_imports(&imports).unwrap(),
                Payload::FunctionSection(functions) => module.add_functions(&functions).unwrap(),
                Payload::CodeSectionEntry(body) => costs.push(module.next(&body).unwrap().1),
                _ => {}
            }
        }
        assert_eq!(costs.len(), 1);
        costs[0]
    }

    #[test]
    fn values_are_counted_where_they_are_handed_over() {
        let types = "(type $f (func (param i32 i32) (result i64 i64 i64))) (type $n (func))
            (import \"a\" \"f\" (func $imported (type $f))) (table 1 funcref)";
        for (values, body) in [
            (0, ""),
            (5, "i32.const 0 i32.const 0 call $imported drop drop drop"),
            (
                10,
                "i32.const 0 i32.const 0 call $imported drop drop drop i32.const 0 i32.const 0 call $imported drop drop drop",
            ),
            (5, "i32.const 0 i32.const 0 i32.const 0 call_indirect (type $f) drop drop drop"),
            (0, "call $own"),
            (1, "(block (result i32) i32.const 0) drop"),
            // The block gives three, and each of the jumps does.
            (
                5 + 3,
                "i32.const 0 i32.const 0 (block (type $f) drop drop i64.const 0 i64.const 0 i64.const 0 br 0) drop drop drop",
            ),
            (5 + 2, "i32.const 0 i32.const 0 (loop (type $f) br 0) drop drop drop"),
            (1 + 1 + 2 + 2, "(block (result i32) i32.const 0 i32.const 0 br_table 0 0 0) drop"),
            (0, "(block br 0)"),
        ] {
            let text = format!("(module {types} (func $own (type $n) {body}))");
            // A table of jumps costs for each of its targets.
            let counted = cost(&text).values;
            assert_eq!(counted, values, "{body}");
        }
        let kept = |text: &str| cost(text).kept;
        assert_eq!(kept("(module (func (param i32) (local i64 i64)))"), 3);
        assert_eq!(kept("(module (func (local i64 i64) (block (loop)) (if (i32.const 0) (then) (else))))"), 2 * 5);
    }

    #[test]
    fn large_functions_are_refused() {
        let function = |locals: usize, blocks: usize| {
            let (locals, blocks) = ("i64 ".repeat(locals), "(block)".repeat(blocks));
            complexity(&format!("(component (core module (func (local {locals}) {blocks})))"))
        };
        assert_eq!(function(1_000, 1_000), Ok(()));
        assert!(function(10_000, 10_000).is_err());
        let values = "i32 ".repeat(900);
        let branches = |count: u64| {
            let branches = "(br_if 0 (i32.const 0))".repeat(usize::try_from(count).unwrap());
            complexity(&format!(
                "(component (core module (type $many (func (result {values})))
                   (func (type $many) (block (type $many) unreachable {branches} unreachable))))"
            ))
        };
        assert_eq!(branches(1_000), Ok(()));
        assert!(branches(limits::FUNCTION_VALUES_MAX / 900 + 1).is_err());
    }

    #[test]
    fn in_process_less_is_compiled() {
        let component = |functions: usize, calls: u64| {
            let (values, calls) = ("i64 ".repeat(100), "call $f ".repeat(usize::try_from(calls).unwrap()));
            let functions = format!("(func (type $f) (unreachable) {calls})").repeat(functions);
            let text = format!(
                "(component (core module (type $f (func (param {values}) (result {values}))) (func $f (type $f) unreachable) {functions}))"
            );
            wat::parse_str(&text).unwrap()
        };
        let one = component(1, limits::FUNCTION_VALUES_IN_PROCESS_MAX / 200 + 1);
        assert_eq!(check(&one, Strictness::Bounded).map_err(|error| error.to_string()), Ok(()));
        assert!(check(&one, Strictness::InProcess).is_err());
        let each = limits::FUNCTION_VALUES_IN_PROCESS_MAX / 200 - 2;
        let weight = Cost { values: (each + 1) * 200, ..Cost::default() }.weight();
        let count = usize::try_from(limits::COMPONENT_WORK_IN_PROCESS_MAX / weight).unwrap();
        let fits = component(count, each);
        assert_eq!(check(&fits, Strictness::InProcess).map_err(|error| error.to_string()), Ok(()));
        let many = component(count + 2, each);
        assert!(check(&many, Strictness::InProcess).unwrap_err().to_string().contains("too many and too large"));
        assert_eq!(check(&many, Strictness::Bounded).map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn lists_of_a_component_are_bounded_together() {
        let component = |count: u64| {
            let types = "\x60\0\0".repeat(usize::try_from(count).unwrap()).into_bytes();
            let mut section = leb(count);
            section.extend(types);
            let mut module = b"\0asm\x01\0\0\0".to_vec();
            module.push(1);
            module.extend(leb(section.len() as u64));
            module.extend(section);
            let mut component = b"\0asm\x0d\0\x01\0".to_vec();
            component.push(1);
            component.extend(leb(module.len() as u64));
            component.extend(module);
            check(&component, Strictness::Bounded).map_err(|error| error.to_string())
        };
        assert_eq!(component(limits::COMPONENT_ITEMS_MAX - 10), Ok(()));
        assert!(component(limits::COMPONENT_ITEMS_MAX + 1).unwrap_err().contains("types, functions"));
    }

    fn leb(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(u8::try_from(value & 0x7f | 0x80).unwrap());
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }
}
