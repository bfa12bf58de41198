//! A witness of transparency logs (c2sp.org/tlog-witness).
//!
//! A log sends each new checkpoint with a proof that it extends the one before. The witness checks
//! that, stores the checkpoint, and only then cosigns it. A log that showed two people two
//! different trees would need the witness to sign both, which it never does.
//!
//! * [`init`] makes the directory of a new witness: configuration, key, state.
//! * [`Witness`] is the rule itself over its durable state; it knows no HTTP.
//! * [`Server`] answers the two endpoints of the specification.
//! * [`config`] describes `witness.toml`.

pub mod config;
mod error;
mod http;
mod init;
mod state;
mod witness;

pub use error::{Error, Refusal};
pub use http::Server;
pub use init::{Identity, InitOptions, init};
pub use witness::{CLOCK_TOLERANCE_SECONDS, Clock, Cosigned, Witness, system_clock};
