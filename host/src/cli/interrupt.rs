//! Ctrl-C and SIGTERM cancel a run instead of ending the process, so that the trace gets its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;

use crate::CancelToken;
use crate::cli::exit::Exit;

const NONE: u8 = 0;
const INTERRUPT: u8 = 1;
const TERMINATE: u8 = 2;

/// Whether a signal came.
#[derive(Debug)]
pub(crate) struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// From now on a signal cancels `token`. Where signals cannot be caught they end the process, as ever.
    pub(crate) fn cancels(token: &CancelToken) -> Self {
        let signal = Arc::new(AtomicU8::new(NONE));
        let (ready, is_ready) = mpsc::channel();
        let (seen, token) = (Arc::clone(&signal), token.clone());
        let waiter = std::thread::Builder::new().name("signals".to_owned());
        let spawned = waiter.spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            runtime.block_on(async {
                if let Some(which) = wait(ready).await {
                    seen.store(which, Ordering::SeqCst);
                    token.cancel();
                }
            });
        });
        if spawned.is_ok() {
            // Ends with an error where the thread gave up.
            let _: Result<(), _> = is_ready.recv();
        }
        Self(signal)
    }

    /// How the program exits where a signal came.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self.0.load(Ordering::SeqCst) {
            INTERRUPT => Some(Exit::Interrupted),
            TERMINATE => Some(Exit::Cancelled),
            _ => None,
        }
    }
}

#[cfg(unix)]
async fn wait(ready: mpsc::Sender<()>) -> Option<u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).ok()?;
    let mut terminate = signal(SignalKind::terminate()).ok()?;
    drop(ready);
    std::future::poll_fn(|context| {
        if interrupt.poll_recv(context).is_ready() {
            return std::task::Poll::Ready(Some(INTERRUPT));
        }
        terminate.poll_recv(context).map(|_| Some(TERMINATE))
    })
    .await
}

#[cfg(not(unix))]
async fn wait(ready: mpsc::Sender<()>) -> Option<u8> {
    drop(ready);
    tokio::signal::ctrl_c().await.ok()?;
    Some(INTERRUPT)
}
