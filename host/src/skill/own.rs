//! The skill that is the host itself, `sys`: its tools have no component, what they do is in `run/own.rs`. Everything else about them is as
//! with any other tool: a plan calls them as a step, a policy has to grant them, validation knows their types.

use std::sync::{Arc, LazyLock};

use super::{Annotations, Export, FolderNeed, Metadata, Needs, Risk, Skill, Tool, ToolResult};
use crate::id::{Digest, SkillName, ToolName};
use crate::limits;
use crate::problem::Problem;
use crate::types::Ty;

/// The name of the skill. No other one may have it.
pub const NAME: &str = "sys";

/// What stands in for the bytes of a component. It is another one whenever a tool takes, gives or does something else, so that results of
/// the old one are not taken for those of the new one.
const IDENTITY: &[u8] = b"skillhost:sys/1";

/// A tool of the host's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostTool {
    /// `sys.undo`: takes back what the last steps have changed.
    Undo,
}

impl HostTool {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Undo];

    /// Its name inside of the skill.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undo => "undo",
        }
    }

    fn tool(self) -> Option<Tool> {
        let name = ToolName::new(SkillName::new(NAME).ok()?, self.name()).ok()?;
        let list = |ty| Ty::List(Box::new(ty));
        let record = |members: Vec<(&str, Ty)>| {
            Ty::Record(members.into_iter().map(|(name, ty)| (name.to_owned(), ty)).collect())
        };
        let option = |ty| Ty::Option(Box::new(ty));
        match self {
            Self::Undo => {
                let change = record(vec![("change", Ty::String), ("path", Ty::String)]);
                let step = record(vec![("run", option(Ty::String)), ("step", Ty::String), ("changes", list(change))]);
                let error = record(vec![("code", Ty::String), ("message", Ty::String), ("paths", list(Ty::String))]);
                Some(Tool {
                    name,
                    export: Export::Host(self),
                    params: vec![("steps".to_owned(), option(Ty::U32))],
                    result: ToolResult {
                        ok: Some(record(vec![("undone", list(step))])),
                        err: Some(error),
                        fallible: true,
                    },
                    annotations: Annotations {
                        description: Some(format!(
                            "takes back what the last `steps` steps have changed in the folders that it is granted: 1 to {}, \
                             default 1; of this run first, then of earlier ones",
                            limits::SYS_UNDO_STEPS_MAX
                        )),
                        risk: Some(Risk::Medium),
                        destructive: true,
                        needs: Some(Needs { filesystem: Some(FolderNeed::ReadWrite), ..Needs::default() }),
                        ..Annotations::default()
                    },
                })
            }
        }
    }
}

/// The skill.
pub fn sys() -> &'static Arc<Skill> {
    static SYS: LazyLock<Arc<Skill>> = LazyLock::new(|| {
        let tools = HostTool::ALL.iter().filter_map(|tool| Some((tool.name().to_owned(), tool.tool()?)));
        let metadata = Metadata {
            name: Some(NAME.to_owned()),
            description: Some("What the host itself does for a plan; no component".to_owned()),
            ..Metadata::default()
        };
        // The name has the form of one: a test reads it.
        let name = ToolName::approve().skill().clone();
        let name = SkillName::new(NAME).unwrap_or(name);
        Arc::new(Skill {
            name,
            digest: Digest::of(IDENTITY),
            size_bytes: 0,
            tools: tools.map(|(name, tool)| (name, Arc::new(tool))).collect(),
            not_tools: Vec::new(),
            imports: Vec::new(),
            metadata,
        })
    });
    &SYS
}

/// Whether a skill of that name is the host's own.
#[must_use]
pub fn is_own(name: &SkillName) -> bool {
    name.as_str() == NAME
}

/// What to say where somebody offers another skill under that name.
#[must_use]
pub fn reserved(pointer: impl Into<String>) -> Problem {
    Problem::new(
        "reserved-skill",
        pointer,
        format!("`{NAME}` is the host's own skill: no other one can have that name"),
    )
    .with_hint("give the skill another name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_of_the_host_is_there() {
        assert_eq!(sys().name.as_str(), NAME);
        assert!(is_own(&sys().name));
        for tool in HostTool::ALL {
            let known = sys().tool(tool.name()).unwrap();
            assert_eq!((&known.export, known.name.to_string()), (&Export::Host(tool), format!("sys.{}", tool.name())));
            // A tool of which nobody says what it does is granted blindly.
            assert!(known.annotations.description.is_some() && known.annotations.risk.is_some());
        }
    }
}
