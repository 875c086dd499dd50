//! Skills that stay loaded and linked between the runs of one host. Gives none that may have changed since: a file is known by what the
//! system says of it, without being read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::file_stamp::FileStamp;
use crate::id::SkillName;
use crate::limits;
use crate::skills::{LoadedSkill, SkillBytes, manifests};

/// What is kept, by name. Holds nothing of any run.
#[derive(Debug, Default)]
pub(crate) struct Warm(Mutex<BTreeMap<SkillName, (Stamp, Arc<LoadedSkill>)>>);

/// What tells whether the bytes of a skill are those that were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// Bytes in memory, by their places: they live as long as the host, or the program.
    Memory { component: (usize, usize), manifest: Option<(usize, usize)> },
    /// The file and those that a manifest would be in.
    File { path: PathBuf, files: Vec<Option<FileStamp>> },
}

impl Stamp {
    /// The stamp as it is now.
    pub(crate) fn of(source: &SkillBytes) -> Self {
        match source {
            SkillBytes::Memory { component, manifest } => Self::Memory {
                component: (component.as_ptr().addr(), component.len()),
                manifest: manifest.as_ref().map(|text| (text.as_ptr().addr(), text.len())),
            },
            SkillBytes::File(path) => {
                let files = std::iter::once(path.clone()).chain(manifests(path));
                let files = files.map(|path| FileStamp::of(&path)).collect();
                Self::File { path: path.clone(), files }
            }
        }
    }
}

impl Warm {
    /// What was loaded under this name, if that is what the stamp says.
    pub(crate) fn get(&self, name: &SkillName, stamp: &Stamp) -> Option<Arc<LoadedSkill>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).filter(|(known, _)| known == stamp).map(|(_, loaded)| Arc::clone(loaded))
    }

    /// Keeps it, in place of what is kept under this name. Where there are as many as may be, it is not kept.
    pub(crate) fn keep(&self, name: &SkillName, stamp: Stamp, loaded: &Arc<LoadedSkill>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < limits::WARM_SKILLS_MAX || kept.contains_key(name) {
            kept.insert(name.clone(), (stamp, Arc::clone(loaded)));
        }
    }
}
