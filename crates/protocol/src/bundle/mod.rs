//! Evidence bundles: thousands of records with shared proofs in one file.
//!
//! A bundle is a sequence of CBOR items (RFC 8742): a header that names the operator and holds its
//! manifests, then parts. Each part holds records of one batch, the commitment, its log proof and
//! one multiproof for all of them; the last parts may hold records that no batch has sealed yet.
//! A bundle is written and read part by part, so its size is not bounded by memory.
//!
//! ```
//! use counterfoil_protocol::bundle::{Header, Item, Part, Parser};
//!
//! let header = Header {
//!     operator: "acme.example".parse()?,
//!     counterparty: None,
//!     manifests: Vec::new(),
//! };
//! let part = Part { records: vec![b"a record".to_vec()], ..Part::default() };
//! let mut parser = Parser::default();
//! parser.push(&header.encode());
//! parser.push(&part.encode());
//! assert_eq!(parser.next_item()?, Some(Item::Header(header)));
//! assert_eq!(parser.next_item()?, Some(Item::Part(part)));
//! parser.finish()?;
//! # Ok::<(), counterfoil_protocol::Failure>(())
//! ```
//!
//! Reading order: [`Parser`] takes bytes and gives items; [`Verifier`] takes bytes and gives
//! records, one by one, with the level that each reaches; [`seal`] makes parts.
//!
//! Spec: bundles.

mod entry;
mod framing;
mod item;
mod links;
mod log_cache;
mod parse;
mod part;
mod seal;
mod shared;
mod verify;

pub use entry::{Entry, Summary};
pub use item::{Header, Part, Seal};
pub use links::{BrokenLink, Link};
pub use parse::{Item, Parser, parse};
pub use seal::{Batch, Chosen, seal};
pub use verify::Verifier;

use crate::cbor::Limits;

/// The first field of every bundle, which says what the file is.
pub const FORMAT: &str = "counterfoil/bundle/v1";
/// The file name extension of a bundle.
pub const FILE_EXTENSION: &str = "evidence";
/// The most bytes of one item of a bundle: 64 MiB.
pub const MAX_ITEM_BYTES: usize = 64 << 20;
/// The most CBOR items that one item of a bundle is made of.
pub const MAX_ITEMS: usize = 1 << 18;

/// What one item of a bundle may be.
const LIMITS: Limits = Limits {
    max_bytes: MAX_ITEM_BYTES,
    max_items: MAX_ITEMS,
    max_depth: 8,
    tags: &[],
};
