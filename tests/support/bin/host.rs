//! `host` under another name, so that tests of this package can start it.

fn main() -> std::process::ExitCode {
    skillhost::cli::main()
}
