//! Who writes to the terminal, and by which way.

use host_tests::repo;

/// Files that name a standard stream, with the reason.
const STREAMS: [(&str, &str); 3] = [
    ("host/src/cli/output.rs", "writes"),
    ("host/src/cli/env.rs", "asks whether it is a terminal"),
    ("host/src/cli/progress.rs", "has a progress line drawn, of harmless text"),
];

#[test]
fn one_file_writes_to_the_terminal() {
    for (path, text) in repo::rust_files("host/src") {
        let code = text.split("#[cfg(test)]\nmod ").next().expect("some");
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in ["::stdout()", "::stderr()", "println!", "print!(", "/dev/tty", "/dev/stdout", "/dev/stderr"] {
            let line = code.iter().find(|line| line.contains(word));
            let may = STREAMS.iter().any(|(file, _)| *file == path) && word.ends_with("()");
            assert!(line.is_none() || may, "{path} names `{word}`: `cli/output.rs` alone writes to the terminal");
        }
    }
    assert!(repo::text("host/src/cli/progress.rs").contains("bar.set_message(harmless("));
}

#[test]
fn whatever_is_written_was_made_harmless() {
    let text = repo::text("host/src/cli/output.rs");
    // `Shown` has one field, and only the ways to one that are named here make it.
    let makes: Vec<&str> = text.lines().filter(|line| line.contains("Self(") || line.contains("Shown(")).collect();
    let known = [
        "Self(harmless::painted(text, look.color))",
        "Self(harmless::json(text))",
        "Form::Document => Self(Cow::Borrowed(&reply.text)),",
    ];
    assert_eq!(makes.iter().map(|line| line.trim()).collect::<Vec<_>>(), known);
    // Each of the writes takes one.
    for line in text.lines().filter(|line| line.contains("write_all(")) {
        assert!(line.contains(".0.as_bytes()") || line.contains("text.0.as_bytes()"), "{line}");
    }
}
