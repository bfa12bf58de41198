//! The keys that the vectors are signed with. They are made from public labels.

use std::collections::BTreeMap;

use counterfoil_protocol::keys::SigningKey;
use sha2::{Digest as _, Sha256};
use xtask::world::keys;
use zeroize::Zeroizing;

const OPERATORS: [&str; 3] = ["acme.example", "globex.example", "initech.example"];
const PURPOSES: [&str; 5] = [
    "root",
    "next root",
    "previous enforcer",
    "enforcer",
    "next enforcer",
];
const LOGS: [&str; 2] = ["log.example/2026", "other.example/2026"];
const WITNESSES: [&str; 3] = [
    "one.witness.example",
    "two.witness.example",
    "stranger.witness.example",
];

/// A key that signs notes.
pub(crate) struct NoteKey {
    key: SigningKey,
    /// Whether it signs texts with a time.
    pub(crate) cosigns: bool,
}

impl NoteKey {
    /// The signature over a note's text, without the key's id; `time` is that of a cosignature.
    pub(crate) fn sign(&self, text: &[u8], time: u64) -> Vec<u8> {
        if !self.cosigns {
            return self.key.sign(text).to_vec();
        }
        let mut message = format!("cosignature/v1\ntime {time}\n").into_bytes();
        message.extend_from_slice(text);
        [&time.to_be_bytes()[..], &self.key.sign(&message)].concat()
    }
}

/// All keys, by what names them in signed objects and notes.
pub(crate) struct Keys {
    /// Those that sign COSE, of operators and logs, by thumbprint.
    pub(crate) signers: BTreeMap<[u8; 32], SigningKey>,
    /// By name and id.
    pub(crate) notes: BTreeMap<(Vec<u8>, [u8; 4]), NoteKey>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let operators = OPERATORS
            .iter()
            .flat_map(|name| PURPOSES.map(|purpose| format!("{name} {purpose}")));
        let signers = operators
            .chain(LOGS.map(str::to_owned))
            .map(|label| {
                let key = keys::signing_key(&label).unwrap();
                (*key.public().thumbprint().as_bytes(), key)
            })
            .collect();
        let logs = LOGS.iter().map(|name| note_key(name, 1));
        let witnesses = WITNESSES.iter().map(|name| note_key(name, 4));
        Self {
            signers,
            notes: logs.chain(witnesses).collect(),
        }
    }
}

fn note_key(name: &str, kind: u8) -> ((Vec<u8>, [u8; 4]), NoteKey) {
    let key = SigningKey::from_seed(&Zeroizing::new(keys::seed(name))).unwrap();
    let id = key_id(name.as_bytes(), kind, key.public().as_bytes());
    let cosigns = kind == 4;
    ((name.as_bytes().to_vec(), id), NoteKey { key, cosigns })
}

/// What C2SP calls the id of a key.
pub(crate) fn key_id(name: &[u8], kind: u8, key: &[u8]) -> [u8; 4] {
    let hash = Sha256::digest([name, b"\n", &[kind], key].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}
