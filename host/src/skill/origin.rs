//! Where a skill is from: who has put the component there that runs under its name.

use std::collections::BTreeMap;

use crate::id::SkillName;

/// Who has put a component under a skill's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkillOrigin {
    /// It is part of the program.
    BuiltIn,
    /// The operator gave it: `--skill NAME=FILE`, or the program that embeds the library.
    Given,
    /// The plan names it.
    Plan,
    /// It came with the bundle.
    Bundle,
    /// The run that goes on kept it.
    Kept,
    /// It is the host itself.
    Host,
}

impl SkillOrigin {
    /// Those that a grant may ask for.
    pub const GRANTED: [Self; 4] = [Self::BuiltIn, Self::Given, Self::Plan, Self::Bundle];

    /// Its name in reports and policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Given => "given",
            Self::Plan => "plan",
            Self::Bundle => "bundle",
            Self::Kept => "kept",
            Self::Host => "host",
        }
    }
}

/// Where each skill of a plan is from.
pub type SkillOrigins = BTreeMap<SkillName, SkillOrigin>;
