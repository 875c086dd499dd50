//! The end of the program from outside: Ctrl-C, SIGTERM and SIGHUP, whatever the program is doing.
//!
//! Owns the one handler of every command. The first signal cancels what can be cancelled, so that a trace gets its end and a rollback is made; what is
//! not done after the grace is ended with the process. That loses nothing: a process may be killed at any time, and `host recover` goes on with its
//! run. What cannot be cancelled (a plan that is read from a pipe, a lock that is waited for) is ended at once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::CancelToken;
use crate::HostEvent;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::regular;

/// How long the last words of the program may take at the least: who should read them may not.
const LAST_WORDS: Duration = Duration::from_millis(25);
/// The part of the grace that they may take, where that is longer.
const LAST_WORDS_PART: u32 = 6;

/// What came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Interrupt,
    Terminate,
    HangUp,
}

impl Came {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::HangUp];

    /// Not zero, which means that nothing came.
    const fn number(self) -> u8 {
        match self {
            Self::Interrupt => 1,
            Self::Terminate => 2,
            Self::HangUp => 3,
        }
    }

    const fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate | Self::HangUp => Exit::Cancelled,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupted (Ctrl-C)",
            Self::Terminate => "cancelled (SIGTERM)",
            Self::HangUp => "cancelled (SIGHUP)",
        }
    }
}

/// Writes the last words of the program.
type Tell = Box<dyn FnOnce(Error) + Send>;

/// Whether a signal came, and what is done about it. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    came: AtomicU8,
    token: CancelToken,
    /// How many parts of the program are under way that end by themselves once they are cancelled.
    orderly: AtomicUsize,
    /// Whether somebody writes how the program ends: whoever comes first, and nobody else.
    is_answered: AtomicBool,
    tell: Mutex<Option<Tell>>,
    /// The run that is under way, with how `host recover` finds it.
    run: Mutex<Option<String>>,
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").field("came", &self.came()).finish_non_exhaustive()
    }
}

/// A part of the program that ends by itself once it is cancelled.
#[derive(Debug)]
pub(crate) struct Orderly<'a>(&'a Interrupt);

impl Drop for Orderly<'_> {
    fn drop(&mut self) {
        self.0.0.orderly.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Interrupt {
    /// From now on signals end the program: `grace` after they came at the latest. Where they cannot be caught they end the process, as ever.
    pub(crate) fn install(grace: Duration, tell: impl FnOnce(Error) + Send + 'static) -> Self {
        let interrupt = Self::default();
        interrupt.tells(tell);
        let state = Arc::clone(&interrupt.0);
        let (ready, is_ready) = mpsc::channel();
        let waiter = std::thread::Builder::new().name("signals".to_owned());
        if waiter.spawn(move || state.watch(grace, ready)).is_ok() {
            // Ends with an error where the thread gave up.
            let _: Result<(), _> = is_ready.recv();
        }
        interrupt
    }

    /// Cancelled by the first signal.
    pub(crate) fn token(&self) -> CancelToken {
        self.0.token.clone()
    }

    /// Says how the program's last words are written.
    pub(crate) fn tells(&self, tell: impl FnOnce(Error) + Send + 'static) {
        *self.0.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tell));
    }

    /// As long as what it gives lives, the program ends by itself once it is cancelled, and has the grace for it.
    pub(crate) fn orderly(&self) -> Orderly<'_> {
        self.0.orderly.fetch_add(1, Ordering::SeqCst);
        Orderly(self)
    }

    /// Takes note of the run that is under way; `state` is what a command line needs to find it.
    pub(crate) fn observer(&self, state: &str) -> impl Fn(&HostEvent<'_>) + Send + Sync + 'static {
        let (shared, state) = (Arc::clone(&self.0), state.to_owned());
        move |event| {
            let run = match event {
                HostEvent::RunBegin { run } => Some(format!("{run}{state}")),
                HostEvent::RunEnd { .. } => None,
                _ => return,
            };
            *shared.run.lock().unwrap_or_else(PoisonError::into_inner) = run;
        }
    }

    fn came(&self) -> Option<Came> {
        self.0.came()
    }

    /// How the program exits where a signal came.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.came().map(Came::exit)
    }

    /// Nothing more is begun once a signal came.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.came().map_or(Ok(()), |came| Err(Error::new(came.exit(), came.words())))
    }

    /// The right to write how the program ends. Where the signals' thread has it by now, the program ends here.
    pub(crate) fn claim(&self) {
        if self.0.is_answered.swap(true, Ordering::SeqCst) {
            loop {
                std::thread::park();
            }
        }
    }
}

impl State {
    fn came(&self) -> Option<Came> {
        let number = self.came.load(Ordering::SeqCst);
        Came::ALL.into_iter().find(|came| came.number() == number)
    }

    /// Waits for a signal and ends the program.
    fn watch(&self, grace: Duration, ready: mpsc::Sender<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let Ok(runtime) = runtime else { return };
        let exit = runtime.block_on(async {
            let mut signals = Signals::new()?;
            drop(ready);
            let came = signals.next().await;
            self.came.store(came.number(), Ordering::SeqCst);
            self.token.cancel();
            let ends_by_itself = self.orderly.load(Ordering::SeqCst) > 0 || self.is_answered.load(Ordering::SeqCst);
            if ends_by_itself {
                tokio::time::sleep(grace).await;
            }
            Ok::<_, std::io::Error>(self.last_words(came, LAST_WORDS.max(grace / LAST_WORDS_PART)))
        });
        if let Ok(exit) = exit {
            #[expect(
                clippy::disallowed_methods,
                reason = "the main thread does what cannot be cancelled, so it cannot return"
            )]
            std::process::exit(i32::from(exit.code()));
        }
    }

    /// Says how the program ends, where nobody does by now.
    fn last_words(&self, came: Came, time: Duration) -> Exit {
        if self.is_answered.swap(true, Ordering::SeqCst) {
            return came.exit();
        }
        let Some(tell) = self.tell.lock().unwrap_or_else(PoisonError::into_inner).take() else { return came.exit() };
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        let error = match run {
            Some(run) => {
                let id = run.split(' ').next().unwrap_or_default();
                Error::new(came.exit(), format!("{} before the run `{id}` had ended; nothing is lost", came.words()))
                    .hint(format!("`host recover {run}` goes on with it"))
            }
            None => Error::new(came.exit(), came.words()),
        };
        // Whoever should read it may not: that is waited for no longer than may be.
        let (done, is_done) = mpsc::channel::<()>();
        let teller = std::thread::Builder::new().name("last words".to_owned());
        let told = teller.spawn(move || {
            tell(error);
            drop(done);
        });
        if told.is_ok() {
            let _: Result<(), _> = is_done.recv_timeout(time);
        }
        came.exit()
    }
}

/// The signals that end the program, and one that must not.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started the program wants it to be ignored, as `nohup` does.
    hang_up: Option<Signal>,
    /// A file that is larger than the process may write would kill it. Caught, the write fails with EFBIG, which is an error like others.
    _too_large: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        const SIGXFSZ: i32 = 25;
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hang_up = if is_ignored(1) { None } else { signal(SignalKind::hangup()).ok() };
        Ok(Self { interrupt, terminate, hang_up, _too_large: signal(SignalKind::from_raw(SIGXFSZ)).ok() })
    }

    async fn next(&mut self) -> Came {
        std::future::poll_fn(|context| {
            use std::task::Poll;
            if self.interrupt.poll_recv(context).is_ready() {
                return Poll::Ready(Came::Interrupt);
            }
            if self.terminate.poll_recv(context).is_ready() {
                return Poll::Ready(Came::Terminate);
            }
            let hung_up = self.hang_up.as_mut().is_some_and(|hang_up| hang_up.poll_recv(context).is_ready());
            if hung_up { Poll::Ready(Came::HangUp) } else { Poll::Pending }
        })
        .await
    }
}

/// Whether the process was started with this signal ignored. Where the system does not say it, it was not.
fn is_ignored(signal: u32) -> bool {
    let Ok(status) = regular::read_to_string(Path::new("/proc/self/status")) else { return false };
    is_in_mask(&status, signal)
}

fn is_in_mask(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    signal.checked_sub(1).and_then(|bit| mask.checked_shr(bit)).is_some_and(|rest| rest & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\thost\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert!(is_in_mask(status, 1) && is_in_mask(status, 13));
        assert!(!is_in_mask(status, 2) && !is_in_mask(status, 15) && !is_in_mask("", 1));
    }

    #[test]
    fn what_came_first_decides_how_it_ends() {
        let interrupt = Interrupt::default();
        assert!(interrupt.check().is_ok() && interrupt.exit().is_none());
        for came in Came::ALL {
            interrupt.0.came.store(came.number(), Ordering::SeqCst);
            assert_eq!(interrupt.exit(), Some(came.exit()));
            assert_eq!(interrupt.check().unwrap_err().first(), came.words());
        }
    }
}
