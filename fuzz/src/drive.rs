//! A component through load, run and replay.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};
use skillhost::host::Error;
use skillhost::sandbox::SandboxError;
use skillhost::skills::SkillBytes;
use skillhost::store::RunDir;
use skillhost::types::Ty;
use skillhost::{PlanDocument, PlanFormat, PolicyDocument, RunOptions, SkillHost};
use tempfile::TempDir;

/// Everything that a tool may be granted, and little of each.
const POLICY: &str = r#"schema = "skillhost.policy/1"
[limits]
fuel = 2_000_000
deadline_ms = 5_000
memory_bytes = 33_554_432
host_calls = 2_000
trace_bytes = 4_000_000
output_bytes = 1_000_000
[[grant]]
skills = ["*"]
tools = ["*"]
filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]
"#;
/// Tools of one component that are called.
const TOOLS_MAX: usize = 4;
/// Elements of a list in an input.
const ELEMENTS_MAX: usize = 4;
/// Nesting of a value in an input; what is deeper stays without optional parts.
const DEPTH_MAX: usize = 6;
/// After this a call and its replay hang: far more than their deadlines.
const HANG: Duration = Duration::from_secs(40);
/// Executions for which one folder is used.
const EXECUTIONS_IN_FOLDER: u64 = 200;

/// A host in a folder that is gone with it.
pub struct Drive {
    folder: TempDir,
    host: SkillHost,
    executions: u64,
    /// Components that were loaded.
    pub loaded: u64,
    /// Calls that were run and replayed.
    pub replayed: u64,
}

impl Default for Drive {
    fn default() -> Self {
        let (folder, host) = fresh();
        Self { folder, host, executions: 0, loaded: 0, replayed: 0 }
    }
}

fn fresh() -> (TempDir, SkillHost) {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = folder.path().join("workspace");
    std::fs::create_dir(&workspace).expect("a workspace");
    std::fs::write(workspace.join("a.txt"), "one\ntwo\n").expect("a file");
    let policy = PolicyDocument::parse(POLICY).expect("a policy");
    let host = SkillHost::builder().policy(policy).workspace(workspace).state(folder.path().join("state"));
    (folder, host.build())
}

impl Drive {
    /// Loads the component and calls its tools with inputs from the choices.
    pub fn run(&mut self, component: &[u8], choices: &mut Unstructured<'_>) {
        self.executions += 1;
        if self.executions % EXECUTIONS_IN_FOLDER == 0 {
            (self.folder, self.host) = fresh();
        }
        let began = Instant::now();
        let bytes = SkillBytes::Memory { component: component.to_vec().into(), manifest: None };
        let name = "guest".parse().expect("a name");
        let skill = match self.host.inspect(&name, &bytes) {
            Ok(skill) => skill,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        };
        self.loaded += 1;
        let path = self.folder.path().join("guest.wasm");
        std::fs::write(&path, component).expect("written");
        for tool in skill.tools.values().take(TOOLS_MAX) {
            let Ok(input) = input(&tool.params, choices) else { break };
            self.call(&path, &tool.name.to_string(), input);
            assert!(began.elapsed() < HANG, "it hangs: {:?}", began.elapsed());
        }
    }

    fn call(&mut self, path: &PathBuf, tool: &str, input: Value) {
        let plan = json!({
            "schema": "skillhost.plan/1",
            "name": "fuzz",
            "skills": { "guest": { "path": path } },
            "steps": [{ "id": "it", "tool": tool, "input": input }],
        });
        let document = PlanDocument::new(plan.to_string(), PlanFormat::Json, self.folder.path());
        let report = match self.host.run(&document, &RunOptions::default()) {
            Ok(report) => report,
            // The component imports a known interface with other types.
            Err(Error::Sandbox(SandboxError::Link { .. })) => return,
            Err(error) => panic!("the host failed: {error}"),
        };
        let recorded = RunDir::open(&report.folder).expect("the run's folder");
        let replayed = self.host.replay(&recorded, &skillhost::replay::ReplayOptions::default());
        let replayed = replayed.unwrap_or_else(|error| panic!("the replay failed: {error}"));
        assert_eq!(replayed.divergence, None, "{report:#?}");
        self.replayed += 1;
        std::fs::remove_dir_all(&report.folder).expect("removed");
    }
}

/// An input that fits the parameters.
fn input(params: &[(String, Ty)], choices: &mut Unstructured<'_>) -> Result<Value> {
    let mut members = Map::new();
    for (name, ty) in params {
        members.insert(name.clone(), value(ty, 0, choices)?);
    }
    Ok(Value::Object(members))
}

fn value(ty: &Ty, depth: usize, choices: &mut Unstructured<'_>) -> Result<Value> {
    let many = |choices: &mut Unstructured<'_>, ty: &Ty| -> Result<Vec<Value>> {
        let count = if depth > DEPTH_MAX { 0 } else { choices.int_in_range(0..=ELEMENTS_MAX)? };
        (0..count).map(|_| value(ty, depth + 1, choices)).collect()
    };
    Ok(match ty {
        Ty::Bool => json!(choices.arbitrary::<bool>()?),
        Ty::S8 => json!(choices.arbitrary::<i8>()?),
        Ty::U8 => json!(choices.arbitrary::<u8>()?),
        Ty::S16 => json!(choices.arbitrary::<i16>()?),
        Ty::U16 => json!(choices.arbitrary::<u16>()?),
        Ty::S32 => json!(choices.arbitrary::<i32>()?),
        Ty::U32 => json!(choices.arbitrary::<u32>()?),
        Ty::S64 => json!(choices.arbitrary::<i64>()?),
        Ty::U64 => json!(choices.arbitrary::<u64>()?),
        Ty::F32 => number(f64::from(choices.arbitrary::<f32>()?)),
        Ty::F64 => number(choices.arbitrary::<f64>()?),
        Ty::Char => json!(choices.arbitrary::<char>()?.to_string()),
        Ty::String => json!(choices.arbitrary::<String>()?),
        Ty::Bytes => json!(choices.choose(&["", "YQ==", "AAEC"])?),
        Ty::List(element) => Value::Array(many(choices, element)?),
        Ty::FixedList(element, len) => {
            let one = value(element, depth + 1, choices)?;
            Value::Array(vec![one; usize::try_from(*len).unwrap_or(0).min(10_000)])
        }
        Ty::Map(key, element) if **key == Ty::String => {
            let values = many(choices, element)?;
            Value::Object(values.into_iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect())
        }
        Ty::Map(key, element) => {
            let pairs = Ty::Tuple(vec![(**key).clone(), (**element).clone()]);
            Value::Array(many(choices, &pairs)?)
        }
        Ty::Tuple(parts) => Value::Array(parts.iter().map(|ty| value(ty, depth + 1, choices)).collect::<Result<_>>()?),
        Ty::Record(fields) => {
            let fields = fields.iter().map(|(name, ty)| Ok((name.clone(), value(ty, depth + 1, choices)?)));
            Value::Object(fields.collect::<Result<_>>()?)
        }
        Ty::Variant(cases) => {
            let (tag, payload) = choices.choose(cases)?;
            match payload {
                Some(ty) => json!({"tag": tag, "val": value(ty, depth + 1, choices)?}),
                None => json!({"tag": tag}),
            }
        }
        Ty::Enum(names) => json!(choices.choose(names)?),
        Ty::Flags(names) => {
            let chosen: Result<Vec<bool>> = names.iter().map(|_| choices.arbitrary()).collect();
            Value::Array(names.iter().zip(chosen?).filter(|(_, on)| *on).map(|(name, _)| json!(name)).collect())
        }
        Ty::Option(_) if depth > DEPTH_MAX || choices.arbitrary()? => Value::Null,
        Ty::Option(ty) => value(ty, depth + 1, choices)?,
        Ty::Result(ok, err) => {
            let (tag, side) = if choices.arbitrary()? { ("ok", ok) } else { ("err", err) };
            match side {
                Some(ty) => json!({tag: value(ty, depth + 1, choices)?}),
                None => json!({tag: null}),
            }
        }
    })
}

/// A number as JSON has it; what it has not is text.
fn number(number: f64) -> Value {
    match number {
        number if number.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        number => json!(number),
    }
}
