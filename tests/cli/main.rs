//! Drives the binary from outside: arguments to exit code, stdout and stderr, each compared whole. What differs between two runs (paths,
//! run ids, times) is replaced by a name.

mod approvals;
mod bundles;
mod commands;
mod compiled;
mod delegation;
mod dry_run;
mod events;
mod exec;
mod foreign;
mod harmless;
mod import;
mod inputs;
mod network;
mod normal_user;
mod own_files;
mod places;
mod program;
mod recover;
mod rules;
mod signals;
mod skill;
mod store;
mod transactions;
mod trust;
