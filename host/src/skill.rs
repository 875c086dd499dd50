//! What the host knows of a skill without running it: identity, tools, imports, metadata. Plain data; the sandbox reads it from a
//! component, the plan is checked against it, `inspect` shows it.

pub mod docs;
pub mod metadata;
pub mod needs;
pub mod origin;
pub mod own;
pub mod sections;
pub mod templates;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{Digest, SkillName, ToolName};
use crate::problem::Problem;
use crate::types::Ty;
pub use metadata::{Annotations, Metadata, OutputKind, Risk, SideEffects};
pub use needs::{FolderNeed, Needs};
pub use origin::{SkillOrigin, SkillOrigins};
pub use own::HostTool;

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
    pub tools: BTreeMap<String, Arc<Tool>>,
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
    /// None: the host itself is the tool.
    Host(HostTool),
}

impl Tool {
    /// Which tool of the host's own it is, if it is one.
    #[must_use]
    pub const fn of_the_host(&self) -> Option<HostTool> {
        match self.export {
            Export::Host(tool) => Some(tool),
            Export::Function { .. } | Export::Command { .. } => None,
        }
    }
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
    /// Nothing; sees what a grant's `config` lists.
    Config,
    /// `network` in a grant: without it the interface is not there at all.
    Network,
    /// `sockets` in a grant: without it the interface is not there at all.
    Sockets,
    /// `calls` in a grant to be of use: the tools that may be called.
    Calls,
    /// The host does not provide it: a component that imports it is refused at load.
    NotProvided,
}

impl Skill {
    /// The tool of that name (`function` or `interface.function`).
    #[must_use]
    pub fn tool(&self, function: &str) -> Option<&Tool> {
        self.tools.get(function).map(Arc::as_ref)
    }

    /// The tool that `name` means: the one that is called so, else the one that has it as an alias.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&Arc<Tool>> {
        let has_alias = |tool: &&Arc<Tool>| tool.annotations.aliases.iter().any(|alias| alias == name);
        self.tools.get(name).or_else(|| self.tools.values().find(has_alias))
    }

    /// All names that mean a tool: its own, then its aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().flat_map(|(name, tool)| {
            std::iter::once(name.as_str()).chain(tool.annotations.aliases.iter().map(String::as_str))
        })
    }

    /// What a tool says that it needs: the skill's own `needs` and the tool's together. `None` where neither says anything.
    #[must_use]
    pub fn needs(&self, function: &str) -> Option<Needs> {
        let tool = self.tool(function).and_then(|tool| tool.annotations.needs.as_ref());
        match (&self.metadata.needs, tool) {
            (Some(skill), Some(tool)) => Some(skill.and(tool)),
            (skill, tool) => skill.as_ref().or(tool).cloned(),
        }
    }
}

/// The interfaces of WASI 0.2 that the host provides, without their version, and what each needs.
const WASI_PROVIDED: [(&str, Need); 29] = [
    ("wasi:cli/environment", Need::Environment),
    ("wasi:cli/exit", Need::Nothing),
    ("wasi:cli/stdin", Need::Nothing),
    ("wasi:cli/stdout", Need::Nothing),
    ("wasi:cli/stderr", Need::Nothing),
    ("wasi:cli/terminal-input", Need::Nothing),
    ("wasi:cli/terminal-output", Need::Nothing),
    ("wasi:cli/terminal-stdin", Need::Nothing),
    ("wasi:cli/terminal-stdout", Need::Nothing),
    ("wasi:cli/terminal-stderr", Need::Nothing),
    ("wasi:clocks/monotonic-clock", Need::Clocks),
    ("wasi:clocks/wall-clock", Need::Clocks),
    ("wasi:filesystem/types", Need::Filesystem),
    ("wasi:filesystem/preopens", Need::Filesystem),
    ("wasi:http/types", Need::Network),
    ("wasi:http/outgoing-handler", Need::Network),
    ("wasi:io/error", Need::Nothing),
    ("wasi:io/poll", Need::Nothing),
    ("wasi:io/streams", Need::Nothing),
    ("wasi:random/random", Need::Random),
    ("wasi:random/insecure", Need::Random),
    ("wasi:random/insecure-seed", Need::Random),
    ("wasi:sockets/instance-network", Need::Sockets),
    ("wasi:sockets/ip-name-lookup", Need::Sockets),
    ("wasi:sockets/network", Need::Sockets),
    ("wasi:sockets/tcp", Need::Sockets),
    ("wasi:sockets/tcp-create-socket", Need::Sockets),
    ("wasi:sockets/udp", Need::Sockets),
    ("wasi:sockets/udp-create-socket", Need::Sockets),
];

/// The newest patch version of WASI 0.2 that the host provides; all older ones are subsets of it.
const WASI_PATCH_MAX: u64 = 12;

/// The name of the host's own WIT package.
pub const OWN_PACKAGE: &str = "skillhost:skill";
/// The version of it that this host has: the one in `wit/skill.wit`.
pub const OWN_VERSION: &str = "0.1.0";

/// Whether what was built for `version` of the host's own package may run on this host: the same major version, and of 0.x the same minor.
#[must_use]
pub fn is_own_version(version: &str) -> bool {
    let lead = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse::<u64>().ok().filter(|_| !part.starts_with('+')));
        match (parts.next()??, parts.next()??, parts.next()??, parts.next()) {
            (0, minor, _, None) => Some((0, minor)),
            (major, _, _, None) => Some((major, 0)),
            _ => None,
        }
    };
    lead(version).is_some_and(|wanted| Some(wanted) == lead(OWN_VERSION))
}

/// The host's own interfaces.
const OWN_PROVIDED: [(&str, Need); 4] = [
    ("skillhost:skill/context@0.1.0", Need::Nothing),
    ("skillhost:skill/log@0.1.0", Need::Nothing),
    ("skillhost:skill/request@0.1.0", Need::Nothing),
    ("skillhost:skill/tools@0.1.0", Need::Calls),
];

/// Drafts that the host provides, because components in use ask for them. Both are the same interface.
const DRAFTS_PROVIDED: [&str; 2] = ["wasi:config/store@0.2.0-draft", "wasi:config/store@0.2.0-rc.1"];

/// Splits `wasi:io/poll@0.2.6` into interface and version.
fn split_version(import: &str) -> (&str, Option<&str>) {
    import.split_once('@').map_or((import, None), |(name, version)| (name, Some(version)))
}

/// Whether `version` is a release of WASI 0.2 that the host knows: `0.2.0` to `0.2.12`.
fn is_wasi_version(version: &str) -> bool {
    let patch = version.strip_prefix("0.2.").filter(|patch| patch.bytes().all(|byte| byte.is_ascii_digit()));
    patch.and_then(|patch| patch.parse::<u64>().ok()).is_some_and(|patch| patch <= WASI_PATCH_MAX)
}

/// What an imported interface needs; [`Need::NotProvided`] for all that the host does not know.
#[must_use]
pub fn need_of(import: &str) -> Need {
    if let Some((_, need)) = OWN_PROVIDED.iter().find(|(own, _)| *own == import) {
        return *need;
    }
    if DRAFTS_PROVIDED.contains(&import) {
        return Need::Config;
    }
    let (name, version) = split_version(import);
    if !version.is_some_and(is_wasi_version) {
        return Need::NotProvided;
    }
    WASI_PROVIDED.iter().find(|(known, _)| *known == name).map_or(Need::NotProvided, |(_, need)| *need)
}

/// Whether an exported interface makes the component a command-line program.
#[must_use]
pub fn is_command(export: &str) -> bool {
    matches!(split_version(export), ("wasi:cli/run", Some(version)) if is_wasi_version(version))
}

/// The refusal of each import that the host does not provide; empty for a skill that can run.
#[must_use]
pub fn unprovided_imports(skill: &Skill) -> Vec<Problem> {
    let missing = skill.imports.iter().filter(|import| import.needs == Need::NotProvided);
    missing
        .map(|import| {
            let message = format!("the skill `{}` imports `{}`, which is not provided", skill.name, import.name);
            Problem::new("import-not-provided", "", message).with_hint(unprovided_hint(&import.name))
        })
        .collect()
}

fn unprovided_hint(import: &str) -> String {
    let (name, version) = split_version(import);
    let package = name.split_once('/').map_or(name, |(package, _)| package);
    let known = WASI_PROVIDED.iter().any(|(known, _)| *known == name);
    match (package, version) {
        (_, Some(version)) if known && version.starts_with("0.2.0-") => {
            format!("`{version}` is a draft of WASI 0.2: build with a toolchain for WASI 0.2.0 or later")
        }
        (_, Some(version)) if package.starts_with("wasi:") && version.starts_with("0.3") => {
            "WASI 0.3 is not in this version: build for WASI 0.2 (`wasm32-wasip2`)".to_owned()
        }
        (_, Some(version)) if known => {
            format!("the host provides WASI 0.2.0 to 0.2.{WASI_PATCH_MAX}, not `{version}`: build for WASI 0.2")
        }
        (_, None) if known => "write the version too: the host provides WASI 0.2".to_owned(),
        ("wasi:http", _) => {
            "of `wasi:http` the host provides `types` and `outgoing-handler`: a skill sends requests, it serves none"
                .to_owned()
        }
        ("wasi:clocks" | "wasi:cli" | "wasi:filesystem" | "wasi:io" | "wasi:random" | "wasi:sockets", _) => {
            let short = name.rsplit_once('/').map_or(name, |(_, short)| short);
            format!("`{package}` is provided, but has no interface `{short}` in WASI 0.2")
        }
        (OWN_PACKAGE, Some(version)) if !is_own_version(version) => {
            format!(
                "it was built for `{OWN_PACKAGE}@{version}`, and this host has `{OWN_PACKAGE}@{OWN_VERSION}`: build it for that"
            )
        }
        (OWN_PACKAGE, _) => {
            format!(
                "of its own interfaces the host provides {}",
                OWN_PROVIDED.map(|(own, _)| format!("`{own}`")).join(", ")
            )
        }
        ("wasi:config", _) => {
            format!(
                "of `wasi:config` the host provides {}",
                DRAFTS_PROVIDED.map(|own| format!("`{own}`")).join(" and ")
            )
        }
        (package, _) if package.starts_with("wasi:") => {
            format!(
                "`{package}` is not provided; the host has `wasi:cli`, `clocks`, `config`, `filesystem`, `http`, `io`, `random` and `sockets` 0.2"
            )
        }
        _ => {
            "the host provides WASI 0.2 and `skillhost:skill` alone: link what the component needs into it (`wac plug`)"
                .to_owned()
        }
    }
}

/// The parameters of the tool `run` of a command-line program.
#[must_use]
pub fn command_params() -> Vec<(String, Ty)> {
    let option = |ty| Ty::Option(Box::new(ty));
    let texts = Ty::Map(Box::new(Ty::String), Box::new(Ty::String));
    vec![
        ("args".to_owned(), option(Ty::List(Box::new(Ty::String)))),
        ("stdin".to_owned(), option(Ty::String)),
        ("env".to_owned(), option(texts)),
        ("exit_codes".to_owned(), option(Ty::List(Box::new(Ty::U8)))),
    ]
}

/// The result of the tool `run`: the same record whether the exit code was accepted (`ok`) or not (`err`).
#[must_use]
pub fn command_result() -> ToolResult {
    let record = Ty::Record(vec![
        ("exit_code".to_owned(), Ty::U8),
        ("stdout".to_owned(), Ty::String),
        ("stderr".to_owned(), Ty::String),
        ("stdout_bytes".to_owned(), Ty::Option(Box::new(Ty::Bytes))),
    ]);
    ToolResult { ok: Some(record.clone()), err: Some(record), fallible: true }
}

/// The skills that a plan may use, by name.
pub type Catalog = BTreeMap<SkillName, Arc<Skill>>;
