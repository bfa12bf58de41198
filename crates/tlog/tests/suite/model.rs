//! RFC 6962 section 2.1 written down as it is defined, with no thought for speed, and the fixed keys
//! the other tests share.

use counterfoil_tlog::checkpoint::{Checkpoint, Origin};
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{Algorithm, KeyName, Note, NoteSignature, SignerKey};
use counterfoil_tlog::tree::{EMPTY_ROOT, Hash, leaf_hash, node_hash};

pub(crate) fn entry(index: usize) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

pub(crate) fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&entry(index))).collect()
}

/// MTH(D), over leaf hashes.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let k = split(leaves.len());
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

/// PATH(m, D).
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = split(leaves.len());
    if m < k {
        let mut hashes = path(m, &leaves[..k]);
        hashes.push(mth(&leaves[k..]));
        hashes
    } else {
        let mut hashes = path(m - k, &leaves[k..]);
        hashes.push(mth(&leaves[..k]));
        hashes
    }
}

/// PROOF(m, D).
pub(crate) fn consistency(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { vec![] } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    if m <= k {
        let mut hashes = subproof(m, &leaves[..k], whole);
        hashes.push(mth(&leaves[k..]));
        hashes
    } else {
        let mut hashes = subproof(m - k, &leaves[k..], false);
        hashes.push(mth(&leaves[..k]));
        hashes
    }
}

fn split(count: usize) -> usize {
    let mut k = 1;
    while k * 2 < count {
        k *= 2;
    }
    k
}

pub(crate) const ORIGIN: &str = "log.example.com/test";

pub(crate) fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin::parse(ORIGIN).unwrap()
}

pub(crate) fn log_key() -> SignerKey {
    SignerKey::from_seed(name(ORIGIN), Algorithm::Ed25519, &[1; 32])
}

pub(crate) fn witness_key(number: u8) -> SignerKey {
    let name = name(&format!("witness.example.com/w{number}"));
    SignerKey::from_seed(name, Algorithm::CosignatureEd25519, &[100 + number; 32])
}

pub(crate) fn checkpoint(leaves: &[Hash]) -> Checkpoint {
    Checkpoint::new(origin(), leaves.len() as u64, mth(leaves))
}

/// A checkpoint signed by the log and cosigned by witnesses at the given times.
pub(crate) fn cosigned(checkpoint: &Checkpoint, witnesses: &[(u8, u64)]) -> Note {
    let note = checkpoint.sign(&log_key()).unwrap();
    let lines: Vec<NoteSignature> = witnesses
        .iter()
        .map(|(number, time)| cosign(note.text(), &witness_key(*number), *time).unwrap())
        .collect();
    note.with_signatures(lines).unwrap()
}
