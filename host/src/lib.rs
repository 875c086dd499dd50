//! Runs WebAssembly-component skills for plans: granted, limited, traced, replayable.
//!
//! ```text
//! plan.json → plan → validate → policy → sandbox → trace → store → report
//! ```
//!
//! The modules below stand in that order. [`SkillHost`] is the way in; `run` shows the pipeline on one screen, `replay` drives the same
//! pipeline with recorded answers where the sandbox would act.
//!
//! What holds everywhere:
//!
//! - **Nothing runs before everything is checked.** A step is run only from an [`policy::AuthorizedStep`], which only `policy` makes, from a
//!   [`validate::ValidPlan`], which only `validate` makes.
//! - **Deny by default.** Without a policy nothing is granted; an unknown key of a policy is refused.
//! - **Every host call passes one gate**, which records it or answers it from the record; in a replay nothing exists that could act.
//! - **A trace is a function of plan, skills, policy, inputs and files.** Times, random bytes and the order of anything enter it through
//!   [`clock`] or not at all; what the wall clock says is kept beside it.
//! - **Everything a guest or a document can make grow has a bound** in [`limits`].
//!
//! Features: `cli` (default) is the `host` binary with clap; without it the library has no command-line dependencies.

// L0: the vocabulary.
pub mod canonical;
pub mod clock;
pub mod context;
pub mod diff;
pub mod document;
pub mod durability;
mod file_stamp;
mod folder_id;
mod form;
mod guest_path;
pub mod harmless;
pub mod id;
pub mod json;
pub mod limits;
pub mod outcome;
mod owned;
mod owned_file;
pub mod problem;
mod regular;
mod toml_text;
pub mod types;

// L1: the pure stages, and the record.
pub mod skill;
pub mod plan;
pub mod validate;
pub mod flow;
pub mod policy;
pub mod trace;

// L2: what acts, what keeps, what is told.
pub mod journal;
pub mod sandbox;
pub mod store;
pub mod scratch;
pub mod scaffold;
pub mod report;

// L3: the pipeline and its facade.
pub mod bundle;
pub mod host;
pub mod lab;
pub mod notify;
pub mod observe;
pub mod protocol;
pub mod replay;
pub mod run;
pub mod skills;

// L4: the command line.
#[cfg(feature = "cli")]
pub mod cli;

pub use bundle::Bundle;
pub use context::RequestContext;
pub use durability::Durability;
pub use host::{Error, GoOnOptions, Keep, PolicyDocument, RunOptions, SkillHost, SkillHostBuilder};
pub use observe::{HostEvent, Observer};
pub use plan::{PlanDocument, PlanFormat};
pub use report::Report;
pub use sandbox::compiler::{CompileLimits, Compiler};
pub use sandbox::component::CompiledCode;
pub use sandbox::{CancelToken, Resolve, Secrets};
