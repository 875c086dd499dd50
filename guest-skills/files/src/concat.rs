//! Joining files, streamed.

use std::fs::OpenOptions;
use std::io::{self, Write};

use crate::error::{check_path, fail, from_io};
use crate::limits::MAX_SOURCES;
use crate::stat::same_file;
use crate::tools::{Error, ErrorCode, Written};
use crate::transfer::open_file;

/// Writes the sources one after the other to `output`, with `separator` between them.
pub(crate) fn concat(sources: &[String], output: &str, separator: &str) -> Result<Written, Error> {
    check_path(output)?;
    if sources.len() > MAX_SOURCES {
        let message = format!("there are more than {MAX_SOURCES} sources: join them in several steps");
        return Err(fail(ErrorCode::TooLarge, output, message));
    }
    // All sources are looked at before the output is touched, so a wrong one costs nothing.
    for source in sources {
        open_file(source)?;
        if same_file(source, output) {
            return Err(fail(ErrorCode::InvalidInput, source, "the output is one of the sources: give another output"));
        }
    }
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(output)
        .map_err(|error| from_io(output, &error))?;
    let mut bytes = 0;
    for (index, source) in sources.iter().enumerate() {
        if index > 0 {
            file.write_all(separator.as_bytes()).map_err(|error| from_io(output, &error))?;
            bytes += separator.len() as u64;
        }
        bytes += io::copy(&mut open_file(source)?, &mut file).map_err(|error| from_io(output, &error))?;
    }
    Ok(Written { path: output.to_owned(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn joins_with_the_separator_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let sources: Vec<String> = ["a", "b", "c"].iter().map(|name| format!("{path}/{name}")).collect();
        for source in &sources {
            fs::write(source, source.rsplit('/').next().unwrap()).unwrap();
        }
        let output = format!("{path}/out");
        assert_eq!(concat(&sources, &output, "\n").unwrap().bytes, 5);
        assert_eq!(fs::read_to_string(&output).unwrap(), "a\nb\nc");
        assert_eq!(concat(&[], &output, "\n").unwrap().bytes, 0);
        assert_eq!(fs::read_to_string(&output).unwrap(), "");
    }

    #[test]
    fn a_wrong_source_leaves_the_output_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let output = format!("{path}/out");
        fs::write(&output, "kept").unwrap();
        let missing = concat(&[format!("{path}/none")], &output, "").unwrap_err();
        assert_eq!((missing.code, missing.path.as_deref()), (ErrorCode::NotFound, Some(&*format!("{path}/none"))));
        assert_eq!(concat(std::slice::from_ref(&output), &output, "").unwrap_err().code, ErrorCode::InvalidInput);
        assert_eq!(fs::read_to_string(&output).unwrap(), "kept");
    }
}
