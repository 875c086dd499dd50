//! Rules as they are written, and what is refused.

use super::*;
use crate::policy::Policy;
use crate::policy::network::Scheme;
use crate::problem::{Position, Problem};

const HEAD: &str = "schema = \"skillhost.policy/1\"\n";
const GRANT: &str = "[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\n";

fn parse(rest: &str) -> Result<Policy, Vec<Problem>> {
    Policy::parse(&format!("{HEAD}{rest}"))
}

fn only(rest: &str) -> Problem {
    let mut problems = parse(rest).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

/// A grant with one rule.
fn rule(text: &str) -> String {
    format!("{GRANT}network = [{{ {text} }}]\n")
}

#[test]
fn every_key_is_read() {
    let policy = parse(
        "[network]\ndns = \"127.0.0.1:5353\"\nroots = { file = \"/etc/ca.pem\" }\n[secrets]\nTOKEN = { env = \"T\" }\nKEY = { file = \"/k\" }\n\
         [[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nnetwork = [{ url = \"https://*.Example.com:8443/v1/*\", methods = [\"GET\", \"M-SEARCH\"], \
         addresses = [\"127.0.0.1/32\", \"fd00::/8\"], headers = { Authorization = { secret = \"TOKEN\", prefix = \"Bearer \" }, X-Client = \"skillhost\" }, \
         secrets = [\"KEY\"] }]\n",
    )
    .unwrap();
    assert_eq!(policy.network.dns.unwrap().to_string(), "127.0.0.1:5353");
    assert_eq!(
        policy.network.roots,
        Roots::File { path: "/etc/ca.pem".into(), position: Position { line: 4, column: 18 } }
    );
    let [rule] = policy.grants[0].network.as_slice() else { panic!() };
    assert_eq!(rule.to_string(), "GET, M-SEARCH https://*.example.com:8443/v1/*");
    assert_eq!((rule.scheme, rule.port), (Scheme::Https, 8443));
    assert_eq!(rule.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1/32", "fd00::/8"]);
    let secret = HeaderValue::Secret { name: "TOKEN".to_owned(), prefix: "Bearer ".to_owned() };
    assert_eq!(rule.headers["authorization"], secret);
    assert_eq!(rule.headers["x-client"], HeaderValue::Text("skillhost".to_owned()));
    assert!(rule.secrets.contains("KEY"));

    let plain = parse(&rule_of("http://localhost/")).unwrap();
    assert_eq!(plain.network, NetworkSettings::default());
    assert_eq!(plain.grants[0].network[0].port, 80);
    assert_eq!(parse("[network]\nroots = \"mozilla\"\n").unwrap().network.roots, Roots::Mozilla);
}

fn rule_of(url: &str) -> String {
    rule(&format!("url = {url:?}, methods = [\"GET\"]"))
}

#[test]
fn urls_that_are_none_or_could_mislead_are_refused() {
    for (url, code, message, hint) in [
        ("api.example.com/v1", "bad-url", "is no url", "in full"),
        ("ftp://h.test/", "bad-url", "neither `http` nor `https`", "https://"),
        ("HTTPS://h.test/", "bad-url", "neither `http` nor `https`", "https://"),
        ("https://user:pw@h.test/", "bad-url", "the url holds credentials", "[secrets]"),
        ("https://h.test/#a", "bad-url", "has a fragment", "remove it"),
        ("https://h.test/?a=b", "bad-url", "has a query", "any query may follow"),
        ("https://h.test:0/", "bad-url", "the port of", "1 to 65535"),
        ("https://h.test:65536/", "bad-url", "the port of", "1 to 65535"),
        ("https://h.test:/", "bad-url", "the port of", "1 to 65535"),
        ("https://h.test:+80/", "bad-url", "the port of", "1 to 65535"),
        ("https:///x", "bad-url", "it names no host", "https://"),
        ("https://h.test\\@x/", "bad-url", "holds `\\\\`", "remove it"),
        ("https://h.test /", "bad-url", "holds ` `", "remove it"),
        ("https://[::1/", "bad-url", "neither a name nor an address", "https://"),
        ("https://h.test./", "bad-host", "ends in a dot", "write `h.test`"),
        ("https://a..b/", "bad-host", "is no host", "a name"),
        ("https://-a.test/", "bad-host", "is no host", "a name"),
        ("https://a%2e.test/", "bad-host", "is no host", "a name"),
        ("https://bücher.test/", "bad-host", "letters beyond ascii", "`xn--bcher-kva.test`"),
        ("https://*/", "bad-host", "a star inside", "*.example.com"),
        ("https://a.*.test/", "bad-host", "a star inside", "*.example.com"),
        ("https://*.*.test/", "bad-host", "a star inside", "*.example.com"),
        ("https://*.1.1.1.1/", "bad-host", "no names below it", "write `1.1.1.1`"),
        ("https://0x1.1.1.1/", "bad-host", "not in its canonical form", "write `1.1.1.1`"),
        ("https://16843009/", "bad-host", "not in its canonical form", "write `1.1.1.1`"),
        ("https://[2606:4700:0:0::1111]/", "bad-host", "not in its canonical form", "write `[2606:4700::1111]`"),
        ("https://[::ffff:101:101]/", "bad-host", "an ipv4 address in the form", "write `1.1.1.1`"),
        ("https://h.test", "bad-path", "has no path", "/*"),
        ("https://h.test/v1*", "bad-path", "a star inside of a segment", "after a slash"),
        ("https://h.test/*/x", "bad-path", "a star inside of a segment", "after a slash"),
        ("https://h.test/v1/../*", "bad-path", "as a segment", "simplest form"),
        ("https://h.test/v1//x", "bad-path", "an empty segment", "simplest form"),
        ("https://h.test/a%2fb", "bad-path", "encoded slash", "always refused"),
        ("https://h.test/%7Ea/*", "bad-path", "not in its simplest form", "write `/~a/*`"),
        ("https://h.test/%c3%a4", "bad-path", "not in its simplest form", "write `/%C3%A4`"),
        ("https://h.test/{x}", "bad-path", "must be percent-encoded", "simplest form"),
        ("http://127.0.0.1/*", "address-not-public", "the address `127.0.0.1` is loopback", "127.0.0.1/32"),
        ("http://[fd00::1]/*", "address-not-public", "unique local", "fd00::1/128"),
        ("http://169.254.169.254/*", "address-not-public", "metadata", "169.254.169.254/32"),
    ] {
        let problem = only(&rule_of(url));
        assert_eq!(problem.code, code, "{url}: {problem}");
        let text = problem.to_string();
        assert!(text.starts_with("/grant/0/network/0/url (line 5, column 20): "), "{text}");
        assert!(text.contains(message), "{url}: {text}");
        assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{url}: {:?}", problem.hint);
        assert!(!text.contains("pw"), "{text}");
    }
    let long = format!("https://h.test/{}", "a".repeat(limits::URL_BYTES_MAX));
    assert_eq!(only(&rule_of(&long)).code, "bad-url");
    for good in [
        "https://xn--bcher-kva.test/",
        "http://localhost:1/*",
        "https://a_b.test/a/b.c",
        "https://1.1.1.1/",
        "https://*.test/*",
    ] {
        parse(&rule_of(good)).unwrap();
    }
    parse(&rule("url = \"http://127.0.0.1/*\", methods = [\"GET\"], addresses = [\"127.0.0.0/8\"]")).unwrap();
}

#[test]
fn the_other_keys_have_a_form() {
    let url = "url = \"https://h.test/\"";
    let get = "methods = [\"GET\"]";
    for (text, code, hint) in [
        (get.to_owned(), "missing-key", "https://"),
        (url.to_owned(), "missing-key", "methods = [\"GET\"]"),
        (format!("{url}, methods = []"), "empty-list", ""),
        (format!("{url}, methods = [\"*\"]"), "bad-method", "\"HEAD\""),
        (format!("{url}, methods = [\"get\"]"), "bad-method", "`GET`"),
        (format!("{url}, methods = [\"G T\"]"), "bad-method", "`GET`"),
        (format!("{url}, methods = [\"CONNECT\"]"), "bad-method", "remove it"),
        (format!("{url}, methods = [\"TRACE\"]"), "bad-method", "remove it"),
        (format!("{url}, methods = [\"GET\", \"GET\"]"), "duplicate", "remove one"),
        (format!("{url}, {get}, addresses = [\"127.0.0.1\"]"), "bad-address", "`127.0.0.1/32`"),
        (format!("{url}, {get}, addresses = [\"10.0.0.1/8\"]"), "bad-address", "`10.0.0.0/8`"),
        (format!("{url}, {get}, addresses = [\"local\"]"), "bad-address", "10.0.0.0/8"),
        (format!("{url}, {get}, addresses = []"), "empty-list", ""),
        (format!("{url}, {get}, headers = {{ Host = \"x\" }}"), "bad-header", "remove it"),
        (format!("{url}, {get}, headers = {{ Content-Length = \"1\" }}"), "bad-header", "remove it"),
        (format!("{url}, {get}, headers = {{ \"a b\" = \"1\" }}"), "bad-header", "X-Client"),
        (format!("{url}, {get}, headers = {{ a = \"x\\ny\" }}"), "bad-header", "printable"),
        (format!("{url}, {get}, headers = {{ a = \" x\" }}"), "bad-header", "printable"),
        (format!("{url}, {get}, headers = {{ a = \"1\", A = \"2\" }}"), "duplicate", "remove one"),
        (format!("{url}, {get}, headers = {{ a = {{ prefix = \"x\" }} }}"), "missing-key", "secret"),
        (format!("{url}, {get}, port = 1"), "unknown-key", "the keys here are"),
        (format!("{url}, {get}, secrets = [\"NOT DECLARED\"]"), "bad-secret", "letter"),
        (format!("{url}, {get}, secrets = [\"ABSENT\"]"), "unknown-secret", "[secrets]"),
    ] {
        let problem = only(&rule(&text));
        assert_eq!(problem.code, code, "{text}: {problem}");
        assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {:?}", problem.hint);
        assert!(problem.position.is_some_and(|position| position.line == 5), "{problem}");
    }
    for (text, code) in [
        ("[network]\ndns = \"ns.test\"\n", "bad-dns"),
        ("[network]\ndns = \"127.0.0.1\"\n", "bad-dns"),
        ("[network]\ndns = \"127.0.0.1:0\"\n", "bad-dns"),
        ("[network]\nroots = \"system\"\n", "unknown-value"),
        ("[network]\nroots = { file = \"ca.pem\" }\n", "bad-host-path"),
        ("[network]\nroots = {}\n", "missing-key"),
        ("[network]\nproxy = \"x\"\n", "unknown-key"),
    ] {
        assert_eq!(only(text).code, code, "{text}");
    }
}

#[test]
fn a_rule_that_never_applies_is_refused() {
    let network = |rules: &[&str]| {
        let rules: Vec<String> =
            rules.iter().map(|url| format!("{{ url = \"{url}\", methods = [\"GET\"] }}")).collect();
        format!("{GRANT}network = [{}]\n", rules.join(", "))
    };
    let problem = only(&network(&["https://*.h.test/*", "https://a.test/", "https://b.h.test/v1/*"]));
    assert_eq!(problem.code, "unreachable-rule");
    assert_eq!(problem.message, "rule 2 never applies: rule 0 allows all of it first");
    assert!(problem.hint.is_some_and(|hint| hint.contains("move this one up")));
    parse(&network(&["https://b.h.test/v1/*", "https://*.h.test/*"])).unwrap();
    // Rules of other grants do not count.
    let two = format!(
        "{}[[grant]]\nskills = [\"b\"]\ntools = [\"*\"]\nnetwork = [{{ url = \"https://h.test/\", methods = [\"GET\"] }}]\n",
        network(&["https://h.test/"])
    );
    parse(&two).unwrap();
}

#[test]
fn there_are_only_so_many_of_each() {
    let methods: Vec<String> = (0..=limits::NETWORK_RULE_ITEMS_MAX).map(|index| format!("\"M{index}\"")).collect();
    assert_eq!(
        only(&rule(&format!("url = \"https://h.test/\", methods = [{}]", methods.join(",")))).code,
        "too-many-items"
    );
    let headers: Vec<String> = (0..=limits::NETWORK_RULE_ITEMS_MAX).map(|index| format!("h{index} = \"x\"")).collect();
    let text = format!("url = \"https://h.test/\", methods = [\"GET\"], headers = {{ {} }}", headers.join(","));
    assert_eq!(only(&rule(&text)).code, "too-many-items");
    let rules: Vec<String> = (0..=limits::NETWORK_RULES_MAX)
        .map(|index| format!("{{ url = \"https://h.test/{index}\", methods = [\"GET\"] }}"))
        .collect();
    assert_eq!(only(&format!("{GRANT}network = [{}]\n", rules.join(","))).code, "too-many-rules");
}

#[test]
fn the_examples_of_the_documentation_are_policies() {
    let document = include_str!("../../../../../docs/policy-format.md");
    let mut rules = 0;
    for block in document.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let text = if block.contains("[[grant]]") && !block.contains("schema =") {
            format!("{HEAD}{block}")
        } else {
            block.to_owned()
        };
        if text.contains("[[grant]]") {
            let policy = Policy::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
            rules += policy.grants.iter().map(|grant| grant.network.len()).sum::<usize>();
        }
    }
    assert!(rules >= 2, "the section on the network has an example");
}

/// The table of the documentation has every range, so that nobody has to read the source for it.
#[test]
fn every_special_range_is_documented() {
    let document = include_str!("../../../../../docs/policy-format.md");
    for (range, _) in address::SPECIAL_V4 {
        assert!(document.contains(&format!("`{range}`")), "docs/policy-format.md says nothing of {range}");
    }
}
