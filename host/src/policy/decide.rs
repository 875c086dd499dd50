//! The decision for a step.

use crate::id::{StepId, ToolName};
use crate::limits::StepLimits;
use crate::policy::Grant;
use std::sync::Arc;

/// What the policy says of one tool.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// Allowed under this grant.
    Allow {
        /// Its index in the document.
        index: usize,
        /// The grant.
        grant: &'a Grant,
    },
    /// Not allowed.
    Deny,
}

/// A step that is not allowed, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The step.
    pub step: StepId,
    /// Its tool.
    pub tool: ToolName,
    /// Why: lower case, no final period.
    pub reason: String,
}

/// A valid plan whose every step is allowed.
#[derive(Debug, Clone)]
pub struct AuthorizedPlan {
    steps: Vec<AuthorizedStep>,
}

/// A step with what it was granted.
#[derive(Debug, Clone)]
pub struct AuthorizedStep {
    /// The index of the grant.
    pub grant_index: usize,
    /// The grant.
    pub grant: Arc<Grant>,
    /// The limits that apply: the grant's, lowered by the step's own.
    pub limits: StepLimits,
}

impl AuthorizedPlan {
    /// The steps in the plan's order.
    #[must_use]
    pub fn steps(&self) -> &[AuthorizedStep] {
        &self.steps
    }
}
