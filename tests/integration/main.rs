//! The library with real and hostile guests: limits, isolation, replay, and what must never change silently.

mod annotations;
mod budgets;
mod conformance;
mod conformance_http;
mod crash;
mod dry_run;
mod durability;
mod examples;
mod fuel_ledger;
mod hostile;
mod http;
mod lab;
mod http_skill;
mod library;
mod limits;
mod log_only;
mod linked;
mod policies;
mod replay;
mod rules;
mod sandbox;
mod secrets;
mod skills_lock;
mod validation;
mod verifier;
mod webhooks;
