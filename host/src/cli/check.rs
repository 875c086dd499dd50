//! `host check`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::error::Error;
use crate::cli::plan_source::read_plan;
use crate::cli::reply::Reply;
use crate::cli::session::{BundleArgs, Session, SkillArgs};
use crate::report::human::{counted, harmless};
use crate::validate::{Call, Work};

/// Checks a plan and runs nothing: every problem with its place and what to do
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The plan: a JSON or YAML file, or `-` for JSON from stdin
    plan: PathBuf,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    skills: SkillArgs,
}

impl Check {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let plan = read_plan(&self.plan)?;
        let checked =
            session.skills_builder(&self.skills, &self.bundle)?.build().check(&plan)?.map_err(Error::refused)?;
        let plan = checked.plan.plan();
        let steps = checked.plan.steps();
        let text = format!("ok: plan `{}`, {}\n", harmless(&plan.name), counted(steps.len() as u64, "step"));
        let order: Vec<Value> = checked
            .plan
            .steps()
            .map(|step| match step.work {
                Work::Call(Call { tool, skill, .. }) => {
                    let (tool, digest) = (tool.name.to_string(), skill.digest.to_string());
                    json!({ "id": step.id.as_str(), "tool": tool, "skill_sha256": digest })
                }
                Work::Approve(_) => json!({ "id": step.id.as_str(), "approve": true }),
            })
            .collect();
        Ok(Reply::new(text, json!({ "plan": plan.name, "digest": plan.digest.to_string(), "steps": order })))
    }
}
