//! Fault proofs: an honest operator is never convicted of a contradiction, a dishonest one is, and
//! forged proofs are refused.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

mod breaches;
mod calls;
mod collected;
mod dishonest;
mod forged;
mod forged_batches;
mod forged_calls;
mod honest;
mod late;
mod logs;
mod model;
mod revoked;
mod statements;
mod text;
mod world;
