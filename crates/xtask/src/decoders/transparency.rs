//! Decoders of the tlog crate. Each accepts one spelling of a value.

use counterfoil_tlog::checkpoint::Checkpoint;
use counterfoil_tlog::note::{Note, SignerKey, VerifierKey, parse_signature_lines};
use counterfoil_tlog::policy::Policy;
use counterfoil_tlog::tile::{ResourcePath, Width, parse_bundle, push_entry};
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::witness::{AddCheckpoint, parse_size_body, size_body};

/// A signed note.
pub fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        same(&note, data);
    }
}

/// The lines of signatures that a witness answers with.
pub fn signature_lines(data: &[u8]) {
    with_text(data, |text| {
        if let Ok(lines) = parse_signature_lines(text) {
            let again: String = lines.iter().map(ToString::to_string).collect();
            same(&again, data);
        }
    });
}

/// The text of a checkpoint.
pub fn checkpoint(data: &[u8]) {
    with_text(data, |text| {
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            same(&checkpoint, data);
        }
    });
}

/// An offline proof.
pub fn tlog_proof(data: &[u8]) {
    if let Ok(proof) = TlogProof::parse(data) {
        same(&proof, data);
    }
}

/// A policy, written and read again, is the same.
pub fn policy(data: &[u8]) {
    if let Ok(policy) = Policy::parse(data) {
        assert!(Policy::parse(&policy.to_bytes()).is_ok_and(|again| again == policy));
    }
}

/// The path of a tile or bundle.
pub fn tile_path(data: &[u8]) {
    with_text(data, |text| {
        if let Ok(path) = ResourcePath::parse(text) {
            same(&path, data);
        }
    });
}

/// The body of a request to a witness, or of its answer that says a size.
pub fn add_checkpoint(data: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(data) {
        same(&request, data);
    }
    if let Ok(size) = parse_size_body(data) {
        same(&size_body(size), data);
    }
}

/// An entry bundle; the first byte says how many entries it should have, less one.
pub fn entry_bundle(data: &[u8]) {
    let Some((width, bundle)) = data.split_first() else {
        return;
    };
    let Some(width) = Width::new(u16::from(*width) + 1) else {
        return;
    };
    if let Ok(entries) = parse_bundle(bundle, width) {
        let mut again = Vec::new();
        for entry in &entries {
            assert!(push_entry(&mut again, entry).is_ok());
        }
        assert!(again == bundle && entries.len() == usize::from(width.get()));
    }
}

/// A verifier key.
pub fn verifier_key(data: &[u8]) {
    with_text(data, |text| {
        if let Ok(key) = VerifierKey::parse(text) {
            same(&key, data);
        }
    });
}

/// A secret key in the form of Go's tools.
pub fn secret_key(data: &[u8]) {
    with_text(data, |text| {
        if let Ok(key) = SignerKey::parse(text) {
            assert!(key.to_secret_text().as_bytes() == data, "a second spelling");
        }
    });
}

fn with_text(data: &[u8], read: impl FnOnce(&str)) {
    if let Ok(text) = core::str::from_utf8(data) {
        read(text);
    }
}

fn same(value: &impl ToString, data: &[u8]) {
    assert!(value.to_string().as_bytes() == data, "a second spelling");
}
