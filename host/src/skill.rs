//! What the host knows of a skill without running it: identity, tools, imports, metadata. Plain data; the sandbox reads it from a
//! component, the plan is checked against it, `inspect` shows it.

pub mod builtin;
pub mod metadata;

use std::collections::BTreeMap;

use crate::id::{Digest, SkillName, ToolName};
use crate::types::Ty;
pub use metadata::{Annotations, Metadata, OutputKind, Risk};

/// A skill: a component with what it exports as tools.
#[derive(Debug, Clone)]
pub struct Skill {
    /// The name under which plans of this run know it.
    pub name: SkillName,
    /// The sha256 of the component's bytes: the skill's identity.
    pub digest: Digest,
    /// The component's size.
    pub size_bytes: u64,
    /// Its tools by name (`function` or `interface.function`).
    pub tools: BTreeMap<String, Tool>,
    /// Exported functions that are not tools, with the reason.
    pub not_tools: Vec<(String, String)>,
    /// The interfaces it imports, in the component's order.
    pub imports: Vec<Import>,
    /// What its `skill.toml` says.
    pub metadata: Metadata,
}

/// One exported function that a step can call.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its full name.
    pub name: ToolName,
    /// The export it is.
    pub export: Export,
    /// Parameters in WIT order: the members of the input object.
    pub params: Vec<(String, Ty)>,
    /// What it returns.
    pub result: ToolResult,
    /// What the metadata says of it.
    pub annotations: Annotations,
}

/// Where in the component a tool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// A function of the component or of one of its exported interfaces.
    Function {
        /// The interface as exported, such as `acme:text/tools@1.0.0`; `None` for a function at the root.
        interface: Option<String>,
        /// The function.
        function: String,
    },
    /// `wasi:cli/run`: a command-line program.
    Command {
        /// The interface as exported, with its version.
        interface: String,
    },
}

/// A tool's result. For a top-level `result<T, E>`: `ok` is `T` and a returned `err` fails the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The type of the output; `None` when the tool returns nothing (the output is then `null`).
    pub ok: Option<Ty>,
    /// The type of the error value, where it has one.
    pub err: Option<Ty>,
    /// Whether the function returns a `result` at all.
    pub fallible: bool,
}

/// One imported interface and what a policy must grant for it to be of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The interface as imported, such as `wasi:filesystem/types@0.2.6`.
    pub name: String,
    /// What it would need.
    pub needs: Need,
}

/// What an import needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: without grants it answers with nothing (no environment, virtual clocks, seeded bytes).
    Nothing,
    /// Directories to be of use: `filesystem` in a grant.
    Filesystem,
    /// Nothing; with `clocks = "real"` it would see the machine's time.
    Clocks,
    /// Nothing; with `random = "real"` it would get the machine's randomness.
    Random,
    /// Nothing; sees what a grant's `env` lists.
    Environment,
    /// The host does not provide it: a component that imports it is refused at load.
    NotProvided,
}

impl Skill {
    /// The tool of that name (`function` or `interface.function`).
    #[must_use]
    pub fn tool(&self, function: &str) -> Option<&Tool> {
        self.tools.get(function)
    }
}

/// The skills that a plan may use, by name.
pub type Catalog = BTreeMap<SkillName, std::sync::Arc<Skill>>;
