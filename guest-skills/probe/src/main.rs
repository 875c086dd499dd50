//! `probe`: shows what its sandbox lets a program see and do. Each sub-command does one thing and prints plain lines; a failed operation
//! prints `error: …` on stderr and exits with 1, wrong arguments exit with 2.

mod environment;
mod files;
mod limits;
mod streams;
mod time;

use std::process::ExitCode;

/// What a sub-command failed with.
enum Failure {
    /// The arguments are not of the sub-command's form.
    Usage,
    /// An operation failed; the text is the line to print.
    Operation(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Operation(format!("{:?}: {error}", error.kind()))
    }
}

impl From<std::num::ParseIntError> for Failure {
    fn from(_: std::num::ParseIntError) -> Self {
        Self::Usage
    }
}

/// What every sub-command gives.
type Outcome = Result<ExitCode, Failure>;

const USAGE: &str = "\
usage: probe args ... | env | cwd
       probe clock | sleep MS | calls N
       probe random N | hash-seed
       probe list DIR | stat PATH | cat PATH | write PATH TEXT | append PATH TEXT | rename FROM TO | remove PATH
       probe mkdir PATH | rmdir PATH | symlink TARGET PATH | hardlink FROM TO | set-size PATH N | set-times PATH SECONDS
       probe io-error PATH
       probe stdin | out N | err N
       probe exit N | panic | alloc MIB | spin | recurse | trap";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(Failure::Usage) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Operation(line)) => {
            eprintln!("error: {line}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Outcome {
    match arguments {
        ["args", rest @ ..] => environment::arguments(rest),
        ["env"] => environment::variables(),
        ["cwd"] => environment::folder(),
        ["random", count] => environment::random(count.parse()?),
        ["hash-seed"] => environment::hash_seed(),
        ["clock"] => time::clock(),
        ["sleep", milliseconds] => time::sleep(milliseconds.parse()?),
        ["calls", count] => time::calls(count.parse()?),
        ["list", path] => files::list(path),
        ["stat", path] => files::stat(path),
        ["cat", path] => files::cat(path),
        ["write", path, text] => files::write(path, text),
        ["append", path, text] => files::append(path, text),
        ["rename", from, to] => files::rename(from, to),
        ["remove", path] => files::remove(path),
        ["mkdir", path] => files::mkdir(path),
        ["rmdir", path] => files::rmdir(path),
        ["symlink", target, path] => files::symlink(target, path),
        ["hardlink", from, to] => files::hardlink(from, to),
        ["set-size", path, bytes] => files::set_size(path, bytes.parse()?),
        ["set-times", path, seconds] => files::set_times(path, seconds.parse()?),
        ["io-error", path] => files::io_error(path),
        ["stdin"] => streams::echo(),
        ["out", bytes] => streams::fill(&mut std::io::stdout().lock(), bytes.parse()?),
        ["err", bytes] => streams::fill(&mut std::io::stderr().lock(), bytes.parse()?),
        ["exit", code] => limits::exit(code.parse()?),
        ["panic"] => limits::panic(),
        ["alloc", mebibytes] => limits::allocate(mebibytes.parse()?),
        ["spin"] => limits::spin(),
        ["recurse"] => limits::recurse(),
        ["trap"] => limits::trap(),
        _ => Err(Failure::Usage),
    }
}
