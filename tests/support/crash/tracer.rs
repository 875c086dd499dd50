//! Runs a program under ptrace and stops it for good at a system call of one's choice. Owns what counts as a point: every call by which a
//! process makes, changes or syncs something that outlives it. Never looks at what the program is.

use std::collections::BTreeMap;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Ended, Kill, Traced, Where};

/// Stops itself, so that it is traced from its first instruction on, then becomes what follows.
const STOPPED: &str = "kill -STOP $$; exec \"$@\"";
/// `ioctl(FICLONE)`: a reflink.
const FICLONE: u64 = 0x4004_9409;
/// Bytes of a path that are read for a description.
const PATH_BYTES_MAX: usize = 256;

/// Runs a program and kills it where `stop` says; `None` only counts. `describe` says of each point what it is.
pub(super) fn trace(program: &Command, stop: Option<Kill>, describe: bool) -> Traced {
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
    let mut tracer = Tracer { leader, stop, describe, inside: BTreeMap::new(), has_begun: false, points: Vec::new() };
    let (ended, is_killed) = tracer.follow();
    let (stdout, stderr) = (super::text_of(out), super::text_of(err));
    Traced { ended, is_killed, points: tracer.points, stdout, stderr }
}

struct Tracer {
    leader: Pid,
    stop: Option<Kill>,
    describe: bool,
    /// The threads that are in a system call, and whether it is the one that is waited for.
    inside: BTreeMap<Pid, bool>,
    /// Whether the program itself runs: before that it is the shell.
    has_begun: bool,
    points: Vec<String>,
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
        if let Some(is_wanted) = self.inside.remove(&thread) {
            return is_wanted;
        }
        // What has not been seen to enter and has a result came back from where it was not followed.
        if registers.rax.cast_signed() != -i64::from(libc::ENOSYS) {
            return false;
        }
        let mut wanted = false;
        if self.has_begun
            && let Some(name) = point(thread, &registers)
        {
            let number = self.points.len() + 1;
            let is_here = self.stop.is_some_and(|stop| stop.at == number);
            let description = if self.describe || is_here { describe(thread, name, &registers) } else { String::new() };
            self.points.push(description);
            match self.stop {
                Some(Kill { place: Where::Entered, .. }) if is_here => return true,
                Some(Kill { place: Where::Returned, .. }) => wanted = is_here,
                _ => {}
            }
        }
        self.inside.insert(thread, wanted);
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
