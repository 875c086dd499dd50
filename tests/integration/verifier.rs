//! A second, independent replayer. It knows traces from their description alone: its linker is built from the import types of a
//! component, its values are decoded here, and it links no WASI. What it finds in a trace is therefore there, and not only in the mind of
//! the code that wrote it.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use host_tests::trace::{TraceFiles, TracedStep, sha256};
use host_tests::{Run, TestHost, plan, policy, repo, step};
use serde_json::{Map, Value, json};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, ResourceAny, ResourceDynamic, ResourceType, Type, Val};
use wasmtime::{Config, Engine, Result, Store, StoreContextMut, bail, format_err};

/// Bytes of a list and of a string that a trace writes out; longer ones are a digest. As in docs/trace-format.md.
const INLINE_BYTES: usize = 256;
const INLINE_TEXT: usize = 4096;

/// What the verifier knows while a step runs.
struct Verifier {
    trace: TraceFiles,
    calls: VecDeque<Value>,
    /// The name under which each resource type is dropped.
    drops: Vec<String>,
    /// Handles of stdout and stderr.
    stdout: Vec<u64>,
    stderr: Vec<u64>,
    written: (Vec<u8>, Vec<u8>),
}

/// The guest called `exit`.
#[derive(Debug)]
struct Exit(u64);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}", self.0)
    }
}

impl std::error::Error for Exit {}

impl Verifier {
    /// The next recorded call, which must be this one.
    fn take(&mut self, name: &str, params: &Value) -> Result<Value> {
        let Some(call) = self.calls.pop_front() else { bail!("the trace has no call for `{name}` {params}") };
        if call["name"] != name || call["params"] != *params {
            bail!("the guest calls `{name}` {params}; the trace has `{}` {}", call["name"], call["params"]);
        }
        Ok(call["result"].clone())
    }
}

// ---- values ----

fn long(bytes: &[u8]) -> Value {
    json!({"blake3": blake3::hash(bytes).to_hex().as_str(), "len": bytes.len()})
}

fn bytes_of(values: &[Val]) -> Vec<u8> {
    values.iter().map(|value| if let Val::U8(byte) = value { *byte } else { panic!("a list of bytes") }).collect()
}

fn encode(value: &Val, ty: &Type, in_call: bool, handle: &mut dyn FnMut(&ResourceAny) -> Result<u32>) -> Result<Value> {
    Ok(match (value, ty) {
        (Val::Bool(x), _) => json!(x),
        (Val::U8(x), _) => json!(x),
        (Val::S8(x), _) => json!(x),
        (Val::U16(x), _) => json!(x),
        (Val::S16(x), _) => json!(x),
        (Val::U32(x), _) => json!(x),
        (Val::S32(x), _) => json!(x),
        (Val::U64(x), _) => json!(x),
        (Val::S64(x), _) => json!(x),
        (Val::Float32(x), _) => float(f64::from(*x)),
        (Val::Float64(x), _) => float(*x),
        (Val::Char(c), _) => json!(c),
        (Val::String(text), _) if in_call && text.len() > INLINE_TEXT => long(text.as_bytes()),
        (Val::String(text), _) => json!(text),
        (Val::List(items), Type::List(ty)) if matches!(ty.ty(), Type::U8) => {
            let bytes = bytes_of(items);
            if in_call && bytes.len() > INLINE_BYTES { long(&bytes) } else { json!(BASE64.encode(bytes)) }
        }
        (Val::List(items), Type::List(ty)) => {
            let ty = ty.ty();
            Value::Array(items.iter().map(|item| encode(item, &ty, in_call, handle)).collect::<Result<_>>()?)
        }
        (Val::Tuple(items), Type::Tuple(ty)) => {
            let items = items.iter().zip(ty.types());
            Value::Array(items.map(|(item, ty)| encode(item, &ty, in_call, handle)).collect::<Result<_>>()?)
        }
        (Val::Record(fields), Type::Record(ty)) => {
            let fields = fields.iter().zip(ty.fields());
            let fields =
                fields.map(|((name, value), field)| Ok((name.clone(), encode(value, &field.ty, in_call, handle)?)));
            Value::Object(fields.collect::<Result<_>>()?)
        }
        (Val::Enum(case), _) => json!(case),
        (Val::Flags(names), _) => json!(names),
        (Val::Variant(case, payload), Type::Variant(ty)) => {
            let mut object = Map::from_iter([("tag".to_owned(), json!(case))]);
            let ty = ty.cases().find(|known| known.name == case.as_str()).and_then(|case| case.ty);
            if let (Some(payload), Some(ty)) = (payload, ty) {
                object.insert("val".to_owned(), encode(payload, &ty, in_call, handle)?);
            }
            Value::Object(object)
        }
        (Val::Option(None), _) => Value::Null,
        (Val::Option(Some(value)), Type::Option(ty)) => encode(value, &ty.ty(), in_call, handle)?,
        (Val::Result(result), Type::Result(ty)) => {
            let (name, payload, ty) = match result {
                Ok(payload) => ("ok", payload, ty.ok()),
                Err(payload) => ("err", payload, ty.err()),
            };
            match (payload, ty) {
                (Some(payload), Some(ty)) => json!({name: encode(payload, &ty, in_call, handle)?}),
                _ => json!({name: null}),
            }
        }
        (Val::Resource(resource), _) => json!(handle(resource)?),
        (value, _) => bail!("the verifier does not know {value:?}"),
    })
}

fn float(x: f64) -> Value {
    if x.is_nan() {
        json!("NaN")
    } else if x.is_infinite() {
        json!(if x > 0.0 { "Infinity" } else { "-Infinity" })
    } else if x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0 {
        json!(x as i64)
    } else {
        json!(x)
    }
}

/// Decodes a value of a trace or of a tool's input.
fn decode(
    value: &Value,
    ty: &Type,
    trace: &TraceFiles,
    handle: &mut dyn FnMut(u32, &ResourceType) -> Result<ResourceAny>,
) -> Result<Val> {
    let wrong = || format_err!("{value} is no {ty:?}");
    let blob = || value["sha256"].as_str().map(|digest| trace.blob(digest));
    let unsigned = || value.as_u64().ok_or_else(wrong);
    let signed = || value.as_i64().ok_or_else(wrong);
    Ok(match ty {
        Type::Bool => Val::Bool(value.as_bool().ok_or_else(wrong)?),
        Type::U8 => Val::U8(u8::try_from(unsigned()?)?),
        Type::U16 => Val::U16(u16::try_from(unsigned()?)?),
        Type::U32 => Val::U32(u32::try_from(unsigned()?)?),
        Type::U64 => Val::U64(unsigned()?),
        Type::S8 => Val::S8(i8::try_from(signed()?)?),
        Type::S16 => Val::S16(i16::try_from(signed()?)?),
        Type::S32 => Val::S32(i32::try_from(signed()?)?),
        Type::S64 => Val::S64(signed()?),
        Type::Float64 => Val::Float64(value.as_f64().ok_or_else(wrong)?),
        Type::Char => Val::Char(value.as_str().and_then(|text| text.chars().next()).ok_or_else(wrong)?),
        Type::String => match value {
            Value::String(text) => Val::String(text.clone()),
            _ => Val::String(String::from_utf8(blob().ok_or_else(wrong)?)?),
        },
        Type::List(list) if matches!(list.ty(), Type::U8) => {
            let bytes = match value {
                Value::String(text) => BASE64.decode(text)?,
                _ => blob().ok_or_else(wrong)?,
            };
            Val::List(bytes.into_iter().map(Val::U8).collect())
        }
        Type::List(list) => {
            let (ty, items) = (list.ty(), value.as_array().ok_or_else(wrong)?);
            Val::List(items.iter().map(|item| decode(item, &ty, trace, handle)).collect::<Result<_>>()?)
        }
        Type::Tuple(tuple) => {
            let items = value.as_array().ok_or_else(wrong)?;
            Val::Tuple(
                items
                    .iter()
                    .zip(tuple.types())
                    .map(|(item, ty)| decode(item, &ty, trace, handle))
                    .collect::<Result<_>>()?,
            )
        }
        Type::Record(record) => {
            let fields = record.fields().map(|field| {
                let value = value.get(field.name).unwrap_or(&Value::Null);
                Ok((field.name.to_owned(), decode(value, &field.ty, trace, handle)?))
            });
            Val::Record(fields.collect::<Result<_>>()?)
        }
        Type::Enum(_) => Val::Enum(value.as_str().ok_or_else(wrong)?.to_owned()),
        Type::Flags(_) => {
            let names = value.as_array().ok_or_else(wrong)?;
            Val::Flags(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        Type::Option(_) if value.is_null() => Val::Option(None),
        Type::Option(option) => Val::Option(Some(Box::new(decode(value, &option.ty(), trace, handle)?))),
        Type::Result(result) => {
            let side = |name: &str,
                        ty: Option<Type>,
                        handle: &mut dyn FnMut(u32, &ResourceType) -> Result<ResourceAny>| {
                ty.map(|ty| decode(&value[name], &ty, trace, handle)).transpose().map(|payload| payload.map(Box::new))
            };
            if value.get("ok").is_some() {
                Val::Result(Ok(side("ok", result.ok(), handle)?))
            } else if value.get("err").is_some() {
                Val::Result(Err(side("err", result.err(), handle)?))
            } else {
                return Err(wrong());
            }
        }
        Type::Variant(variant) => {
            let tag = value["tag"].as_str().ok_or_else(wrong)?;
            let ty = variant.cases().find(|case| case.name == tag).ok_or_else(wrong)?.ty;
            let payload = ty.map(|ty| decode(&value["val"], &ty, trace, handle)).transpose()?;
            Val::Variant(tag.to_owned(), payload.map(Box::new))
        }
        Type::Own(ty) => Val::Resource(handle(u32::try_from(unsigned()?)?, ty)?),
        other => bail!("the verifier does not know {other:?}"),
    })
}

fn type_id(ty: &ResourceType, known: usize) -> Result<u32> {
    let found = (0..known).find(|id| ResourceType::host_dynamic(*id as u32) == *ty);
    Ok(found.ok_or_else(|| format_err!("a resource of a type that is not imported"))? as u32)
}

// ---- what is hidden ----

/// Names of header fields whose values are credentials. As in docs/trace-format.md.
fn is_sensitive(name: &Val) -> bool {
    let Val::String(name) = name else { panic!("a name is a string") };
    let name = name.to_lowercase();
    ["authorization", "proxy-authorization", "cookie", "set-cookie"].contains(&name.as_str())
        || ["token", "secret", "password", "credential", "api-key", "apikey"].iter().any(|word| name.contains(word))
}

fn digest_of(value: &Val) -> Value {
    let Val::List(bytes) = value else { panic!("a value is a list of bytes") };
    long(&bytes_of(bytes))
}

/// Of arguments that are credentials by their names the digest alone is recorded.
fn hide(name: &str, params: &[Val], object: &mut Map<String, Value>) {
    match (name, params) {
        ("wasi:http/types#[method]fields.append", [_, field, value]) if is_sensitive(field) => {
            object["value"] = digest_of(value);
        }
        ("wasi:http/types#[method]fields.set", [_, field, Val::List(values)]) if is_sensitive(field) => {
            object["value"] = values.iter().map(digest_of).collect();
        }
        ("wasi:http/types#[static]fields.from-list", [Val::List(entries)]) => {
            for (index, entry) in entries.iter().enumerate() {
                let Val::Tuple(entry) = entry else { panic!("an entry is a pair") };
                if is_sensitive(&entry[0]) {
                    object["entries"][index][1] = digest_of(&entry[1]);
                }
            }
        }
        ("wasi:http/types#[method]outgoing-request.set-authority", [_, Val::Option(Some(text))]) => {
            if let Val::String(text) = &**text
                && text.contains('@')
            {
                object["authority"] = long(text.as_bytes());
            }
        }
        _ => {}
    }
}

// ---- host functions ----

fn host_call(
    mut store: StoreContextMut<'_, Verifier>,
    name: &str,
    ty: &ComponentFunc,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let mut object = Map::new();
    for ((param, param_ty), value) in ty.params().zip(params) {
        let value =
            encode(value, &param_ty, true, &mut |resource| Ok(resource.try_into_resource_dynamic(&mut store)?.rep()))?;
        object.insert(param.to_owned(), value);
    }
    hide(name, params, &mut object);
    let this = object.get("self").and_then(Value::as_u64);
    let exit = match name {
        "wasi:cli/exit#exit" => Some(u64::from(object["status"].get("err").is_some())),
        "wasi:cli/exit#exit-with-code" => object["status-code"].as_u64(),
        _ => None,
    };
    let result = store.data_mut().take(name, &Value::Object(object))?;
    if let Some(code) = exit {
        return Err(wasmtime::Error::new(Exit(code)));
    }
    if let Some(trap) = result.get("trap") {
        bail!("recorded trap: {trap}");
    }
    let verifier = store.data_mut();
    match name {
        "wasi:cli/stdout#get-stdout" => verifier.stdout.extend(result["ok"].as_u64()),
        "wasi:cli/stderr#get-stderr" => verifier.stderr.extend(result["ok"].as_u64()),
        "wasi:io/streams#[method]output-stream.write"
        | "wasi:io/streams#[method]output-stream.blocking-write-and-flush"
            if result.get("ok").is_some() =>
        {
            let this = this.expect("a method has a self");
            let Some(Val::List(items)) = params.get(1) else { bail!("a write has contents") };
            if verifier.stdout.contains(&this) {
                verifier.written.0.extend(bytes_of(items));
            } else if verifier.stderr.contains(&this) {
                verifier.written.1.extend(bytes_of(items));
            }
        }
        _ => {}
    }
    let (trace, known) = (verifier.trace.clone(), verifier.drops.len());
    for (slot, ty) in results.iter_mut().zip(ty.results()) {
        // What a function returns is in `ok`, unless it is itself a result.
        let value = if matches!(ty, Type::Result(_)) { &result } else { &result["ok"] };
        *slot = decode(value, &ty, &trace, &mut |rep, ty| {
            ResourceDynamic::new_own(rep, type_id(ty, known)?).try_into_resource_any(&mut store)
        })?;
    }
    Ok(())
}

/// `wasi:io/poll@0.2.6` -> `wasi:io/poll`.
fn unversioned(interface: &str) -> &str {
    interface.split('@').next().unwrap_or(interface)
}

/// Defines what the component imports, and nothing else.
fn linker(engine: &Engine, component: &Component) -> Result<(Linker<Verifier>, Vec<String>)> {
    let mut linker: Linker<Verifier> = Linker::new(engine);
    let mut drops: Vec<String> = Vec::new();
    let mut seen: Vec<ResourceType> = Vec::new();
    for (interface, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(items) = item.ty else { continue };
        let mut instance = linker.instance(interface)?;
        for (name, item) in items.exports(engine) {
            match item.ty {
                ComponentItem::Resource(ty) => {
                    let id = seen.iter().position(|known| *known == ty).unwrap_or_else(|| {
                        seen.push(ty);
                        drops.push(format!("{}#[resource-drop]{name}", unversioned(interface)));
                        seen.len() - 1
                    });
                    instance.resource(name, ResourceType::host_dynamic(id as u32), move |mut store, rep| {
                        let name = store.data().drops[id].clone();
                        let verifier = store.data_mut();
                        verifier.stdout.retain(|handle| *handle != u64::from(rep));
                        verifier.stderr.retain(|handle| *handle != u64::from(rep));
                        verifier.take(&name, &json!({"self": rep})).map(|_| ())
                    })?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let name_of_call: Arc<str> = format!("{}#{name}", unversioned(interface)).into();
                    instance.func_new(name, move |store, ty, params, results| {
                        host_call(store, &name_of_call, &ty, params, results)
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok((linker, drops))
}

// ---- steps ----

pub(crate) fn engine() -> Engine {
    let mut config = Config::new();
    config.consume_fuel(true).cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    config.max_wasm_stack(1 << 20).async_stack_size(2 << 20);
    Engine::new(&config).expect("an engine")
}

/// Runs a recorded step from its trace and compares every call, the outcome and the fuel.
pub(crate) fn verify(engine: &Engine, bytes: &[u8], trace: &TraceFiles, step: &TracedStep) -> Result<()> {
    assert_eq!(step.begin["skill"], sha256(bytes), "the component is the recorded one");
    verify_compiled(&Component::new(engine, bytes)?, trace, step)
}

/// The same with a component that was compiled before.
pub(crate) fn verify_compiled(component: &Component, trace: &TraceFiles, step: &TracedStep) -> Result<()> {
    let engine = component.engine();
    let (linker, drops) = linker(engine, component)?;
    let verifier = Verifier {
        trace: trace.clone(),
        calls: step.calls.clone().into(),
        drops,
        stdout: Vec::new(),
        stderr: Vec::new(),
        written: Default::default(),
    };
    let mut store = Store::new(engine, verifier);
    let fuel = step.begin["limits"]["fuel"].as_u64().expect("a limit");
    store.set_fuel(fuel)?;
    let instance = linker.instantiate(&mut store, component)?;
    let tool = step.begin["tool"].as_str().expect("a tool");
    let function = tool.split_once('.').expect("skill.function").1;
    let exported = exported(&mut store, component, &instance, function);
    let outcome = match exported {
        Some(function) => {
            let ty = function.ty(&store);
            let input = &step.begin["input"];
            let params = ty.params().map(|(name, ty)| {
                let value = input.get(name).unwrap_or(&Value::Null);
                decode(value, &ty, trace, &mut |_, _| bail!("a handle in an input"))
            });
            let params = params.collect::<Result<Vec<Val>>>()?;
            let mut results = vec![Val::Bool(false); ty.results().len()];
            function.call(&mut store, &params, &mut results)?;
            outcome(&results, &ty)?
        }
        None => command(&mut store, component, &instance)?,
    };
    let used = fuel - store.get_fuel()?;
    assert!(store.data().calls.is_empty(), "calls are left over: {:#?}", store.data().calls);
    assert_eq!(step.end["outcome"], outcome);
    assert_eq!(step.end["fuel"], used, "fuel of {tool}");
    assert_eq!(step.end["calls"], step.calls.len());
    Ok(())
}

/// A tool's function, at the root or in the one exported interface that has it; `None` for a command-line program.
fn exported(
    store: &mut Store<Verifier>,
    component: &Component,
    instance: &wasmtime::component::Instance,
    function: &str,
) -> Option<wasmtime::component::Func> {
    if let Some(found) = instance.get_func(&mut *store, function) {
        return Some(found);
    }
    let exports = component.component_type();
    let mut interfaces = exports.exports(store.engine()).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    interfaces.retain(|name| !name.starts_with("wasi:"));
    interfaces.iter().find_map(|interface| {
        let interface = instance.get_export_index(&mut *store, None, interface)?;
        let function = instance.get_export_index(&mut *store, Some(&interface), function)?;
        instance.get_func(&mut *store, function)
    })
}

fn outcome(results: &[Val], ty: &ComponentFunc) -> Result<Value> {
    let mut no_handle = |_: &ResourceAny| -> Result<u32> { bail!("a handle in an output") };
    let (Some(value), Some(ty)) = (results.first(), ty.results().next()) else { return Ok(json!({"completed": null})) };
    let value = encode(value, &ty, false, &mut no_handle)?;
    Ok(match ty {
        Type::Result(_) => match value.get("err") {
            Some(error) => json!({"failed": error}),
            None => json!({"completed": value["ok"]}),
        },
        _ => json!({"completed": value}),
    })
}

fn command(
    store: &mut Store<Verifier>,
    component: &Component,
    instance: &wasmtime::component::Instance,
) -> Result<Value> {
    let run = component
        .component_type()
        .exports(store.engine())
        .map(|(name, _)| name.to_owned())
        .find(|name| name.starts_with("wasi:cli/run@"));
    let run = run.ok_or_else(|| format_err!("no such export"))?;
    let interface = instance.get_export_index(&mut *store, None, &run).ok_or_else(|| format_err!("no {run}"))?;
    let function =
        instance.get_export_index(&mut *store, Some(&interface), "run").ok_or_else(|| format_err!("no run"))?;
    let function = instance.get_func(&mut *store, function).ok_or_else(|| format_err!("run is no function"))?;
    let mut results = [Val::Bool(false)];
    let code = match function.call(&mut *store, &[], &mut results) {
        Ok(()) => u64::from(matches!(results, [Val::Result(Err(_))])),
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(exit) => exit.0,
            None => return Err(error),
        },
    };
    let (stdout, stderr) = &store.data().written;
    let bytes = std::str::from_utf8(stdout).is_err().then(|| BASE64.encode(stdout));
    let output = json!({
        "exit_code": code,
        "stdout": String::from_utf8_lossy(stdout),
        "stderr": String::from_utf8_lossy(stderr),
        "stdout_bytes": bytes,
    });
    Ok(if code == 0 { json!({"completed": output}) } else { json!({"failed": output}) })
}

/// Verifies every step of a run against the components that the run kept.
fn verify_run(run: &Run) -> usize {
    let engine = engine();
    let steps = run.trace.steps();
    for step in &steps {
        let digest = step.begin["skill"].as_str().expect("a digest");
        let skill = step.begin["tool"].as_str().and_then(|tool| tool.split('.').next()).expect("a tool");
        let bytes = repo::component(skill);
        assert_eq!(sha256(&bytes), digest);
        verify(&engine, &bytes, &run.trace, step).unwrap_or_else(|error| panic!("{}: {error:?}", step.begin["tool"]));
    }
    steps.len()
}

const WORKSPACE: &str = host_tests::plan::READ_WRITE;

#[test]
fn a_run_of_files_and_csv_is_what_its_trace_says() {
    let host = TestHost::new(&policy("", WORKSPACE));
    let rows: String = (0..400).map(|row| format!("{row},name {row},{}.5\n", row * 3)).collect();
    host.write("in/sales.csv", format!("id,name,amount\n{rows}"));
    host.write("in/b.bin", [0xff_u8; 3000]);
    let run = host.run(&plan([
        step("list", "files.list", json!({"path": "/workspace/in"})),
        step("read", "files.read-text", json!({"path": "/workspace/in/sales.csv"})),
        step("bytes", "files.read-bytes", json!({"path": "/workspace/in/b.bin"})),
        step("sum", "csv.summarise", json!({"text": "{{steps.read}}", "value": "amount"})),
        step("json", "csv.to-json", json!({"text": "{{steps.read}}", "typed": true})),
        step("write", "files.write-text", json!({"path": "/workspace/out/a.json", "text": "{{steps.json}}"})).clone(),
        step("hash", "files.hash", json!({"path": "/workspace/in/sales.csv"})),
        step("info", "files.stat", json!({"path": "/workspace/in"})),
        step("find", "files.find", json!({"folder": "/workspace", "pattern": "**/*.csv"})),
    ]));
    // `write` fails or not by whether it makes parents: either way the trace must say what happened.
    assert!(verify_run(&run) >= 6, "{:#?}", run.report);
}

#[test]
fn each_step_of_a_probe_is_what_its_trace_says() {
    let host = TestHost::probe(&policy("", &format!("{WORKSPACE}\nenv = {{ LANG = \"C\" }}")));
    host.write("a.txt", "alpha\n".repeat(2000));
    let steps: [&[&str]; 14] = [
        &["args", "one", "grüße"],
        &["env"],
        &["clock"],
        &["sleep", "3600000"],
        &["random", "64"],
        &["list", "/workspace"],
        &["cat", "/workspace/a.txt"],
        &["write", "/workspace/b.txt", "text"],
        &["append", "/workspace/b.txt", "more"],
        &["stat", "/workspace/b.txt"],
        &["rename", "/workspace/b.txt", "/workspace/c.txt"],
        &["io-error", "/workspace/none"],
        &["err", "10000"],
        &["out", "10000"],
    ];
    let steps = steps.iter().enumerate().map(|(at, args)| step(&format!("s{at}"), "probe.run", json!({"args": args})));
    let run = host.run(&plan(steps)).completed();
    assert_eq!(verify_run(&run), 14);
}

#[test]
fn a_failed_step_is_what_its_trace_says() {
    let host = TestHost::probe(&policy("", WORKSPACE));
    for (tool, input) in [
        ("files.read-text", json!({"path": "/workspace/none"})),
        ("probe.run", json!({"args": ["cat", "/workspace/none"]})),
        ("csv.parse", json!({"text": "a,b\n1"})),
    ] {
        let run = host.call(tool, input);
        assert_eq!(run.outcome().name(), "failed", "{tool}");
        assert_eq!(verify_run(&run), 1);
    }
}

#[test]
fn the_verifier_sees_a_trace_that_is_not_true() {
    let host = TestHost::probe(&policy("", WORKSPACE));
    let mut run = host.call("probe.run", json!({"args": ["write", "/workspace/b.txt", "text"]})).completed();
    let engine = engine();
    let step = run.trace.steps().remove(0);
    let bytes = repo::component("probe");
    // One call too few, one parameter changed, one result changed: none goes through.
    for change in 0..3 {
        let mut step = step.clone();
        let open =
            step.calls.iter().position(|call| call["name"].as_str().is_some_and(|name| name.ends_with("open-at")));
        let open = open.expect("a write opens");
        match change {
            0 => drop(step.calls.remove(open)),
            1 => step.calls[open]["params"]["path"] = json!("other.txt"),
            _ => step.calls[open]["result"] = json!({"err": "access"}),
        }
        run.trace.events.clear();
        let trace = run.trace.clone();
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| verify(&engine, &bytes, &trace, &step)));
        assert!(!matches!(failed, Ok(Ok(()))), "change {change} was not seen");
    }
}
