use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::id::Digest;
use crate::limits;

const HEAD: &str =
    "schema = \"skillhost.bundle/1\"\nname = \"demo\"\nversion = \"1.0.0\"\npackage = \"skillhost:skill@0.1.0\"\n";

/// A folder with these files.
pub(super) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// What is wrong with a manifest beside two skills, a plan and a schema.
fn problems(rest: &str) -> Vec<String> {
    match open(rest).1 {
        Ok(bundle) => panic!("{bundle:?}"),
        Err(BundleError::Manifest { problems }) => problems.iter().map(ToString::to_string).collect(),
        Err(error) => panic!("{error}"),
    }
}

fn open(rest: &str) -> (TempDir, Result<Bundle, BundleError>) {
    open_text(&format!("{HEAD}{rest}"))
}

fn open_text(manifest: &str) -> (TempDir, Result<Bundle, BundleError>) {
    let folder = folder(&[
        (MANIFEST, manifest.as_bytes()),
        ("skills/tab.wasm", b"csv"),
        ("skills/word.wasm", b"text"),
        ("plans/p.json", b"{}"),
        ("schemas/out.json", b"{\"type\": \"object\"}"),
        ("schemas/bad.json", b"{\"type\": 1}"),
    ]);
    let opened = Bundle::open(folder.path());
    (folder, opened)
}

#[test]
fn every_key_is_read() {
    let text = "description = \"d\"\npolicy = \"plans/p.json\"\nhandler = \"word.main\"\n\
        [[export]]\nkind = \"tool\"\nname = \"join\"\ntool = \"tab.join\"\ndescription = \"j\"\nversion = \"2\"\ntags = [\"a\", \"b\"]\n\
        output_schema = \"schemas/out.json\"\nallowed_actions = [\"invoke\"]\ndomain = \"tables\"\ncapabilities = [\"write\", \"read\"]\n\
        operation = \"write\"\nrisk = \"critical\"\nreversible = false\npermissions = [\"p\"]\nexamples = [\"e\"]\n\
        file_extensions = [\".csv\"]\ndeprecated = true\n\
        [[export]]\nkind = \"flow\"\nname = \"join\"\nplan = \"plans/p.json\"\ncompensation = \"join\"\n\
        [[export]]\nkind = \"http\"\nname = \"orders\"\nroute = \"POST /orders\"\ntool = \"tab.join\"\n\
        [[export]]\nkind = \"mcp\"\nname = \"server\"\ntools = [\"join\"]\n\
        [[export]]\nkind = \"agent\"\nname = \"a\"\ntool = \"word.x.y\"\n\
        [[export]]\nkind = \"router\"\nname = \"r\"\nplan = \"plans/p.json\"\n";
    let (folder, bundle) = open(text);
    let bundle = bundle.unwrap();
    assert_eq!((bundle.name.as_str(), bundle.version.as_str()), ("demo", "1.0.0"));
    assert_eq!(bundle.policy, Some(folder.path().join("plans/p.json")));
    assert_eq!(bundle.handler.as_deref(), Some("word.main"));
    assert_eq!(bundle.skills.keys().map(SkillName::as_str).collect::<Vec<_>>(), ["tab", "word"]);
    let tool = bundle.export(Kind::Tool, "join").unwrap();
    assert_eq!(tool.target, Target::Tool("tab.join".parse().unwrap()));
    let json = tool.to_json();
    for (key, value) in [
        ("kind", "\"tool\""),
        ("tags", "[\"a\",\"b\"]"),
        ("output_schema", "{\"type\":\"object\"}"),
        ("capabilities", "[\"read\",\"write\"]"),
        ("operation", "\"write\""),
        ("risk", "\"critical\""),
        ("reversible", "false"),
        ("file_extensions", "[\".csv\"]"),
        ("deprecated", "true"),
    ] {
        assert_eq!(json[key].to_string(), value, "{key}");
    }
    assert_eq!(bundle.export(Kind::Flow, "join").unwrap().target, Target::Plan(folder.path().join("plans/p.json")));
    let http = bundle.export(Kind::Http, "orders").unwrap();
    assert_eq!(http.route.as_ref().unwrap().to_string(), "POST /orders");
    assert_eq!(http.to_json()["path"], "/orders");
    assert_eq!(bundle.export(Kind::Mcp, "server").unwrap().tools, ["join"]);
    assert_eq!(bundle.exports_of(Kind::Agent).count(), 1);
    assert_eq!(bundle.export(Kind::Router, "x"), None);
}

#[test]
fn the_example_of_the_documentation_is_a_manifest() {
    let docs = include_str!("../../../docs/bundle-format.md");
    let example = docs.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let Some(SkillBytes::Memory { component, .. }) = builtin::find("text") else { panic!("it is built in") };
    let example = example.replace("…", &Digest::of(&component).to_string());
    let folder = folder(&[
        (MANIFEST, example.as_bytes()),
        ("skills/text.wasm", &component),
        ("plans/report.json", b"{}"),
        ("schemas/matches.json", b"{}"),
        ("policy.toml", b""),
    ]);
    assert_eq!(Bundle::open(folder.path()).unwrap().exports.len(), 4);
}

#[test]
fn all_mistakes_are_reported_with_their_lines() {
    let text = "autor = \"x\"\npolicy = \"../p.toml\"\nhandler = \"tba.x\"\n\
        [[export]]\nkind = \"tol\"\nname = \"a\"\n\
        [[export]]\nkind = \"tool\"\nname = \"a b\"\ntool = \"tab\"\n\
        [[export]]\nkind = \"tool\"\nname = \"b\"\ntool = \"tab.b\"\nroute = \"GET /\"\n\
        [[export]]\nkind = \"http\"\nname = \"c\"\ntool = \"tab.b\"\n\
        [[export]]\nkind = \"http\"\nname = \"d\"\ntool = \"tab.b\"\nroute = \"get d\"\n\
        [[export]]\nkind = \"flow\"\nname = \"e\"\ntool = \"tab.b\"\n\
        [[export]]\nkind = \"agent\"\nname = \"f\"\ntool = \"tab.b\"\nplan = \"plans/p.json\"\n\
        [[export]]\nkind = \"mcp\"\nname = \"g\"\n\
        [[export]]\nkind = \"tool\"\nname = \"h\"\ntool = \"tab.b\"\noutput_schema = \"schemas/bad.json\"\n";
    let found = problems(text);
    let expected = [
        "/autor (line 5, column 1): there is no key `autor`",
        "/policy (line 6, column 10): the bundle has no file `../p.toml`",
        "/handler (line 7, column 11): the bundle has no skill `tba`",
        "/export/0/kind (line 9, column 8): `tol` is no value of `kind`",
        "/export/1/name (line 13, column 8): `a b` is not a name",
        "/export/2/route (line 19, column 9): an export of the kind `tool` has no `route`",
        "/export/3 (line 20, column 1): the key `route` is missing",
        "/export/4/route (line 28, column 9): `get d` is no route",
        "/export/5 (line 29, column 1): the key `plan` is missing",
        "/export/5/tool (line 32, column 8): an export of the kind `flow` has no `tool`",
        "/export/6 (line 33, column 1): either `tool` or `plan` stands behind an export",
        "/export/7 (line 38, column 1): the key `tools` is missing",
    ];
    for line in expected {
        assert!(found.iter().any(|problem| problem == line), "{line}\nis not in\n{}", found.join("\n"));
    }
    assert!(found.iter().any(|problem| problem.contains("it is not a JSON Schema")), "{found:#?}");
}

#[test]
fn names_and_routes_are_exported_once() {
    let export = |kind: &str, name: &str, rest: &str| {
        format!("[[export]]\nkind = \"{kind}\"\nname = \"{name}\"\ntool = \"tab.b\"\n{rest}\n")
    };
    let twice = export("tool", "a", "") + &export("agent", "a", "") + &export("tool", "a", "");
    assert_eq!(problems(&twice), ["/export/2 (line 15, column 1): the tool `a` is exported twice"]);
    let route = "route = \"GET /a\"";
    let routes = export("http", "a", route) + &export("http", "b", route);
    assert_eq!(problems(&routes), ["/export/1 (line 10, column 1): `GET /a` is answered twice: by `a` and by `b`"]);
    let servers = "[[export]]\nkind = \"mcp\"\nname = \"s\"\ntools = [\"nothing\"]\n";
    assert!(problems(servers)[0].ends_with("the mcp `s` names the tool `nothing`, which is no export"));
}

#[test]
fn the_risk_follows_from_what_is_done() {
    let export = |claims: &str| format!("[[export]]\nkind = \"tool\"\nname = \"a\"\ntool = \"tab.b\"\n{claims}\n");
    for (claims, rules) in [
        ("risk = \"medium\"\nreversible = false\ncompensation = \"a\"", vec!["rule 1"]),
        ("risk = \"low\"\noperation = \"delete\"", vec!["rule 2"]),
        ("risk = \"high\"\nreversible = false", vec!["rule 3"]),
        ("risk = \"low\"\noperation = \"delete\"\nreversible = false", vec!["rule 1", "rule 2", "rule 3"]),
    ] {
        let found = problems(&export(claims));
        assert_eq!(found.len(), rules.len(), "{claims}: {found:?}");
        assert!(found.iter().zip(rules).all(|(problem, rule)| problem.contains(rule)), "{found:?}");
    }
    for claims in [
        "risk = \"critical\"\nreversible = false\noperation = \"delete\"",
        "risk = \"high\"\nreversible = false\ncompensation = \"a\"",
        "risk = \"low\"\noperation = \"write\"\nreversible = true",
        "reversible = false",
    ] {
        open(&export(claims)).1.unwrap();
    }
}

#[test]
fn a_bundle_for_another_host_is_refused_with_both_versions() {
    let of = |package: &str| open_text(&HEAD.replace("skillhost:skill@0.1.0", package)).1;
    assert!(of("skillhost:skill@0.1.9").is_ok());
    for package in ["skillhost:skill@0.2.0", "skillhost:skill@1.1.0"] {
        let error = of(package).unwrap_err();
        assert_eq!(error.code(), "bundle-manifest");
        let message = format!("the bundle was built for `{package}`; this host has `skillhost:skill@0.1.0`");
        assert!(error.to_string().contains(&message), "{error}");
    }
    for package in ["skillhost:skill", "other:skill@0.1.0", "skillhost:skill@0.1", "skillhost:skill@0.x.1"] {
        assert!(of(package).is_err(), "{package}");
    }
}

#[test]
fn only_the_components_that_are_required_may_be_there() {
    let (csv, text, other) = (Digest::of(b"csv"), Digest::of(b"text"), Digest::of(b"other"));
    open(&format!("[requires]\ntab = \"{csv}\"\nword = \"{text}\"\n")).1.unwrap();
    let unpinned = problems(&format!("[requires]\ntab = \"{csv}\"\n"));
    assert_eq!(unpinned, ["/requires (line 5, column 1): the component `word` is not among those that are required"]);
    let other = problems(&format!("[requires]\ntab = \"{csv}\"\nword = \"{other}\"\n"));
    let wrong = format!(
        "/requires/word (line 7, column 8): `skills/word.wasm` is not what is required: it has the sha256 {text}"
    );
    assert_eq!(other, [wrong]);
    assert!(
        problems(&format!("[requires]\ntab = \"{csv}\"\nword = \"{text}\"\nx = \"{text}\"\n"))[0]
            .contains("no skill `x`")
    );
    let bad = problems("[requires]\ntab = \"1\"\n");
    assert!(bad.iter().any(|problem| problem.contains("is not a sha256 digest")), "{bad:?}");
}

#[test]
fn lists_and_exports_are_bounded() {
    let many = "\"a\", ".repeat(limits::BUNDLE_LIST_MAX + 1);
    let export = |rest: &str| format!("[[export]]\nkind = \"agent\"\nname = \"a\"\ntool = \"tab.b\"\n{rest}");
    let found = problems(&export(&format!("tags = [{many}]\n")));
    assert!(found[0].ends_with("`tags` has 101 entries; at most 100 are read"), "{found:?}");
    let exports: String =
        (0..=limits::BUNDLE_EXPORTS_MAX).map(|index| export("").replace("\"a\"", &format!("\"a{index}\""))).collect();
    assert!(problems(&exports)[0].ends_with("1001 exports; at most 1000 are read"));
}

#[test]
fn what_is_no_bundle_is_told() {
    let empty = folder(&[("x", b"")]);
    let error = Bundle::open(empty.path()).unwrap_err();
    assert_eq!(error.code(), "bundle-not-found");
    assert!(error.hint().contains("--bundle"));
    assert_eq!(Bundle::open(empty.path().join("absent")).unwrap_err().code(), "bundle-not-found");
    let (_folder, opened) = open_text("schema = \"skillhost.bundle/2\"\n");
    let error = opened.unwrap_err();
    assert!(error.problems().iter().any(|problem| problem.code == "wrong-schema"), "{error}");
    let taken = folder(&[(MANIFEST, HEAD.as_bytes()), ("skills/sys.wasm", b"")]);
    assert!(Bundle::open(taken.path()).unwrap_err().to_string().contains("no skill can be called `sys`"));
    let misnamed = folder(&[(MANIFEST, HEAD.as_bytes()), ("skills/1 x.wasm", b"")]);
    assert!(Bundle::open(misnamed.path()).unwrap_err().to_string().contains("its name is no skill's name"));
}

#[test]
fn the_root_is_what_was_said_last() {
    let from = |flag: Option<&str>, env| Bundle::root_from(flag.map(Path::new), env, Path::new("/cwd"));
    assert_eq!(from(Some("/flag"), Some("/env")), PathBuf::from("/flag"));
    assert_eq!(from(Some("flag"), None), PathBuf::from("/cwd/flag"));
    assert_eq!(from(None, Some("/env")), PathBuf::from("/env"));
    assert_eq!(from(None, Some("")), PathBuf::from("/cwd"));
    assert_eq!(from(None, None), PathBuf::from("/cwd"));
}

#[test]
fn a_change_is_seen_and_a_touch_is_none() {
    let (folder, bundle) = open("");
    let bundle = bundle.unwrap();
    bundle.check_unchanged().unwrap();
    let plan = folder.path().join("plans/p.json");
    let touched = fs::File::options().write(true).open(&plan).unwrap();
    touched.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(!bundle.snapshot.is_untouched(folder.path()).unwrap());
    bundle.check_unchanged().unwrap();
    fs::write(&plan, "[]").unwrap();
    let error = bundle.check_unchanged().unwrap_err();
    assert_eq!(error.code(), "bundle-changed");
    assert!(error.to_string().contains(&bundle.id.to_string()), "{error}");
    fs::write(&plan, "{}").unwrap();
    bundle.check_unchanged().unwrap();
    fs::write(folder.path().join("more"), "").unwrap();
    assert_eq!(bundle.check_unchanged().unwrap_err().code(), "bundle-changed");
}
