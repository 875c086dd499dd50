//! The only place that writes to stdout and stderr. A reader that goes away (a closed pipe) is no error.
//!
//! Owns that nothing a person is shown can drive a terminal: only a [`Shown`] is written, and each way to one makes its text harmless.

use std::borrow::Cow;
use std::io::{self, BufRead as _, ErrorKind, Read as _, Write};

use serde_json::{Map, Value, json};

use crate::cli::env::Env;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::reply::{Form, Reply};
use crate::cli::{ColorChoice, DurabilityChoice, Global};
use crate::clock::Stopwatch;
use crate::harmless;
use crate::report::human::{Look, Tone};

/// What stands below a page that is not the last.
const MORE: &str = "\n-- Enter shows more --";
/// The smallest page: a terminal that says that it has fewer lines is not believed.
const PAGE_ROWS_MIN: usize = 8;
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1_000;

/// Where and how to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// How stdout looks.
    pub(crate) look: Look,
    /// How stderr looks.
    err_look: Look,
    /// How many lines of a question fit on the terminal.
    height: Option<usize>,
    /// Whether progress may be drawn on stderr.
    pub(crate) progress: bool,
    /// Whether every line on stderr is an event, in JSON.
    pub(crate) events: bool,
}

/// Text that may be written. There is no other way to one than those below.
struct Shown<'t>(Cow<'t, str>);

impl<'t> Shown<'t> {
    /// Lines for people. Only the colours of our own are left in it, where it shall have any.
    fn people(text: &'t str, look: &Look) -> Self {
        Self(harmless::painted(text, look.color))
    }

    /// JSON: the same values.
    fn json(text: &'t str) -> Self {
        Self(harmless::json(text))
    }

    /// What a command hands over, as it is meant.
    fn reply(reply: &'t Reply, look: &Look) -> Self {
        match reply.form {
            Form::People => Self::people(&reply.text, look),
            Form::Json => Self::json(&reply.text),
            Form::Document => Self(Cow::Borrowed(&reply.text)),
        }
    }
}

/// Where the program that started this one reads: no terminal.
pub(crate) fn to_parent() -> impl Write {
    io::stdout().lock()
}

/// Writes a line to stderr, for the program that started this one.
pub(crate) fn complain(text: &str) {
    write(&mut io::stderr().lock(), &Shown::json(&format!("{text}\n")));
}

/// Writes one event to stderr, as a line of its own.
pub(crate) fn event(event: &Value) {
    write(&mut io::stderr().lock(), &Shown::json(&format!("{event}\n")));
}

/// Writes an answer of `host exec`, which is JSON.
///
/// # Errors
///
/// What the system says, also where nobody reads it any more.
pub(crate) fn answer(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(Shown::json(text).0.as_bytes()).and_then(|()| stdout.flush())
}

impl Output {
    pub(crate) fn new(global: &Global, env: &Env) -> Self {
        let color = |terminal: bool| match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !env.no_color,
        };
        let look = |terminal: bool| Look {
            color: color(terminal),
            width: env.width.filter(|_| terminal),
            verbose: global.verbose,
        };
        let (out, err) = (env.stdout_is_terminal, env.stderr_is_terminal);
        Self {
            json: global.json,
            quiet: global.quiet,
            look: look(out),
            err_look: look(err),
            height: env.height.filter(|_| err),
            progress: err && !global.quiet && !global.json,
            events: false,
        }
    }

    /// The same where what goes to stderr are events: nothing else is drawn or said there.
    pub(crate) const fn with_events(self, events: bool) -> Self {
        Self { events, progress: self.progress && !events, ..self }
    }

    /// For a command line that could not be read.
    pub(crate) fn for_usage(env: &Env, json: bool) -> Self {
        let durability = DurabilityChoice::Full;
        let global = Global { state: None, json, color: ColorChoice::Auto, durability, quiet: false, verbose: false };
        Self::new(&global, env)
    }

    /// A line on stderr for people, unless they asked for silence.
    pub(crate) fn say(&self, label: &str, text: &str) {
        if self.events && !self.quiet {
            event(&json!({ "event": label, "message": text }));
        } else if !self.quiet && !self.json {
            let label = self.err_look.paint(Tone::Note, &format!("{label}:"));
            let line = format!("{label} {}\n", harmless::line(text));
            write(&mut io::stderr().lock(), &Shown::people(&line, &self.err_look));
        }
    }

    /// Asks on stderr, whatever else is silent, and reads a line from stdin; `None` where there is none. What does not fit on the terminal is
    /// shown page by page: nobody is asked about what has gone by.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        let height = self.height.map_or(usize::MAX, |height| height.saturating_sub(1).max(PAGE_ROWS_MIN));
        let question = Shown::people(question, &self.err_look).0;
        let mut pages = pages(&question, height, self.err_look.width.unwrap_or(usize::MAX)).into_iter().peekable();
        while let Some(page) = pages.next() {
            if !write(&mut io::stderr().lock(), &Shown::people(page, &self.err_look)) {
                return None;
            }
            if pages.peek().is_some() {
                let more = if page.ends_with('\n') { MORE.trim_start() } else { MORE };
                write(&mut io::stderr().lock(), &Shown::people(more, &self.err_look));
                read_line()?;
            }
        }
        read_line()
    }

    /// Writes a part of what goes to stdout for people. Gives false where nobody reads it any more.
    pub(crate) fn stream(&self, text: &str) -> bool {
        io::stdout().lock().write_all(Shown::people(text, &self.look).0.as_bytes()).is_ok()
    }

    /// Writes how a command ended.
    pub(crate) fn reply(&self, result: Result<Reply, Error>, started: Stopwatch, notes: &[String]) -> Exit {
        let (reply, failure) = match result {
            Ok(mut reply) => {
                let failure = reply.failure.take();
                (reply, failure)
            }
            Err(error) => (Reply::default(), Some(error)),
        };
        let exit = failure.as_ref().map_or(Exit::Success, |failure| failure.kind);
        if let (Some(failure), true) = (&failure, self.events) {
            event(&json!({ "event": "error", "exit_code": exit.code(), "error": failure.to_json() }));
        }
        let written = if self.json {
            let document = envelope(reply, failure.as_ref(), started, notes);
            write(&mut io::stdout().lock(), &Shown::json(&format!("{document}\n")))
        } else {
            let written = write(&mut io::stdout().lock(), &Shown::reply(&reply, &self.look));
            if let Some(failure) = failure.as_ref().filter(|_| !self.events) {
                let text = failure.render(&self.err_look);
                write(&mut io::stderr().lock(), &Shown::people(&text, &self.err_look));
            }
            written
        };
        if written { exit } else { self.lost(exit) }
    }

    /// Writes why a signal has ended a command.
    pub(crate) fn ended(&self, error: Error, started: Stopwatch) {
        self.reply(Err(error), started, &[]);
    }

    /// Stdout could not be written, for another reason than that nobody reads it: a success is none then.
    fn lost(&self, exit: Exit) -> Exit {
        write(&mut io::stderr().lock(), &Shown::people("error: cannot write to stdout\n", &self.err_look));
        if exit == Exit::Success { Exit::Internal } else { exit }
    }

    /// Writes what clap says about a wrong command line, with the hint that every error of ours has in the place of its last line.
    pub(crate) fn usage_error(&self, error: &clap::Error, command: &str) -> Exit {
        let text = error.render();
        let text = if self.err_look.color { text.ansi().to_string() } else { text.to_string() };
        let said = text.rfind("For more information").and_then(|at| text.get(..at)).unwrap_or(&text);
        let hint = self.err_look.paint(Tone::Good, "hint:");
        let said = format!("{}\n\n{hint} see `{command} --help`\n", said.trim_end());
        write(&mut io::stderr().lock(), &Shown::people(&said, &self.err_look));
        Exit::Request
    }

    /// Writes the help or the version.
    pub(crate) fn help(&self, error: &clap::Error) -> Exit {
        let text = error.render();
        let written = if self.json {
            let document = envelope(Reply::new("", json!(text.to_string())), None, Stopwatch::start(), &[]);
            write(&mut io::stdout().lock(), &Shown::json(&format!("{document}\n")))
        } else {
            let text = if self.look.color { text.ansi().to_string() } else { text.to_string() };
            write(&mut io::stdout().lock(), &Shown::people(&text, &self.look))
        };
        if written { Exit::Success } else { self.lost(Exit::Success) }
    }
}

/// A line from stdin.
fn read_line() -> Option<String> {
    let mut line = String::new();
    let read = io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut line);
    read.ok().filter(|bytes| *bytes > 0).map(|_| line)
}

/// A text cut so that each part has at the most `height` rows of a terminal of that width. The last line, which is the question, is on the
/// last page.
fn pages(text: &str, height: usize, width: usize) -> Vec<&str> {
    let (mut pages, mut begin, mut row, mut column) = (Vec::new(), 0, 0, 0);
    for (at, c) in text.char_indices() {
        if column == width {
            (row, column) = (row + 1, 0);
        }
        if row >= height {
            pages.push(text.get(begin..at).unwrap_or_default());
            (begin, row) = (at, 0);
        }
        if c == '\n' {
            (row, column) = (row + 1, 0);
        } else {
            column += 1;
        }
    }
    pages.push(text.get(begin..).unwrap_or_default());
    pages
}

/// Whether it was written, or nobody wants it.
fn write(stream: &mut impl Write, text: &Shown<'_>) -> bool {
    match stream.write_all(text.0.as_bytes()).and_then(|()| stream.flush()) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::BrokenPipe,
    }
}

/// The time since `started`, to the microsecond.
fn milliseconds(started: Stopwatch) -> Value {
    let us = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
    json!(f64::from(us) / 1_000.0)
}

/// The one document that `--json` writes.
fn envelope(reply: Reply, failure: Option<&Error>, started: Stopwatch, notes: &[String]) -> Value {
    let exit = failure.map_or(Exit::Success, |failure| failure.kind);
    let mut meta = Map::new();
    meta.insert("exit_code".to_owned(), json!(exit.code()));
    meta.insert("runtime_version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    meta.insert("duration_ms".to_owned(), milliseconds(started));
    if !notes.is_empty() {
        meta.insert("notes".to_owned(), json!(notes));
    }
    meta.extend(reply.meta);
    json!({
        "schema_version": "v1",
        "ok": failure.is_none(),
        "http_status": exit.http_status(),
        "result": reply.result,
        "error": failure.map(Error::to_json),
        "meta": meta,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_no_more_rows_than_the_terminal() {
        assert_eq!(pages("a\nb\nc\nd? ", 2, 80), ["a\nb\n", "c\nd? "]);
        assert_eq!(pages("one", 9, 80), ["one"]);
        // A long line takes several rows.
        assert_eq!(pages("abcdefgh\nq? ", 2, 3), ["abcdef", "gh\nq? "]);
        let text = "x".repeat(1_000) + "\nq? ";
        let cut = pages(&text, 8, 10);
        assert_eq!((cut.len(), cut.concat()), (13, text.clone()));
        assert!(cut.last().unwrap().ends_with("q? "));
    }
}
