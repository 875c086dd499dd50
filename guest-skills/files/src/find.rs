//! Finding paths by a glob pattern. The walk keeps its own stack, does not follow links, and visits in a fixed order.

use std::fs;

use crate::error::{check_path, fail, from_io};
use crate::limits::{MAX_DEPTH, MAX_PATTERN_BYTES, MAX_RESULTS, MAX_VISITED};
use crate::stat::{kind, size};
use crate::tools::{Error, ErrorCode, Found};

/// The paths below `folder` whose relative path matches `pattern`, sorted by their bytes.
pub(crate) fn find(folder: &str, pattern: &str) -> Result<Vec<Found>, Error> {
    check_path(folder)?;
    check_pattern(pattern)?;
    let too_large = |message: String| fail(ErrorCode::TooLarge, folder, message);
    let base = folder.trim_end_matches('/');
    let mut found = Vec::new();
    let mut visited = 0;
    // Paths relative to the folder, empty for the folder itself.
    let mut pending = vec![(String::new(), 0)];
    while let Some((below, depth)) = pending.pop() {
        let here = if below.is_empty() { folder.to_owned() } else { format!("{base}/{below}") };
        for entry in fs::read_dir(&here).map_err(|error| from_io(&here, &error))? {
            let entry = entry.map_err(|error| from_io(&here, &error))?;
            visited += 1;
            if visited > MAX_VISITED {
                return Err(too_large(format!(
                    "there are more than {MAX_VISITED} entries below it: search a smaller folder"
                )));
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
            let path = format!("{base}/{relative}");
            let is_folder = entry.file_type().map_err(|error| from_io(&path, &error))?.is_dir();
            if fast_glob::glob_match(pattern, &relative) {
                if found.len() == MAX_RESULTS {
                    return Err(too_large(format!("more than {MAX_RESULTS} paths match: give a narrower pattern")));
                }
                let facts = entry.metadata().map_err(|error| from_io(&path, &error))?;
                found.push(Found { path, kind: kind(&facts), size: size(&facts) });
            }
            if is_folder {
                if depth == MAX_DEPTH {
                    return Err(too_large(format!("it is more than {MAX_DEPTH} levels deep: search a smaller folder")));
                }
                pending.push((relative, depth + 1));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn check_pattern(pattern: &str) -> Result<(), Error> {
    let refuse = |message: String| Err(Error { code: ErrorCode::InvalidInput, message, path: None });
    if pattern.is_empty() {
        return refuse("the pattern is empty: give a glob such as **/*.csv".to_owned());
    }
    if pattern.len() > MAX_PATTERN_BYTES {
        return refuse(format!("the pattern has more than {MAX_PATTERN_BYTES} bytes: give a shorter one"));
    }
    if let Err(error) = fast_glob::validate(pattern) {
        return refuse(format!(
            "the pattern is malformed: {error}; write a backslash before a character meant literally"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &str, pattern: &str) -> Vec<String> {
        let strip = |found: Found| found.path.strip_prefix(folder).unwrap().trim_start_matches('/').to_owned();
        find(folder, pattern).unwrap().into_iter().map(strip).collect()
    }

    #[test]
    fn matches_relative_paths() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        fs::create_dir_all(format!("{path}/a/b")).unwrap();
        for name in ["x.csv", "a/y.csv", "a/b/z.csv", "a/b/z.txt", "{odd}"] {
            fs::write(format!("{path}/{name}"), "1").unwrap();
        }
        std::os::unix::fs::symlink(path, format!("{path}/a/loop")).unwrap();
        assert_eq!(names(path, "*.csv"), ["x.csv"]);
        assert_eq!(names(path, "**/*.csv"), ["a/b/z.csv", "a/y.csv", "x.csv"]);
        assert_eq!(names(path, "a/**/z.{csv,txt}"), ["a/b/z.csv", "a/b/z.txt"]);
        assert_eq!(names(path, "\\{odd\\}"), ["{odd}"]);
        assert_eq!(names(&format!("{path}/"), "[w-y].csv"), ["x.csv"]);
        assert_eq!(find(&format!("{path}/x.csv"), "*").unwrap_err().code, ErrorCode::NotADirectory);
    }

    #[test]
    fn refuses_patterns_without_a_meaning() {
        for pattern in ["", "[a", "{a", "a\\", &"{".repeat(40), &"a".repeat(MAX_PATTERN_BYTES + 1)] {
            assert_eq!(find("/", pattern).unwrap_err().code, ErrorCode::InvalidInput, "{pattern}");
        }
    }
}
