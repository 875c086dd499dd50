//! What the fuzz targets `component` and `mutate` do with bytes, apart from any fuzzer: a component from the bytes goes through load,
//! run and replay. A panic, a run that does not end, or a replay that differs is a finding.

mod drive;
mod make;

pub use drive::Drive;

/// An arbitrary component, or an arbitrary module as a component.
pub fn component(drive: &mut Drive, bytes: &[u8]) {
    let mut choices = arbitrary::Unstructured::new(bytes);
    if let Ok(component) = make::arbitrary(&mut choices) {
        drive.run(&component, &mut choices);
    }
}

/// A committed guest after some mutations.
pub fn mutate(drive: &mut Drive, bytes: &[u8]) {
    let mut choices = arbitrary::Unstructured::new(bytes);
    if let Ok(component) = make::mutated(&mut choices) {
        drive.run(&component, &mut choices);
    }
}
