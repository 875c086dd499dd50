//! Guests that mean harm, by family: what each tries, how it must end, what must not have happened, and what it may cost the host. After
//! each of them the same host serves somebody else, and the record replays.
//!
//! Every family runs in a process of its own, so that a case's memory is measured alone and a crash is a failed test instead of the end
//! of all of them. `docs/threat-model.md` lists the cases; its table is written from them.

mod case;
mod contracts;
mod deputy;
mod disk;
mod grants;
mod handles;
mod load;
mod machine;
mod memory;
mod model;
mod network;
mod output;
mod own;
mod paths;
mod reentry;
mod stack;
mod time;
mod traps;
mod values;
mod wat;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use case::{Case, Family};

/// Set in the process that runs the cases of one family; its value is what no guest may learn of the host's environment.
const INSIDE: &str = "HOSTILE_GUESTS_ENVIRONMENT";
/// After this a family hangs: more than all of its cases may take together on a loaded machine.
const FAMILY_MAX: Duration = Duration::from_secs(400);
/// What the suite has at the least.
const CASES_MIN: usize = 60;

/// All cases, by family.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(paths::cases());
    cases.extend(own::cases());
    cases.extend(deputy::cases());
    cases.extend(handles::cases());
    cases.extend(memory::cases());
    cases.extend(stack::cases());
    cases.extend(time::cases());
    cases.extend(values::cases());
    cases.extend(output::cases());
    cases.extend(machine::cases());
    cases.extend(disk::cases());
    cases.extend(traps::cases());
    cases.extend(reentry::cases());
    cases.extend(load::cases());
    cases.extend(load::bombs());
    cases.extend(grants::cases());
    cases.extend(network::cases());
    cases.extend(contracts::cases());
    cases
}

macro_rules! families {
    ($($test:ident: $family:ident,)*) => {
        /// Every family has a test.
        const TESTED: &[Family] = &[$(Family::$family),*];
        $(#[test]
        fn $test() {
            in_a_process_of_its_own(Family::$family, concat!("hostile::", stringify!($test)));
        })*
    };
}

families! {
    paths_lead_nowhere: Paths,
    the_hosts_own_files_are_kept_off: Own,
    one_grant_does_not_lend_its_rights_to_another: Deputy,
    handles_are_not_forged_and_not_hoarded: Handles,
    memory_is_bounded: Memory,
    the_stack_is_bounded: Stack,
    time_is_bounded: Time,
    values_are_checked_and_bounded: Values,
    output_is_bounded_and_forges_nothing: Output,
    the_machine_does_not_show: Machine,
    files_and_folders_are_bounded: Disk,
    traps_end_a_step_and_nothing_else: Traps,
    nobody_enters_twice: Reentry,
    what_is_not_run_is_refused_at_load: Load,
    what_is_not_granted_does_not_start: Grants,
    the_network_is_what_the_rules_say: Network,
    what_is_asked_of_outputs_is_bounded: Contracts,
}

fn in_a_process_of_its_own(family: Family, test: &str) {
    if std::env::var_os(INSIDE).is_some() {
        // All of them, so that one failure does not hide another.
        let failed = |case: &&Case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.run())).is_err();
        let cases = cases();
        let failed: Vec<&str> =
            cases.iter().filter(|case| case.family == family).filter(failed).map(|c| c.name).collect();
        assert_eq!(failed, [""; 0], "cases of {family:?} that did not hold");
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, case::CANARY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program starts again");
    let (said, heard) = mpsc::channel();
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("text");
        drop(said.send(text));
    });
    let complaints = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).expect("bytes");
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let text = heard.recv_timeout(FAMILY_MAX);
    if text.is_err() {
        child.kill().expect("it is ours");
    }
    let status = child.wait().expect("it ends");
    let (text, complaints) = (text.unwrap_or_else(|_| "it hangs".to_owned()), complaints.join().expect("read"));
    assert!(status.success(), "{family:?}: {status}\n{text}\n{complaints}");
    for case in cases().iter().filter(|case| case.family == family) {
        assert!(text.contains(&case.done()), "{} did not run: {text}", case.name);
    }
}

#[test]
fn there_are_enough_cases_and_each_is_run_and_told_apart() {
    let cases = cases();
    let names: BTreeSet<(Family, &str)> = cases.iter().map(|case| (case.family, case.name)).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(cases.len() >= CASES_MIN, "only {}", cases.len());
    let tested: BTreeSet<Family> = TESTED.iter().copied().collect();
    assert_eq!(tested, cases.iter().map(|case| case.family).collect());
    assert_eq!(tested, Family::ALL.into_iter().collect());
}
