//! The program as a compiler: what `host` starts as a child of itself, with one argument that nobody types. It has no options, reads no
//! environment, and is not in the help.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::output;
use crate::sandbox::compiler;

/// Whether this process was started to compile. One argument and nothing else: no command line of a person has this form.
pub(super) fn is_asked(args: &[OsString]) -> bool {
    matches!(args, [_, argument] if argument == compiler::CHILD_ARGUMENT)
}

/// Compiles for the parent. What goes wrong is for it to tell.
pub(super) fn serve() -> ExitCode {
    match compiler::serve(std::io::stdin().lock(), output::to_parent()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
