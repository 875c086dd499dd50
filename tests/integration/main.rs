//! The library with real and hostile guests: limits, isolation, replay, and what must never change silently.

mod annotations;
mod conformance;
mod conformance_http;
mod durability;
mod examples;
mod fuel_ledger;
mod http;
mod http_skill;
mod library;
mod limits;
mod linked;
mod policies;
mod replay;
mod sandbox;
mod skills_lock;
mod validation;
mod verifier;
