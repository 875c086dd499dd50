//! JSON of any bytes: what the strict reader takes, the usual one takes as well and means the same; its canonical form reads back as
//! itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skillhost::{canonical, json};

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = json::parse(bytes) else { return };
    let usual: serde_json::Value = serde_json::from_slice(bytes).expect("what is strict JSON is JSON");
    assert_eq!(value, usual);
    let text = canonical::to_vec(&value);
    let again = json::parse(&text).expect("canonical JSON is JSON");
    assert_eq!(canonical::to_vec(&again), text);
});
