//! Every parser on arbitrary bytes, and on valid files with a few bytes changed: no panic, and what
//! is accepted prints back to the very bytes.

use counterfoil_tlog::checkpoint::{Checkpoint, Origin};
use counterfoil_tlog::note::{KeyName, Note, SignerKey, VerifierKey, parse_signature_lines};
use counterfoil_tlog::policy::Policy;
use counterfoil_tlog::text::{base64_decode, base64_encode, parse_decimal};
use counterfoil_tlog::tile::{ResourcePath, TileId, Width, parse_bundle, push_entry};
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::Hash;
use counterfoil_tlog::witness::{AddCheckpoint, accept_cosignatures, parse_size_body};
use proptest::prelude::*;

use crate::model;

/// Feeds bytes to every parser; whatever one accepts must print back to the same bytes.
fn parse_with_everything(bytes: &[u8]) {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        let _ = note.verify(&[model::log_key().verifier().clone()]);
    }
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_string().as_bytes(), bytes);
    }
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(Policy::parse(&policy.to_bytes()), Ok(policy));
    }
    for width in [1, 2, 255, 256] {
        if let Ok(entries) = parse_bundle(bytes, Width::new(width).unwrap()) {
            let mut again = vec![];
            entries
                .iter()
                .for_each(|entry| push_entry(&mut again, entry).unwrap());
            assert_eq!(again, bytes);
        }
    }
    let _ = TileId::new(0, 0, Width::new(1).unwrap())
        .unwrap()
        .hashes(bytes);
    let _ = accept_cosignatures("text\n", bytes, &[model::witness_key(1).verifier().clone()]);
    let _ = parse_size_body(bytes);
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = SignerKey::parse(text) {
        assert_eq!(key.to_secret_text().as_str(), text);
    }
    if let Ok(path) = ResourcePath::parse(text) {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(lines) = parse_signature_lines(text) {
        assert_eq!(
            lines.iter().map(ToString::to_string).collect::<String>(),
            text
        );
    }
    if let Some(hash) = Hash::parse(text) {
        assert_eq!(hash.to_string(), text);
    }
    if let Some(number) = parse_decimal(text) {
        assert_eq!(number.to_string(), text);
    }
    if let Some(decoded) = base64_decode(text) {
        assert_eq!(base64_encode(&decoded), text);
    }
    let _ = (KeyName::parse(text), Origin::parse(text));
}

/// One valid file of each kind.
fn valid_files() -> Vec<Vec<u8>> {
    let leaves = model::leaves(6);
    let note = model::cosigned(&model::checkpoint(&leaves), &[(1, 1), (2, 9)]);
    let proof = TlogProof::new(Some(vec![1, 2]), 2, model::path(2, &leaves), note.clone()).unwrap();
    let proof_text = proof.to_string();
    let request = AddCheckpoint::new(4, model::consistency(4, &leaves), note.clone()).unwrap();
    let (log, witness) = (model::log_key(), model::witness_key(1));
    let policy = format!(
        "# x\nlog {} u\nwitness a {}\ngroup g 1 a\nquorum g\n",
        log.verifier(),
        witness.verifier()
    );
    let mut bundle = vec![];
    for size in [0, 1, 300] {
        push_entry(&mut bundle, &vec![7; size]).unwrap();
    }
    vec![
        note.to_string().into_bytes(),
        note.text().as_bytes().to_vec(),
        proof_text.into_bytes(),
        request.to_string().into_bytes(),
        policy.into_bytes(),
        bundle,
        log.verifier().to_string().into_bytes(),
        log.to_secret_text().as_bytes().to_vec(),
        b"tile/1/x001/x234/067.p/8".to_vec(),
        b"tile/entries/067".to_vec(),
        note.signatures()[0].to_string().into_bytes(),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Replace(prop::sample::Index, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let octet = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\n\r\t +/=0x.p\xe2\x80\x94\xc2\xa0".to_vec()),
    ];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Change::Cut),
        (at(), octet.clone()).prop_map(|(at, octet)| Change::Insert(at, octet)),
        at().prop_map(Change::Remove),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
        (at(), octet).prop_map(|(at, octet)| Change::Replace(at, octet)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Cut(at) => bytes.truncate(at.index(length)),
        Change::Insert(at, octet) => bytes.insert(at.index(length), octet),
        Change::Remove(at) => drop(bytes.remove(at.index(length))),
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            let at = from.max(to);
            bytes.splice(at..at, part);
        }
        Change::Replace(at, octet) => bytes[at.index(length)] = octet,
    }
}

#[test]
fn valid_files_are_accepted_by_their_parsers() {
    valid_files()
        .iter()
        .for_each(|file| parse_with_everything(file));
    let files = valid_files();
    assert!(Note::parse(&files[0]).is_ok());
    assert!(TlogProof::parse(&files[2]).is_ok());
    assert!(AddCheckpoint::parse(&files[3]).is_ok());
    assert!(Policy::parse(&files[4]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_with_everything(&bytes);
    }

    #[test]
    fn arbitrary_text_does_not_panic(text in "(tile/|old |index |log |witness |group |quorum |none|any|— |[a-z0-9A-Z+/=]{1,44}|[0-9]{1,20}|\n|\n\n| |\\PC){0,40}") {
        parse_with_everything(text.as_bytes());
    }

    #[test]
    fn changed_files_do_not_panic(changes in proptest::collection::vec(change(), 1..4)) {
        for mut file in valid_files() {
            changes.iter().for_each(|change| apply(&mut file, change.clone()));
            parse_with_everything(&file);
        }
    }
}
