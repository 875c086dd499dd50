//! Any component: it is loaded or refused, its tools run, and every run replays to the same end.
#![no_main]

use std::cell::RefCell;

use host_fuzz::Drive;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DRIVE: RefCell<Drive> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| DRIVE.with_borrow_mut(|drive| host_fuzz::component(drive, bytes)));
