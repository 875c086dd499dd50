//! Secrets as they are declared and used.

use super::*;
use crate::policy::Policy;
use crate::problem::Problem;

const HEAD: &str = "schema = \"skillhost.policy/1\"\n";

fn parse(secrets: &str, env: &str) -> Result<Policy, Vec<Problem>> {
    Policy::parse(&format!(
        "{HEAD}[secrets]\n{secrets}\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\nenv = {{ {env} }}\n"
    ))
}

#[test]
fn declarations_and_uses_are_read() {
    let policy = parse(
        "A = { env = \"X\" }\nB = { file = \"/run/b\" }",
        "ONE = { secret = \"A\" }, TWO = { secret = \"B\" }, THREE = \"text\", FOUR = { request = \"X\", default = \"\" }",
    );
    let policy = policy.unwrap();
    assert_eq!(policy.secrets["A"].source, SecretSource::Env("X".to_owned()));
    assert_eq!(policy.secrets["B"].source, SecretSource::File("/run/b".into()));
    assert_eq!(policy.secrets["B"].position.line, 4);
    let text = "[secrets]\nA = { env = \"X\" }\n[[grant]]\nskills = [\"a\"]\ntools = [\"*\"]\n\
                config = { \"a key=\" = \"\", key = { secret = \"A\" } }\n";
    let settings = &Policy::parse(&format!("{HEAD}{text}")).unwrap().grants[0].config;
    assert_eq!(settings["a key="], EnvValue::Text(String::new()));
    assert_eq!(settings["key"], EnvValue::Secret("A".to_owned()));
    let env = &policy.grants[0].env;
    assert_eq!(env["ONE"], EnvValue::Secret("A".to_owned()));
    assert_eq!(env["THREE"], EnvValue::Text("text".to_owned()));
    assert_eq!(env["FOUR"], EnvValue::Request { name: "X".to_owned(), default: Some(String::new()) });
}

#[test]
fn what_does_not_fit_is_refused_with_line_and_hint() {
    let used = "X = { secret = \"A\" }";
    for (secrets, env, code, line, hint) in [
        ("A = { env = \"X\" }", "", "unused-secret", 3, "remove it"),
        ("", used, "unknown-secret", 7, "add `A = { env = \"A\" }`"),
        (
            "AA = { env = \"X\" }",
            "X = { secret = \"AB\" }, Y = { secret = \"AA\" }",
            "unknown-secret",
            7,
            "did you mean `AA`?",
        ),
        ("A = \"value\"", used, "bad-secret", 3, "{ env = \"NAME\" }"),
        ("A = {}", used, "missing-key", 3, "{ env = \"NAME\" }"),
        ("A = { env = \"X\", file = \"/x\" }", used, "bad-secret", 3, "{ env = \"NAME\" }"),
        ("A = { env = \"\" }", used, "bad-secret", 3, "no `=`"),
        ("A = { file = \"x\" }", used, "bad-host-path", 3, "absolute"),
        ("A = { file = \"/a/../x\" }", used, "bad-host-path", 3, "absolute"),
        ("A = { value = \"x\" }", used, "unknown-key", 3, "env, file"),
        ("\"A-B\" = { env = \"X\" }", "", "bad-secret", 3, "a letter"),
        ("", "X = { secret = \"1\" }", "bad-secret", 7, "a letter"),
        ("", "X = {}", "missing-key", 7, "{ secret = \"NAME\" }"),
        ("", "X = { default = \"x\" }", "missing-key", 7, "{ request = \"NAME\" }"),
        ("", "X = { request = \"A=B\" }", "bad-env", 7, "no `=`"),
        ("", "X = { request = \"A\", default = \"\\u0000\" }", "bad-env", 7, ""),
        ("A = { env = \"X\" }", "X = { request = \"A\", secret = \"A\" }", "bad-env", 7, "{ secret = \"NAME\" }"),
        ("A = { env = \"X\" }", "X = { secret = \"A\", default = \"a\" }", "bad-env", 7, ""),
        ("", "X = 1", "wrong-type", 7, ""),
        ("", "\"A=B\" = \"x\"", "bad-env", 7, "no `=`"),
        ("", "A = \"\\u0000\"", "bad-env", 7, ""),
    ] {
        let problems = parse(secrets, env).unwrap_err();
        let problem = problems.iter().find(|problem| problem.code == code);
        let Some(problem) = problem else { panic!("{secrets} {env}: {problems:?}") };
        assert_eq!(problem.position.unwrap().line, line, "{problem}");
        assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{problem}: {:?}", problem.hint);
        assert!(!problem.message.contains("value\""), "{problem}");
    }
    let many: Vec<String> = (0..=limits::SECRETS_MAX).map(|index| format!("S{index} = {{ env = \"X\" }}")).collect();
    let found = parse(&many.join("\n"), "").unwrap_err();
    assert!(found.iter().any(|problem| problem.code == "too-many-secrets"), "{found:?}");
}
