//! Where values come from, and what is refused without being shown.

use super::*;

fn policy(declarations: &str) -> Policy {
    let env: Vec<String> = declarations
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(|name| format!("{name} = {{ secret = \"{name}\" }}"))
        .collect();
    let text = format!(
        "schema = \"skillhost.policy/1\"\n[secrets]\n{declarations}\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nenv = {{ {} }}\n",
        env.join(", ")
    );
    Policy::parse(&text).unwrap()
}

fn variable(name: &str) -> Option<Vec<u8>> {
    let value: &[u8] = match name {
        "GOOD" => b"hunter2-value",
        "EMPTY" => b"",
        "SHORT" => b"abc",
        "LINES" => b"hunter2\nX: y",
        "SPACE" => b" hunter2",
        "LONG" => return Some(vec![b'x'; usize::try_from(limits::SECRET_BYTES_MAX).unwrap() + 1]),
        _ => return None,
    };
    Some(value.to_vec())
}

#[test]
fn values_come_from_variables_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let (one, two) = (write("one", b"file-value\n"), write("two", b"file-value\r\n"));
    let policy = policy(&format!("A = {{ env = \"GOOD\" }}\nB = {{ file = \"{one}\" }}\nC = {{ file = \"{two}\" }}"));
    let secrets = Secrets::read(&policy, variable).unwrap();
    assert_eq!(secrets.get("A").unwrap().bytes(), b"hunter2-value");
    assert_eq!(secrets.get("B").unwrap().bytes(), b"file-value");
    assert_eq!(secrets.get("C").unwrap().bytes(), b"file-value");
    assert_eq!(format!("{secrets:?}"), r#"{"A", "B", "C"}"#);
    assert!(secrets.missing(&policy).is_empty());
    let missing = Secrets::default().missing(&policy);
    assert_eq!(missing.len(), 3);
    assert!(missing[0].to_string().contains("(line 3, column "), "{}", missing[0]);
}

#[test]
fn what_has_no_usable_value_is_refused_with_line_and_hint() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("none").display().to_string();
    let two_lines = folder.path().join("two");
    std::fs::write(&two_lines, "first-line\n\n").unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 20_000]).unwrap();
    for (source, message) in [
        ("env = \"ABSENT\"".to_owned(), "needs the environment variable `ABSENT`, which is not set"),
        ("env = \"EMPTY\"".to_owned(), "is empty"),
        ("env = \"SHORT\"".to_owned(), "has less than 4 bytes"),
        ("env = \"LINES\"".to_owned(), "cannot stand in a header"),
        ("env = \"SPACE\"".to_owned(), "cannot stand in a header"),
        ("env = \"LONG\"".to_owned(), "has more than 8192 bytes"),
        (format!("file = \"{absent}\""), "cannot be read: there is no file"),
        (format!("file = \"{}\"", folder.path().display()), "is not a file"),
        (format!("file = \"{}\"", two_lines.display()), "cannot stand in a header"),
        (format!("file = \"{}\"", large.display()), "is larger than"),
    ] {
        let problems = Secrets::read(&policy(&format!("X = {{ {source} }}")), variable).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        let text = problem.to_string();
        assert!(text.starts_with("/secrets/X (line 3, column 5): the secret `X`") && text.contains(message), "{text}");
        assert!(problem.hint.is_some() && problem.code == "missing-secret", "{text}");
        assert!(
            !text.contains("hunter2") && !problem.hint.as_deref().unwrap_or_default().contains("hunter2"),
            "{text}"
        );
    }
}
