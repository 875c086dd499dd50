//! Whether a bundle is right: everything in it loads, and what it says of itself is so. Runs no guest code and writes nothing into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::bundle::export::{Export, Kind, Target};
use crate::bundle::manifest::broken_rules;
use crate::bundle::snapshot::EntryKind;
use crate::bundle::{Bundle, SKILLS};
use crate::host::{Error, PolicyDocument, SkillHost};
use crate::id::{SkillName, ToolName};
use crate::plan::PlanDocument;
use crate::problem::{Problem, Problems, suggestion};
use crate::run::Checked;
use crate::skill::{Skill, Tool, own, unprovided_imports};
use crate::types::Ty;

/// Where a bundle's plans are, beside those that exports name.
const PLANS: &str = "plans";

/// What verifying a bundle found.
#[derive(Debug)]
pub struct Verified {
    /// Its skills, those that could be loaded.
    pub skills: BTreeMap<SkillName, Arc<Skill>>,
    /// How many plans were looked at.
    pub plans: usize,
    /// What is wrong; none where the bundle is right. The pointer begins with the file of the bundle that it is in.
    pub problems: Vec<Problem>,
    /// What a person may want to know although the bundle is right.
    pub warnings: Vec<String>,
}

/// Verifies a bundle with a host that has it.
///
/// # Errors
///
/// [`Error`] where it could not be looked at; what is wrong with the bundle is in the result.
pub fn verify(bundle: &Bundle, host: &SkillHost) -> Result<Verified, Error> {
    bundle.check_unchanged()?;
    let mut verify = Verify { bundle, host, skills: BTreeMap::new(), problems: Problems::default() };
    verify.names();
    verify.load()?;
    let mut plans: BTreeMap<&str, Option<Checked>> = BTreeMap::new();
    for path in verify.plans() {
        plans.insert(path, verify.plan(path)?);
    }
    for (key, export) in &bundle.exports {
        let place = bundle.places.get(key).cloned();
        let found = verify.export(export, &plans);
        for mut problem in found {
            if let Some((pointer, position)) = &place {
                problem = Problem { pointer: format!("bundle.toml{pointer}"), ..problem }.at(*position);
            }
            verify.problems.push(problem);
        }
    }
    if let Some(handler) = &bundle.handler
        && let Ok(tool) = handler.parse::<ToolName>()
        && let Err(problem) = verify.tool(&tool)
    {
        verify.problems.push(Problem { pointer: "bundle.toml/handler".to_owned(), ..problem });
    }
    verify.policy();
    bundle.check_unchanged()?;
    let count = plans.len();
    let warnings = unpinned(bundle);
    Ok(Verified { skills: verify.skills, plans: count, problems: verify.problems.into_vec(), warnings })
}

/// What to write so that no other component can stand in the place of one, where nothing is written.
fn unpinned(bundle: &Bundle) -> Vec<String> {
    if bundle.requires.is_some() || bundle.skills.is_empty() {
        return Vec::new();
    }
    let digest = |name: &SkillName| bundle.snapshot.entries.get(&format!("{SKILLS}/{name}.wasm"));
    let pins = bundle.skills.keys().filter_map(|name| Some(format!("{name} = \"{}\"", digest(name)?.digest)));
    let head =
        "no component is pinned, so that another one in its place would be taken; add to `bundle.toml`:".to_owned();
    [head, "[requires]".to_owned()].into_iter().chain(pins).collect()
}

struct Verify<'a> {
    bundle: &'a Bundle,
    host: &'a SkillHost,
    skills: BTreeMap<SkillName, Arc<Skill>>,
    problems: Problems,
}

impl<'a> Verify<'a> {
    /// Names that are one name on some file systems: on those the bundle would be another one.
    fn names(&mut self) {
        let mut known: BTreeMap<String, &str> = BTreeMap::new();
        for path in self.bundle.snapshot.entries.keys() {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            for part in ends.filter_map(|end| path.get(..end)) {
                let same = part.nfc().collect::<String>().to_lowercase().nfc().collect::<String>();
                let first = *known.entry(same).or_insert(part);
                if first != part {
                    known.insert(part.to_owned(), part);
                    let message =
                        format!("`{first}` and `{part}` are one name where case or composition does not count");
                    self.problems.push(Problem::new("same-name", part, message).with_hint("rename one of them"));
                }
            }
        }
    }

    /// Loads every component.
    fn load(&mut self) -> Result<(), Error> {
        for (name, bytes) in self.bundle.skill_bytes() {
            let place = format!("{SKILLS}/{name}.wasm");
            match self.host.inspect(&name, &bytes) {
                Ok(skill) => {
                    for problem in unprovided_imports(&skill) {
                        self.problems.push(Problem { pointer: place.clone(), ..problem });
                    }
                    self.skills.insert(name, skill);
                }
                Err(Error::Sandbox(error)) => {
                    error.problems(&place).into_iter().for_each(|problem| self.problems.push(problem));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The plans: what exports name, and what lies in their folder.
    fn plans(&self) -> Vec<&'a str> {
        let named = |path: &str| {
            let place = self.bundle.root.join(path);
            self.bundle.exports.values().any(|export| matches!(&export.target, Target::Plan(plan) if *plan == place))
        };
        let in_folder = |path: &str| {
            let ends = [".json", ".yaml", ".yml"];
            path.strip_prefix(PLANS).is_some_and(|rest| rest.starts_with('/'))
                && ends.iter().any(|end| path.ends_with(end))
        };
        let files = self.bundle.snapshot.entries.iter().filter(|(_, entry)| entry.kind != EntryKind::Link);
        files.map(|(path, _)| path.as_str()).filter(|path| named(path) || in_folder(path)).collect()
    }

    /// A plan, where it is valid with the bundle's skills alone.
    fn plan(&mut self, path: &str) -> Result<Option<Checked>, Error> {
        let read = PlanDocument::read(&self.bundle.root.join(path));
        let checked = match read {
            Ok(document) => self.host.check(&document)?,
            Err(problem) => Err(vec![problem]),
        };
        match checked {
            Ok(checked) => {
                for (pointer, tool) in checked.plan.plan().outline().tools() {
                    let skill = tool.split('.').next().unwrap_or_default();
                    // `sys` is the host itself.
                    if skill != own::NAME && !self.bundle.skills.keys().any(|name| name.as_str() == skill) {
                        let message = format!("the plan uses the skill `{skill}`, which is not in the bundle");
                        let hint = format!("put its component at `{SKILLS}/{skill}.wasm`");
                        let pointer = format!("{path}{pointer}");
                        self.problems.push(Problem::new("unknown-skill", pointer, message).with_hint(hint));
                    }
                }
                Ok(Some(checked))
            }
            Err(problems) => {
                for problem in problems {
                    let pointer = format!("{path}{}", problem.pointer);
                    self.problems.push(Problem { pointer, ..problem });
                }
                Ok(None)
            }
        }
    }

    /// What is wrong with an export.
    fn export(&self, export: &Export, plans: &BTreeMap<&str, Option<Checked>>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut annotations = None;
        match &export.target {
            Target::Tool(name) => match self.tool(name) {
                Ok(Some(tool)) => {
                    annotations = Some(&tool.annotations);
                    let fits = |ty: &Ty| is_object(ty) || export.kind == Kind::Router && is_text(ty);
                    if export.kind.gives_object() && !tool.result.ok.as_ref().is_some_and(fits) {
                        problems.push(not_an_object(export.kind, &format!("the tool `{name}`")));
                    }
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            },
            Target::Plan(path) => {
                let path = path.strip_prefix(&self.bundle.root).unwrap_or(path);
                let checked = path.to_str().and_then(|path| plans.get(path)).and_then(Option::as_ref);
                if let Some(checked) = checked
                    && export.kind.gives_object()
                    && gives(checked, export.kind) == Some(false)
                {
                    problems.push(not_an_object(export.kind, &format!("the plan `{}`", path.display())));
                }
            }
            Target::Server => {}
        }
        // Where the manifest says the risk itself, it was held against the rules when it was read, with what it says beside it.
        let claims = &export.claims;
        if let Some(own) = annotations
            && let Some(risk) = claims.risk.or(own.risk)
        {
            let irreversible = claims.reversible.map_or(own.destructive, |reversible| !reversible);
            let compensated = claims.compensation.is_some() || own.compensation.is_some();
            for message in broken_rules(risk, irreversible, claims.operation, compensated) {
                let hint = "raise `risk` here or in `skill.toml`, or say what is so: `reversible`, `compensation`";
                problems.push(Problem::new("risk-inconsistent", "", message).with_hint(hint));
            }
        }
        problems
    }

    /// A tool of a skill that could be loaded.
    fn tool(&self, name: &ToolName) -> Result<Option<&Tool>, Problem> {
        let Some(skill) = self.skills.get(name.skill()) else { return Ok(None) };
        skill.resolve(name.function()).map(|tool| Some(&**tool)).ok_or_else(|| {
            let names: Vec<&str> = skill.tools.keys().map(String::as_str).collect();
            let hint = suggestion(name.function(), skill.names())
                .unwrap_or_else(|| format!("its tools are {}", names.join(", ")));
            let message = format!("the skill `{}` has no tool `{}`", name.skill(), name.function());
            Problem::new("unknown-tool", "", message).with_hint(hint)
        })
    }

    fn policy(&mut self) {
        let Some(path) = &self.bundle.policy else { return };
        let Err(problems) = PolicyDocument::read(path) else { return };
        let name = path.strip_prefix(&self.bundle.root).unwrap_or(path).display().to_string();
        for problem in problems {
            self.problems.push(Problem { pointer: format!("{name}{}", problem.pointer), ..problem });
        }
    }
}

fn not_an_object(kind: Kind, what: &str) -> Problem {
    let message = format!("an export of the kind `{kind}` gives an object, and {what} does not");
    Problem::new("not-an-object", "", message).with_hint("give a record, or export it as another kind")
}

/// Whether every value of the type is a JSON object.
fn is_object(ty: &Ty) -> bool {
    match ty {
        Ty::Record(_) | Ty::Variant(_) | Ty::Result(..) => true,
        Ty::Map(key, _) => **key == Ty::String,
        _ => false,
    }
}

/// Whether every value of the type is a string of JSON: the name that a router may give.
const fn is_text(ty: &Ty) -> bool {
    matches!(ty, Ty::String | Ty::Enum(_))
}

/// Whether a plan gives what an export of this kind gives, an object or of a router a name; `None` where that depends on values.
fn gives(checked: &Checked, kind: Kind) -> Option<bool> {
    let is_router = kind == Kind::Router;
    let fits = |ty: &Ty| is_object(ty) || is_router && is_text(ty);
    let plan = checked.plan.plan();
    let Some(output) = &plan.output else { return Some(false) };
    match output.to_document() {
        Value::Object(_) => Some(true),
        Value::String(text) => {
            let whole = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
            let Some(inner) = whole.filter(|inner| !inner.contains("{{")) else { return Some(is_router) };
            let id = inner.trim().strip_prefix("steps.")?.parse().ok()?;
            let call = checked.plan.step_by_id(&id)?.call()?;
            Some(call.tool.result.ok.as_ref().is_some_and(fits))
        }
        _ => Some(false),
    }
}
