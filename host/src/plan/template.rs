//! References in strings: `{{inputs.month}}`, `{{steps.sum.total}}`.

use serde_json::Value;

/// A JSON value whose strings may hold references.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(pub Value);
