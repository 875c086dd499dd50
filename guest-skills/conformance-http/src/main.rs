//! `conformance-http CASE SERVER NOBODY`: tries one thing of `wasi:http` and prints what came of it, the same on every machine. What a
//! case prints under a reference host and under ours is compared, so a case judges nothing itself. `conformance-http list` prints the
//! names. SERVER is the authority of a server that is told by the path what to answer, NOBODY that of one where nothing listens.

mod bodies;
mod report;
mod requests;

use std::process::ExitCode;

/// What a case does with the arguments after its name.
type Case = fn(&[String]);

fn cases() -> impl Iterator<Item = &'static (&'static str, Case)> {
    requests::CASES.iter().chain(bodies::CASES)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprintln!("usage: conformance-http list | CASE SERVER NOBODY");
        return ExitCode::from(2);
    };
    if name == "list" {
        for (name, _) in cases() {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    }
    let Some((_, case)) = cases().find(|(known, _)| known == name) else {
        eprintln!("no case `{name}`");
        return ExitCode::from(2);
    };
    case(rest);
    ExitCode::SUCCESS
}
