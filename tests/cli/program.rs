//! The program in a folder of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use host_tests::test_host::cache_home;
use serde_json::Value;
use tempfile::TempDir;

/// A folder in which the program is started.
pub(crate) struct Program {
    folder: TempDir,
    /// Where the user's own things are: never the real home.
    home: TempDir,
}

/// How the program ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        let (folder, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let program = Self { folder, home };
        fs::create_dir_all(program.state("")).expect("a state folder");
        program
    }

    /// A place in the user's home.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A place in the state folder that the program takes where none is named.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        let folder = fs::canonicalize(self.folder.path()).expect("it is there");
        self.home("state/skillhost").join(state_name(&folder)).join(name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("written");
        self
    }

    /// Writes a file of the state folder.
    pub(crate) fn write_state(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.state(name), content).expect("written");
    }

    /// Starts the program with nothing of this process's environment and waits for its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_with(&[], args)
    }

    /// The same with these variables.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Ended {
        let output = self
            .command(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        self.ended(args, output)
    }

    /// The program with nothing of this process's environment, not yet started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-under-test"));
        command.args(args).current_dir(self.folder.path());
        self.surround(&mut command);
        command
    }

    /// Nothing of this process's environment, and a home of its own but for what is compiled.
    fn surround(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.home(""));
        command.env("XDG_STATE_HOME", self.home("state")).env("XDG_CONFIG_HOME", self.home("config"));
        // Shared with all tests, so that each component is compiled once.
        command.env("XDG_CACHE_HOME", cache_home());
    }

    /// The same with this on stdin.
    pub(crate) fn piped(&self, args: &[&str], stdin: &str) -> Ended {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut input = child.stdin.take().expect("a pipe");
        let text = stdin.to_owned();
        // It may answer before it has read everything, or end without reading.
        let writing = std::thread::spawn(move || input.write_all(text.as_bytes()).is_ok());
        let output = child.wait_with_output().expect("it ends");
        writing.join().expect("written, or not wanted");
        self.ended(args, output)
    }

    /// What a shell makes of a line, in which the program is `$HOST`.
    pub(crate) fn shell(&self, line: &str) -> Ended {
        let mut command = Command::new("/bin/sh");
        self.surround(&mut command);
        command.args(["-c", line]).env("HOST", env!("CARGO_BIN_EXE_host-under-test"));
        let output = command.env("PATH", "/usr/bin:/bin").current_dir(self.folder.path()).output().expect("a shell");
        self.ended(&[line], output)
    }

    fn ended(&self, args: &[&str], output: Output) -> Ended {
        let text = |bytes: Vec<u8>| self.named(&String::from_utf8(bytes).expect("UTF-8"));
        let ended = Ended {
            code: output.status.code().expect("it was not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(ended.code != 101 && !ended.stderr.contains("panicked"), "{args:?}: {}", ended.all());
        ended
    }

    /// The same with a terminal for stdin, stdout and stderr, on which these answers are typed. All that the terminal shows is `stdout`.
    /// The terminal is made by `script` of util-linux.
    pub(crate) fn on_terminal(&self, args: &[&str], answers: &str) -> Ended {
        let command = [&[env!("CARGO_BIN_EXE_host-under-test")], args].concat().join(" ");
        let mut terminal = Command::new("script");
        self.surround(&mut terminal);
        let mut child = terminal
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .envs([("NO_COLOR", "1"), ("SHELL", "/bin/sh"), ("PATH", "/usr/bin:/bin")])
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux starts");
        // Its end would be the end of the terminal.
        let mut keyboard = child.stdin.take().expect("a pipe");
        keyboard.write_all(answers.as_bytes()).expect("typed");
        let output = child.wait_with_output().expect("it ends");
        drop(keyboard);
        let text = |bytes: Vec<u8>| self.named(&String::from_utf8(bytes).expect("UTF-8").replace('\r', ""));
        let code = output.status.code().expect("it was not killed");
        Ended { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What a run waits for, as `--show` says it.
    pub(crate) fn subject(&self, run: &str) -> String {
        let (code, value) = self.json(&["approve", run, "--show"]);
        assert_eq!(code, 0, "{value:#}");
        value["result"]["subject"].as_str().expect("a digest").to_owned()
    }

    /// Approves what a run waits for, as somebody who has looked at it.
    pub(crate) fn approve(&self, run: &str, more: &[&str]) -> Ended {
        let subject = self.subject(run);
        self.run(&[&["approve", run, "--subject", &subject, "--by", "alice"][..], more].concat())
    }

    /// The same with `--json`: exactly one document on stdout.
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        let mut all = args.to_vec();
        all.push("--json");
        let ended = self.run(&all);
        let value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.all()));
        (ended.code, value)
    }

    /// Replaces what differs between two runs.
    fn named(&self, text: &str) -> String {
        let text = text.replace(&self.state("").display().to_string(), "$STATE/");
        let text = text.replace(self.state("").display().to_string().trim_end_matches('/'), "$STATE");
        let text = text.replace(&self.home.path().display().to_string(), "$HOME");
        let text = text.replace(&self.folder.path().display().to_string(), "$DIR");
        let text = without_subjects(text);
        let mut named = String::new();
        for line in text.split_inclusive('\n') {
            let mut rest = line;
            while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
                named.push_str(&rest[..at]);
                let word_end = rest[at..]
                    .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.')))
                    .map_or(rest.len(), |end| at + end);
                let word = &rest[at..word_end];
                if is_run_id(word) {
                    named.push_str("$RUN");
                } else if is_date(word) && rest.as_bytes().get(word_end + 3) == Some(&b':') {
                    named.push_str("$DATE");
                    rest = &rest[word_end + " 12:34:56".len()..];
                    continue;
                } else if let Some(unit) = unit(word, &rest[word_end..]) {
                    named.push_str("$TIME");
                    rest = &rest[word_end + unit.len()..];
                    continue;
                } else {
                    named.push_str(word);
                }
                rest = &rest[word_end..];
            }
            named.push_str(rest);
        }
        named.split_inclusive('\n').map(narrow).collect()
    }
}

/// What an answer is bound to holds the folder.
fn without_subjects(mut text: String) -> String {
    for word in ["subject: ", "subject "] {
        let mut from = 0;
        while let Some(at) = text[from..].find(word).map(|at| from + at + word.len()) {
            let is_digest = text[at..].bytes().take_while(u8::is_ascii_hexdigit).count() == 64;
            if is_digest {
                text.replace_range(at..at + 64, "$SUBJECT");
            }
            from = at;
        }
    }
    text
}

/// What the state of this folder is called: its name, and what tells it apart.
fn state_name(folder: &Path) -> String {
    let name = folder.file_name().expect("a name").to_str().expect("UTF-8").trim_start_matches('.');
    let digest = skillhost::id::Digest::of(folder.as_os_str().as_encoded_bytes()).to_string();
    format!("{name}-{}", &digest[..16])
}

/// How wide a column is depends on the times in it: two blanks stand for more of them, except at a line's beginning.
fn narrow(line: &str) -> String {
    let text = line.trim_start_matches(' ');
    let mut narrow = line[..line.len() - text.len()].to_owned();
    let mut blanks = 0;
    for c in text.chars() {
        blanks = if c == ' ' { blanks + 1 } else { 0 };
        if blanks <= 2 {
            narrow.push(c);
        }
    }
    narrow
}

/// `20261121T093804.857293Z-4eec2a1c`
fn is_run_id(word: &str) -> bool {
    word.len() > 20 && word.as_bytes()[8] == b'T' && word.contains("Z-")
}

/// `2026-11-21`
fn is_date(word: &str) -> bool {
    word.len() == 10 && word.as_bytes()[4] == b'-' && word.as_bytes()[7] == b'-'
}

/// The unit of a time: `12`, `1.5` before ` ms`, ` µs`, ` s`.
fn unit(word: &str, rest: &str) -> Option<&'static str> {
    let is_unit = |unit: &&str| rest.strip_prefix(*unit).is_some_and(|after| !after.starts_with(char::is_alphanumeric));
    word.parse::<f64>().ok().and([" ms", " µs", " us", " s"].into_iter().find(is_unit))
}

impl Ended {
    /// Everything in one block.
    pub(crate) fn all(&self) -> String {
        let mut text = String::new();
        writeln!(text, "exit {}", self.code).unwrap();
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                writeln!(text, "--- {name}").unwrap();
                for line in stream.lines() {
                    writeln!(text, "{}", line.trim_end()).unwrap();
                }
            }
        }
        text
    }
}
