//! `host skills`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::inspect::to_json;
use crate::cli::reply::Reply;
use crate::cli::session::{Session, SkillArgs};
use crate::id::SkillName;
use crate::problem::suggestion;
use crate::report::human::{Align, Look, Table, bytes};
use crate::skill::{Risk, Skill, Tool, own};
use crate::skills::builtin;

/// Lists the skills that are built in, and the host's own; with a filter, their tools
#[derive(Debug, clap::Args)]
pub(crate) struct Skills {
    /// Only tools whose name begins so, such as `text` or `text.s`; an alias counts as a name
    filter: Option<String>,
}

impl Skills {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let host = session.builder(&SkillArgs::default()).build();
        let mut skills: Vec<Arc<Skill>> = Vec::new();
        for name in builtin::names() {
            let skill_name = SkillName::new(name).map_err(|error| Error::new(Exit::Internal, error.to_string()))?;
            let Some(bytes_of) = builtin::find(name) else { continue };
            skills.push(host.inspect(&skill_name, &bytes_of)?);
        }
        skills.push(Arc::clone(own::sys()));
        let look = &session.output.look;
        let Some(filter) = &self.filter else {
            return Ok(reply(of_skills(&skills, look), skills.iter().map(|skill| &**skill)));
        };
        let found: Vec<Skill> = skills.iter().filter_map(|skill| only(skill, filter)).collect();
        if found.is_empty() {
            let names = skills.iter().flat_map(|skill| skill.tools.values().map(|tool| tool.name.to_string()));
            let names: Vec<String> = skills.iter().map(|skill| skill.name.to_string()).chain(names).collect();
            let hint = suggestion(filter, names.iter().map(String::as_str));
            let hint = hint.unwrap_or_else(|| {
                "`host skills` lists all of them; `host inspect FILE` shows one of yours".to_owned()
            });
            let message = format!("no skill and no tool that is built in has a name that begins with `{filter}`");
            return Err(Error::new(Exit::ToolNotFound, message).hint(hint));
        }
        Ok(reply(of_tools(&found, look), found.iter()))
    }
}

fn reply<'s>(text: String, skills: impl Iterator<Item = &'s Skill>) -> Reply {
    let list: Vec<Value> = skills.map(|skill| to_json(skill, None)).collect();
    Reply::new(text, json!({ "skills": list }))
}

/// The skill with those of its tools alone that have a name which begins so; `None` where it has none.
fn only(skill: &Skill, filter: &str) -> Option<Skill> {
    let mut skill = skill.clone();
    let own = skill.name.to_string();
    let begins = |tool: &Tool| {
        let alias = |alias: &String| format!("{own}.{alias}").starts_with(filter);
        tool.name.to_string().starts_with(filter) || tool.annotations.aliases.iter().any(alias)
    };
    skill.tools.retain(|_, tool| begins(tool));
    (!skill.tools.is_empty()).then_some(skill)
}

fn of_skills(skills: &[Arc<Skill>], look: &Look) -> String {
    let mut table =
        Table::new(&[("skill", Align::Left), ("tools", Align::Right), ("size", Align::Right), ("", Align::Left)]);
    for skill in skills {
        let about = skill.metadata.description.as_deref().unwrap_or_default();
        // The host's own skill is no component.
        let size = if skill.size_bytes == 0 { String::new() } else { bytes(skill.size_bytes) };
        table.row(&[skill.name.as_str(), &skill.tools.len().to_string(), &size, about.trim()], None);
    }
    table.render(look)
}

fn of_tools(skills: &[Skill], look: &Look) -> String {
    let mut table = Table::new(&[("tool", Align::Left), ("risk", Align::Left), ("", Align::Left)]);
    for tool in skills.iter().flat_map(|skill| skill.tools.values()) {
        let risk = tool.annotations.risk.map_or("", Risk::name);
        let about = tool.annotations.description.as_deref().unwrap_or_default();
        table.row(&[&tool.name.to_string(), risk, about.trim()], None);
    }
    table.render(look)
}
