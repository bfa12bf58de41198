//! A transparency-log node: it takes in the commitments and manifests of registered operators,
//! puts them in one append-only tree (c2sp.org/tlog-tiles), has its checkpoints cosigned by
//! witnesses (c2sp.org/tlog-witness), and answers with proofs (c2sp.org/tlog-proof).
//!
//! # The life of an entry
//!
//! 1. **Admission** checks that it is a commitment or a manifest, who signed it, and that it is
//!    the next of its stream. Its index is fixed then.
//! 2. The **pool** gathers what arrives while the sequencer is busy. It is bounded.
//! 3. The **sequencer** stages the pool durably, signs the checkpoint that covers it, and swaps
//!    that checkpoint into the lock: the commit point. Then it applies the staged entries to the
//!    tiles, with the same code that recovery uses, and reads the right edge back.
//! 4. The **publisher** collects cosignatures and puts the checkpoint in its public place.
//!
//! Whatever fails from step 3 on stops the process. Starting again finds out how far it came: the
//! lock says what was signed, the staged bundle holds what the tiles may lack.
//!
//! # Storage
//!
//! `tiles/` holds what the world may read, as files at their URL paths; any web server can serve
//! it. `log.sqlite` holds the lock and what admission needs to know. `staged` is the bundle being
//! applied. `log.key` is the private key, `log.toml` the [`config`].

mod admission;
pub mod config;
mod database;
mod door;
mod error;
mod fork;
mod fsck;
mod http;
mod init;
mod lock;
mod node;
mod pool;
mod publish;
mod read;
mod refuse;
mod registry;
mod scrapi;
mod sequencer;
mod staged;
mod store;
mod witnesses;

pub use error::{Error, Refusal};
pub use fsck::{FsckReport, fsck};
pub use http::Server;
pub use init::{Identity, InitOptions, init};
pub use node::{Clock, system_clock};
