//! Loading a component: from bytes to a compiled component and what the host knows of it without running it.
//!
//! Owns what may go wrong on that way, each with what to do about it. Never runs guest code, and never refuses an import here: what the
//! host does not provide is listed in [`Skill::imports`], so that `inspect` can show such a component;
//! [`crate::skill::unprovided_imports`] is the refusal.

mod cache;
mod diagnose;
mod shape;
mod tools;
mod ty;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::clock::Stopwatch;
use crate::id::{Digest, SkillName};
use crate::limits;
use crate::problem::Problem;
use crate::sandbox::CancelToken;
use crate::sandbox::compiler::Compiler;
use crate::sandbox::engine::Allocation;
use crate::skill::docs::Docs;
use crate::skill::{Metadata, Skill, Tool, sections};

pub use cache::{CacheUse, CompiledCode};
pub(super) use diagnose::one_line;
pub use ty::ty_of;

pub use crate::skill::sections::METADATA as METADATA_SECTION;

/// A component that is ready to be instantiated.
#[derive(Debug)]
pub struct Loaded {
    /// What is known of it.
    pub skill: Skill,
    /// The compiled component.
    pub component: Component,
    /// Whether the cache served; see [`CacheUse::warning`].
    pub cache: CacheUse,
    /// How long its bytes were hashed.
    pub hash: Duration,
    /// How long it took to compile it, or to read it from the cache.
    pub compile: Duration,
}

/// Why a component was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// More than [`limits::COMPONENT_BYTES_MAX`] bytes.
    #[error("the component has {size} bytes; at most {max} are taken", max = limits::COMPONENT_BYTES_MAX)]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Something else than wasm.
    #[error("this is not a WebAssembly file: it starts with the bytes {start}")]
    NotWasm {
        /// Its first bytes in hex.
        start: String,
    },
    /// WebAssembly text.
    #[error("this is WebAssembly text, not a binary component")]
    Text,
    /// A core module.
    #[error("this is a core WebAssembly module, not a component")]
    CoreModule,
    /// The binary cannot be read to its end.
    #[error("the component is damaged at byte {offset}: {message}")]
    Corrupt {
        /// Where reading ended.
        offset: usize,
        /// What was found.
        message: String,
    },
    /// The binary can be read but breaks a rule of WebAssembly.
    #[error("the component is not valid: {message}")]
    Invalid {
        /// Which rule, with the offset.
        message: String,
    },
    /// Async functions, streams, futures or error contexts.
    #[error("the component uses async, stream or future types in {}", list(places))]
    UsesAsync {
        /// The exports and imports that do.
        places: Vec<String>,
    },
    /// Valid, but of a WebAssembly feature that the engine has turned off.
    #[error("the component uses what this host does not run: {message}")]
    Unsupported {
        /// What the engine says.
        message: String,
    },
    /// Valid, and made to cost the compiler more than any program needs.
    #[error("the component is too complex: {message}")]
    TooComplex {
        /// What is too much.
        message: String,
    },
    /// The compiler ended without a word on the component: it crashed, or could not be started.
    #[error("the compiler failed: {message}")]
    CompilerFailed {
        /// What is known of it.
        message: String,
    },
    /// Somebody has cancelled what the component was wanted for.
    #[error("the component was still being compiled when it was cancelled")]
    Cancelled,
    /// Two exports that would be the same tool.
    #[error("the tool `{tool}` is exported twice: as `{first}` and as `{second}`")]
    SameTool {
        /// The tool's name in the skill.
        tool: String,
        /// The one export.
        first: String,
        /// The other.
        second: String,
    },
    /// More than [`limits::TOOLS_MAX`].
    #[error("the component exports more than {max} tools", max = limits::TOOLS_MAX)]
    TooManyTools,
    /// The section [`METADATA_SECTION`] comes twice or is not UTF-8.
    #[error("the component's section `skillhost:skill` {message}")]
    MetadataSection {
        /// What is wrong with it.
        message: &'static str,
    },
    /// `skill.toml` has mistakes or does not fit the component.
    #[error("the metadata of the skill is wrong: {}", summary(problems))]
    Metadata {
        /// All that were found.
        problems: Vec<Problem>,
    },
}

fn list(places: &[String]) -> String {
    let shown: Vec<String> = places.iter().take(3).map(|place| format!("`{place}`")).collect();
    let more = places.len().saturating_sub(3);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn summary(problems: &[Problem]) -> String {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let more = problems.len().saturating_sub(1);
    if more == 0 { first } else { format!("{first} (and {more} more)") }
}

impl LoadError {
    /// Stable kebab-case name of the kind.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "component-too-large",
            Self::Empty => "component-empty",
            Self::NotWasm { .. } => "component-not-wasm",
            Self::Text => "component-is-text",
            Self::CoreModule => "component-is-core-module",
            Self::Corrupt { .. } => "component-corrupt",
            Self::Invalid { .. } => "component-invalid",
            Self::UsesAsync { .. } => "component-uses-async",
            Self::Unsupported { .. } => "component-unsupported",
            Self::TooComplex { .. } => "component-too-complex",
            Self::CompilerFailed { .. } => "component-compiler-failed",
            Self::Cancelled => "component-compile-cancelled",
            Self::SameTool { .. } => "component-same-tool",
            Self::TooManyTools => "component-too-many-tools",
            Self::MetadataSection { .. } | Self::Metadata { .. } => "skill-metadata",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::TooLarge { .. } => "strip debug sections (`wasm-tools strip`) or build with optimisation",
            Self::Empty | Self::Corrupt { .. } => "the file may be cut off: copy or build it again",
            Self::NotWasm { start } if start.starts_with("7f 45 4c 46") => {
                "this looks like compiled machine code (`.cwasm` or a native program): give the `.wasm` component"
            }
            Self::NotWasm { .. } => "give a component built for `wasm32-wasip2`",
            Self::Text => "turn it into a binary first: `wasm-tools parse file.wat -o file.wasm`",
            Self::CoreModule => {
                "build for `wasm32-wasip2`, or wrap the module: `wasm-tools component new module.wasm -o component.wasm` (with \
                 `--adapt wasi_snapshot_preview1.wasm` if it was built for wasip1)"
            }
            Self::Invalid { .. } => "build it again with a current toolchain; `wasm-tools validate` shows the same mistake",
            Self::UsesAsync { .. } => "this version runs synchronous components (WASI 0.2): build for `wasm32-wasip2`",
            Self::Unsupported { .. } => "build without threads, garbage collection and other proposals beyond wasm 2.0",
            Self::TooComplex { .. } => {
                "split what is too large: functions with fewer values and blocks, shorter arrays, fewer types and functions"
            }
            Self::CompilerFailed { .. } => {
                "the component may be made to break compilers: take it from somebody you trust; other components are not affected"
            }
            Self::Cancelled => "run it again; what was compiled by then is kept",
            Self::SameTool { .. } => "rename one of the functions or interfaces",
            Self::TooManyTools => "split the component into several skills",
            Self::MetadataSection { .. } => "write the section with `host skill pack`, or put `skill.toml` beside the component",
            Self::Metadata { problems } => {
                return problems.iter().find_map(|problem| problem.hint.clone()).unwrap_or_else(|| {
                    "see `docs/skill-format.md`; the file beside the component takes precedence over the one inside".to_owned()
                });
            }
        }
        .to_owned()
    }

    /// As problems of a report, placed at `pointer` of the document that named the component.
    #[must_use]
    pub fn problems(&self, pointer: &str) -> Vec<Problem> {
        let head = Problem::new(self.code(), pointer, self.to_string()).with_hint(self.hint());
        match self {
            Self::Metadata { problems } => problems
                .iter()
                .map(|problem| {
                    let mut copy = Problem::new(self.code(), pointer, format!("skill.toml: {problem}"));
                    copy.hint.clone_from(&problem.hint);
                    copy
                })
                .collect(),
            _ => vec![head],
        }
    }
}

/// What a component is loaded with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loading<'l> {
    pub(crate) engine: &'l Engine,
    pub(crate) allocation: Allocation,
    pub(crate) code: &'l CompiledCode,
    pub(crate) compiler: &'l Compiler,
    /// What the component is wanted for.
    pub(crate) cancel: Option<&'l CancelToken>,
}

/// Loads the component in `bytes` as the skill `name`.
///
/// `manifest_toml` is the text of the `skill.toml` beside the component; where it is given, the one inside the component is not read.
/// The component is compiled, or taken from where compiled code is kept if the same bytes were compiled for the same engine before.
///
/// # Errors
///
/// [`LoadError`], each with a hint.
pub(crate) fn load(
    with: Loading<'_>,
    bytes: &[u8],
    name: SkillName,
    manifest_toml: Option<&str>,
) -> Result<Loaded, LoadError> {
    let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size_bytes > limits::COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge { size: size_bytes });
    }
    diagnose::check_header(bytes)?;
    let started = Stopwatch::start();
    let digest = Digest::of(bytes);
    let hash = started.elapsed();
    let started = Stopwatch::start();
    let cancels = with.compiler.or_cancelled_by(with.cancel);
    let compile = || with.compiler.compile(with.engine, with.allocation, bytes, cancels);
    let (component, cache) = with.code.get_or_compile(with.engine, digest, compile)?;
    let compile = started.elapsed();
    let (skill, component) = describe(with.engine, component, bytes, (name, digest), manifest_toml)?;
    Ok(Loaded { skill, component, cache, hash, compile })
}

/// How strictly the shapes of a component are bounded before it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// The operating system bounds the compiler as well.
    Bounded,
    /// Nothing else does.
    InProcess,
}

/// What `compile` makes of a component that is not too complex; why it makes nothing of another one.
pub(super) fn checked<T>(
    bytes: &[u8],
    strictness: Strictness,
    compile: impl FnOnce() -> wasmtime::Result<T>,
) -> Result<T, LoadError> {
    shape::check(bytes, strictness)?;
    compile().map_err(|error| diagnose::diagnose(bytes, &error))
}

fn describe(
    engine: &Engine,
    component: Component,
    bytes: &[u8],
    (name, digest): (SkillName, Digest),
    manifest_toml: Option<&str>,
) -> Result<(Skill, Component), LoadError> {
    let tools::Tools { mut tools, not_tools, .. } = tools::tools(engine, &component, &name)?;
    let text = match manifest_toml {
        Some(text) => Some(text),
        None => metadata_section(bytes)?,
    };
    let metadata = text.map(Metadata::parse).transpose();
    let mut metadata = metadata.map_err(|problems| LoadError::Metadata { problems })?.unwrap_or_default();
    let imports = tools::imports(engine, &component);
    let problems = metadata.check(&tools, &imports);
    if !problems.is_empty() {
        return Err(LoadError::Metadata { problems });
    }
    for (tool, annotations) in &metadata.tools {
        if let Some(tool) = tools.get_mut(tool) {
            tool.annotations = annotations.clone();
        }
    }
    describe_by_comments(bytes, &mut metadata, &mut tools);
    let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let tools = tools.into_iter().map(|(name, tool)| (name, Arc::new(tool))).collect();
    Ok((Skill { name, digest, size_bytes, tools, not_tools, imports, metadata }, component))
}

/// The text of the component's own metadata section.
fn metadata_section(bytes: &[u8]) -> Result<Option<&str>, LoadError> {
    let found = sections::custom(bytes, METADATA_SECTION);
    if found.len() > 1 {
        return Err(LoadError::MetadataSection { message: "comes twice" });
    }
    let text = found.first().map(|text| std::str::from_utf8(text));
    text.transpose().map_err(|_| LoadError::MetadataSection { message: "is not UTF-8" })
}

/// Puts the comments of the component's WIT where its metadata says nothing.
fn describe_by_comments(bytes: &[u8], metadata: &mut Metadata, tools: &mut BTreeMap<String, Tool>) {
    let docs = Docs::of(bytes);
    metadata.description = metadata.description.take().or_else(|| docs.skill());
    for tool in tools.values_mut().filter(|tool| tool.annotations.description.is_none()) {
        tool.annotations.description = docs.tool(tool);
    }
}

#[cfg(test)]
pub(super) mod tests;
