//! `host policy explain` and `host policy check`; the other commands on policies are in files of their own.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::plan::said;
use crate::cli::plan_source::read_plan;
use crate::cli::reply::{Form, Reply};
use crate::cli::session::{HostArgs, Session, read_policy};
use crate::cli::{policy_init, policy_lab, trust};
use crate::id::{Digest, SkillName};
use crate::policy::bounds::overreach;
use crate::policy::{Explanation, Verdict, rbac, wassette};
use crate::report::human::{self, Append as _, counted, harmless};
use crate::skill::SkillOrigin;
use crate::{document, json};

/// Looks into policies
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Policy {
    Explain(Explain),
    Check(Check),
    Import(Import),
    Init(policy_init::Init),
    Replay(policy_lab::Replay),
    Suggest(policy_lab::Suggest),
    Trust(trust::Trust),
    Distrust(trust::Distrust),
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

/// Writes a policy of another system as one of this host: Wassette's `policy.yaml` as a policy with one grant, the ordered rules of a
/// `policies.yaml` (principal, capabilities, decision; the first match decides) as Cedar rules
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The policy or the rules: a YAML or JSON file
    file: PathBuf,
    /// The skill that a policy of Wassette is of
    #[arg(long, value_name = "NAME")]
    skill: Option<SkillName>,
}

impl Policy {
    pub(crate) fn execute(&self, session: &Session) -> Result<Reply, Error> {
        match self {
            Self::Explain(explain) => explain.execute(session),
            Self::Check(check) => check.execute(session),
            Self::Import(import) => import.execute(session),
            Self::Init(init) => init.execute(),
            Self::Replay(replay) => replay.execute(session),
            Self::Suggest(suggest) => suggest.execute(session),
            Self::Trust(trust) => trust.execute(session),
            Self::Distrust(distrust) => distrust.execute(session),
        }
    }
}

impl Explain {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let plan = read_plan(&self.plan)?;
        let host = session.granting_builder(&self.host)?.build();
        let checked = host.check(&plan)?.map_err(Error::refused)?;
        let explanations = host.explain_checked(&checked);
        let skills = checked.skills.iter().filter_map(|(name, origin)| Some((name, *origin, checked.digest_of(name)?)));
        let skills: Vec<(&SkillName, SkillOrigin, Digest)> = skills.collect();
        let decided = host.decided_by();
        let text: Vec<String> = explanations.iter().map(ToString::to_string).collect();
        let names: Vec<String> =
            skills.iter().map(|(name, origin, digest)| human::skill(name, *origin, digest)).collect();
        let (policy, names) = (harmless(&decided.to_string()), names.join(", "));
        let text = format!("policy {policy}\nskills {names}\n\n{}", text.join("\n"));
        let skills: Vec<Value> = skills.iter().map(|(name, origin, digest)| serde_json::json!({ "name": name, "origin": origin.name(), "sha256": digest.to_string() })).collect();
        let denied = explanations.iter().filter(|one| matches!(one.verdict, Verdict::Denied { .. })).count();
        let result: Vec<Value> = explanations.iter().map(Explanation::to_json).collect();
        let failure = (denied > 0).then(|| {
            let steps = counted(denied as u64, "step");
            Error::new(
                Exit::Denied,
                format!("{steps} of {} would be denied: nothing of the plan would run", explanations.len()),
            )
        });
        let result =
            serde_json::json!({ "policy": decided.to_json(), "skills": skills, "steps": result, "denied": denied });
        Ok(Reply::new(text, result).failure(failure))
    }
}

impl Check {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let document = read_policy(&self.file)?;
        let policy = document.policy;
        let grants = policy.grants.len();
        let mut text = format!("ok: {}, {}", harmless(&self.file.to_string_lossy()), counted(grants as u64, "grant"));
        let beyond = overreach(&policy, &document.text);
        let mut result =
            serde_json::json!({ "grants": grants, "digest": policy.digest.to_string(), "beyond_untrusted": beyond });
        if let Some(rules) = &policy.rules {
            let count = rules.rules().len();
            text.add(format_args!(", {}", counted(count as u64, "rule")));
            if let Some(members) = result.as_object_mut() {
                members.insert("rules".to_owned(), serde_json::json!(count));
                members.insert("rules_digest".to_owned(), serde_json::json!(rules.digest().to_string()));
            }
        }
        text.push('\n');
        for problem in &beyond {
            session.note(&format!("where nobody names it, it has to be trusted for {problem}"));
        }
        Ok(Reply::new(text, result))
    }
}

impl Import {
    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        let name = self.file.display().to_string();
        let wrong = |problems| Error::document(&name, problems);
        let bytes = document::read_limited(&self.file).map_err(|problem| wrong(vec![problem]))?;
        let read = json::parse_yaml(&bytes).map_err(|problem| wrong(vec![problem]))?;
        if wassette::is_one(&read) {
            let Some(skill) = &self.skill else {
                let error = Error::new(Exit::Request, format!("{name} is a policy of one component"));
                return Err(error.hint("say which skill it is for: `--skill NAME`"));
            };
            let imported = wassette::import(&read, skill).map_err(|mut problems| {
                json::locate(&bytes, &mut problems);
                wrong(problems)
            })?;
            imported.changes.iter().for_each(|change| session.output.say("changed", &said(change)));
            let result = serde_json::json!({ "policy": imported.text, "changes": imported.changes });
            return Ok(Reply::document(Form::Document, imported.text, result));
        }
        if !rbac::is_one(&read) {
            let message = format!("{name} is neither a policy of Wassette nor a list of rules");
            let hint = "the former has `version` and `permissions`, the latter a list `rules` with `principal`, `capabilities` and \
                        `decision`; `host policy check` reads a policy of this host";
            return Err(Error::request(message).hint(hint));
        }
        if self.skill.is_some() {
            let error = Error::request(format!("{name} is a list of rules, which is of no single skill"));
            return Err(error.hint("leave `--skill` out: each rule names what it is of"));
        }
        let rules = rbac::import(&read).map_err(wrong)?;
        Ok(Reply::document(Form::Document, rules.clone(), serde_json::json!({ "rules": rules })))
    }
}
