//! Which components there may be, by their digests, where whoever runs them says so.

use std::collections::BTreeMap;

use crate::id::{Digest, SkillName};
use crate::problem::Problem;
use crate::skill::Skill;

/// The code of a problem with a component that is not pinned.
pub(crate) const UNPINNED: &str = "unpinned-skill";

/// All components that a bundle requires: beside them no other one runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pins<'a> {
    /// The name of the bundle.
    pub(crate) bundle: &'a str,
    /// Each component by its digest.
    pub(crate) skills: &'a BTreeMap<SkillName, Digest>,
}

impl Pins<'_> {
    /// What is wrong with running this component: that it is not among those which are required, or is not the one that is by its name.
    pub(crate) fn problem_with(&self, skill: &Skill) -> Option<Problem> {
        let (Self { bundle, skills }, Skill { name, digest, .. }) = (self, skill);
        let (message, hint) = match skills.get(name) {
            Some(pin) if pin == digest => return None,
            Some(pin) => (
                format!(
                    "the bundle `{bundle}` requires another component as `{name}`: its sha256 is {pin}, and this one's {digest}"
                ),
                "take the bundle's own, or pin this one in `[requires]` after looking at it".to_owned(),
            ),
            None => (
                format!("`[requires]` of the bundle `{bundle}` does not list the skill `{name}`"),
                format!("put its component at `skills/{name}.wasm`, and its sha256 into `[requires]`: {digest}"),
            ),
        };
        Some(Problem::new(UNPINNED, "", message).with_hint(hint))
    }
}
