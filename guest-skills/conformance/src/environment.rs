//! Arguments, variables, exit codes, ways to end, randomness.

use std::hash::{BuildHasher as _, RandomState};
use std::io;

use wasip2::random::{insecure, insecure_seed, random};

use crate::Case;
use crate::report::{done, say, show};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("arguments", arguments),
    ("variables", variables),
    ("variables-set", variables_set),
    ("current-folder", current_folder),
    ("current-folder-told", current_folder_told),
    ("exit-0", |_| std::process::exit(0)),
    ("exit-1", |_| std::process::exit(1)),
    ("exit-7", |_| std::process::exit(7)),
    ("exit-255", |_| std::process::exit(255)),
    ("exit-after-output", exit_after_output),
    ("exit-by-interface", exit_by_interface),
    ("main-fails", main_fails),
    ("panic", panic),
    ("abort", |_| std::process::abort()),
    ("process-and-thread", process_and_thread),
    ("random-hash-keys", hash_keys),
    ("random-bytes", random_bytes),
    ("random-none", random_none),
    ("random-seed", random_seed),
];

fn arguments(arguments: &[String]) -> io::Result<()> {
    say("arguments", arguments);
    say("there is a name", std::env::args().next().is_some());
    Ok(())
}

fn variables(_: &[String]) -> io::Result<()> {
    let mut all: Vec<_> = std::env::vars().collect();
    all.sort();
    say("all", all);
    say("one", std::env::var("GREETING"));
    say("missing", std::env::var("MISSING"));
    Ok(())
}

#[expect(unsafe_code, reason = "setting a variable is what is tried; there is one thread")]
fn variables_set(_: &[String]) -> io::Result<()> {
    // SAFETY: there is no other thread that could read the environment.
    unsafe { std::env::set_var("GREETING", "changed") };
    say("changed", std::env::var("GREETING"));
    // SAFETY: as above.
    unsafe { std::env::remove_var("GREETING") };
    say("removed", std::env::var("GREETING"));
    Ok(())
}

fn current_folder(_: &[String]) -> io::Result<()> {
    show("at start", std::env::current_dir());
    done("change", std::env::set_current_dir("/workspace"));
    show("then", std::env::current_dir());
    done("read", std::fs::read_to_string("text.txt"));
    done("to a missing one", std::env::set_current_dir("/workspace/none"));
    done("to a file", std::env::set_current_dir("/workspace/text.txt"));
    done("program", std::env::current_exe());
    Ok(())
}

/// The folder that the host proposes; the standard library does not ask for it.
fn current_folder_told(_: &[String]) -> io::Result<()> {
    say("told", wasip2::cli::environment::initial_cwd());
    Ok(())
}

fn exit_after_output(_: &[String]) -> io::Result<()> {
    print!("said before the end");
    eprint!("and this");
    std::process::exit(3)
}

fn exit_by_interface(_: &[String]) -> io::Result<()> {
    println!("before");
    wasip2::cli::exit::exit(Err(()));
    println!("never");
    Ok(())
}

fn main_fails(_: &[String]) -> io::Result<()> {
    Err(io::ErrorKind::Other.into())
}

#[expect(clippy::panic, reason = "panicking is what is tried")]
fn panic(_: &[String]) -> io::Result<()> {
    println!("before");
    panic!("as asked");
}

fn process_and_thread(_: &[String]) -> io::Result<()> {
    done("process", std::process::Command::new("true").status());
    done("thread", std::thread::Builder::new().spawn(|| {}));
    show("parallelism", std::thread::available_parallelism());
    Ok(())
}

fn hash_keys(_: &[String]) -> io::Result<()> {
    let (one, two) = (RandomState::new(), RandomState::new());
    say("differ", one.hash_one(1) != two.hash_one(1));
    say("steady", one.hash_one(1) == one.hash_one(1));
    Ok(())
}

fn random_bytes(_: &[String]) -> io::Result<()> {
    for len in [1, 16, 1000, 65_536] {
        say("length", random::get_random_bytes(len).len());
        say("length of insecure ones", insecure::get_insecure_random_bytes(len).len());
    }
    say("differ", random::get_random_bytes(16) != random::get_random_bytes(16));
    say("numbers differ", random::get_random_u64() != random::get_random_u64());
    say("insecure ones differ", insecure::get_insecure_random_u64() != insecure::get_insecure_random_u64());
    let mut seen = [false; 256];
    for byte in random::get_random_bytes(10_000) {
        if let Some(seen) = seen.get_mut(usize::from(byte)) {
            *seen = true;
        }
    }
    say("every byte occurs", seen.iter().all(|seen| *seen));
    Ok(())
}

fn random_none(_: &[String]) -> io::Result<()> {
    say("none", random::get_random_bytes(0));
    say("none of insecure ones", insecure::get_insecure_random_bytes(0));
    Ok(())
}

fn random_seed(_: &[String]) -> io::Result<()> {
    let (one, two) = insecure_seed::insecure_seed();
    say("the halves differ", one != two);
    say("the same when asked again", insecure_seed::insecure_seed() == (one, two));
    Ok(())
}
