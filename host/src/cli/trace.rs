//! `host trace show`, `host trace verify` and `host trace diff`.

use crate::cli::error::Error;
use crate::cli::reply::Reply;
use crate::cli::session::Session;

/// Looks into traces
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Trace {
    /// x
    Show,
}

impl Trace {
    #[expect(clippy::unnecessary_wraps, reason = "stub")]
    pub(crate) fn execute(&self, _session: &Session) -> Result<Reply, Error> {
        Ok(Reply::default())
    }
}
