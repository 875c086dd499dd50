//! How much is done so that what was recorded survives.

use std::fs::File;
use std::io;

/// What survives a power failure. A killed process loses nothing either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Everything that a step means is on the disk before the next begins.
    #[default]
    Full,
    /// A state as it was some time before: what is recorded is with the operating system.
    Buffered,
}

impl Durability {
    /// As the command line writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Buffered => "buffered",
        }
    }
}

/// How many files are synced at one time. File systems commit what waits together as one; more threads would bring nothing.
const SYNCS_AT_ONCE: usize = 8;

/// Makes files and folders durable, all of them together: in about the time of one.
///
/// # Errors
///
/// The first failure; the others were tried as well.
pub(crate) fn sync_together(handles: &[File]) -> io::Result<()> {
    let (mine, others) = match handles {
        [] => return Ok(()),
        [one] => return one.sync_all(),
        [mine, others @ ..] => (mine, others),
    };
    let lanes = others.len().min(SYNCS_AT_ONCE - 1);
    std::thread::scope(|scope| {
        let lane = |lane: usize| others.iter().skip(lane).step_by(lanes).try_for_each(File::sync_all);
        // Where no thread can be had this one does the work.
        let begun: Vec<_> = (0..lanes)
            .map(|at| std::thread::Builder::new().spawn_scoped(scope, move || lane(at)).map_err(|_| lane(at)))
            .collect();
        let own = mine.sync_all();
        let ended = begun.into_iter().map(|begun| match begun {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("a sync panicked"))),
            Err(done) => done,
        });
        ended.fold(own, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_synced_and_one_failure_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: String| File::create(folder.path().join(name)).unwrap();
        let mut handles: Vec<File> = (0..20).map(|n| file(n.to_string())).collect();
        for count in [0, 1, 2, 20] {
            sync_together(&handles[..count]).unwrap();
        }
        // A pipe cannot be synced, wherever it stands.
        let (reader, _writer) = io::pipe().unwrap();
        handles.insert(11, File::from(std::os::fd::OwnedFd::from(reader)));
        assert!(sync_together(&handles).is_err());
        handles.swap(0, 11);
        assert!(sync_together(&handles).is_err());
    }
}
