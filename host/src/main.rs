//! The `host` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    skillhost::cli::main()
}
