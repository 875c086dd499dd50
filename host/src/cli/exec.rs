//! `host exec`: the JSON protocol on stdin and stdout. Whatever happens, stdout gets answers and nothing else, and stderr nothing.

use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::bundle::MANIFEST;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::cli::output;
use crate::cli::session::{HostArgs, Session};
use crate::clock::Stopwatch;
use crate::context::RequestContext;
use crate::document;
use crate::host::SkillHost;
use crate::limits;
use crate::problem::Problem;
use crate::protocol::request::{self, Refused};
use crate::protocol::{self, Detail, Failure, Request, Response, Settings};

/// What the file of `--auto-ctx` is called in the state folder.
const CONTEXT_FILE: &str = "context.json";

/// Answers a JSON request with a JSON answer: from stdin, or put together from these options
#[derive(Debug, clap::Args)]
pub(crate) struct Exec {
    /// What is asked for: `describe`, `invoke` or `execute`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// The kind of what is invoked [default: tool]
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// What is invoked, such as `text.split`
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// The older name of `--handler`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The input
    #[arg(long, value_name = "JSON")]
    event: Option<String>,
    /// The older name of `--event`
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// The request to an export of the kind `http`: an object with `method` and `path`
    #[arg(long, value_name = "JSON")]
    http: Option<String>,
    /// The call of a tool of an export of the kind `mcp`: an object with `server`, `tool` and `args`
    #[arg(long, value_name = "JSON")]
    mcp: Option<String>,
    /// Who asks: an object of ids
    #[arg(long, value_name = "JSON")]
    ctx: Option<String>,
    /// The most that the tool may have: an object such as `{"network": true}`
    #[arg(long, value_name = "JSON")]
    capabilities: Option<String>,
    /// The time that it may take, in milliseconds [default: 30000]
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// The id of the request [default: a new one]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// The caller's trace [default: a new one]
    #[arg(long, value_name = "ID")]
    trace_id: Option<String>,
    /// Of two requests with one key that ask for the same, the second is given the answer of the first
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The version of the protocol [default: v1]
    #[arg(long, value_name = "VERSION")]
    schema_version: Option<String>,
    /// Answers every line of stdin with a line on stdout, in their order, until stdin ends
    #[arg(long)]
    stream: bool,
    /// Indents the answer [env: HOST_PRETTY_JSON, AIEL_PRETTY_JSON, which count before it]
    #[arg(long, conflicts_with = "stream")]
    pretty: bool,
    /// Takes who asks from `context.json` in the state folder where a request does not say it [env: HOST_AUTO_CTX, AIEL_AUTO_CTX, which
    /// count before it]
    #[arg(long)]
    auto_ctx: bool,
    /// Which runs are kept: those that may have an effect, or all
    #[arg(long, value_name = "WHICH", default_value = "effects")]
    record: Record,
    /// Tells where the time went, in `meta.timings`
    #[arg(long)]
    debug: bool,
    /// Leaves out of answers where in the guest something failed
    #[arg(long)]
    no_traceback: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// Which runs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Record {
    /// Those that may have an effect: their grant has folders or a network
    Effects,
    /// Every one
    All,
}

impl Exec {
    /// Answers. Gives how the program ends: as the answer says, or well where it gave many.
    pub(crate) fn run(&self, session: &Session) -> Exit {
        let started = Stopwatch::start();
        let environment = self.environment(session);
        let (host, settings) = match environment {
            Ok(environment) => environment,
            Err(failure) => return self.refuse(session, &failure, started),
        };
        let mut protocol = protocol::Session::new(&host, settings.clone());
        if self.stream {
            // Who reads many answers would take it for one of them.
            session.interrupt.tells(drop);
            return stream(&mut protocol, &session.interrupt);
        }
        let is_pretty = self.is_pretty(session);
        session.interrupt.tells(move |error| interrupted(&error, started, is_pretty));
        let request = self.request();
        let orderly = session.interrupt.orderly();
        let response = protocol.answer_read(request, started);
        drop(orderly);
        session.interrupt.claim();
        let exit = Exit::of_code(response.exit());
        let exit = session.interrupt.exit().filter(|_| exit != Exit::Success).unwrap_or(exit);
        write(&response, is_pretty, exit)
    }

    /// What answers, and how.
    fn environment(&self, session: &Session) -> Result<(SkillHost, Settings), Box<Failure>> {
        if self.stream && self.is_by_options() {
            let failure = Failure::new(Detail::RequestInvalid, "`--stream` takes its requests from stdin");
            return Err(Box::new(failure.hint("leave out the options that make a request, or `--stream`")));
        }
        let context = self.context(session)?;
        let mut host = self.host.clone();
        // Whoever starts it in a bundle means that one.
        if host.bundle.bundle.is_none() && session.env().bundle.is_none() && Path::new(MANIFEST).is_file() {
            host.bundle.bundle = Some(PathBuf::from("."));
        }
        let builder = session.running_builder(&host).map_err(|error| Box::new(of_cli(&error)))?;
        // Looked at before the plan of the call is made, loaded once for both.
        let builder = builder.observer(session.interrupt.observer(&session.state_option()));
        let host = builder.keep_warm(true).build();
        let settings = Settings {
            record_all: self.record == Record::All,
            timings: self.debug,
            no_traceback: self.no_traceback,
            context,
            cancel: session.interrupt.token(),
        };
        Ok((host, settings))
    }

    /// The answer where nothing can be answered. Of many requests every one is told.
    fn refuse(&self, session: &Session, failure: &Failure, started: Stopwatch) -> Exit {
        let host = SkillHost::builder().build();
        let mut protocol = protocol::Session::new(&host, Settings::default());
        let refused: Refused = Box::new((failure.clone(), RequestContext::default()));
        let response = protocol.answer_read(Err(refused), started);
        write(&response, self.is_pretty(session) && !self.stream, Exit::of_code(response.exit()))
    }

    fn is_pretty(&self, session: &Session) -> bool {
        session.env().pretty_json.unwrap_or(self.pretty)
    }

    /// Whether the options make a request.
    fn is_by_options(&self) -> bool {
        let texts = [
            &self.action,
            &self.kind,
            &self.handler,
            &self.name,
            &self.event,
            &self.payload,
            &self.http,
            &self.mcp,
            &self.ctx,
            &self.capabilities,
            &self.request_id,
            &self.trace_id,
            &self.idempotency_key,
            &self.schema_version,
        ];
        texts.iter().any(|text| text.is_some()) || self.timeout_ms.is_some()
    }

    /// The one request.
    fn request(&self) -> Result<Request, Refused> {
        if self.is_by_options() {
            return Request::of(self.assembled()?);
        }
        let mut bytes = Vec::new();
        let bounded = limits::EXEC_REQUEST_BYTES_MAX as u64 + 1;
        match io::stdin().lock().take(bounded).read_to_end(&mut bytes) {
            Ok(_) => Request::parse(&bytes),
            Err(error) => {
                let failure = Failure::new(Detail::RequestInvalid, format!("stdin cannot be read: {error}"));
                Err(Box::new((failure, RequestContext::default())))
            }
        }
    }

    /// The request that the options make.
    fn assembled(&self) -> Result<Value, Refused> {
        let mut request = Map::new();
        let texts = [
            ("schema_version", &self.schema_version),
            ("action", &self.action),
            ("kind", &self.kind),
            ("handler", &self.handler),
            ("name", &self.name),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                request.insert(key.to_owned(), json!(text));
            }
        }
        let values = [
            ("event", &self.event),
            ("payload", &self.payload),
            ("http", &self.http),
            ("mcp", &self.mcp),
            ("ctx", &self.ctx),
        ];
        for (key, text) in values {
            if let Some(text) = text {
                request.insert(key.to_owned(), parsed(key, text)?);
            }
        }
        let mut meta = Map::new();
        if let Some(text) = &self.capabilities {
            meta.insert("capabilities".to_owned(), parsed("capabilities", text)?);
        }
        let texts = [
            ("request_id", &self.request_id),
            ("trace_id", &self.trace_id),
            ("idempotency_key", &self.idempotency_key),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                meta.insert(key.to_owned(), json!(text));
            }
        }
        if let Some(timeout_ms) = self.timeout_ms {
            meta.insert("timeout_ms".to_owned(), json!(timeout_ms));
        }
        request.insert("meta".to_owned(), Value::Object(meta));
        Ok(Value::Object(request))
    }

    /// Who asks where a request does not say it.
    fn context(&self, session: &Session) -> Result<RequestContext, Box<Failure>> {
        if !session.env().auto_ctx.unwrap_or(self.auto_ctx) {
            return Ok(RequestContext::default());
        }
        let path = session.state().join(CONTEXT_FILE);
        if !path.exists() {
            return Ok(RequestContext::default());
        }
        let wrong = |problems: Vec<Problem>| {
            let problems: Vec<Problem> = problems.into_iter().map(|problem| problem.in_file(&path)).collect();
            let failure = Failure::of_problems(Detail::RequestInvalid, &problems).with("document", CONTEXT_FILE);
            Box::new(failure)
        };
        let bytes = document::read_limited(&path).map_err(|problem| wrong(vec![problem]))?;
        let value = crate::json::parse(&bytes).map_err(|problem| wrong(vec![problem]))?;
        request::known_context(&value).map_err(wrong)
    }
}

/// The JSON of an option.
fn parsed(option: &str, text: &str) -> Result<Value, Refused> {
    crate::json::parse(text.as_bytes()).map_err(|problem| {
        let failure = Failure::new(Detail::RequestInvalid, format!("`--{option}`: {problem}"));
        let failure = failure.hint(problem.hint.unwrap_or_else(|| "give JSON".to_owned()));
        Box::new((failure, RequestContext::default()))
    })
}

/// Answers a request that a signal has ended before it was answered.
pub(crate) fn interrupted(error: &Error, started: Stopwatch, is_pretty: bool) {
    let told = error.to_json();
    let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
    let failure = Failure::new(Detail::Cancelled, text("message").unwrap_or_default());
    let failure = match text("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    };
    let host = SkillHost::builder().build();
    let refused: Refused = Box::new((failure, RequestContext::default()));
    let response = protocol::Session::new(&host, Settings::default()).answer_read(Err(refused), started);
    write(&response, is_pretty, error.kind);
}

/// Answers line by line until stdin ends, nobody reads the answers or a signal comes: the request that is under way is answered first.
fn stream(protocol: &mut protocol::Session<'_>, interrupt: &Interrupt) -> Exit {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        if let Some(exit) = interrupt.exit() {
            return exit;
        }
        line.clear();
        let answer = match read_line(&mut input, &mut line) {
            Ok(Line::End) => return Exit::Success,
            Ok(Line::Whole) if line.trim_ascii().is_empty() => continue,
            Ok(Line::Whole) => {
                let _orderly = interrupt.orderly();
                protocol.answer(line.trim_ascii())
            }
            Ok(Line::TooLong) => protocol.answer_read(Err(request::too_large()), Stopwatch::start()),
            Err(_) => return Exit::Internal,
        };
        // An answer is strings, numbers and values: writing it as JSON cannot fail.
        let mut text = serde_json::to_string(&answer).unwrap_or_default();
        text.push('\n');
        if let Err(error) = output::answer(&text) {
            // A reader that goes away has what it wanted.
            return if error.kind() == io::ErrorKind::BrokenPipe { Exit::Success } else { Exit::Internal };
        }
    }
}

/// What was read.
enum Line {
    Whole,
    /// The rest of it was skipped.
    TooLong,
    End,
}

/// Reads one line, of which no more than may be is kept.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    let mut too_long = false;
    loop {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(match (too_long, line.is_empty()) {
                (true, _) => Line::TooLong,
                (false, true) => Line::End,
                (false, false) => Line::Whole,
            });
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if too_long || line.len() + part.len() > limits::EXEC_REQUEST_BYTES_MAX {
            too_long = true;
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        let taken = end.map_or(bytes.len(), |end| end + 1);
        input.consume(taken);
        if end.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
    }
}

/// Writes the one answer.
fn write(response: &Response, pretty: bool, exit: Exit) -> Exit {
    let document = response.to_json();
    let text = if pretty { format!("{document:#}\n") } else { format!("{document}\n") };
    match output::answer(&text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe && exit == Exit::Success => Exit::Internal,
        _ => exit,
    }
}

/// A command line that is wrong, as an answer.
pub(crate) fn usage(message: &str) -> Exit {
    refused(Failure::new(Detail::RequestInvalid, Error::usage(message).first()).hint("see `host exec --help`"))
}

/// The answer where the program's surroundings lack something.
pub(crate) fn without_session(error: &Error) -> Exit {
    refused(Failure { detail: Detail::RequestInvalid, ..of_cli(error) })
}

/// Answers without a request.
fn refused(failure: Failure) -> Exit {
    let host = SkillHost::builder().build();
    let mut protocol = protocol::Session::new(&host, Settings::default());
    let refused: Refused = Box::new((failure, RequestContext::default()));
    let response = protocol.answer_read(Err(refused), Stopwatch::start());
    write(&response, false, Exit::of_code(response.exit()))
}

/// Why the policy or the surroundings cannot be put into force.
fn of_cli(error: &Error) -> Failure {
    let told = error.to_json();
    let problem = |member: &str| {
        let text = told.pointer("/details/problems/0").and_then(|problem| problem.get(member)).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let detail = match error.kind {
        Exit::SkillLoad if problem("code") == "bundle-not-found" => Detail::BundleNotFound,
        Exit::SkillLoad if problem("code") == "bundle-changed" => Detail::BundleChanged,
        Exit::SkillLoad if problem("code").starts_with("bundle-") || problem("pointer").starts_with(MANIFEST) => {
            Detail::BundleInvalid
        }
        Exit::SkillLoad => Detail::SkillInvalid,
        Exit::Internal => Detail::StateError,
        Exit::Denied => Detail::PolicyDenied,
        _ => Detail::PolicyInvalid,
    };
    let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
    let failure = Failure::new(detail, text("message").unwrap_or_default());
    let failure = match text("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    };
    match told.get("details").and_then(Value::as_object) {
        Some(details) => Failure { details: details.clone(), ..failure },
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_skipped_to_its_end() {
        let mut text = vec![b'x'; limits::EXEC_REQUEST_BYTES_MAX + 1];
        text.extend_from_slice(b"\nnext\n\nlast");
        let (mut input, mut line) = (io::BufReader::new(text.as_slice()), Vec::new());
        assert!(matches!(read_line(&mut input, &mut line), Ok(Line::TooLong)));
        for expected in ["next", "", "last"] {
            line.clear();
            assert!(matches!(read_line(&mut input, &mut line), Ok(Line::Whole)));
            assert_eq!(line, expected.as_bytes());
        }
        line.clear();
        assert!(matches!(read_line(&mut input, &mut line), Ok(Line::End)));
    }
}
