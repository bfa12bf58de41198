//! The crate against published vectors, naive models, another implementation, and hostile input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a failing assumption in a test should stop the test"
)]

mod checkpoints;
mod hostile_input;
mod keys;
mod large_sizes;
mod model;
mod notes;
mod policies;
mod proofs;
mod tiles;
mod tlog_proofs;
mod witnesses;
