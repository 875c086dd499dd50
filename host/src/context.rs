//! What a request says of itself, for the guests of the run that it asked for. Decides nothing: it is in no digest, and in a trace only where
//! a guest asked for it.

use std::collections::BTreeMap;

use crate::id::Digest;

/// Who asked for a run. The ids are opaque; nothing is looked up by them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RequestContext {
    /// The request.
    pub request_id: Option<String>,
    /// The trace of the caller that it is part of.
    pub trace_id: Option<String>,
    /// The tenant.
    pub tenant_id: Option<String>,
    /// The workspace.
    pub workspace_id: Option<String>,
    /// The project.
    pub project_id: Option<String>,
    /// The user.
    pub user_id: Option<String>,
    /// The bundle that answers.
    pub snapshot_id: Option<String>,
    /// The time that the request has.
    pub timeout_ms: Option<u64>,
    /// Variables for the environments of guests: each is told to those whose grant takes it from the request, and to nobody else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The idempotency key of a request, with what the request is about: of two with one key the second is not done again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestKey {
    /// The key.
    pub key: String,
    /// The digest of all that the request asks for.
    pub request: Digest,
}
