//! Everything that reads foreign bytes, as functions that must not panic on any input.
//!
//! A function asserts what must hold for whatever it accepts, most often that it can be written
//! again to the same bytes. The targets in `fuzz/` call these functions, and so does an ordinary
//! test over the corpus, so that they are run on every machine.

#[cfg(feature = "gateway")]
pub mod gateway;
pub mod native;
pub mod transparency;

/// A named decoder.
pub type Target = (&'static str, fn(&[u8]));

/// All decoders but those of the gateway, which is a larger thing to build.
pub const TARGETS: &[Target] = &[
    ("bundle", native::bundle),
    ("cbor", native::cbor),
    ("commitment", native::commitment),
    ("contract_file", native::contract_file),
    ("contract_terms", native::contract_terms),
    ("disclosure", native::disclosure),
    ("fault", native::fault),
    ("manifest", native::manifest),
    ("presentation", native::presentation),
    ("receipt", native::receipt),
    ("record", native::record),
    ("trust", native::trust),
    ("verify", native::verify),
    ("add_checkpoint", transparency::add_checkpoint),
    ("checkpoint", transparency::checkpoint),
    ("entry_bundle", transparency::entry_bundle),
    ("note", transparency::note),
    ("policy", transparency::policy),
    ("secret_key", transparency::secret_key),
    ("signature_lines", transparency::signature_lines),
    ("tile_path", transparency::tile_path),
    ("tlog_proof", transparency::tlog_proof),
    ("verifier_key", transparency::verifier_key),
];
