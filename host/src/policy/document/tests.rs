use super::*;
use crate::policy::{Decision, decide};
use std::path::{Path, PathBuf};

const HEAD: &str = "schema = \"skillhost.policy/1\"\n";
const GRANT: &str = "[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\n";

fn parse(rest: &str) -> Policy {
    Policy::parse(&format!("{HEAD}{rest}")).unwrap()
}

/// The messages with their places, and the hints.
fn problems(rest: &str) -> Vec<(String, Option<String>)> {
    let problems = Policy::parse(&format!("{HEAD}{rest}")).unwrap_err();
    problems.into_iter().map(|problem| (problem.to_string(), problem.hint)).collect()
}

fn only(rest: &str) -> (String, String) {
    let mut problems = problems(rest);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (message, hint) = problems.remove(0);
    (message, hint.unwrap_or_default())
}

#[test]
fn every_key_is_read() {
    let policy = parse(
        "[limits]\nfuel = 9_007_199_254_740_991\ndeadline_ms = 1\nmemory_bytes = 0x10000\n\
         [[grant]]\nskills = [\"files\", \"x-*\"]\ntools = [\"read-*\", \"api.get\", \"api.*\"]\n\
         filesystem = [{ host = \"{workspace}/in\", guest = \"/in\", access = \"read-only\" }, \
                       { host = \"/srv\", guest = \"/out\", access = \"read-write\" }]\n\
         clocks = \"real\"\nrandom = \"real\"\nenv = { LANG = \"C.UTF-8\", EMPTY = \"\" }\nlimits = { fuel = 7 }\n",
    );
    assert_eq!(
        (policy.limits.fuel, policy.limits.deadline_ms, policy.limits.memory_bytes),
        (limits::FUEL_MAX, 1, 65536)
    );
    assert_eq!(policy.limits.host_calls, limits::HOST_CALLS_DEFAULT);
    let [grant] = policy.grants.as_slice() else { panic!("{policy:?}") };
    assert_eq!(grant.skills, [Pattern::Exact("files".to_owned()), Pattern::Prefix("x-".to_owned())]);
    assert_eq!(grant.tools[1], Pattern::Exact("api.get".to_owned()));
    assert_eq!((grant.clocks, grant.random), (Clocks::Real, Random::Real));
    assert_eq!(grant.env.len(), 2);
    assert_eq!((grant.limits.fuel, grant.limits.deadline_ms), (7, 1));
    assert_eq!(grant.filesystem[0].resolve_host(Path::new("/w")), PathBuf::from("/w/in"));
    assert_eq!(grant.filesystem[1].resolve_host(Path::new("/w")), PathBuf::from("/srv"));
    assert!(policy.has_document() && !Policy::deny_all().has_document());

    let grant = &parse(GRANT).grants[0];
    assert_eq!((grant.clocks, grant.random, grant.limits), (Clocks::Virtual, Random::Seeded, StepLimits::DEFAULT));
    assert!(grant.filesystem.is_empty() && grant.env.is_empty());
}

#[test]
fn sockets_are_closed_or_not_there() {
    assert_eq!(parse(GRANT).grants[0].sockets, None);
    let closed = parse(&format!("{GRANT}sockets = \"closed\"\n")).grants.remove(0);
    assert_eq!(closed.sockets, Some(Sockets::Closed));
    for (value, said) in [("\"open\"", "`open` is no value of `sockets`"), ("true", "expected a string")] {
        let (message, hint) = only(&format!("{GRANT}sockets = {value}\n"));
        assert!(message.contains(said), "{message}");
        assert!(value == "true" || hint.contains("open sockets are not provided"), "{hint}");
    }
    // A grant without them is identified as it was before there were any.
    let plain = parse(GRANT).grants.remove(0);
    assert_eq!(plain.identity().get("sockets"), None);
    assert_eq!(closed.identity()["sockets"], "closed");
}

#[test]
fn a_policy_with_a_higher_ceiling_than_the_default_keeps_it() {
    let policy = parse(&format!("[limits]\ndeadline_ms = 86_400_000\n{GRANT}"));
    assert_eq!(policy.grants[0].limits.deadline_ms, limits::DEADLINE_MS_MAX);
}

#[test]
fn the_document_itself_is_checked() {
    let found = Policy::parse("").unwrap_err();
    assert_eq!(found[0].to_string(), "line 1, column 1: the key `schema` is missing");
    assert!(found[0].hint.as_deref().unwrap().contains("skillhost.policy/1"));
    assert_eq!(
        Policy::parse("schema = \"skillhost.policy/2\"").unwrap_err()[0].to_string(),
        "/schema (line 1, column 10): the schema `skillhost.policy/2` is not `skillhost.policy/1`"
    );
    assert_eq!(Policy::parse("schema = 1").unwrap_err()[0].message, "expected a string, found an integer");
    let syntax = Policy::parse("schema = \"a\nb\n[").unwrap_err();
    assert!(
        !syntax.is_empty() && syntax.iter().all(|problem| problem.code == "bad-toml" && problem.position.is_some())
    );
    assert_eq!(problems("[limits]\nfuel = 1\nfuel = 2\n")[0].0, "line 4, column 1: duplicate key");
    let large = " ".repeat(usize::try_from(limits::DOCUMENT_BYTES_MAX).unwrap() + 1);
    assert_eq!(Policy::parse(&large).unwrap_err()[0].code, "document-too-large");
}

#[test]
fn unknown_keys_are_refused() {
    let (message, hint) = only("[limit]\n");
    assert_eq!(message, "/limit (line 2, column 2): there is no key `limit`");
    assert_eq!(hint, "did you mean `limits`?");
    assert!(only(&format!("{GRANT}clock = \"real\"\n")).1.contains("`clocks`"));
}

#[test]
fn values_out_of_range_are_refused() {
    for (text, message) in [
        ("[limits]\nfuel = 0\n", "/limits/fuel (line 3, column 8): `fuel` must be from 1 to 9007199254740991"),
        ("[limits]\nfuel = -1\n", "/limits/fuel (line 3, column 8): `fuel` must be from 1 to 9007199254740991"),
        (
            "[limits]\ndeadline_ms = 86400001\n",
            "/limits/deadline_ms (line 3, column 15): `deadline_ms` must be from 1 to 86400000",
        ),
        (
            "[limits]\nmemory_bytes = 1e6\n",
            "/limits/memory_bytes (line 3, column 16): expected an integer, found a float",
        ),
        (
            "[limits]\nfuel = 99999999999999999999\n",
            "/limits/fuel (line 3, column 8): `fuel` must be from 1 to 9007199254740991",
        ),
    ] {
        assert_eq!(only(text).0, message);
    }
    let (message, hint) = only(&format!("{GRANT}limits = {{ fuel = 3_000_000_000 }}\n"));
    assert_eq!(
        message,
        "/grant/0/limits/fuel (line 5, column 19): `fuel` of a grant is above the policy's own, which is 2000000000"
    );
    assert!(hint.starts_with("raise `fuel` in `[limits]`"));
    assert!(only(&format!("{GRANT}clocks = \"reel\"\n")).1.contains("`real`"));
}

#[test]
fn patterns_have_a_form() {
    for good in ["*", "a*", "a-b", "A1", "x_y*"] {
        parse(&format!("[[grant]]\nskills = [\"{good}\"]\ntools = [\"t\"]\n"));
    }
    for good in ["*", "iface.*", "iface.re*", "iface.read", "re*"] {
        parse(&format!("[[grant]]\nskills = [\"s\"]\ntools = [\"{good}\"]\n"));
    }
    for bad in ["", "*a", "a*b", "**", "a.b", "1a", "a b", "é", "a.*"] {
        let (message, hint) = only(&format!("[[grant]]\nskills = [\"{bad}\"]\ntools = [\"t\"]\n"));
        assert!(message.contains("is no pattern for `skills`") && !hint.is_empty(), "{message}");
    }
    for bad in ["a.b.c", ".a", "a.", "a.*.b", "a..b", "a.1*"] {
        assert!(
            only(&format!("[[grant]]\nskills = [\"s\"]\ntools = [\"{bad}\"]\n")).0.contains("is no pattern"),
            "{bad}"
        );
    }
    assert!(only("[[grant]]\nskills = []\ntools = [\"t\"]\n").0.contains("names nothing"));
    assert!(only("[[grant]]\nskills = [\"a\"]\n").1.contains("tools = [\"*\"]"));
    assert!(
        only("[[grant]]\nskills = \"a\"\ntools = [\"*\"]\n").0.ends_with("expected an array of names, found a string")
    );
    assert!(only("[grant]\nskills = [\"a\"]\ntools = [\"*\"]\n").0.contains("each written as `[[grant]]`"));
}

fn folders(list: &[(&str, &str)]) -> String {
    let items = list.iter().map(|(host, guest)| format!("{{host={host:?},guest={guest:?},access=\"read-only\"}}"));
    format!("{GRANT}filesystem = [{}]\n", items.collect::<Vec<_>>().join(", "))
}

#[test]
fn paths_have_a_form() {
    for good in ["/", "/a/b", "{workspace}", "{workspace}/", "{workspace}/a b", "/a/..b"] {
        parse(&folders(&[(good, "/g")]));
    }
    for (bad, part) in [
        ("", "is relative"),
        ("a", "is relative"),
        ("./a", "is relative"),
        ("{workspace}a", "must go on with `/`"),
        ("{workspace}/../b", "has `..`"),
        ("/a/..", "has `..`"),
        ("{home}/a", "no known placeholder"),
        ("/a/{workspace}", "has braces"),
        ("/a\0", "holds no NUL"),
    ] {
        let found = problems(&folders(&[(bad, "/g")]).replace("\\0", "\\u0000"));
        assert!(found[0].0.contains(part), "{found:?}");
    }
    for good in ["/", "/g", "/g/h", "/..g", ".", "g", "g.dir/h", "..g"] {
        parse(&folders(&[("/h", good)]));
    }
    for (bad, part) in [
        ("", "not in its simplest form"),
        ("..", "not in its simplest form"),
        ("./g", "not in its simplest form"),
        ("../g", "not in its simplest form"),
        ("g/", "not in its simplest form"),
        ("{workspace}", "starts with a placeholder"),
        ("/.", "not in its simplest form"),
        ("/g/", "not in its simplest form"),
        ("//g", "not in its simplest form"),
        ("/g/./h", "not in its simplest form"),
        ("/g/../h", "not in its simplest form"),
    ] {
        assert!(only(&folders(&[("/h", bad)])).0.contains(part), "{bad}");
    }
    let (message, hint) = only(&format!("{GRANT}filesystem = [{{ host = \"/h\", guest = \"/g\" }}]\n"));
    assert!(message.contains("the folder has no `access`") && hint.contains("read-only"));
}

#[test]
fn guest_paths_do_not_overlap() {
    parse(&folders(&[("/a", "/g"), ("/b", "/gg"), ("/b", "/h/g")]));
    assert!(only(&folders(&[("/a", "/g"), ("/b", "/g")])).0.contains("the guest path `/g` is given twice"));
    assert!(only(&folders(&[("/a", "/g"), ("/b", "/g/h")])).0.contains("`/g/h` and `/g` lie inside each other"));
    assert!(only(&folders(&[("/a", "/g/h"), ("/b", "/g")])).0.contains("lie inside each other"));
    assert!(only(&folders(&[("/a", "/"), ("/b", "/g")])).0.contains("lie inside each other"));
    parse(&folders(&[("/a", "g"), ("/b", "gg"), ("/c", "/h")]));
    for (one, other) in [("g", "/g"), (".", "/"), (".", "/g"), (".", "g"), ("g/h", "/g")] {
        assert!(only(&folders(&[("/a", one), ("/b", other)])).0.contains("lie inside each other"), "{one} {other}");
    }
}

#[test]
fn environment_names_have_a_form() {
    for (bad, part) in [
        ("\"A=B\" = \"\"", "`A=B` is no name"),
        ("\"\" = \"\"", "`` is no name"),
        ("A = \"\\u0000\"", "the value of `A` holds a NUL"),
        ("A = 1", "expected a string, found an integer"),
    ] {
        assert!(only(&format!("{GRANT}env = {{ {bad} }}\n")).0.contains(part), "{bad}");
    }
}

#[test]
fn a_grant_that_never_applies_is_refused_with_both_indices() {
    let grant = |skills: &str, tools: &str| format!("[[grant]]\nskills = [{skills}]\ntools = [{tools}]\n");
    let (message, hint) = only(&format!("{}{}", grant("\"a\"", "\"*\""), grant("\"a\"", "\"read\"")));
    assert_eq!(message, "/grant/1 (line 5, column 1): grant 1 never applies: grant 0 names all its tools first");
    assert!(hint.contains("applies alone"));
    // Together two earlier ones can cover a third.
    let three = [grant("\"a\"", "\"*\""), grant("\"b\"", "\"r*\""), grant("\"b\", \"a\"", "\"read\"")].concat();
    assert!(only(&three).0.contains("grant 2 never applies: grant 0 and 1 name"));
    for reachable in [
        [grant("\"a\"", "\"read\""), grant("\"a\"", "\"*\"")],
        [grant("\"a*\"", "\"read\""), grant("\"a*\"", "\"re*\"")],
        [grant("\"a\"", "\"*\""), grant("\"a\", \"b\"", "\"*\"")],
    ] {
        parse(&reachable.concat());
    }
}

#[test]
fn all_mistakes_come_in_one_report_in_the_order_of_the_text() {
    let found =
        problems("[limits]\nfuel = 0\nfoo = 1\n[[grant]]\nskills = [\"?\"]\ntools = [\"*\"]\nclocks = 1\nenv = []\n");
    let places: Vec<&str> = found.iter().map(|(message, _)| message.split(':').next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "/limits/fuel (line 3, column 8)",
            "/limits/foo (line 4, column 1)",
            "/grant/0/skills/0 (line 6, column 11)",
            "/grant/0/clocks (line 8, column 10)",
            "/grant/0/env (line 9, column 7)",
        ]
    );
}

#[test]
fn the_example_of_the_documentation_is_a_policy() {
    let docs = include_str!("../../../../docs/policy-format.md");
    let example = docs.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(Policy::parse(example).unwrap().grants.len(), 2);
    // Every key of the table exists, and the limits say what the code says.
    for (key, limit) in StepLimits::DEFAULT.entries() {
        let grouped = |value: u64| {
            let digits = value.to_string();
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
            groups.join(" ")
        };
        assert!(docs.contains(&format!("| `{key}` | {} |", grouped(limit))), "{key} {limit}");
    }
    for (key, max) in StepLimits::MAX.entries().into_iter().skip(1) {
        let digits: String = docs
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
            .unwrap()
            .split('|')
            .nth(3)
            .unwrap()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        assert_eq!(digits, max.to_string(), "{key}");
    }
}

#[test]
fn too_many_grants_are_refused() {
    let many = "[[grant]]\n".repeat(limits::GRANTS_MAX + 1);
    assert!(only(&many).0.contains("there are 10001 grants; at most 10000 are read"));
}

#[test]
fn the_policies_that_come_with_the_host_say_what_their_names_say() {
    let access = |text: &str, tool: &str| {
        let policy = Policy::parse(text).unwrap();
        match decide(&policy, &tool.parse().unwrap()) {
            Decision::Allow { grant, .. } => {
                let folders: Vec<Access> = grant.filesystem.iter().map(|preopen| preopen.access).collect();
                assert_eq!((grant.clocks, grant.random, grant.env.len()), (Clocks::Virtual, Random::Seeded, 0));
                Some(folders)
            }
            Decision::Deny { .. } => None,
        }
    };
    let default = include_str!("../../../../policies/default.toml");
    let read_only = include_str!("../../../../policies/read-only.toml");
    let deny_all = include_str!("../../../../policies/deny-all.toml");
    assert_eq!(access(default, "files.write-text"), Some(vec![Access::ReadWrite]));
    assert_eq!(access(read_only, "files.write-text"), Some(vec![Access::ReadOnly]));
    for tool in ["text.upper", "json.get", "csv.summarise"] {
        assert_eq!(access(default, tool), Some(vec![]));
        assert_eq!(access(read_only, tool), Some(vec![]));
    }
    for tool in ["files.read-text", "text.upper", "other.run"] {
        assert_eq!(access(deny_all, tool), None);
    }
    assert_eq!(access(default, "other.run"), None);
}

const RULES: &str = "@id(\"all\") permit(principal, action, resource);\n";

#[test]
fn rules_and_roles_are_read_from_where_the_document_says() {
    let text = format!(
        "schema = \"skillhost.policy/1\"\nrules = \"rules/access.cedar\"\n[roles]\n\"agent:reporter\" = [\"analyst\", \"reader\"]\n\
         {GRANT}approval = \"required\"\n"
    );
    let mut asked = Vec::new();
    let policy = Policy::parse_with(&text, |name| {
        asked.push(name.to_owned());
        Ok(RULES.to_owned())
    });
    let policy = policy.unwrap();
    assert_eq!(asked, ["rules/access.cedar"]);
    assert_eq!(policy.rules.as_ref().unwrap().rules()[0].id, "all");
    assert_eq!(policy.roles[&"agent:reporter".parse().unwrap()], ["analyst", "reader"]);
    assert_eq!(policy.grants[0].approval, Some(Approval::Required));
    assert!(Policy::parse_with_rules(&text, RULES).is_ok());
}

#[test]
fn a_policy_and_its_rules_come_together_or_not_at_all() {
    let head = "schema = \"skillhost.policy/1\"\n";
    let named = format!("{head}rules = \"access.cedar\"\n");
    let missing = Policy::parse(&named).unwrap_err();
    assert_eq!((missing.len(), missing[0].code.as_str()), (1, "missing-rules"));
    assert_eq!(Policy::parse_with_rules(head, RULES).unwrap_err()[0].code, "unexpected-rules");
    let wrong =
        Policy::parse_with_rules(&named, &format!("{RULES}\npermit(principal, action, resource);")).unwrap_err();
    assert_eq!(wrong[0].to_string(), "/rules (line 3, column 1): in `access.cedar`: the rule has no `@id`");
}

#[test]
fn mistakes_about_rules_roles_and_approval_have_their_lines() {
    for (text, code, line) in [
        ("rules = \"../access.cedar\"\n", "bad-path", 2),
        ("rules = \"/access.cedar\"\n", "bad-path", 2),
        ("rules = \"a//b\"\n", "bad-path", 2),
        ("rules = \"\"\n", "bad-path", 2),
        ("rules = 1\n", "wrong-type", 2),
        ("[roles]\n\"agent:a\" = [\"r\"]\n", "roles-without-rules", 3),
        ("rules = \"r\"\n[roles]\n\"role:a\" = [\"r\"]\n", "bad-principal", 4),
        ("rules = \"r\"\n[roles]\n\"agent:a\" = [\"r s\"]\n", "bad-name", 4),
        ("rules = \"r\"\n[roles]\n\"agent:a\" = [\"r\", \"r\"]\n", "duplicate-role", 4),
        ("rules = \"r\"\n[roles]\n\"agent:a\" = \"r\"\n", "wrong-type", 4),
        ("[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\napproval = \"yes\"\n", "bad-value", 5),
    ] {
        let text = format!("schema = \"skillhost.policy/1\"\n{text}");
        let found = Policy::parse_with(&text, |_| Ok(RULES.to_owned())).unwrap_err();
        let line_of = found[0].position.map(|position| position.line);
        if code == "bad-value" {
            assert_eq!((found.len(), line_of), (1, Some(line)), "{text}\n{found:#?}");
        } else {
            let near = if code == "roles-without-rules" { line_of.is_some() } else { line_of == Some(line) };
            assert!(found.len() == 1 && found[0].code == code && near, "{text}\n{found:#?}");
        }
    }
    let roles: String = (0..=limits::ROLES_MAX).map(|index| format!("\"r{index}\",")).collect();
    let text = format!("schema = \"skillhost.policy/1\"\nrules = \"r\"\n[roles]\n\"agent:a\" = [{roles}]\n");
    assert_eq!(Policy::parse_with(&text, |_| Ok(RULES.to_owned())).unwrap_err()[0].code, "too-many-roles");
}

#[test]
fn what_may_be_called_is_read_with_its_places() {
    let read = |keys: &str| {
        let text = format!("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\n{keys}\n");
        Policy::parse(&text)
    };
    let calls = read("calls = [\"json.query\", \"text.*\", \"files.api.re*\"]").unwrap().grants[0].calls.clone();
    assert_eq!(calls.iter().map(ToString::to_string).collect::<Vec<_>>(), ["json.query", "text.*", "files.api.re*"]);
    assert!(calls[1].names(&"text.search".parse().unwrap()) && !calls[1].names(&"json.search".parse().unwrap()));
    assert!(calls[2].names(&"files.api.read".parse().unwrap()) && !calls[2].names(&"files.read".parse().unwrap()));
    assert!(read("").unwrap().grants[0].calls.is_empty());
    for wrong in ["*", "json", "js*.query", "*.query", "json.", "json..x", "json.a.b.c", ".x", "json.q?"] {
        let problems = read(&format!("calls = [\"b.x\", \"{wrong}\"]")).unwrap_err();
        let places: Vec<String> =
            problems.iter().map(|problem| format!("{} {}", problem.pointer, problem.code)).collect();
        assert_eq!(places, ["/grant/0/calls/1 bad-pattern"], "{wrong}");
        assert_eq!(problems[0].position.unwrap().line, 5);
    }
    assert_eq!(read("calls = [\"b.x\", \"b.x\"]").unwrap_err()[0].code, "duplicate-call");
    assert_eq!(read("calls = [\"sys.undo\"]").unwrap_err()[0].code, "host-tool");
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("\"b.x{at}\"")).collect();
        read(&format!("calls = [{}]", names.join(", ")))
    };
    assert!(many(limits::CALLS_MAX).is_ok());
    assert_eq!(many(limits::CALLS_MAX + 1).unwrap_err()[0].code, "too-many-calls");
}

#[test]
fn the_depth_of_calls_is_a_limit_of_the_policy_alone() {
    let read = |text: &str| Policy::parse(&format!("schema = \"skillhost.policy/1\"\n{text}\n"));
    assert_eq!(read("").unwrap().call_depth, limits::CALL_DEPTH_MAX);
    assert_eq!(read("[limits]\ncall_depth = 2\nfuel = 5").unwrap().call_depth, 2);
    for wrong in ["0", "4", "\"1\""] {
        assert_eq!(read(&format!("[limits]\ncall_depth = {wrong}")).unwrap_err().len(), 1, "{wrong}");
    }
    let grant = "[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nlimits = { call_depth = 1 }";
    assert_eq!(read(grant).unwrap_err()[0].code, "unknown-key");
}
