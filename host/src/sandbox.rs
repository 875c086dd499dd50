//! Running one step: components, and the conversion of values.

pub mod component;
pub mod convert;
