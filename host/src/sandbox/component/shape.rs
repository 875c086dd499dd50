//! What a component may not be, although it is valid: small to send and huge to compile. Looked at before the engine compiles, which has
//! no such bounds: a function of a megabyte can cost it many gigabytes, and the sizes of arrays of arrays overflow its arithmetic.

use std::collections::BTreeMap;

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentInstanceTypeId,
    ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{
    BinaryReaderError, FunctionBody, Operator, Parser, Payload, PrimitiveValType, Validator, WasmFeatures,
};

use super::LoadError;
use crate::limits;

/// The bounds: what passed others may not pass these.
pub(super) const BOUNDS: [u64; 3] =
    [limits::TYPE_BYTES_MAX, limits::FUNCTION_WORK_MAX, limits::COMPONENT_DEPTH_MAX as u64];

/// Refuses what would cost the engine too much. Says nothing of a component that is not valid: that is the engine's to refuse.
pub(super) fn check(bytes: &[u8]) -> Result<(), LoadError> {
    match Shape::default().read(bytes) {
        Ok(None) | Err(_) => Ok(()),
        Ok(Some(message)) => Err(LoadError::TooComplex { message }),
    }
}

/// What was seen so far.
#[derive(Default)]
struct Shape {
    /// The most values that a function or block of the module takes and gives.
    arity: u64,
    /// Functions with code of the module.
    functions: u64,
    /// Bytes of the types that were measured; saturating.
    sizes: BTreeMap<ComponentDefinedTypeId, u64>,
    instances: BTreeMap<ComponentInstanceTypeId, u64>,
}

impl Shape {
    /// The first thing that is too much.
    fn read(mut self, bytes: &[u8]) -> Result<Option<String>, BinaryReaderError> {
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
            validator.payload(&payload)?;
            match payload {
                Payload::Version { .. } => (self.arity, self.functions) = (0, 0),
                Payload::TypeSection(types) => {
                    for ty in types.into_iter_err_on_gc_types() {
                        let ty = ty?;
                        self.arity = self.arity.max((ty.params().len() + ty.results().len()) as u64);
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let work = work(&body, self.arity)?;
                    if work > limits::FUNCTION_WORK_MAX {
                        let at = self.functions;
                        return Ok(Some(format!("the {at}th function of a module is too large for its many locals")));
                    }
                    self.functions += 1;
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

/// A measure of what the compiler may have to keep of a function: at each place where control meets it may need every local, and every
/// value that a block or call hands over.
fn work(body: &FunctionBody<'_>, arity: u64) -> Result<u64, BinaryReaderError> {
    let mut locals = 0_u64;
    for group in body.get_locals_reader()? {
        locals = locals.saturating_add(u64::from(group?.0));
    }
    let (mut blocks, mut transfers) = (1_u64, 1_u64);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        match operators.read()? {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                blocks += 1;
            }
            Operator::BrTable { targets } => transfers += u64::from(targets.len()) + 1,
            Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::Return
            | Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => transfers += 1,
            _ => {}
        }
    }
    // The parameters are locals as well; every block ends in a transfer.
    let kept = locals.saturating_add(arity).saturating_mul(blocks);
    Ok(kept.saturating_add(arity.saturating_mul(transfers.saturating_add(blocks))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complexity(text: &str) -> Result<(), String> {
        check(&wat::parse_str(text).expect("the text is a component")).map_err(|error| error.to_string())
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
            check(&bytes).map_err(|error| error.to_string())
        };
        assert_eq!(nested(limits::COMPONENT_DEPTH_MAX), Ok(()));
        let refused = nested(limits::COMPONENT_DEPTH_MAX + 1).unwrap_err();
        assert!(refused.contains("inside of each other"), "{refused}");
        let beside = "(component) (core module)".repeat(limits::COMPONENT_DEPTH_MAX);
        assert_eq!(complexity(&format!("(component {beside})")), Ok(()));
    }

    #[test]
    fn work_is_locals_by_blocks_and_values_by_transfers() {
        let function = |locals: usize, blocks: usize| {
            let (locals, blocks) = ("i64 ".repeat(locals), "(block)".repeat(blocks));
            complexity(&format!("(component (core module (func (local {locals}) {blocks})))"))
        };
        assert_eq!(function(1_000, 1_000), Ok(()));
        assert!(function(10_000, 10_000).is_err());
        let values = "i32 ".repeat(900);
        let branches = |count: usize| {
            let branches = "(br_if 0 (i32.const 0))".repeat(count);
            complexity(&format!(
                "(component (core module (type $many (func (result {values})))
                   (func (type $many) (block (type $many) unreachable {branches} unreachable))))"
            ))
        };
        assert_eq!(branches(1_000), Ok(()));
        assert!(branches(60_000).is_err());
    }
}
