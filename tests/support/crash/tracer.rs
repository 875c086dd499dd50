//! Runs a program under ptrace and stops it for good at a system call of one's choice, or has the system refuse that call. Owns what counts as a
//! point: every call by which a process makes, changes or syncs something that outlives it; where that is asked for, every one that has to do
//! with a workspace or with the folder of a run. Never looks at what the program is.

use std::collections::BTreeMap;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Ended, Kill, Scope, Stop, Traced, Where};

/// Stops itself, so that it is traced from its first instruction on, then becomes what follows.
const STOPPED: &str = "kill -STOP $$; exec \"$@\"";
/// `ioctl(FICLONE)`: a reflink.
const FICLONE: u64 = 0x4004_9409;
/// Bytes of a path that are read for a description.
const PATH_BYTES_MAX: usize = 256;

/// Runs a program and does to it what `stop` says; `None` only counts. `describe` says of each point what it is.
pub(super) fn trace(scope: Scope, program: &Command, stop: Option<Stop>, describe: bool) -> Traced {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", STOPPED, "sh"]).arg(program.get_program()).args(program.get_args());
    command.env_clear();
    for (name, value) in program.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    let (out, err) = (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
    command.stdin(std::process::Stdio::null());
    command.stdout(out.try_clone().expect("a file")).stderr(err.try_clone().expect("a file"));
    #[expect(clippy::zombie_processes, reason = "the tracer waits for it, and for each of its threads")]
    let child = command.spawn().expect("a shell starts");
    let leader = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    // It stops itself; then it is ours.
    let stopped = waitpid(leader, Some(WaitPidFlag::WUNTRACED)).expect("it stops");
    assert!(matches!(stopped, WaitStatus::Stopped(_, Signal::SIGSTOP)), "{stopped:?}");
    let options = Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(leader, options).expect("it may be traced");
    kill(leader, Signal::SIGCONT).expect("it goes on");
    let inside = BTreeMap::new();
    let mut tracer =
        Tracer { leader, scope, stop, describe, inside, has_begun: false, is_refused: false, points: Vec::new() };
    let (ended, is_killed) = tracer.follow();
    let is_killed = is_killed || tracer.is_refused;
    let (stdout, stderr) = (super::text_of(out), super::text_of(err));
    Traced { ended, is_killed, points: tracer.points, stdout, stderr }
}

struct Tracer {
    leader: Pid,
    scope: Scope,
    stop: Option<Stop>,
    describe: bool,
    /// The threads that are in a system call, and what is to be done when it returns.
    inside: BTreeMap<Pid, Then>,
    /// Whether the program itself runs: before that it is the shell.
    has_begun: bool,
    /// Whether a call was refused.
    is_refused: bool,
    points: Vec<String>,
}

/// What is done when a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Kill,
    Refuse(i32),
}

impl Tracer {
    /// Follows all threads until the last is gone.
    fn follow(&mut self) -> (Ended, bool) {
        let mut is_killed = false;
        loop {
            // Those of this thread of ours alone: others trace as well.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(error) => panic!("a traced program is gone: {error}"),
            };
            let (thread, signal) = match status {
                WaitStatus::Exited(pid, code) if pid == self.leader => return (Ended::Code(code), is_killed),
                WaitStatus::Signaled(pid, signal, _) if pid == self.leader => {
                    return (Ended::Signal(signal as i32), is_killed);
                }
                WaitStatus::PtraceSyscall(thread) => {
                    if !is_killed && self.stops_at(thread) {
                        is_killed = true;
                        kill(self.leader, Signal::SIGKILL).expect("it is killed");
                    }
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    if event == Event::PTRACE_EVENT_EXEC as i32 {
                        self.has_begun = true;
                        self.inside.retain(|known, _| *known == thread);
                    }
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            match ptrace::syscall(thread, signal) {
                // Killed meanwhile: it is still to be waited for.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("a traced program cannot go on: {error}"),
            }
        }
    }

    /// Whether a thread that stopped at a system call stands where the program is to be killed.
    fn stops_at(&mut self, thread: Pid) -> bool {
        let Ok(registers) = ptrace::getregs(thread) else { return false };
        match self.inside.remove(&thread) {
            None => {}
            Some(Then::Nothing) => return false,
            Some(Then::Kill) => return true,
            Some(Then::Refuse(errno)) => {
                let mut refused = registers;
                refused.rax = (-i64::from(errno)).cast_unsigned();
                ptrace::setregs(thread, refused).expect("its result is set");
                self.is_refused = true;
                return false;
            }
        }
        // What has not been seen to enter and has a result came back from where it was not followed.
        if registers.rax.cast_signed() != -i64::from(libc::ENOSYS) {
            return false;
        }
        let mut then = Then::Nothing;
        let point = match self.scope {
            _ if !self.has_begun => None,
            Scope::Made => point(thread, &registers),
            Scope::Touched => touched(thread, &registers),
        };
        if let Some(name) = point {
            let number = self.points.len() + 1;
            let here = self.stop.filter(|stop| stop.at() == number);
            let is_told = self.describe || here.is_some();
            let description = match self.scope {
                _ if !is_told => String::new(),
                Scope::Made => describe(thread, name, &registers),
                Scope::Touched => format!("{name} {}", place(thread, &registers).unwrap_or_default()),
            };
            self.points.push(description);
            match here {
                Some(Stop::Kill(Kill { place: Where::Entered, .. })) => return true,
                Some(Stop::Kill(Kill { place: Where::Returned, .. })) => then = Then::Kill,
                Some(Stop::Refuse { errno, .. }) => {
                    let mut skipped = registers;
                    // No such call: the system makes none.
                    skipped.orig_rax = u64::MAX;
                    ptrace::setregs(thread, skipped).expect("its call is another");
                    then = Then::Refuse(errno);
                }
                None => {}
            }
        }
        self.inside.insert(thread, then);
        false
    }
}

/// The name of a call that makes something; `None` for those that only look.
fn point(thread: Pid, registers: &libc::user_regs_struct) -> Option<&'static str> {
    let makes = |flags: u64| flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0;
    let number = i64::try_from(registers.orig_rax).unwrap_or(-1);
    Some(match number {
        libc::SYS_write => "write",
        libc::SYS_pwrite64 => "pwrite64",
        libc::SYS_writev => "writev",
        libc::SYS_pwritev => "pwritev",
        libc::SYS_pwritev2 => "pwritev2",
        libc::SYS_fsync => "fsync",
        libc::SYS_fdatasync => "fdatasync",
        libc::SYS_syncfs => "syncfs",
        libc::SYS_sync_file_range => "sync_file_range",
        libc::SYS_msync => "msync",
        libc::SYS_rename => "rename",
        libc::SYS_renameat => "renameat",
        libc::SYS_renameat2 => "renameat2",
        libc::SYS_link => "link",
        libc::SYS_linkat => "linkat",
        libc::SYS_unlink => "unlink",
        libc::SYS_unlinkat => "unlinkat",
        libc::SYS_mkdir => "mkdir",
        libc::SYS_mkdirat => "mkdirat",
        libc::SYS_rmdir => "rmdir",
        libc::SYS_symlink => "symlink",
        libc::SYS_symlinkat => "symlinkat",
        libc::SYS_truncate => "truncate",
        libc::SYS_ftruncate => "ftruncate",
        libc::SYS_fallocate => "fallocate",
        libc::SYS_copy_file_range => "copy_file_range",
        libc::SYS_sendfile => "sendfile",
        libc::SYS_splice => "splice",
        libc::SYS_utimensat => "utimensat",
        libc::SYS_chmod => "chmod",
        libc::SYS_fchmod => "fchmod",
        libc::SYS_fchmodat => "fchmodat",
        libc::SYS_fchownat => "fchownat",
        libc::SYS_setxattr => "setxattr",
        libc::SYS_fsetxattr => "fsetxattr",
        libc::SYS_mknodat => "mknodat",
        libc::SYS_creat => "creat",
        libc::SYS_open if makes(registers.rsi) => "open",
        libc::SYS_openat if makes(registers.rdx) => "openat",
        // Its flags are the first word of what the third argument points at.
        libc::SYS_openat2 if word(thread, registers.rdx).is_some_and(makes) => "openat2",
        libc::SYS_ioctl if registers.rsi == FICLONE => "ioctl(FICLONE)",
        _ => return None,
    })
}

/// The name of a call that has to do with a workspace or with the folder of a run.
fn touched(thread: Pid, registers: &libc::user_regs_struct) -> Option<&'static str> {
    let number = i64::try_from(registers.orig_rax).unwrap_or(-1);
    let name = point(thread, registers).or(Some(match number {
        libc::SYS_open => "open",
        libc::SYS_openat => "openat",
        libc::SYS_openat2 => "openat2",
        libc::SYS_read => "read",
        libc::SYS_pread64 => "pread64",
        libc::SYS_readv => "readv",
        libc::SYS_stat => "stat",
        libc::SYS_lstat => "lstat",
        libc::SYS_fstat => "fstat",
        libc::SYS_newfstatat => "newfstatat",
        libc::SYS_statx => "statx",
        libc::SYS_readlink => "readlink",
        libc::SYS_readlinkat => "readlinkat",
        libc::SYS_getdents64 => "getdents64",
        libc::SYS_lseek => "lseek",
        libc::SYS_access => "access",
        libc::SYS_faccessat => "faccessat",
        libc::SYS_faccessat2 => "faccessat2",
        libc::SYS_flistxattr => "flistxattr",
        libc::SYS_fgetxattr => "fgetxattr",
        libc::SYS_flock => "flock",
        libc::SYS_fcntl => "fcntl",
        _ => return None,
    }))?;
    let place = place(thread, registers)?;
    (place.contains("/workspace") || place.contains("/state/runs/")).then_some(name)
}

/// The path that a call is about, absolute where its directory is known.
fn place(thread: Pid, registers: &libc::user_regs_struct) -> Option<String> {
    let number = i64::try_from(registers.orig_rax).unwrap_or(-1);
    let open = |fd: u64| std::fs::read_link(format!("/proc/{thread}/fd/{fd}")).ok();
    let here = || std::fs::read_link(format!("/proc/{thread}/cwd")).unwrap_or_default();
    let at = |fd: u64, path: u64| {
        #[expect(clippy::cast_possible_truncation, reason = "it is an int")]
        let is_here = fd as i32 == libc::AT_FDCWD;
        let base = if is_here { here() } else { open(fd).unwrap_or_default() };
        Some(base.join(text(thread, path)).display().to_string())
    };
    match number {
        libc::SYS_open
        | libc::SYS_stat
        | libc::SYS_lstat
        | libc::SYS_readlink
        | libc::SYS_access
        | libc::SYS_rename
        | libc::SYS_link
        | libc::SYS_unlink
        | libc::SYS_mkdir
        | libc::SYS_rmdir
        | libc::SYS_truncate
        | libc::SYS_chmod
        | libc::SYS_creat
        | libc::SYS_setxattr => Some(here().join(text(thread, registers.rdi)).display().to_string()),
        libc::SYS_openat
        | libc::SYS_openat2
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_readlinkat
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_unlinkat
        | libc::SYS_mkdirat
        | libc::SYS_renameat
        | libc::SYS_renameat2
        | libc::SYS_linkat
        | libc::SYS_utimensat
        | libc::SYS_fchmodat
        | libc::SYS_fchownat
        | libc::SYS_mknodat => at(registers.rdi, registers.rsi),
        libc::SYS_symlinkat => at(registers.rsi, registers.rdx),
        _ => open(registers.rdi).map(|path| path.display().to_string()),
    }
}

/// A word of the program's memory.
fn word(thread: Pid, address: u64) -> Option<u64> {
    let address = usize::try_from(address).ok()?;
    ptrace::read(thread, std::ptr::without_provenance_mut(address)).ok().map(i64::cast_unsigned)
}

/// The text at an address.
fn text(thread: Pid, address: u64) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < PATH_BYTES_MAX {
        let Some(word) = word(thread, address + bytes.len() as u64) else { break };
        let more = word.to_le_bytes();
        let end = more.iter().position(|byte| *byte == 0);
        bytes.extend(&more[..end.unwrap_or(more.len())]);
        if end.is_some() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a call is about, for people.
fn describe(thread: Pid, name: &str, registers: &libc::user_regs_struct) -> String {
    let about = match name {
        "rename" | "link" | "symlink" => format!("{} {}", text(thread, registers.rdi), text(thread, registers.rsi)),
        "renameat" | "renameat2" | "linkat" => {
            format!("{} {}", text(thread, registers.rsi), text(thread, registers.r10))
        }
        "symlinkat" => format!("{} {}", text(thread, registers.rdi), text(thread, registers.rdx)),
        "unlink" | "mkdir" | "rmdir" | "open" | "creat" | "truncate" | "chmod" | "setxattr" => {
            text(thread, registers.rdi)
        }
        "unlinkat" | "mkdirat" | "openat" | "openat2" | "utimensat" | "fchmodat" | "fchownat" | "mknodat" => {
            text(thread, registers.rsi)
        }
        _ => {
            let link = format!("/proc/{thread}/fd/{}", registers.rdi);
            let of = std::fs::read_link(link).map(|path| path.display().to_string()).unwrap_or_default();
            if name.contains("write") { format!("{of} {}", registers.rdx) } else { of }
        }
    };
    format!("{name} {about}")
}
