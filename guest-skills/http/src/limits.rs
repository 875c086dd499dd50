//! Every bound of this skill, with its reason.

/// Bytes of an answer's body where the caller says nothing: more than a document, less than what fills a step's memory.
pub(crate) const DEFAULT_BODY_BYTES: u64 = 10 * 1024 * 1024;

/// Bytes of an answer's body that a caller may ask for. The value is held several times on its way (guest memory, host value, JSON).
pub(crate) const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// Redirects that are followed where the caller says nothing. Real chains have one to three.
pub(crate) const DEFAULT_REDIRECTS: u8 = 10;

/// Redirects that a caller may ask for, as browsers have it.
pub(crate) const MAX_REDIRECTS: u8 = 20;

/// Bytes of a URL, given or in a redirect. Servers refuse longer ones.
pub(crate) const MAX_URL_BYTES: usize = 8192;

/// Headers of a request: servers refuse more.
pub(crate) const MAX_HEADERS: usize = 100;

/// Bytes of a header's name and value together: servers refuse more.
pub(crate) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Bytes that are read or written at once.
pub(crate) const CHUNK_BYTES: u64 = 64 * 1024;

/// Bytes of an error's text that come from the other side: a server may say a lot.
pub(crate) const MAX_DETAIL_BYTES: usize = 500;
