//! The custom sections of a component: found, and put in the place of others. Looks at the top level alone and skips over what is in other
//! sections. Pure.

use std::ops::Range;

use wasmparser::BinaryReader;

/// The custom section in which a component carries its `skill.toml`.
pub const METADATA: &str = "skillhost:skill";
/// The custom section in which a component carries the comments of its WIT.
pub const DOCS: &str = "package-docs";

/// Magic number and version.
const HEADER_BYTES: usize = 8;

/// One top-level section.
struct Section<'b> {
    /// Where it is, with its id and size.
    whole: Range<usize>,
    /// Name and content, where it is a custom section.
    custom: Option<(&'b str, &'b [u8])>,
}

/// The sections of a component, as far as they can be read.
fn sections(bytes: &[u8]) -> Vec<Section<'_>> {
    let mut found = Vec::new();
    let mut reader = BinaryReader::new(bytes.get(HEADER_BYTES..).unwrap_or_default(), HEADER_BYTES);
    while !reader.eof() {
        let start = reader.original_position();
        let section = (|| -> wasmparser::Result<_> {
            let id = reader.read_u8()?;
            let size = usize::try_from(reader.read_var_u32()?).unwrap_or(usize::MAX);
            Ok((id, reader.read_bytes(size)?))
        })();
        let Ok((id, content)) = section else { break };
        let mut custom = BinaryReader::new(content, 0);
        let named = if id == 0 { custom.read_string().ok() } else { None };
        let named = named.map(|name| (name, custom.read_bytes(custom.bytes_remaining()).unwrap_or_default()));
        found.push(Section { whole: start..reader.original_position(), custom: named });
    }
    found
}

/// The contents of the custom sections of that name.
#[must_use]
pub fn custom<'b>(bytes: &'b [u8], name: &str) -> Vec<&'b [u8]> {
    let sections = sections(bytes).into_iter().filter_map(|section| section.custom);
    sections.filter(|(found, _)| *found == name).map(|(_, content)| content).collect()
}

/// The component with these custom sections at its end, in this order, in the place of all that have their names.
#[must_use]
pub fn with_custom(bytes: &[u8], new: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = bytes.get(..HEADER_BYTES).unwrap_or(bytes).to_vec();
    for section in sections(bytes) {
        let replaced = section.custom.is_some_and(|(name, _)| new.iter().any(|(new, _)| *new == name));
        if !replaced {
            out.extend_from_slice(bytes.get(section.whole).unwrap_or_default());
        }
    }
    for (name, content) in new {
        let mut body = Vec::new();
        write_size(&mut body, name.len());
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(content);
        out.push(0);
        write_size(&mut out, body.len());
        out.extend_from_slice(&body);
    }
    out
}

/// LEB128, unsigned.
fn write_size(out: &mut Vec<u8>, mut size: usize) {
    loop {
        let low = u8::try_from(size & 0x7f).unwrap_or_default();
        size >>= 7;
        if size == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_replaced_and_nothing_else_is() {
        let bare = wat::parse_str(
            "(component (core module (@custom \"a\" \"inner\")) (@custom \"a\" \"1\") (@custom \"b\" \"2\"))",
        )
        .unwrap();
        assert_eq!(custom(&bare, "a"), [b"1"]);
        let long = vec![b'x'; 300];
        let packed = with_custom(&bare, &[("a", b"new"), ("c", &long)]);
        assert_eq!(custom(&packed, "a"), [b"new"]);
        assert_eq!(custom(&packed, "b"), [b"2"]);
        assert_eq!(custom(&packed, "c"), [long.as_slice()]);
        assert!(wasmparser::Validator::new().validate_all(&packed).is_ok());
        assert_eq!(with_custom(&packed, &[("a", b"new"), ("c", &long)]), packed);
        assert_eq!(with_custom(&bare, &[]), bare);
        assert!(custom(b"\0asm", "a").is_empty());
    }
}
