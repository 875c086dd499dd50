//! What one function of a core module may cost a compiler, counted and not guessed: the values that calls, jumps and blocks hand over, and the
//! locals that each block may have to keep. Every operator is looked at once; what is not valid counts as nothing and is refused later.

use wasmparser::{
    BinaryReaderError, BlockType, CompositeInnerType, FunctionBody, FunctionSectionReader, ImportSectionReader,
    Operator, TypeRef, TypeSectionReader,
};

/// How many values go in and come out.
#[derive(Debug, Clone, Copy, Default)]
struct Arity {
    params: u64,
    results: u64,
}

impl Arity {
    const fn both(self) -> u64 {
        self.params + self.results
    }
}

/// What a module says of its functions.
#[derive(Debug, Default)]
pub(super) struct Module {
    types: Vec<Arity>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    /// How many of them are imported.
    imported: usize,
    /// How many have been looked at.
    seen: usize,
}

/// What a function may cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Values handed over by calls, jumps and blocks.
    pub(super) values: u64,
    /// Locals times blocks.
    pub(super) kept: u64,
    /// Bytes of its code.
    pub(super) bytes: u64,
}

impl Cost {
    /// In one number, for sums: what a compiler does with many values of one function grows faster than they do.
    pub(super) fn weight(self) -> u64 {
        let values = self.values.saturating_mul(1 + self.values / VALUES_OF_A_LARGE_FUNCTION);
        values.saturating_add(self.kept / KEPT_PER_VALUE)
    }
}

/// From here on a function's values cost more than in proportion.
const VALUES_OF_A_LARGE_FUNCTION: u64 = 50_000;
/// A local that a block may have to keep is mostly not changed in it.
const KEPT_PER_VALUE: u64 = 10;

impl Module {
    pub(super) fn add_types(&mut self, types: &TypeSectionReader<'_>) -> Result<(), BinaryReaderError> {
        for group in types.clone() {
            for ty in group?.types() {
                self.types.push(match &ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => {
                        Arity { params: ty.params().len() as u64, results: ty.results().len() as u64 }
                    }
                    _ => Arity::default(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn add_imports(&mut self, imports: &ImportSectionReader<'_>) -> Result<(), BinaryReaderError> {
        for import in imports.clone().into_imports() {
            if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import?.ty {
                self.functions.push(ty);
                self.imported += 1;
            }
        }
        Ok(())
    }

    pub(super) fn add_functions(&mut self, functions: &FunctionSectionReader<'_>) -> Result<(), BinaryReaderError> {
        for ty in functions.clone() {
            self.functions.push(ty?);
        }
        Ok(())
    }

    fn of_type(&self, index: u32) -> Arity {
        self.types.get(usize::try_from(index).unwrap_or(usize::MAX)).copied().unwrap_or_default()
    }

    fn of_function(&self, index: u32) -> Arity {
        let ty = self.functions.get(usize::try_from(index).unwrap_or(usize::MAX));
        ty.map(|ty| self.of_type(*ty)).unwrap_or_default()
    }

    fn of_block(&self, ty: BlockType) -> Arity {
        match ty {
            BlockType::Empty => Arity::default(),
            BlockType::Type(_) => Arity { params: 0, results: 1 },
            BlockType::FuncType(index) => self.of_type(index),
        }
    }

    /// What the next function with code costs, and which one of the module it is.
    pub(super) fn next(&mut self, body: &FunctionBody<'_>) -> Result<(usize, Cost), BinaryReaderError> {
        let at = self.seen;
        self.seen += 1;
        let own = self.functions.get(self.imported + at).map(|ty| self.of_type(*ty)).unwrap_or_default();
        let mut locals = own.params;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(u64::from(group?.0));
        }
        // What a jump to each label that is open hands over.
        let mut labels = vec![own.results];
        let (mut blocks, mut values) = (1_u64, own.both());
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let label = |depth: u32| {
                let depth = usize::try_from(depth).unwrap_or(usize::MAX);
                labels.iter().rev().nth(depth).copied().unwrap_or_default()
            };
            let handed = match operators.read()? {
                Operator::Block { blockty }
                | Operator::If { blockty }
                | Operator::TryTable { try_table: wasmparser::TryTable { ty: blockty, .. } } => {
                    let arity = self.of_block(blockty);
                    labels.push(arity.results);
                    blocks += 1;
                    arity.both()
                }
                Operator::Loop { blockty } => {
                    let arity = self.of_block(blockty);
                    labels.push(arity.params);
                    blocks += 1;
                    arity.both()
                }
                Operator::Else => {
                    blocks += 1;
                    0
                }
                Operator::End => {
                    labels.pop();
                    0
                }
                Operator::BrTable { targets } => {
                    let mut handed = label(targets.default());
                    for depth in targets.targets() {
                        handed = handed.saturating_add(label(depth?)).saturating_add(1);
                    }
                    handed
                }
                Operator::Br { relative_depth }
                | Operator::BrIf { relative_depth }
                | Operator::BrOnNull { relative_depth }
                | Operator::BrOnNonNull { relative_depth } => label(relative_depth),
                Operator::Return => own.results,
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    self.of_function(function_index).both()
                }
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. }
                | Operator::CallRef { type_index }
                | Operator::ReturnCallRef { type_index } => self.of_type(type_index).both(),
                _ => 0,
            };
            values = values.saturating_add(handed);
        }
        Ok((at, Cost { values, kept: locals.saturating_mul(blocks), bytes: body.range().len() as u64 }))
    }
}
