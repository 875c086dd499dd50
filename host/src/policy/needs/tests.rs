use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::id::{Digest, SkillName};
use crate::policy::Policy;
use crate::skill::{Annotations, Export, Import, Metadata, Tool, ToolResult, need_of};

/// A skill of one tool `go` with this metadata, which imports these interfaces.
pub(in crate::policy) fn skill(metadata: &str, imports: &[&str]) -> Skill {
    let text = format!("schema = \"skillhost.skill/1\"\nname = \"a\"\nversion = \"1\"\n{metadata}\n");
    let metadata = Metadata::parse(&text).unwrap();
    let name: ToolName = "a.go".parse().unwrap();
    let tool = Tool {
        name,
        export: Export::Function { interface: None, function: "go".to_owned() },
        params: Vec::new(),
        result: ToolResult { ok: None, err: None, fallible: false },
        annotations: metadata.tools.get("go").cloned().unwrap_or_else(Annotations::default),
    };
    let import = |name: &&str| Import {
        name: (*name).to_owned(),
        needs: if name.starts_with("wasi:http/") { Need::Network } else { need_of(name) },
    };
    Skill {
        name: SkillName::new("a").unwrap(),
        digest: Digest::of(b""),
        size_bytes: 0,
        tools: BTreeMap::from([("go".to_owned(), Arc::new(tool))]),
        not_tools: Vec::new(),
        imports: imports.iter().map(import).collect(),
        metadata,
    }
}

fn grant(lines: &str) -> Grant {
    let text = format!("schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n{lines}\n");
    let policy = Policy::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    Grant::clone(&policy.grants[0])
}

fn lines(grant: &Grant, skill: &Skill) -> Vec<String> {
    missing(grant, &"a.go".parse().unwrap(), skill).into_iter().map(|missing| missing.line).collect()
}

const READ: &str = "filesystem = [{ host = \"/srv/a \\\"b\\\"\", guest = \"/a\", access = \"read-only\" }]";

#[test]
fn every_kind_of_need_is_named_with_the_line_to_add() {
    let all = "needs = { filesystem = \"read-write\", clocks = \"real\", random = \"real\", env = [\"TOKEN\", \"a.b\"], \
               network = [\"https://api.example/*\"] }";
    assert_eq!(
        lines(&grant(""), &skill(all, &[])),
        [
            "filesystem = [{ host = \"{workspace}\", guest = \"/workspace\", access = \"read-write\" }]",
            "network = [{ url = \"https://api.example/*\", methods = [\"GET\"] }]",
            "clocks = \"real\"",
            "random = \"real\"",
            "env = { TOKEN = \"…\", \"a.b\" = \"…\" }",
        ]
    );
}

#[test]
fn what_is_proposed_is_enough_and_readable() {
    let needs =
        "needs = { filesystem = \"read-write\", clocks = \"real\", random = \"real\", env = [\"TOKEN\", \"a.b\"] }";
    let skill = skill(needs, &[]);
    let lacking = grant(READ);
    let proposed = lines(&lacking, &skill);
    assert!(proposed[0].contains("/srv/a \\\"b\\\""), "the folder that is there is the one to write to: {proposed:?}");
    assert_eq!(lines(&grant(&proposed.join("\n")), &skill), Vec::<String>::new());
}

#[test]
fn a_folder_to_read_is_less_than_one_to_write() {
    let (read, write) =
        (skill("needs = { filesystem = \"read-only\" }", &[]), skill("needs = { filesystem = \"read-write\" }", &[]));
    assert_eq!(lines(&grant(""), &read).len(), 1);
    assert_eq!(lines(&grant(READ), &read), Vec::<String>::new());
    assert_eq!(lines(&grant(READ), &write).len(), 1);
    assert_eq!(lines(&grant(&READ.replace("read-only", "read-write")), &read), Vec::<String>::new());
}

#[test]
fn the_skills_needs_and_the_tools_add_up() {
    let both = skill("needs = { filesystem = \"read-only\" }\n[tools.go]\nneeds = { clocks = \"real\" }", &[]);
    assert_eq!(lines(&grant(""), &both).len(), 2);
    let other = skill("[tools.other]\nneeds = { clocks = \"real\" }", &[]);
    assert_eq!(lines(&grant(""), &other), Vec::<String>::new(), "another tool's needs are not this one's");
}

#[test]
fn imports_with_an_empty_form_are_no_need_and_a_network_is_one() {
    let harmless = [
        "wasi:filesystem/types@0.2.3",
        "wasi:clocks/wall-clock@0.2.3",
        "wasi:random/random@0.2.3",
        "wasi:cli/environment@0.2.3",
    ];
    assert_eq!(lines(&grant(""), &skill("", &harmless)), Vec::<String>::new());
    let http = skill("", &["wasi:http/outgoing-handler@0.2.3"]);
    let found = missing(&grant(""), &"a.go".parse().unwrap(), &http);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].key, found[0].because.as_str()),
        ("network", "`a` imports `wasi:http/outgoing-handler@0.2.3`")
    );
}

#[test]
fn sockets_are_a_need_that_a_grant_meets_with_closed_ones() {
    let both = skill("", &["wasi:http/types@0.2.3", "wasi:sockets/tcp@0.2.3", "wasi:sockets/udp@0.2.3"]);
    let proposed = lines(&grant(""), &both);
    assert_eq!(proposed, ["network = [{ url = \"https://…/*\", methods = [\"GET\"] }]", "sockets = \"closed\""]);
    assert_eq!(lines(&grant(&proposed[1]), &both), proposed[..1]);
}

#[test]
fn a_rule_gives_what_it_covers() {
    let rule = |url: &str| format!("network = [{{ url = \"{url}\", methods = [\"POST\"] }}]");
    let skill = skill("needs = { network = [\"https://api.example/v1/*\"] }", &["wasi:http/outgoing-handler@0.2.3"]);
    for (url, is_enough) in [
        ("https://api.example/v1/*", true),
        ("https://api.example/*", true),
        ("https://api.example/v1/x", false),
        ("http://api.example/v1/*", false),
        ("https://*.example/v1/*", true),
        ("https://b.example/v1/*", false),
    ] {
        assert_eq!(lines(&grant(&rule(url)), &skill).is_empty(), is_enough, "{url}");
    }
    // The import alone is content with any rule.
    let undeclared = super::tests::skill("", &["wasi:http/outgoing-handler@0.2.3"]);
    assert_eq!(lines(&grant(&rule("https://b.example/")), &undeclared), Vec::<String>::new());
}
