//! Which results a run has taken from other runs: `taken-from` in its folder says of each step where the journal is of the one that gave the
//! result. A fact of this machine; the trace says what the result is.
//!
//! Never decides whether a result may be taken.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::JOURNALS;
use crate::id::StepId;
use crate::regular;

const TAKEN_FROM: &str = "taken-from";

/// Notes where the journal is of the step of another run whose result `step` has. With the operating system, as all that nobody has been told
/// of: a run that goes on after a power failure takes the result again.
///
/// # Errors
///
/// What the operating system says; also where `journal` is not that of a run.
pub(crate) fn keep(run: &Path, step: &StepId, journal: &Path) -> io::Result<()> {
    let text = |path: Option<&Path>| path.and_then(Path::file_name).and_then(|name| name.to_str().map(str::to_owned));
    let (Some(from), Some(name)) = (text(journal.ancestors().nth(2)), text(Some(journal))) else {
        return Err(io::Error::other(format!("`{}` is not the journal of a run", journal.display())));
    };
    // The newline first: a line that was cut short does not run into this one.
    let line = format!("\n{step} {from} {name}");
    let file = regular::append(&run.join(TAKEN_FROM));
    file?.write_all(line.as_bytes())
}

/// The journals of the steps whose results a run has taken; the last that was said of a step counts.
///
/// # Errors
///
/// What the operating system says.
pub(crate) fn read(run: &Path) -> io::Result<BTreeMap<StepId, PathBuf>> {
    let text = match regular::read_to_string(&run.join(TAKEN_FROM)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text?,
    };
    let journal = |line: &str| {
        let mut words = line.split(' ');
        let (step, from, name) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        Some((step, run.with_file_name(from).join(JOURNALS).join(name)))
    };
    Ok(text.lines().filter_map(journal).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_noted_last_of_a_step_is_read_whatever_was_cut_short() {
        let runs = tempfile::tempdir().unwrap();
        let (run, other) = (runs.path().join("run"), runs.path().join("other"));
        fs::create_dir(&run).unwrap();
        assert!(read(&run).unwrap().is_empty());
        let step = |id: &str| id.parse::<StepId>().unwrap();
        let journal = |name: &str| other.join(JOURNALS).join(name);
        keep(&run, &step("a"), &journal("a.1")).unwrap();
        keep(&run, &step("b"), &journal("b.1")).unwrap();
        let cut = fs::read_to_string(run.join(TAKEN_FROM)).unwrap();
        fs::write(run.join(TAKEN_FROM), cut.strip_suffix(" b.1").unwrap()).unwrap();
        assert_eq!(read(&run).unwrap(), BTreeMap::from([(step("a"), journal("a.1"))]));
        keep(&run, &step("c"), &journal("c.2")).unwrap();
        keep(&run, &step("a"), &journal("a.3")).unwrap();
        assert_eq!(read(&run).unwrap(), BTreeMap::from([(step("a"), journal("a.3")), (step("c"), journal("c.2"))]));
        assert!(keep(&run, &step("a"), Path::new("a.1")).is_err());
    }
}
