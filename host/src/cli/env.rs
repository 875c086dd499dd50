//! What the program takes from its surroundings: read once, at the start, and nowhere else.

use std::ffi::OsString;
use std::io::IsTerminal as _;

/// The environment of one call of the program.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// `HOST_STATE`: the state folder where `--state` is not given.
    pub state: Option<OsString>,
    /// `HOST_POLICY`: the policy where `--policy` is not given.
    pub policy: Option<OsString>,
    /// Whether `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// Whether stdin is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether stdout is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether stderr is a terminal.
    pub stderr_is_terminal: bool,
    /// The terminal's width.
    pub width: Option<usize>,
    /// The variables that a policy's `[secrets]` may name; looked at for those alone.
    pub secrets: Option<fn(&str) -> Option<OsString>>,
}

impl Env {
    /// The environment of this process. An empty variable counts as one that is not set.
    #[must_use]
    pub fn of_process() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = var("TERM").is_some_and(|term| term == "dumb");
        Self {
            state: var("HOST_STATE"),
            policy: var("HOST_POLICY"),
            no_color: var("NO_COLOR").is_some() || dumb,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            width: terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)),
            secrets: Some(|name| std::env::var_os(name)),
        }
    }

    /// The value of a variable that holds a secret, as its bytes.
    pub(crate) fn secret(&self, name: &str) -> Option<Vec<u8>> {
        self.secrets.and_then(|variable| variable(name)).map(OsString::into_encoded_bytes)
    }
}
