//! What a component carries of the comments of its WIT: the section `package-docs`, as `wit-component` writes it. Informs people alone, so
//! one that cannot be read counts as none. Pure.

use serde_json::Value;

use super::{Export, Tool, sections};
use crate::{json, limits};

/// The comments of a WIT package.
#[derive(Debug, Clone, Default)]
pub struct Docs(Value);

impl Docs {
    /// The comments that a component carries.
    #[must_use]
    pub fn of(component: &[u8]) -> Self {
        let found = sections::custom(component, sections::DOCS);
        let Some((version, text)) = found.first().and_then(|content| content.split_first()) else {
            return Self::default();
        };
        let is_known = *version <= 1 && text.len() as u64 <= limits::DOCUMENT_BYTES_MAX;
        Self(is_known.then(|| json::parse(text).ok()).flatten().unwrap_or_default())
    }

    /// What the world says of itself, else the package.
    #[must_use]
    pub fn skill(&self) -> Option<String> {
        let worlds = self.0.get("worlds").and_then(Value::as_object);
        let world = worlds.filter(|worlds| worlds.len() == 1).and_then(|worlds| worlds.values().next());
        text(world).or_else(|| text(Some(&self.0)))
    }

    /// What is said of a tool.
    #[must_use]
    pub fn tool(&self, tool: &Tool) -> Option<String> {
        let Export::Function { interface, function } = &tool.export else { return None };
        let Some(interface) = interface else {
            let mut worlds = self.0.get("worlds")?.as_object()?.values();
            return worlds.find_map(|world| text(world.get("func_exports")?.get(function)));
        };
        // `acme:text/tools@1.0.0`, or the name of an interface that the world writes out.
        let name = interface.split('@').next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        let of = |interface: &Value| text(interface.get("funcs")?.get(function));
        let shared = self.0.get("interfaces").and_then(|all| all.get(name)).and_then(of);
        shared.or_else(|| {
            let mut worlds = self.0.get("worlds")?.as_object()?.values();
            worlds.find_map(|world| of(world.get("interface_exports")?.get(name)?))
        })
    }
}

/// The comment of an item, on one line.
fn text(item: Option<&Value>) -> Option<String> {
    let text = item?.get("docs")?.as_str()?.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skill::{Annotations, ToolResult};

    fn tool(interface: Option<&str>, function: &str) -> Tool {
        Tool {
            name: "s.t".parse().unwrap(),
            export: Export::Function { interface: interface.map(str::to_owned), function: function.to_owned() },
            params: Vec::new(),
            result: ToolResult { ok: None, err: None, fallible: false },
            annotations: Annotations::default(),
        }
    }

    fn docs(section: &[u8]) -> Docs {
        Docs::of(&sections::with_custom(b"\0asm\x0d\0\x01\0", &[(sections::DOCS, section)]))
    }

    #[test]
    fn comments_are_found_where_the_function_is() {
        let docs = docs(
            b"\x01{\"docs\": \"package\", \"worlds\": {\"w\": {\"func_exports\": {\"f\": {\"docs\": \"at  the\\nroot\"}}, \
              \"interface_exports\": {\"own\": {\"funcs\": {\"f\": {\"docs\": \"own\"}}}}}}, \
              \"interfaces\": {\"tools\": {\"funcs\": {\"f\": {\"docs\": \"shared\"}, \"g\": {\"docs\": \" \"}}}}}",
        );
        assert_eq!(docs.skill().as_deref(), Some("package"));
        for (interface, function, said) in [
            (None, "f", Some("at the root")),
            (None, "g", None),
            (Some("acme:text/tools@1.0.0"), "f", Some("shared")),
            (Some("acme:text/tools@1.0.0"), "g", None),
            (Some("own"), "f", Some("own")),
            (Some("other"), "f", None),
        ] {
            assert_eq!(docs.tool(&tool(interface, function)).as_deref(), said, "{interface:?} {function}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_none() {
        for section in
            [&b""[..], b"\x01", b"\x02{\"docs\": \"d\"}", b"\x01[", b"\x01{\"docs\": 1, \"worlds\": []}", b"\x01\xff"]
        {
            assert_eq!(docs(section).skill(), None, "{section:?}");
            assert_eq!(docs(section).tool(&tool(None, "f")), None);
        }
    }
}
