//! The `host` binary.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: skillhost::cli::Allocator = skillhost::cli::Allocator;

fn main() -> ExitCode {
    skillhost::cli::main()
}
