//! Files for journals that are made durable before they are needed: the first change of a step then waits for one sync, not for that of the
//! records and of their name.
//!
//! A spare file becomes a journal by a rename that nobody waits for. After a power failure it may have its old name; which
//! journal it is says its first record. [`adopt`] gives such files their places.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::record::{self, Record};
use crate::limits;
use crate::regular;

/// What their names begin with. A step's id cannot: its journal's name has a dot.
const PREFIX: &str = "spare-";

/// The spare files of a run's journals. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Spares(Arc<Mutex<Pool>>);

#[derive(Debug)]
struct Pool {
    folder: PathBuf,
    left: Vec<PathBuf>,
    made: u32,
}

impl Spares {
    /// Those in the folder that has the journals; none is made before one is needed.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(Arc::new(Mutex::new(Pool { folder: folder.to_owned(), left: Vec::new(), made: 0 })))
    }

    /// An empty file whose name is durable. Where none is left, some are made together.
    pub(super) fn take(&self) -> io::Result<PathBuf> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spare) = pool.left.pop() {
            return Ok(spare);
        }
        pool.make()
    }

    /// Makes the names durable of the journals that were made of spare files: until then they are found by their first records.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.made == 0 { Ok(()) } else { regular::open_folder(&pool.folder)?.sync_all() }
    }
}

impl Pool {
    fn make(&mut self) -> io::Result<PathBuf> {
        let is_first = self.made == 0;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut made = Vec::new();
        // Few for a short run, and ever fewer syncs a step for a long one.
        let more = self.made.clamp(limits::JOURNAL_SPARES_MIN, limits::JOURNAL_SPARES_MAX);
        for n in self.made..self.made + more {
            let path = self.folder.join(format!("{PREFIX}{n}"));
            regular::create_new(&path)?;
            made.push(path);
        }
        self.made += more;
        regular::open_folder(&self.folder)?.sync_all()?;
        if let (true, Some(parent)) = (is_first, self.folder.parent()) {
            regular::open_folder(parent)?.sync_all()?;
        }
        self.left = made;
        self.left.pop().ok_or_else(|| io::Error::other("no spare file is made"))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // What stays is empty, and goes when the run is next looked at.
        self.left.iter().for_each(|spare| drop(fs::remove_file(spare)));
    }
}

/// Gives spare files that have records the place of the journal that they are, and removes the others. Nobody may be writing any.
///
/// # Errors
///
/// What the operating system says.
pub(crate) fn adopt(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        let (records, end) = record::read(&mut regular::open(&entry.path())?)?;
        let Some(Record::Begun { journal: Some(journal), .. }) = records.first() else {
            fs::remove_file(entry.path())?;
            continue;
        };
        let there = folder.join(journal);
        if there.parent() != Some(folder) {
            return Err(io::Error::other("its journal would be elsewhere"));
        }
        // Where both are there the longer one has all.
        let has_more = match regular::open(&there) {
            Ok(mut file) => record::read(&mut file)?.1 >= end,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if has_more {
            fs::remove_file(entry.path())?;
        } else {
            fs::rename(entry.path(), there)?;
            regular::open_folder(folder)?.sync_all()?;
        }
    }
    Ok(())
}
