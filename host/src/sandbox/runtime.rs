//! The single-threaded runtimes in which guests are called. One that a run of steps without folders and network has used is kept for the
//! next such run: nothing of theirs can be left in it. Any other one ends with its run, and with it whatever that left under way.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};

use crate::sandbox::SandboxError;

/// The kept one, where no run has it.
#[derive(Debug, Default)]
pub(crate) struct Idle(Mutex<Option<Arc<Runtime>>>);

/// A runtime with sockets only where `has_network`: what may not reach the network has no runtime that could.
pub(crate) fn new(has_network: bool) -> Result<Runtime, SandboxError> {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_time();
    if has_network {
        runtime.enable_io();
    }
    runtime.build().map_err(|error| SandboxError::Engine { message: error.to_string() })
}

impl Idle {
    /// The runtime for a run whose steps have neither folders nor network: the kept one, or a new one.
    pub(crate) fn lend(&self) -> Result<Lent<'_>, SandboxError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let runtime = kept.map_or_else(|| new(false).map(Arc::new), Ok)?;
        Ok(Lent { runtime, home: Some(self) })
    }

    /// A runtime that ends with the run.
    pub(crate) fn own(has_network: bool) -> Result<Lent<'static>, SandboxError> {
        Ok(Lent { runtime: Arc::new(new(has_network)?), home: None })
    }
}

impl Drop for Idle {
    /// Where a host ends inside of an async program, waiting for a runtime's end is not allowed. There is nothing to wait for.
    fn drop(&mut self) {
        let kept = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = kept.and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

/// A run's runtime.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    runtime: Arc<Runtime>,
    home: Option<&'a Idle>,
}

impl Deref for Lent<'_> {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(home) = self.home
            && !std::thread::panicking()
        {
            *home.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&self.runtime));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_runtime_is_lent_once_and_comes_back() {
        let idle = Idle::default();
        let first = idle.lend().unwrap();
        let second = idle.lend().unwrap();
        let (one, other) = (first.handle().id(), second.handle().id());
        assert_ne!(one, other);
        drop(second);
        assert_eq!(idle.lend().unwrap().handle().id(), other);
        drop(first);
        assert_eq!(idle.lend().unwrap().handle().id(), one, "the last that came back");
    }

    #[test]
    fn it_may_end_inside_of_an_async_program() {
        let idle = Idle::default();
        drop(idle.lend().unwrap());
        new(false).unwrap().block_on(async move { drop(idle) });
    }
}
