//! A component's types as plain data.

use wasmtime::component::Type;

use crate::limits;
use crate::sandbox::convert::type_name;
use crate::types::Ty;

/// The type as plain data.
///
/// # Errors
///
/// Why it has none: it holds a resource, stream, future or error context, is nested deeper than [`limits::TYPE_DEPTH_MAX`], or has more
/// than [`limits::TYPE_PARTS_MAX`] parts when written out (types may share parts, so a small component can spell a huge one).
pub fn ty_of(ty: &Type) -> Result<Ty, String> {
    counted(ty, &mut 0)
}

/// The same; adds to `all` how many parts were looked at.
pub(super) fn counted(ty: &Type, all: &mut usize) -> Result<Ty, String> {
    let mut parts = 0;
    let converted = convert(ty, 0, &mut parts);
    *all = all.saturating_add(parts);
    converted
}

fn convert(ty: &Type, depth: usize, parts: &mut usize) -> Result<Ty, String> {
    *parts += 1;
    if *parts > limits::TYPE_PARTS_MAX {
        return Err(format!("its type has more than {} parts", limits::TYPE_PARTS_MAX));
    }
    if depth > limits::TYPE_DEPTH_MAX {
        return Err(format!("its type is nested deeper than {}", limits::TYPE_DEPTH_MAX));
    }
    let mut inner = |ty: &Type| convert(ty, depth + 1, parts);
    Ok(match ty {
        Type::Bool => Ty::Bool,
        Type::S8 => Ty::S8,
        Type::U8 => Ty::U8,
        Type::S16 => Ty::S16,
        Type::U16 => Ty::U16,
        Type::S32 => Ty::S32,
        Type::U32 => Ty::U32,
        Type::S64 => Ty::S64,
        Type::U64 => Ty::U64,
        Type::Float32 => Ty::F32,
        Type::Float64 => Ty::F64,
        Type::Char => Ty::Char,
        Type::String => Ty::String,
        Type::List(list) => match list.ty() {
            Type::U8 => Ty::Bytes,
            element => Ty::List(Box::new(inner(&element)?)),
        },
        Type::FixedLengthList(list) => Ty::FixedList(Box::new(inner(&list.ty())?), list.len()),
        Type::Map(map) => Ty::Map(Box::new(inner(&map.key())?), Box::new(inner(&map.value())?)),
        Type::Record(record) => {
            let fields = record.fields().map(|field| Ok((field.name.to_owned(), inner(&field.ty)?)));
            Ty::Record(fields.collect::<Result<_, String>>()?)
        }
        Type::Tuple(tuple) => Ty::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Result<_, _>>()?),
        Type::Variant(variant) => {
            let cases = variant.cases().map(|case| {
                let payload = case.ty.as_ref().map(&mut inner).transpose()?;
                Ok((case.name.to_owned(), payload))
            });
            Ty::Variant(cases.collect::<Result<_, String>>()?)
        }
        Type::Enum(cases) => Ty::Enum(cases.names().map(str::to_owned).collect()),
        Type::Flags(flags) => Ty::Flags(flags.names().map(str::to_owned).collect()),
        Type::Option(option) => Ty::Option(Box::new(inner(&option.ty())?)),
        Type::Result(result) => {
            let mut side = |ty: Option<Type>| ty.as_ref().map(&mut inner).transpose().map(|ty| ty.map(Box::new));
            Ty::Result(side(result.ok())?, side(result.err())?)
        }
        Type::Own(_) | Type::Borrow(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext => {
            return Err(format!("it uses {}, which has no JSON form", type_name(ty)));
        }
    })
}
