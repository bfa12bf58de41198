//! Durable local storage for everything in Counterfoil that must survive a crash.
//!
//! * [`sqlite`] opens a database the one way the project uses it: write-ahead log, every commit
//!   synced, creating and opening kept apart.
//! * [`committer`] is one thread that takes all waiting writes into one transaction, so that many
//!   writers share one sync of the disk.
//! * [`mod@file`] replaces and creates whole files atomically and durably.
//! * [`lock`] keeps a second process out of a directory.
//!
//! One rule stands above all of them: after a write or a sync has failed nobody knows what is on
//! the disk, so nothing here retries. The component stops, and what is on the disk is read again
//! at the next start.

pub mod committer;
mod error;
pub mod file;
pub mod lock;
pub mod sqlite;

pub use error::Error;
