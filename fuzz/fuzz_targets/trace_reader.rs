//! A trace of any bytes is read, verified and replayed up to its first fault, and never more than that.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use skillhost::trace::reader::Reader;
use skillhost::trace::verify;

fuzz_target!(|bytes: &[u8]| {
    let reader = || Reader::new(Box::new(Cursor::new(bytes.to_vec())), "fuzz");
    let mut events = 0;
    let mut lines = reader();
    while let Ok(Some(_)) = lines.next_event() {
        events += 1;
    }
    if let Ok(verified) = verify::events(&mut reader(), None) {
        assert_eq!(verified.events, events);
    }
});
