//! Policies as Wassette's documentation describes them, with documents of our own.

use super::*;
use crate::policy::{Access, EnvValue};

fn read(text: &str) -> Result<Imported, Vec<Problem>> {
    let document = crate::json::parse_yaml(text.as_bytes()).unwrap_or_else(|problem| panic!("{problem}: {text}"));
    assert!(is_one(&document));
    import(&document, &"weather".parse().unwrap())
}

fn permitting(lines: &str) -> Result<Imported, Vec<Problem>> {
    read(&format!("version: \"1.0\"\npermissions:\n{lines}"))
}

#[test]
fn everything_that_has_a_meaning_is_written() {
    let imported = read(
        "version: \"1.0\"\ndescription: |\n  Tells the weather.\n  Keeps it.\npermissions:\n  storage:\n    allow:\n\
         \x20     - { uri: 'fs://workspace/**', access: [read, write] }\n      - { uri: 'fs://data/in', access: [read] }\n\
         \x20     - { uri: 'fs:///srv/maps/**', access: [read] }\n      - { uri: 'fs:///srv/maps', access: [write, read] }\n\
         \x20 network:\n    allow:\n      - host: api.example.com\n      - host: https://*.example.org\n      - host: https://*.example.org\n\
         \x20 environment:\n    allow:\n      - key: API_KEY\n  resources:\n    limits: { cpu: 500m, memory: 512Mi }\n",
    );
    let Imported { text, changes } = imported.unwrap();
    let policy = Policy::parse(&text).unwrap();
    assert!(
        text.starts_with("# Imported from a policy of Wassette.\n# Tells the weather.\n# Keeps it.\nschema"),
        "{text}"
    );
    assert_eq!(policy.limits.memory_bytes, 512 << 20);
    let [grant] = policy.grants.as_slice() else { panic!("{text}") };
    let folders = grant.filesystem.iter();
    let folders: Vec<_> = folders.map(|one| (one.host.as_str(), one.guest.as_str(), one.access)).collect();
    assert_eq!(
        folders,
        [
            ("/srv/maps", "/srv/maps", Access::ReadWrite),
            ("{workspace}/data/in", "data/in", Access::ReadOnly),
            ("{workspace}", "workspace", Access::ReadWrite),
        ]
    );
    let urls: Vec<String> = grant.network.iter().map(crate::policy::NetworkRule::url).collect();
    assert_eq!(urls, ["https://api.example.com/*", "http://api.example.com/*", "https://*.example.org/*"]);
    for rule in &grant.network {
        assert_eq!(rule.secrets.contains("API_KEY"), rule.url().starts_with("https:"), "{}", rule.url());
        assert_eq!(rule.methods.len(), 7);
    }
    assert_eq!(grant.env["API_KEY"], EnvValue::Secret("API_KEY".to_owned()));
    assert_eq!(grant.config, grant.env);
    let pointers: Vec<&str> = changes.iter().map(|change| change.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/permissions/resources/limits/cpu",
            "/permissions/storage/allow/0/uri",
            "/permissions/storage/allow/1/uri",
            "/permissions/environment/allow/0/key",
            "/permissions/network/allow/0/host",
            "/permissions/network/allow/1/host",
            "/permissions/network/allow/2/host",
        ]
    );
}

#[test]
fn nothing_permitted_is_a_grant_of_nothing() {
    let imported = permitting("  storage: { allow: [] }\n").unwrap();
    let policy = Policy::parse(&imported.text).unwrap();
    let grant = &policy.grants[0];
    assert!(
        grant.filesystem.is_empty() && grant.network.is_empty() && grant.env.is_empty() && imported.changes.is_empty()
    );
    assert_eq!(grant.skills[0].to_string(), "weather");
}

#[test]
fn what_has_no_meaning_is_refused_with_its_place() {
    let storage = |uri: &str, access: &str| format!("  storage: {{ allow: [{{ uri: '{uri}', access: {access} }}] }}\n");
    let host = |host: &str| format!("  network: {{ allow: [{{ host: '{host}' }}] }}\n");
    let uri = "/permissions/storage/allow/0/uri";
    let at_host = "/permissions/network/allow/0/host";
    for (lines, code, pointer) in [
        (storage("fs://a/*/b", "[read]"), "bad-uri", uri),
        (storage("fs://a/../b", "[read]"), "bad-uri", uri),
        (storage("fs://", "[read]"), "bad-uri", uri),
        (storage("file:///a", "[read]"), "bad-uri", uri),
        (storage("fs://a", "[write]"), "bad-access", "/permissions/storage/allow/0/access"),
        (storage("fs://a", "[execute]"), "bad-access", "/permissions/storage/allow/0/access"),
        (storage("fs://a", "read"), "bad-access", "/permissions/storage/allow/0/access"),
        ("  storage: { deny: [{ uri: 'fs://a' }] }\n".to_owned(), "denies", "/permissions/storage/deny"),
        ("  storage: { allow: [{ access: [read] }] }\n".to_owned(), "missing-key", "/permissions/storage/allow/0"),
        ("  storage: { allow: x }\n".to_owned(), "wrong-type", "/permissions/storage/allow"),
        (
            format!(
                "{}{}",
                storage("fs:///a/**", "[read]").replace("}] }", "}, { uri: 'fs:///a/b', access: [read] }] }"),
                ""
            ),
            "ambiguous-guest-path",
            "/permissions",
        ),
        (host("*"), "bad-host", at_host),
        (host("ftp://a.example"), "bad-host", at_host),
        (host("a.example/path"), "bad-host", at_host),
        (host("user@a.example"), "bad-host", at_host),
        ("  network: { allow: [{ cidr: 10.0.0.0/8 }] }\n".to_owned(), "bad-host", "/permissions/network/allow/0/cidr"),
        ("  environment: { allow: [{ key: 'A-B' }] }\n".to_owned(), "bad-env", "/permissions/environment/allow/0/key"),
        ("  resources: { limits: { memory: 8Gi } }\n".to_owned(), "bad-size", "/permissions/resources/limits/memory"),
        ("  resources: { limits: { memory: 0 } }\n".to_owned(), "bad-size", "/permissions/resources/limits/memory"),
        ("  resources: { limits: { memory: Mi } }\n".to_owned(), "bad-size", "/permissions/resources/limits/memory"),
        ("  resources: { memory: 512 }\n".to_owned(), "unknown-key", "/permissions/resources/memory"),
        ("  ipc: {}\n".to_owned(), "unknown-key", "/permissions/ipc"),
    ] {
        let problems = permitting(&lines).unwrap_err();
        assert_eq!((problems[0].code.as_str(), problems[0].pointer.as_str()), (code, pointer), "{lines}: {problems:?}");
        assert!(problems[0].hint.is_some(), "{lines}");
    }
    let many = format!("  network: {{ allow: [{}] }}\n", "{host: a.example},".repeat(limits::RULES_IMPORTED_MAX + 1));
    assert_eq!(permitting(&many).unwrap_err()[0].code, "too-many-rules");
    assert_eq!(read("version: \"2.0\"\npermissions: {}\n").unwrap_err()[0].code, "bad-version");
    assert_eq!(read("version: \"1.0\"\npermissions: []\n").unwrap_err()[0].code, "wrong-type");
}

#[test]
fn sizes_are_those_of_kubernetes() {
    for (text, bytes) in
        [("7", 7), ("1k", 1_000), ("2Ki", 2_048), ("3M", 3_000_000), ("512Mi", 512 << 20), ("1Gi", 1 << 30)]
    {
        assert_eq!(size(text), Some(bytes), "{text}");
    }
    for text in ["", "Mi", "-1", "1.5Gi", "1 Mi", "1MiB", "99999999999999999999", "18446744073709551615Gi"] {
        assert_eq!(size(text), None, "{text}");
    }
}
