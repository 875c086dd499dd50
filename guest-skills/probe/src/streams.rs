//! Standard input and output.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::Outcome;

/// Bytes written at once by `fill`.
const CHUNK: usize = 4096;

/// Copies standard input to standard output.
pub(crate) fn echo() -> Outcome {
    io::copy(&mut io::stdin().lock(), &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `bytes` bytes to a stream.
pub(crate) fn fill(stream: &mut dyn Write, bytes: u64) -> Outcome {
    let chunk = [b'x'; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = chunk.get(..usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)).unwrap_or(&chunk);
        stream.write_all(part)?;
        left -= part.len() as u64;
    }
    stream.flush()?;
    Ok(ExitCode::SUCCESS)
}
