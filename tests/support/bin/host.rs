//! `host` under another name, so that tests of this package can start it.

#[global_allocator]
static ALLOCATOR: skillhost::cli::Allocator = skillhost::cli::Allocator;

fn main() -> std::process::ExitCode {
    skillhost::cli::main()
}
