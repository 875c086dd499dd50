use super::*;
use crate::id::{Digest, SkillName};
use crate::skill::Catalog;
use crate::skill::{Import, Metadata};

fn skill(imports: &[&str]) -> Skill {
    let import = |name: &&str| Import { name: (*name).to_owned(), needs: crate::skill::need_of(name) };
    Skill {
        name: SkillName::new("files").unwrap(),
        digest: Digest::of(b""),
        size_bytes: 0,
        tools: std::collections::BTreeMap::new(),
        not_tools: Vec::new(),
        imports: imports.iter().map(import).collect(),
        metadata: Metadata::default(),
    }
}

fn explain_one(policy: &str, skill: Option<&Skill>) -> Explanation {
    let policy = Policy::parse(&format!("schema = \"skillhost.policy/1\"\n{policy}")).unwrap();
    let (step, tool) = (StepId::new("s").unwrap(), "files.read".parse().unwrap());
    let caller = Caller {
        principal: &crate::policy::Principal::default(),
        plan_name: "p",
        plan: Digest::of(b"p"),
        has_approver: true,
        input: &|_| None,
        catalog: &Catalog::new(),
        compensations: &[],
    };
    let limits = &LimitsDocument { fuel: Some(9), ..LimitsDocument::default() };
    let explained = ExplainedStep { step: &step, tool: &tool, limits, skill, demands: Demands::default() };
    explain(&policy, &caller, [explained]).remove(0)
}

#[test]
fn an_allowed_step_shows_all_that_it_may_touch() {
    let policy = "[[grant]]\nskills = [\"files\"]\ntools = [\"*\"]\nenv = { SECRET = \"hunter2\" }\n\
                  filesystem = [{ host = \"{workspace}\", guest = \"/workspace\", access = \"read-write\" }]\n";
    let found = explain_one(policy, Some(&skill(&["wasi:filesystem/types@0.2.3", "wasi:cli/environment@0.2.3"])));
    assert_eq!(
        found.to_string(),
        "s: files.read is allowed by grant 0 (the first)\n  directory: /workspace = {workspace} (read-write)\n  clocks: virtual, random: seeded\n  \
         environment: SECRET\n  limits: fuel 9, deadline_ms 30000, memory_bytes 134217728, output_bytes 16777216, \
         stdio_bytes 1048576, host_calls 10000000, trace_bytes 4294967296\n"
    );
    assert_eq!(found.to_json()["limits"]["fuel"], 9);
    assert!(!found.to_json().to_string().contains("hunter2"));
}

#[test]
fn what_does_not_fit_the_skill_is_noted() {
    let notes = |policy: &str, imports: &[&str]| match explain_one(policy, Some(&skill(imports))).verdict {
        Verdict::Allowed(allowed) => allowed.notes,
        Verdict::Denied { reason, .. } => panic!("{reason}"),
    };
    let plain = "[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";
    assert_eq!(
        notes(plain, &["wasi:filesystem/types@0.2.3", "wasi:sockets/raw@0.2.0"]),
        [
            "the skill imports `wasi:filesystem/types@0.2.3`, but the grant has no directory: it sees no files",
            "the skill imports `wasi:sockets/raw@0.2.0`, which is not provided: it cannot be loaded",
        ]
    );
    let rich = format!(
        "{plain}clocks = \"real\"\nrandom = \"real\"\nenv = {{ A = \"\" }}\n\
         filesystem = [{{ host = \"/h\", guest = \"/g\", access = \"read-only\" }}]\n"
    );
    assert_eq!(notes(&rich, &[]).len(), 4);
    let closed = format!("{plain}sockets = \"closed\"\n");
    assert_eq!(notes(&closed, &[]), ["the grant has closed sockets, but the skill imports no `wasi:sockets`"]);
    let all = [
        "wasi:filesystem/types@0.2.3",
        "wasi:clocks/wall-clock@0.2.3",
        "wasi:random/random@0.2.3",
        "wasi:cli/environment@0.2.3",
    ];
    assert!(notes(&rich, &all).is_empty());
}

#[test]
fn a_denied_step_has_reason_and_hint() {
    let found = explain_one("", None);
    assert!(
        found
            .to_string()
            .starts_with("s: files.read is denied\n  reason: no grant of the policy names the skill `files`\n  hint: ")
    );
    assert_eq!(found.to_json()["allowed"], false);
}

#[test]
fn sockets_are_denied_with_the_import_and_the_line_and_shown_where_they_are_closed() {
    let plain = "[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";
    let skill = skill(&["wasi:io/poll@0.2.0", "wasi:sockets/udp@0.2.0", "wasi:sockets/tcp@0.2.0"]);
    let denied = explain_one(plain, Some(&skill)).to_string();
    assert_eq!(
        denied,
        "s: files.read is denied\n  reason: grant 0 (the first) lacks `sockets` that `files.read` needs: `sockets = \"closed\"`\n  \
         missing: sockets = \"closed\"  (`files` imports `wasi:sockets/udp@0.2.0`)\n  \
         hint: if the tool shall have it, write `sockets = \"closed\"` into grant 0 (the first)\n"
    );
    let closed = explain_one(&format!("{plain}sockets = \"closed\"\n"), Some(&skill));
    assert!(closed.to_string().contains("\n  sockets: closed\n"), "{closed}");
    assert_eq!(closed.to_json()["sockets"], "closed");
    // Nothing that it could reach: the hints are those of a grant without.
    let Verdict::Allowed(allowed) = closed.verdict else { panic!("it is allowed") };
    assert_eq!(allowed.notes, Vec::<String>::new());
}

#[test]
fn a_skill_that_says_what_it_needs_is_taken_at_its_word() {
    let plain = "[[grant]]\nskills = [\"*\"]\ntools = [\"*\"]\n";
    let pure = Skill {
        metadata: Metadata { needs: Some(crate::skill::Needs::default()), ..Metadata::default() },
        ..skill(&["wasi:filesystem/types@0.2.3"])
    };
    let Verdict::Allowed(allowed) = explain_one(plain, Some(&pure)).verdict else { panic!("it is allowed") };
    assert_eq!(allowed.notes, Vec::<String>::new());
    let clocks = crate::skill::Needs { clocks: true, ..crate::skill::Needs::default() };
    let asks = Skill { metadata: Metadata { needs: Some(clocks), ..Metadata::default() }, ..pure };
    let denied = explain_one(plain, Some(&asks));
    assert_eq!(
        denied.to_string(),
        "s: files.read is denied\n  reason: grant 0 (the first) lacks `clocks` that `files.read` needs: `clocks = \"real\"`\n  \
         missing: clocks = \"real\"  (`files.read` declares that it needs real clocks)\n  \
         hint: if the tool shall have it, write `clocks = \"real\"` into grant 0 (the first)\n"
    );
    assert_eq!(denied.to_json()["missing"][0]["key"], "clocks");
}

#[test]
fn what_may_be_asked_of_servers_is_shown_and_no_secret() {
    let policy = "[secrets]\nTOKEN = { env = \"T\" }\n[[grant]]\nskills = [\"files\"]\ntools = [\"*\"]\n\
                  env = { KEY = { secret = \"TOKEN\" } }\n\
                  network = [{ url = \"http://api.test:8080/v1/*\", methods = [\"POST\", \"GET\"], addresses = [\"10.0.0.0/8\"], \
                  headers = { Authorization = { secret = \"TOKEN\" } } }]\n";
    let found = explain_one(policy, Some(&skill(&["wasi:cli/environment@0.2.3"])));
    let text = found.to_string();
    assert!(
        text.contains("\n  network: GET, POST http://api.test:8080/v1/*, also at 10.0.0.0/8, with authorization\n"),
        "{text}"
    );
    assert!(
        text.contains("note: the variable `KEY` holds the placeholder of the secret `TOKEN`, but no network"),
        "{text}"
    );
    let rule = &found.to_json()["network"][0];
    assert_eq!(rule["url"], "http://api.test:8080/v1/*");
    assert_eq!((&rule["methods"][0], &rule["headers"][0]), (&json!("GET"), &json!("authorization")));
}
