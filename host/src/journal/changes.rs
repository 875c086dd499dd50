//! What a step has changed, as people are told.

use std::collections::BTreeMap;

use super::Journal;
use super::place::Place;
use super::record::Record;

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It was not there before.
    Created,
    /// Its content or its times changed.
    Modified,
    /// It is not there any more.
    Removed,
}

impl Fate {
    /// As traces and reports write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Removed => "removed",
        }
    }
}

/// A path that a step has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathChange {
    /// As the guest saw it.
    pub(crate) path: String,
    /// What became of it.
    pub(crate) fate: Fate,
}

impl Journal {
    /// The paths that the step has changed, by what became of each in the end. What was made and removed again is not among them.
    pub(crate) fn changes(&self) -> Vec<PathChange> {
        let mut fates: BTreeMap<String, Option<Fate>> = BTreeMap::new();
        let refused = self.progress().0;
        for (index, record) in self.records.iter().enumerate() {
            if refused.contains(&index) {
                continue;
            }
            match record {
                Record::Created { at } => self.now(&mut fates, at, Fate::Created),
                Record::Content { at, .. } | Record::Times { at, asked: true, .. } => {
                    self.now(&mut fates, at, Fate::Modified)
                }
                Record::Removed { at, .. } => self.now(&mut fates, at, Fate::Removed),
                Record::Renamed { from, to } => {
                    self.now(&mut fates, from, Fate::Removed);
                    self.now(&mut fates, to, Fate::Created);
                }
                _ => {}
            }
        }
        fates.into_iter().filter_map(|(path, fate)| Some(PathChange { path, fate: fate? })).collect()
    }

    fn now(&self, fates: &mut BTreeMap<String, Option<Fate>>, at: &Place, fate: Fate) {
        let before = fates.entry(self.roots.guest(at)).or_insert(Some(fate));
        *before = match (*before, fate) {
            (Some(Fate::Created), Fate::Modified | Fate::Created) | (None, Fate::Created) => Some(Fate::Created),
            (Some(Fate::Created), Fate::Removed) | (None, Fate::Removed) => None,
            // What was there, went and came again is another one.
            (Some(Fate::Removed | Fate::Modified), Fate::Created | Fate::Modified) => Some(Fate::Modified),
            (_, fate) => Some(fate),
        };
    }
}
