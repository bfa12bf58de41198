//! What the automation shares with tests and fuzz targets.
//!
//! [`world`] is a small world with fixed keys and times; [`vectors`] are its objects, whole and
//! with one fault each; [`decoders`] lists every parser of foreign bytes for the fuzz targets, and
//! [`corpus`] their seeds. [`generated`] writes and checks the files.

pub mod corpus;
pub mod decoders;
pub mod generated;
pub mod vectors;
pub mod world;
