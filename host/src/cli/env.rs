//! What the program takes from its surroundings: read once, at the start, and nowhere else.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;
use crate::notify::{Operator, SigningKey};
use crate::problem::Problem;

/// The running program: also after its file was replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";
const WEBHOOK: &str = "HOST_APPROVAL_WEBHOOK";
const KEY: &str = "HOST_APPROVAL_SECRET";

/// The environment of one call of the program.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// `HOST_STATE`: the state folder where `--state` is not given.
    pub state: Option<OsString>,
    /// `HOME`, else what the system's list of users says.
    pub home: Option<OsString>,
    /// `XDG_STATE_HOME`: below it are the state folders of those who name none.
    pub state_home: Option<OsString>,
    /// `XDG_CACHE_HOME`: below it is what can be made again.
    pub cache_home: Option<OsString>,
    /// `XDG_CONFIG_HOME`: below it is what the operator says.
    pub config_home: Option<OsString>,
    /// `HOST_POLICY`: the policy where `--policy` is not given.
    pub policy: Option<OsString>,
    /// `HOST_BUNDLE_ROOT`, else `EP_FILES_ROOT`: the bundle where `--bundle` is not given.
    pub bundle: Option<OsString>,
    /// `HOST_APPROVAL_WEBHOOK`: the URL that is told of what waits for a person where neither plan nor policy names one. Who messages are
    /// from is signed with `HOST_APPROVAL_SECRET`, which is looked at when the first is sent.
    pub approval_webhook: Option<OsString>,
    /// `HOST_PRETTY_JSON`, or `AIEL_PRETTY_JSON`: whether answers of `host exec` are indented, whatever its options say.
    pub pretty_json: Option<bool>,
    /// `HOST_AUTO_CTX`, or `AIEL_AUTO_CTX`: whether `host exec` looks for who asks, whatever its options say.
    pub auto_ctx: Option<bool>,
    /// `HOST_GRACE_MS`: for how long after a signal a run may still come to its end.
    pub grace_ms: Option<OsString>,
    /// Where what is needed for a moment is put.
    pub temporary: PathBuf,
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
    /// The program that compiles components when it is started for that: this one, whatever its file is called by now. Without one they are compiled
    /// here, within stricter bounds.
    pub program: Option<PathBuf>,
    /// `LD_LIBRARY_PATH`: what this program needed to start, it needs as a compiler.
    pub library_path: Option<OsString>,
    /// How many lines the terminal has.
    pub height: Option<usize>,
    /// The variables that a policy's `[secrets]` may name; looked at for those alone.
    pub secrets: Option<fn(&str) -> Option<OsString>>,
}

impl Env {
    /// The environment of this process. An empty variable counts as one that is not set.
    #[must_use]
    pub fn of_process() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let flag = |names: &[&str]| names.iter().find_map(|name| var(name)).and_then(|value| truth(&value));
        let dumb = var("TERM").is_some_and(|term| term == "dumb");
        Self {
            state: var("HOST_STATE"),
            home: var("HOME").or_else(|| std::env::home_dir().map(Into::into)),
            state_home: var("XDG_STATE_HOME"),
            cache_home: var("XDG_CACHE_HOME"),
            config_home: var("XDG_CONFIG_HOME"),
            policy: var("HOST_POLICY"),
            bundle: var("HOST_BUNDLE_ROOT").or_else(|| var("EP_FILES_ROOT")),
            approval_webhook: var(WEBHOOK),
            pretty_json: flag(&["HOST_PRETTY_JSON", "AIEL_PRETTY_JSON"]),
            auto_ctx: flag(&["HOST_AUTO_CTX", "AIEL_AUTO_CTX"]),
            grace_ms: var("HOST_GRACE_MS"),
            temporary: std::env::temp_dir(),
            no_color: var("NO_COLOR").is_some() || dumb,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            width: terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)),
            program: this_program(),
            library_path: var("LD_LIBRARY_PATH"),
            height: terminal_size::terminal_size().map(|(_, height)| usize::from(height.0)),
            secrets: Some(|name| std::env::var_os(name)),
        }
    }

    /// What the environment says of webhooks.
    ///
    /// # Errors
    ///
    /// Where `HOST_APPROVAL_SECRET` is no key, or `HOST_APPROVAL_WEBHOOK` no text.
    pub fn operator(&self) -> Result<Operator, Problem> {
        let bad = |variable: &str, message: String, hint: &str| {
            Problem::new("bad-environment", "", format!("`{variable}`: {message}")).with_hint(hint)
        };
        let webhook = self.approval_webhook.as_ref().map(|url| {
            url.to_str().map(str::to_owned).ok_or_else(|| bad(WEBHOOK, "it is not UTF-8".to_owned(), "give it a url"))
        });
        let key = self.secret(KEY).filter(|key| !key.is_empty()).map(SigningKey::new).transpose();
        let key = key.map_err(|error| bad(KEY, error.to_string(), "use a long random one, or unset it"))?;
        Ok(Operator { webhook: webhook.transpose()?, key })
    }

    /// For how long after a signal a run may still come to its end. What is no number counts as one that is not set: signals work whatever
    /// the environment says.
    pub(crate) fn grace(&self) -> Duration {
        let said = self.grace_ms.as_ref().and_then(|text| text.to_str()).and_then(|text| text.parse().ok());
        Duration::from_millis(said.unwrap_or(limits::GRACE_MS_DEFAULT).min(limits::GRACE_MS_MAX))
    }

    /// The value of a variable that holds a secret, as its bytes.
    pub(crate) fn secret(&self, name: &str) -> Option<Vec<u8>> {
        self.secrets.and_then(|variable| variable(name)).map(OsString::into_encoded_bytes)
    }
}

/// The file of the running program; `None` where another one runs it. Under valgrind that is valgrind, whose processor has less than the real
/// one: what a child compiles for the latter would not run.
fn this_program() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;

    let file = |path: &std::path::Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let running = PathBuf::from(THIS_PROGRAM);
    // A file that was replaced has no name any more, and the program is what it was.
    let is_run_by_another =
        std::env::current_exe().is_ok_and(|named| file(&named).is_some() && file(&named) != file(&running));
    (!is_run_by_another).then_some(running)
}

/// What a variable says that is on or off; nothing where it says something else.
fn truth(value: &std::ffi::OsStr) -> Option<bool> {
    match value.to_str()?.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}
