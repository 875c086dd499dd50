//! Which requests rules allow, and which rules stand in each other's way.

use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::policy::Policy;

fn rules(lines: &[(&str, &[&str])]) -> Vec<NetworkRule> {
    let rules: Vec<String> =
        lines.iter().map(|(url, methods)| format!("{{ url = {url:?}, methods = {methods:?} }}")).collect();
    let text = format!(
        "schema = \"skillhost.policy/1\"\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nnetwork = [{}]\n",
        rules.join(", ")
    );
    Policy::parse(&text).unwrap().grants[0].network.clone()
}

fn asked(rules: &[NetworkRule], method: &str, url: &str) -> Result<usize, String> {
    let (method, uri) = (Method::from_bytes(method.as_bytes()).unwrap(), url.parse::<Uri>().unwrap());
    permit(rules, &method, &uri).map(|(index, _)| index).map_err(|refused| refused.to_string())
}

#[test]
fn the_first_rule_that_fits_applies() {
    let rules = rules(&[
        ("https://api.example.com/v1/*", &["GET", "HEAD"]),
        ("https://api.example.com/v1/items", &["POST"]),
        ("https://*.example.org/*", &["GET"]),
        ("https://api.example.com:8443/*", &["PROPFIND"]),
        ("http://[2606:4700::1111]/*", &["GET"]),
    ]);
    for (method, url, rule) in [
        ("GET", "https://api.example.com/v1/", 0),
        ("GET", "https://API.Example.COM/v1/a/b?q=/../x", 0),
        ("HEAD", "https://api.example.com:443/v1/a", 0),
        ("POST", "https://api.example.com/v1/items", 1),
        ("POST", "https://api.example.com/v1/items?x=1", 1),
        ("GET", "https://a.example.org", 2),
        ("GET", "https://a.b.example.org/x", 2),
        ("PROPFIND", "https://api.example.com:8443/x", 3),
        ("GET", "http://[2606:4700:0:0::1111]/", 4),
        // The same path in another spelling.
        ("GET", "https://api.example.com/%761/x", 0),
    ] {
        assert_eq!(asked(&rules, method, url), Ok(rule), "{method} {url}");
    }
    for (method, url, why) in [
        ("GET", "https://api.example.com/v1", "rule 0 (`GET, HEAD https://api.example.com/v1/*`) has another path"),
        ("GET", "https://api.example.com/v11", "another path"),
        ("GET", "https://api.example.com/", "another path"),
        ("POST", "https://api.example.com/v1/items/", "has another method"),
        ("get", "https://api.example.com/v1/", "has another method"),
        ("GET", "http://api.example.com/v1/", "has another scheme"),
        ("GET", "https://api.example.com:444/v1/", "has another port"),
        ("GET", "https://example.org/", "none names this host"),
        ("GET", "https://.example.org/", "none names this host"),
        ("GET", "https://a.example.org./", "none names this host"),
        ("GET", "https://aexample.org/", "none names this host"),
        ("GET", "https://a.example.org.evil.test/", "none names this host"),
        ("GET", "https://api.example.com@evil.test/v1/", "user name or password"),
        ("GET", "https://user:pw@api.example.com/v1/", "user name or password"),
        ("GET", "ftp://api.example.com/v1/", "neither http nor https"),
        ("GET", "/v1/", "neither http nor https"),
        ("GET", "https://api.example.com:0/v1/", "not a number from 1 to 65535"),
        ("GET", "https://api.example.com:/v1/", "not a number from 1 to 65535"),
        ("GET", "https://1.2.3.4.5/", "neither a name nor an address"),
        ("GET", "https://[::1%25eth0]/", "neither a name nor an address"),
    ] {
        let found = asked(&rules, method, url).unwrap_err();
        assert!(found.contains(why), "{method} {url}: {found}");
    }
    assert!(asked(&[], "GET", "https://a.test/").unwrap_err().ends_with("there is none"));
}

#[test]
fn a_path_that_could_mean_another_one_is_refused() {
    let rules = rules(&[("https://h.test/v1/*", &["GET"])]);
    for (path, fault) in [
        ("/v1/../admin", BadUrl::DotSegment),
        ("/v1/..", BadUrl::DotSegment),
        ("/v1/./x", BadUrl::DotSegment),
        ("/v1/%2e%2e/admin", BadUrl::DotSegment),
        ("/v1/.%2E/admin", BadUrl::DotSegment),
        ("/v1/%252e%252e/admin", BadUrl::DotSegment),
        ("/v1/..;/admin", BadUrl::DotSegment),
        ("/v1/..;a=b/admin", BadUrl::DotSegment),
        ("/v1/%2e%2e%3bx/admin", BadUrl::DotSegment),
        ("/v1//admin", BadUrl::EmptySegment),
        ("//v1/x", BadUrl::EmptySegment),
        ("/v1/a%2fb", BadUrl::Hidden),
        ("/v1/..%2Fadmin", BadUrl::Hidden),
        ("/v1/a%5cb", BadUrl::Hidden),
        ("/v1/a%255Cb", BadUrl::Hidden),
        ("/v1/a%00", BadUrl::Hidden),
        ("/v1/a%0d%0aX-Y:%20z", BadUrl::Hidden),
        ("/v1/%", BadUrl::Percent),
        ("/v1/%2", BadUrl::Percent),
        ("/v1/%zz", BadUrl::Percent),
        ("/v1/{x}", BadUrl::Character),
        ("/v1/a%25252525252561", BadUrl::TooDeep),
    ] {
        assert_eq!(path_fault(path), Some(fault), "{path}");
        if let Ok(uri) = format!("https://h.test{path}").parse::<Uri>()
            && uri.path() == path
        {
            assert_eq!(permit(&rules, &Method::GET, &uri).unwrap_err(), Refused::Url(fault), "{path}");
        }
    }
    for path in
        ["/v1/a.b", "/v1/..a", "/v1/...", "/v1/a;b=c", "/v1/100%25", "/v1/gr%C3%BC%C3%9Fe", "/v1/a/", "/v1/a:b@c"]
    {
        assert_eq!(asked(&rules, "GET", &format!("https://h.test{path}")), Ok(0), "{path}");
    }
    let long = format!("https://h.test/v1/{}", "a".repeat(limits::URL_BYTES_MAX));
    assert!(asked(&rules, "GET", &long).unwrap_err().contains("longer than"));
}

#[test]
fn an_address_in_disguise_is_seen_for_what_it_is() {
    for (written, seen) in [
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ("EXAMPLE.com", "example.com"),
    ] {
        let target = Target::of(&format!("http://{written}/").parse().unwrap()).unwrap();
        assert_eq!(target.host(), seen, "{written}");
    }
    for none in ["256.256.256.256", "0x100000000", "1.2.3.4.5"] {
        assert_eq!(Target::of(&format!("http://{none}/").parse().unwrap()), Err(BadUrl::Host), "{none}");
    }
}

#[test]
fn a_rule_that_others_cover_is_found() {
    let all: &[&str] = &["GET", "POST"];
    let covered = |earlier: &[(&str, &[&str])], url: &str, methods: &[&str]| {
        // Read one by one: together they would be refused.
        let earlier: Vec<NetworkRule> = earlier.iter().flat_map(|line| rules(&[*line])).collect();
        covered_by(&earlier, &rules(&[(url, methods)])[0]).map(|found| found.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(covered(&[("https://h.test/*", all)], "https://h.test/v1/*", &["GET"]), Some(vec![0]));
    assert_eq!(covered(&[("https://h.test/a", &["GET"])], "https://h.test/a", all), None);
    let split: &[(&str, &[&str])] = &[("https://h.test/a", &["GET"]), ("https://h.test/*", &["POST"])];
    assert_eq!(covered(split, "https://h.test/a", all), Some(vec![0, 1]));
    assert_eq!(covered(&[("https://*.test/*", all)], "https://a.h.test/", &["GET"]), Some(vec![0]));
    assert_eq!(covered(&[("https://*.test/*", all)], "https://*.h.test/*", &["GET"]), Some(vec![0]));
    assert_eq!(covered(&[("https://*.h.test/*", all)], "https://*.test/*", &["GET"]), None);
    assert_eq!(covered(&[("https://*.h.test/*", all)], "https://h.test/*", &["GET"]), None);
    assert_eq!(covered(&[("https://h.test/*", all)], "http://h.test/*", &["GET"]), None);
    assert_eq!(covered(&[("https://h.test/*", all)], "https://h.test:444/*", &["GET"]), None);
    assert_eq!(covered(&[("https://h.test/v1/*", all)], "https://h.test/v1", &["GET"]), None);
}

/// Everything below `/v1/`, as a server would see it that decodes and resolves as often as it can.
fn lies_below(path: &str) -> bool {
    let mut text = path.to_owned();
    for _ in 0..8 {
        let url = url::Url::parse(&format!("http://h.test{}", text.replace("..;", "../"))).unwrap();
        if !url.path().starts_with("/v1/") {
            return false;
        }
        let mut parts = text.split('%');
        let mut decoded = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii);
            match (byte, part.get(2..)) {
                (Some(byte), Some(rest)) => decoded.extend([char::from(byte).to_string().as_str(), rest]),
                _ => decoded.extend(["%", part]),
            }
        }
        text = decoded;
    }
    true
}

#[test]
fn dots_between_semicolons_are_refused_wherever_they_stand() {
    let rules = rules(&[("http://h.test/v1/*", &["GET"])]);
    for path in ["/v1/..;/x", "/v1/a;../x", "/v1/%25..;..;..;", "/v1/;.;", "/v1/%2e%2e;"] {
        let uri: Uri = format!("http://h.test{path}").parse().unwrap();
        assert!(permit(&rules, &Method::GET, &uri).is_err(), "{path}");
    }
    let uri: Uri = "http://h.test/v1/a..;b...;c".parse().unwrap();
    assert!(permit(&rules, &Method::GET, &uri).is_ok());
}

proptest! {
    #[test]
    fn what_a_prefix_allows_lies_below_it(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("/"), Just("."), Just(".."), Just("%2e"), Just("%2F"), Just("%5c"), Just("%25"), Just("2e"), Just("2f"),
                Just(";"), Just("a"), Just("v1"), Just("%61"), Just("%"), Just("\\"), Just("..;"),
            ],
            0..10,
        )
    ) {
        let path = format!("/v1/{}", parts.concat());
        let rules = rules(&[("http://h.test/v1/*", &["GET"])]);
        if let Ok(uri) = format!("http://h.test{path}").parse::<Uri>()
            && permit(&rules, &Method::GET, &uri).is_ok()
        {
            prop_assert!(lies_below(uri.path()), "{path}");
        }
    }

    #[test]
    fn any_host_and_path_gives_an_answer(host in "[ -~]{0,24}", path in "[ -~]{0,24}") {
        let rules = rules(&[("http://h.test/v1/*", &["GET"])]);
        if let Ok(uri) = format!("http://{host}/{path}").parse::<Uri>()
            && let Ok((_, target)) = permit(&rules, &Method::GET, &uri)
        {
            prop_assert_eq!(target.host(), "h.test");
            prop_assert!(target.path().starts_with("/v1/"));
        }
    }
}
