//! What the tests share: a host in a folder of its own, plans and policies as text, guests from WebAssembly text, and readers of traces
//! that share no code with the library's.

pub mod bare;
pub mod bombs;
#[cfg(unix)]
pub mod crash;
pub mod dns;
pub mod guest;
pub mod http_guest;
pub mod plan;
pub mod relay;
pub mod repo;
pub mod server;
pub mod test_host;
pub mod trace;
pub mod tree;

pub use dns::Dns;
pub use guest::Guest;
pub use plan::{plan, policy, step};
pub use server::Server;
pub use test_host::{Run, TestHost};
