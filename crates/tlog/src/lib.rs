//! Transparency logs as C2SP specifies them: Merkle trees and proofs, tiles, signed notes,
//! checkpoints, cosignatures, offline proofs and trust policies.
//!
//! The crate does no I/O, reads no clock and needs no randomness, so it runs wherever evidence is
//! checked, WebAssembly included. Every parser takes hostile input: it accepts one spelling per
//! value, has limits, and does not panic. A log, a witness, a monitor and an offline verifier each
//! find their part here; the HTTP and the storage around it are theirs.
//!
//! ```
//! use counterfoil_tlog::checkpoint::{Checkpoint, Origin};
//! use counterfoil_tlog::note::{Algorithm, SignerKey};
//! use counterfoil_tlog::policy::Policy;
//! use counterfoil_tlog::proof::{LeafSlice, prove_inclusion};
//! use counterfoil_tlog::tlog_proof::TlogProof;
//! use counterfoil_tlog::tree::{Frontier, leaf_hash};
//!
//! // The log: three entries, a signed checkpoint, and a proof for entry 1.
//! let leaves = [leaf_hash(b"zero"), leaf_hash(b"one"), leaf_hash(b"two")];
//! let mut tree = Frontier::new();
//! for leaf in leaves {
//!     tree.append(leaf)?;
//! }
//! let origin = Origin::parse("log.example.com/one")?;
//! let key = SignerKey::from_seed(origin.key_name().clone(), Algorithm::Ed25519, &[7; 32]);
//! let checkpoint = Checkpoint::new(origin, tree.size(), tree.root()).sign(&key)?;
//! let path = prove_inclusion(1, tree.size(), &LeafSlice(&leaves))?;
//! let file = TlogProof::new(None, 1, path, checkpoint)?.to_string();
//!
//! // The verifier: the file, the entry, and a policy that names the log's key.
//! let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
//! let proof = TlogProof::parse(file.as_bytes())?;
//! let verified = proof.verify(&leaf_hash(b"one"), &policy)?;
//! assert_eq!(verified.checkpoint().size(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//!
//! | module | holds | specified in |
//! |---|---|---|
//! | [`tree`] | hashes, node names, appending | RFC 6962 section 2.1, RFC 9162 section 2.1 |
//! | [`proof`] | inclusion and consistency: verify, build | RFC 9162 sections 2.1.3 and 2.1.4 |
//! | [`tile`] | tile and entry bundle names and bytes | c2sp.org/tlog-tiles |
//! | [`ed25519`] | key checks, strict verification | RFC 8032 |
//! | [`note`] | keys and signed notes | c2sp.org/signed-note |
//! | [`checkpoint`] | origin, size, root | c2sp.org/tlog-checkpoint |
//! | [`cosignature`] | timestamped witness signatures | c2sp.org/tlog-cosignature |
//! | [`witness`] | `add-checkpoint` requests and answers | c2sp.org/tlog-witness |
//! | [`tlog_proof`] | offline proof files | c2sp.org/tlog-proof |
//! | [`policy`] | trusted logs, witnesses, quorums | c2sp.org/tlog-policy |
//! | [`text`] | strict base64 and decimals | RFC 4648 section 4 |
//!
//! # Limits
//!
//! Notes to 1 MiB and 100 signatures, key names and origins to 255 bytes, entries to 65,535 bytes,
//! proofs to 63 hashes, policies to 1 MiB. Sizes and indexes use all 64 bits without overflow.
//!
//! # Errors
//!
//! Each module has its own error type. All have `code()`, a stable name for machines, and all
//! convert into [`Error`].

pub mod checkpoint;
pub mod cosignature;
pub mod ed25519;
mod error;
pub mod note;
pub mod policy;
pub mod proof;
pub mod text;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod witness;

pub use error::Error;
