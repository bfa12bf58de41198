//! What the automation shares with tests and fuzz targets.
//!
//! [`world`] is a small world with fixed keys and times; [] writes its objects, whole and
//! with one fault each, to `test-vectors/`; [`decoders`] lists every parser of foreign bytes for
//! the fuzz targets.

pub mod vectors;
pub mod world;
