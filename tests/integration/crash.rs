//! What is killed is recovered: at every so-and-so-many-th point, with the proof that `crash enumerate` makes at all of them.

use host_tests::crash::enumeration::{BOTH, Choice, enumerate};
use host_tests::crash::place::Program;
use host_tests::crash::refusal::{Refused, refuse};
use host_tests::crash::scenario::named;
use host_tests::crash::{IS_SUPPORTED, Kill, Scope, UNSUPPORTED, Where, trace};
use host_tests::test_host::cache_home;

/// Cases in each scenario and durability: what takes a few seconds.
const CASES: usize = 12;

/// With the folder of compiled components that all tests share.
fn program(durability: &'static str) -> Program {
    Program { path: env!("CARGO_BIN_EXE_host-under-test").into(), cache: cache_home(), durability }
}

fn survives(scenario: &str, durability: &'static str, scope: Scope) {
    if !IS_SUPPORTED {
        println!("{UNSUPPORTED}");
        return;
    }
    let choice =
        Choice { sides: BOTH, cases: Some(CASES), every: 1, first: 1, recovery_in: 3, jobs: 1, seed: 4, scope };
    let tally = enumerate(&program(durability), &named(scenario).unwrap(), choice);
    assert!(tally.points > 20 && tally.kills > CASES / 2, "{tally:?}");
    assert!(tally.failures.is_empty(), "{}", tally.failures_by_kind());
}

#[test]
fn a_killed_run_that_changes_no_file_ends_as_if_it_had_not_been() {
    survives("pure", "full", Scope::Made);
}

#[test]
fn a_killed_run_that_changes_files_ends_as_if_it_had_not_been() {
    survives("files", "full", Scope::Made);
}

#[test]
fn a_killed_rollback_ends_as_if_it_had_not_been() {
    survives("rollback", "buffered", Scope::Made);
}

#[test]
fn a_killed_undo_ends_as_if_it_had_not_been() {
    survives("undo", "full", Scope::Made);
}

#[test]
fn a_run_that_is_killed_at_any_call_ends_as_if_it_had_not_been() {
    survives("large", "full", Scope::Touched);
    survives("large-back", "full", Scope::Touched);
}

#[test]
fn a_run_that_is_refused_a_call_ends() {
    if !IS_SUPPORTED {
        println!("{UNSUPPORTED}");
        return;
    }
    let (sides, scope) = (BOTH, Scope::Touched);
    let choice = Choice { sides, cases: Some(30), every: 1, first: 1, recovery_in: 0, jobs: 2, seed: 4, scope };
    for scenario in ["large", "large-back"] {
        let Refused { tally, stood } = refuse(&program("full"), &named(scenario).unwrap(), choice);
        assert!(tally.points > 100 && tally.kills > 20, "{tally:?}");
        assert!(tally.failures.is_empty(), "{stood:?}: {}", tally.failures_by_kind());
    }
}

#[test]
fn killed_parallel_steps_end_as_if_they_had_not_been() {
    survives("parallel", "buffered", Scope::Made);
}

#[test]
fn a_program_is_killed_where_it_is_to_be() {
    if !IS_SUPPORTED {
        println!("{UNSUPPORTED}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = std::process::Command::new("/bin/mkdir");
        command.env_clear().current_dir(folder.path()).args(["a", "b", "c"]);
        command
    };
    let there = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        names.iter().for_each(|name| std::fs::remove_dir(folder.path().join(name)).unwrap());
        names.concat()
    };
    let counted = trace(&command(), None, true);
    assert_eq!(counted.points, ["mkdir a", "mkdir b", "mkdir c"]);
    assert_eq!((counted.is_killed, there().as_str()), (false, "abc"));
    for (at, place, left) in [
        (1, Where::Entered, ""),
        (1, Where::Returned, "a"),
        (2, Where::Entered, "a"),
        (3, Where::Entered, "ab"),
        (3, Where::Returned, "abc"),
    ] {
        let killed = trace(&command(), Some(Kill { at, place }), false);
        assert_eq!((killed.is_killed, there().as_str()), (true, left), "{at} {place:?}");
        assert_eq!(killed.ended, host_tests::crash::Ended::Signal(9));
    }
    let late = trace(&command(), Some(Kill { at: 4, place: Where::Entered }), false);
    assert_eq!((late.is_killed, there().as_str()), (false, "abc"));
}
