//! Cancelling a run from outside: prompt, because the guest yields at every epoch and a blocked host call is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use std::task::Poll;

use tokio::sync::Notify;

/// Ends a run. Clones share one state; cancelling twice is the same as once.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    notify: Notify,
    /// Cancels this one as well.
    parent: Option<CancelToken>,
}

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled with this one, and may be alone.
    pub(crate) fn child(&self) -> Self {
        Self(Arc::new(State { parent: Some(self.clone()), ..State::default() }))
    }

    /// Cancels: the running step ends within about 20 ms, later ones do not start. May be called from any thread.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst) || self.0.parent.as_ref().is_some_and(Self::is_cancelled)
    }

    /// Returns once it is cancelled.
    pub(crate) fn cancelled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.until_cancelled())
    }

    async fn until_cancelled(&self) {
        let own = self.0.notify.notified();
        if self.is_cancelled() {
            return;
        }
        let Some(parent) = &self.0.parent else { return own.await };
        let (mut own, mut above) = (std::pin::pin!(own), parent.cancelled());
        std::future::poll_fn(|context| {
            match own.as_mut().poll(context).is_ready() || above.as_mut().poll(context).is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
