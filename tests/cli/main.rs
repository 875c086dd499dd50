//! Drives the binary from outside.
