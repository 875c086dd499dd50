//! `conformance CASE [ARGUMENT...]`: tries one thing of WASI and prints what came of it, the same on every machine. What a case prints
//! under a reference host and under ours is compared, so a case judges nothing itself. `conformance list` prints the names.

mod clocks;
mod environment;
mod files;
mod folders;
mod links;
mod metadata;
mod moves;
mod names;
mod raw;
mod raw_streams;
mod report;
mod streams;

use std::process::ExitCode;

/// What a case does with the arguments after its name.
type Case = fn(&[String]) -> std::io::Result<()>;

fn cases() -> impl Iterator<Item = &'static (&'static str, Case)> {
    [
        files::CASES,
        folders::CASES,
        moves::CASES,
        links::CASES,
        metadata::CASES,
        names::CASES,
        streams::CASES,
        environment::CASES,
        clocks::CASES,
        raw::CASES,
        raw_streams::CASES,
    ]
    .into_iter()
    .flatten()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprintln!("usage: conformance list | CASE [ARGUMENT...]");
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
    match case(rest) {
        Ok(()) => ExitCode::SUCCESS,
        // What was to be prepared failed: the case says nothing of what it tries, and the comparison shows it.
        Err(error) => {
            println!("not prepared: {:?}", error.kind());
            ExitCode::FAILURE
        }
    }
}
