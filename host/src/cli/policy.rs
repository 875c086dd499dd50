//! `host policy explain` and `host policy check`.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::plan_source::read_plan;
use crate::cli::reply::Reply;
use crate::cli::session::{HostArgs, Session, read_policy};
use crate::policy::{Explanation, Verdict, rbac};
use crate::report::human::counted;
use crate::{document, json};

/// Looks into policies
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Policy {
    Explain(Explain),
    Check(Check),
    Import(Import),
}

/// Shows what the policy grants to each step of a plan, and why; runs nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The plan: a JSON or YAML file, or `-` for JSON from stdin
    plan: PathBuf,
    #[command(flatten)]
    host: HostArgs,
}

/// Checks a policy file
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The policy
    file: PathBuf,
}

/// Writes the ordered rules of a `policies.yaml` (principal, capabilities, decision; the first match decides) as Cedar rules
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The rules: a YAML or JSON file
    file: PathBuf,
}

impl Policy {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::Explain(explain) => explain.execute(session),
            Self::Check(check) => check.execute(),
            Self::Import(import) => import.execute(),
        }
    }
}

impl Explain {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let plan = read_plan(&self.plan)?;
        let host = session.granting_builder(&self.host)?.build();
        let explanations = host.explain(&plan)?.map_err(Error::refused)?;
        let text: Vec<String> = explanations.iter().map(ToString::to_string).collect();
        let denied = explanations.iter().filter(|one| matches!(one.verdict, Verdict::Denied { .. })).count();
        let result: Vec<Value> = explanations.iter().map(Explanation::to_json).collect();
        let failure = (denied > 0).then(|| {
            let steps = counted(denied as u64, "step");
            Error::new(
                Exit::Denied,
                format!("{steps} of {} would be denied: nothing of the plan would run", explanations.len()),
            )
        });
        Ok(Reply::new(text.join("\n"), serde_json::json!({ "steps": result, "denied": denied })).failure(failure))
    }
}

impl Check {
    fn execute(&self) -> Result<Reply, Error> {
        let document = read_policy(&self.file)?;
        let policy = document.policy;
        let grants = policy.grants.len();
        let text = format!("ok: {}, {}\n", self.file.display(), counted(grants as u64, "grant"));
        Ok(Reply::new(text, serde_json::json!({ "grants": grants, "digest": policy.digest.to_string() })))
    }
}

impl Import {
    fn execute(&self) -> Result<Reply, Error> {
        let name = self.file.display().to_string();
        let wrong = |problems| Error::document(&name, problems);
        let bytes = document::read_limited(&self.file).map_err(|problem| wrong(vec![problem]))?;
        let read = json::parse_yaml(&bytes).map_err(|problem| wrong(vec![problem]))?;
        let rules = rbac::import(&read).map_err(wrong)?;
        Ok(Reply::new(rules.clone(), serde_json::json!({ "rules": rules })))
    }
}
