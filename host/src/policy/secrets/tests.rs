//! Placeholders and names.

use super::*;

fn replaced(text: &str, known: &[(&str, &str)]) -> Option<String> {
    let value = |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
    replace_placeholders(text.as_bytes(), value).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_placeholder_is_replaced_where_its_name_ends() {
    let known = [("A", "one"), ("AB", "two")];
    for (text, result) in [
        ("skillhost-secret-A", Some("one")),
        ("skillhost-secret-AB", Some("two")),
        ("Bearer skillhost-secret-A", Some("Bearer one")),
        ("skillhost-secret-A:skillhost-secret-AB", Some("one:two")),
        ("skillhost-secret-A-B", Some("one-B")),
        ("skillhost-secret-skillhost-secret-A", Some("skillhost-secret-one")),
        ("skillhost-secret-ABC", None),
        ("skillhost-secret-A_", None),
        ("skillhost-secret-", None),
        ("skillhost-secret", None),
        ("SKILLHOST-SECRET-A", None),
        ("", None),
    ] {
        assert_eq!(replaced(text, &known).as_deref(), result, "{text}");
    }
}

#[test]
fn what_is_put_in_is_not_looked_at_again() {
    assert_eq!(replaced("skillhost-secret-A", &[("A", "skillhost-secret-A")]).as_deref(), Some("skillhost-secret-A"));
}

#[test]
fn a_guest_sees_a_placeholder() {
    let nothing = BTreeMap::new();
    assert_eq!(EnvValue::Secret("API_KEY".to_owned()).for_guest(&nothing).unwrap(), "skillhost-secret-API_KEY");
    assert_eq!(EnvValue::Text("x".to_owned()).for_guest(&nothing).unwrap(), "x");
    let asked = |default: Option<&str>, asked: &BTreeMap<String, String>| {
        EnvValue::Request { name: "A".to_owned(), default: default.map(str::to_owned) }.for_guest(asked)
    };
    let said = BTreeMap::from([("A".to_owned(), "y".to_owned())]);
    assert_eq!((asked(None, &nothing), asked(Some("x"), &nothing).as_deref()), (None, Some("x")));
    assert_eq!(asked(Some("x"), &said).as_deref(), Some("y"));
    for good in ["A", "a1_", "API_KEY"] {
        assert!(is_name(good), "{good}");
    }
    for bad in ["", "1A", "_A", "A-B", "A B", "é", &"A".repeat(crate::limits::NAME_BYTES_MAX + 1)] {
        assert!(!is_name(bad), "{bad}");
    }
}
