//! Loading the skill of a request within the request's time: a component that was never compiled may take longer than the caller waits, and
//! a compilation cannot be stopped. It goes on beside the session, at most one for each skill, and the next request for that skill has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::host::SkillHost;
use crate::id::SkillName;
use crate::protocol::code::Detail;
use crate::protocol::response::Failure;
use crate::sandbox::SandboxError;
use crate::skills::LoadedSkill;

type Loaded = Result<Arc<LoadedSkill>, SandboxError>;

/// What is still being loaded.
#[derive(Debug, Default)]
pub(super) struct Loading(BTreeMap<SkillName, Receiver<Loaded>>);

impl Loading {
    /// The skill of that name; `None` where there is none. Where it is not there in time, the failure says so.
    pub(super) fn skill(
        &mut self,
        host: &SkillHost,
        name: &SkillName,
        timeout_ms: u64,
    ) -> Option<Result<Loaded, Box<Failure>>> {
        if let Some(kept) = host.kept_skill(name) {
            return Some(Ok(Ok(kept)));
        }
        let within = Duration::from_millis(timeout_ms);
        // What an earlier request has begun counts where it is kept, which says that the files have not changed since.
        if let Some(earlier) = self.0.remove(name) {
            if let Err(RecvTimeoutError::Timeout) = earlier.recv_timeout(within) {
                self.0.insert(name.clone(), earlier);
                return Some(Err(too_late(name, timeout_ms)));
            }
            if let Some(kept) = host.kept_skill(name) {
                return Some(Ok(Ok(kept)));
            }
        }
        let load = host.skill_loader(name)?;
        let (done, loaded) = sync_channel(1);
        let thread = std::thread::Builder::new().name("load".to_owned());
        if let Err(error) = thread.spawn(move || done.send(load()).unwrap_or_default()) {
            let failure = Failure::new(Detail::Internal, format!("no thread can be started to load `{name}`: {error}"));
            return Some(Err(Box::new(failure)));
        }
        Some(match loaded.recv_timeout(within) {
            Ok(loaded) => Ok(loaded),
            Err(RecvTimeoutError::Timeout) => {
                self.0.insert(name.clone(), loaded);
                Err(too_late(name, timeout_ms))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Box::new(Failure::new(Detail::Internal, format!("`{name}` could not be loaded"))))
            }
        })
    }
}

fn too_late(name: &SkillName, timeout_ms: u64) -> Box<Failure> {
    let message = format!("the component of `{name}` was not ready within {timeout_ms} ms: it is still being compiled");
    let hint = format!(
        "`host inspect {name}` compiles a component once for all calls that come; or give the first call more `meta.timeout_ms`"
    );
    Box::new(Failure::new(Detail::Deadline, message).hint(hint))
}
