//! The command line: thin commands over the library.
//!
//! Owns arguments, the environment, exit codes and what is written to stdout and stderr. Data goes to stdout and everything else to
//! stderr; with `--json`, stdout is exactly one JSON document, whatever happens.

mod audit;
mod bundle;
mod call;
mod check;
mod compile;
mod decide;
mod completions;
mod dashboard;
mod demo;
mod env;
mod error;
mod events;
mod exec;
pub mod exit;
mod gc;
mod history;
mod inspect;
mod interactive;
mod interrupt;
mod output;
mod plan;
mod places;
mod plan_source;
mod policy;
mod policy_init;
mod policy_lab;
mod policy_source;
mod progress;
mod recover;
mod replay;
mod reply;
mod resume;
mod run;
mod runs;
mod schema;
mod session;
mod settled;
mod skill;
mod skill_tests;
mod skills;
mod trace;
mod trust;
mod undo;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::Durability;
use crate::clock::Stopwatch;
use crate::harmless;
pub use env::Env;
use error::Error;
use exit::Exit;
use interrupt::Interrupt;
use output::Output;
use reply::Reply;
use session::Session;

/// Runs WebAssembly-component skills for plans: granted, limited, traced, replayable.
#[derive(Debug, Parser)]
#[command(name = "host", bin_name = "host", version, after_help = exit::table(), max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The folder for runs [env: HOST_STATE] [default: one for the current folder, below $XDG_STATE_HOME/skillhost
    /// or ~/.local/state/skillhost]
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,
    /// Writes one JSON document to stdout and nothing else
    #[arg(long, global = true)]
    json: bool,
    /// When to use colours; NO_COLOR turns them off as well
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto")]
    color: ColorChoice,
    /// Says nothing on stderr but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// What survives a power failure: everything that a step means, or what was on the disk some time before
    #[arg(long, value_name = "HOW", global = true, default_value = "full")]
    durability: DurabilityChoice,
    /// Says more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
}

/// What survives a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DurabilityChoice {
    /// Everything that a step means, before the next one begins
    Full,
    /// A state as it was some time before; a killed process loses nothing
    Buffered,
}

impl From<DurabilityChoice> for Durability {
    fn from(choice: DurabilityChoice) -> Self {
        match choice {
            DurabilityChoice::Full => Self::Full,
            DurabilityChoice::Buffered => Self::Buffered,
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// Where the output is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Call(call::Call),
    Exec(Box<exec::Exec>),
    Inspect(inspect::Inspect),
    Approve(decide::Approve),
    Reject(decide::Reject),
    Recover(recover::Recover),
    Resume(resume::Resume),
    Rollback(resume::Rollback),
    Undo(undo::Undo),
    Replay(replay::Replay),
    #[command(subcommand)]
    Trace(trace::Trace),
    #[command(subcommand)]
    Plan(plan::Plan),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    Runs(runs::Runs),
    Dashboard(dashboard::ShowDashboard),
    History(history::History),
    #[command(subcommand)]
    Audit(audit::Audit),
    Gc(gc::Gc),
    Schema(schema::Schema),
    #[command(subcommand)]
    Skill(skill::SkillCommand),
    Skills(skills::Skills),
    Demo(demo::Demo),
    Completions(completions::Completions),
}

impl Command {
    /// Whether what goes to stderr are events for programs.
    const fn tells_events(&self) -> bool {
        match self {
            Self::Run(command) => command.events.are_wanted(),
            Self::Resume(command) => command.events.are_wanted(),
            _ => false,
        }
    }

    /// Whether it is about runs: then those end first for which nobody has answered in time.
    const fn is_about_runs(&self) -> bool {
        matches!(
            self,
            Self::Run(_)
                | Self::Call(_)
                | Self::Approve(_)
                | Self::Reject(_)
                | Self::Recover(_)
                | Self::Resume(_)
                | Self::Rollback(_)
                | Self::Undo(_)
                | Self::Runs(_)
                | Self::Dashboard(_)
                | Self::History(_)
        )
    }

    fn execute(&self, session: &Session) -> Result<Reply, Error> {
        if self.is_about_runs() {
            settled::expired(session);
        }
        match self {
            Self::Run(command) => command.execute(session),
            Self::Check(command) => command.execute(session),
            Self::Call(command) => command.execute(session),
            Self::Exec(_) => Err(Error::request("`host exec` answers by itself")),
            Self::Inspect(command) => command.execute(session),
            Self::Approve(command) => command.execute(session),
            Self::Reject(command) => command.execute(session),
            Self::Recover(command) => command.execute(session),
            Self::Resume(command) => command.execute(session),
            Self::Rollback(command) => command.execute(session),
            Self::Undo(command) => command.execute(session),
            Self::Replay(command) => command.execute(session),
            Self::Trace(command) => command.execute(session),
            Self::Plan(command) => command.execute(session),
            Self::Policy(command) => command.execute(session),
            Self::Bundle(command) => command.execute(session),
            Self::Runs(command) => command.execute(session),
            Self::Dashboard(command) => command.execute(session),
            Self::History(command) => command.execute(session),
            Self::Audit(command) => command.execute(session),
            Self::Gc(command) => command.execute(session),
            Self::Schema(command) => command.execute(),
            Self::Skill(command) => command.execute(session),
            Self::Skills(command) => command.execute(session),
            Self::Demo(command) => command.execute(session),
            Self::Completions(command) => Ok(command.execute()),
        }
    }
}

/// The allocator of programs that are `host`. Those that embed the library choose their own.
pub use mimalloc::MiMalloc as Allocator;

/// The program: reads the process's arguments and environment.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // Before anything else: it takes no signals and no environment.
    if compile::is_asked(&args) {
        return compile::serve();
    }
    let env = Env::of_process();
    let (output, started) = (Output::for_usage(&env, wants_json(&args)), Stopwatch::start());
    let is_exec = is_exec(&args);
    // Until the command line is read, and what it says of the form of answers.
    let tell =
        move |error| if is_exec { exec::interrupted(&error, started, false) } else { output.ended(error, started) };
    let interrupt = Interrupt::install(env.grace(), tell);
    interruptible(&args, &env, &interrupt)
}

/// The program with the arguments and the environment given; the first argument is the program's name. Writes to the process's stdout
/// and stderr; signals are the caller's.
pub fn main_with(args: impl IntoIterator<Item = impl Into<OsString>>, env: &Env) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if compile::is_asked(&args) {
        return compile::serve();
    }
    interruptible(&args, env, &Interrupt::default())
}

fn interruptible(args: &[OsString], env: &Env, interrupt: &Interrupt) -> ExitCode {
    let started = Stopwatch::start();
    let exit = match Cli::try_parse_from(args) {
        Ok(cli) => {
            let events = cli.command.tells_events();
            match (Session::new(cli.global.clone(), env.clone(), events, interrupt.clone()), &cli.command) {
                // It has a form of answers of its own.
                (Ok(session), Command::Exec(exec)) => {
                    let session = session.silent();
                    settled::expired(&session);
                    exec.run(&session)
                }
                (Err(error), Command::Exec(_)) => exec::without_session(&error),
                (Ok(session), command) => {
                    session.tell_of_signals(started);
                    session.note_old_state();
                    session.finish(command.execute(&session), started)
                }
                (Err(error), _) => Output::new(&cli.global, env).reply(Err(error), started, &[]),
            }
        }
        Err(error) => not_parsed(&error, args, env, started),
    };
    ExitCode::from(exit.code())
}

/// Help, the version, or a command line that is wrong.
fn not_parsed(error: &clap::Error, args: &[OsString], env: &Env, started: Stopwatch) -> Exit {
    let json = wants_json(args);
    let output = Output::for_usage(env, json);
    if error.use_stderr() {
        let harmless = with_harmless_words(error, args);
        let error = harmless.as_ref().unwrap_or(error);
        if is_exec(args) {
            return exec::usage(&error.render().to_string());
        }
        let command = command_of(args);
        if json {
            let message = error.render().to_string();
            return output.reply(Err(Error::usage(&message).hint(format!("see `{command} --help`"))), started, &[]);
        }
        return output.usage_error(error, &command);
    }
    output.help(error)
}

/// What clap says of a command line that is wrong, where it would show words of it that a terminal acts upon: the same of harmless words.
fn with_harmless_words(error: &clap::Error, args: &[OsString]) -> Option<clap::Error> {
    let words: Vec<Cow<'_, str>> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let shown: Vec<Cow<'_, str>> = words.iter().map(|word| harmless::line(word)).collect();
    if words == shown {
        return None;
    }
    // Where the very characters are what is wrong the harmless word is right.
    let again = Cli::try_parse_from(shown.iter().map(AsRef::as_ref)).err().filter(clap::Error::use_stderr);
    Some(again.unwrap_or_else(|| {
        let said = error.to_string();
        let said = said.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ").trim_end();
        clap::Error::raw(error.kind(), format!("{}\n", harmless::line(said)))
    }))
}

/// The words of a command line that are no options. The global options that take a value are few, and only they may stand before a command.
fn words(args: &[OsString]) -> impl Iterator<Item = String> {
    const WITH_VALUE: [&str; 3] = ["--state", "--color", "--durability"];
    let mut args = args.iter().skip(1);
    std::iter::from_fn(move || {
        loop {
            let text = args.next()?.to_string_lossy().into_owned();
            if WITH_VALUE.contains(&text.as_str()) {
                args.next();
            } else if !text.starts_with('-') {
                return Some(text);
            }
        }
    })
}

/// Whether the command line asks for JSON.
fn wants_json(args: &[OsString]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

/// Whether the command line is one of `host exec`.
fn is_exec(args: &[OsString]) -> bool {
    words(args).next().is_some_and(|word| word == "exec")
}

/// The command that was meant, as far as it is one, such as `host policy explain`.
fn command_of(args: &[OsString]) -> String {
    let cli = Cli::command();
    let (mut command, mut name) = (&cli, cli.get_name().to_owned());
    for word in words(args) {
        let Some(inner) = command.find_subcommand(&word) else { break };
        command = inner;
        name.push(' ');
        name.push_str(inner.get_name());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_was_meant() {
        for (line, command) in [
            ("host", "host"),
            ("host --nope", "host"),
            ("host run --nope plan.json", "host run"),
            ("host --state run check plan.json", "host check"),
            ("host policy explain", "host policy explain"),
            ("host policy nope", "host policy"),
            ("host nope", "host"),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(command_of(&args), command);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_a_help_text() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{} of {} has no help", arg.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
