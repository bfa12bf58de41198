//! Signed notes: published notes, and one fault each.

use counterfoil_tlog::ed25519::Ed25519Error;
use counterfoil_tlog::note::{
    Algorithm, KeyId, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteSignature,
    SignatureError, SignerKey, VerifierKey, parse_signature_lines,
};
use proptest::prelude::*;

use crate::model;

const SPEC_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

fn signed(text: &str, keys: &[&SignerKey]) -> Note {
    let lines = keys.iter().map(|key| key.sign(text).unwrap()).collect();
    Note::new(text.to_owned(), lines).unwrap()
}

fn key(name: &str, seed: u8) -> SignerKey {
    SignerKey::from_seed(model::name(name), Algorithm::Ed25519, &[seed; 32])
}

fn public(keys: &[&SignerKey]) -> Vec<VerifierKey> {
    keys.iter().map(|key| key.verifier().clone()).collect()
}

#[test]
fn the_note_of_the_specification_verifies() {
    let known = [VerifierKey::parse(SPEC_KEY).unwrap()];
    let note = Note::parse(SPEC_NOTE.as_bytes()).unwrap();
    let verified = note.verify(&known).unwrap();
    assert_eq!(verified.text(), "This is an example message.\n");
    assert_eq!(verified.signatures().len(), 1);
    assert_eq!(verified.signatures()[0].timestamp(), None);
    assert!(verified.is_signed_by(&known[0]));
    assert_eq!(note.to_string(), SPEC_NOTE);
}

/// The example of Go's golang.org/x/mod/sumdb/note: same key, same text, same signature.
#[test]
fn go_makes_the_same_signature() {
    let signer = SignerKey::parse(
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
    )
    .unwrap();
    let text = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n";
    assert_eq!(
        signed(text, &[&signer]).to_string(),
        format!(
            "{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        )
    );
}

#[test]
fn malformed_notes_are_refused() {
    let good = SPEC_NOTE;
    assert!(Note::parse(good.as_bytes()).is_ok());
    let line = good.rsplit_once("\n\n").unwrap().1;
    let faults: Vec<(String, NoteError)> = vec![
        (String::new(), NoteError::NoSeparator),
        ("text\n".to_owned(), NoteError::NoSeparator),
        (good.replace("\n\n", "\n"), NoteError::NoSeparator),
        (
            good.replace("\n\n", "\r\n\r\n"),
            NoteError::ControlCharacter(27),
        ),
        (good.replace('\n', "\r\n"), NoteError::ControlCharacter(27)),
        (
            good.replace("This", "Th\tis"),
            NoteError::ControlCharacter(2),
        ),
        (
            good.replace("This", "Th\u{0}is"),
            NoteError::ControlCharacter(2),
        ),
        ("text\n\n".to_owned(), NoteError::NoSignatures),
        (good.trim_end().to_owned(), NoteError::MalformedSignature(1)),
        (format!("{good}\n"), NoteError::NoSignatures),
        (format!("{good}x\n"), NoteError::MalformedSignature(2)),
        (good.replace('—', "-"), NoteError::MalformedSignature(1)),
        (good.replace('—', "–"), NoteError::MalformedSignature(1)),
        (
            good.replace("— e", "—  e"),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("— e", "—\u{a0}e"),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("foo U", "foo  U"),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("foo U", "fo+o U"),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("foo U", "fo\u{2003}o U"),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("example.com/foo", &"a".repeat(256)),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("aQM=", "aQM"),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("aQM=", "aQN="),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("aQM=", "aQM= "),
            NoteError::MalformedSignature(1),
        ),
        (
            good.replace("aQM=", "aQ-="),
            NoteError::MalformedSignature(1),
        ),
        (
            "t\n\n— a AAAAAA==\n".to_owned(),
            NoteError::MalformedSignature(1),
        ),
        ("t\n\n— a \n".to_owned(), NoteError::MalformedSignature(1)),
        ("t\n\n— a\n".to_owned(), NoteError::MalformedSignature(1)),
        (
            format!("t\n\n{}", line.repeat(MAX_SIGNATURES + 1)),
            NoteError::TooManySignatures,
        ),
        ("a".repeat(MAX_NOTE_BYTES) + good, NoteError::TooLarge),
    ];
    for (note, expected) in faults {
        let shown: String = note.chars().take(80).collect();
        assert_eq!(Note::parse(note.as_bytes()), Err(expected), "{shown:?}");
    }
    let mut not_utf8 = good.as_bytes().to_vec();
    not_utf8[0] = 0xff;
    assert_eq!(Note::parse(&not_utf8), Err(NoteError::NotUtf8));
}

#[test]
fn texts_may_have_empty_lines_and_even_end_in_one() {
    let signer = key("a", 1);
    for text in ["a\n\nb\n", "a\n\n", "\n", "\n\n\n", "— a AAAAAAE=\n\n— b\n"] {
        let note = signed(text, &[&signer]);
        let parsed = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.text(), text);
        assert!(parsed.verify(&public(&[&signer])).is_ok());
    }
    for text in ["", "a", "a\nb"] {
        let lines = vec![signer.sign("a\n").unwrap()];
        assert_eq!(
            Note::new(text.to_owned(), lines),
            Err(NoteError::UnterminatedText)
        );
        assert_eq!(signer.sign(text).err(), Some(NoteError::UnterminatedText));
    }
    assert_eq!(
        signer.sign("a\r\n").err(),
        Some(NoteError::ControlCharacter(1))
    );
    assert_eq!(
        Note::new("a\n".to_owned(), vec![]),
        Err(NoteError::NoSignatures)
    );
}

#[test]
fn signatures_by_unknown_keys_are_ignored() {
    let (a, b) = (key("a", 1), key("b", 2));
    let note = signed("text\n", &[&a, &b]);
    assert_eq!(note.verify(&public(&[&a])).unwrap().signatures().len(), 1);
    assert_eq!(
        note.verify(&public(&[&a, &b])).unwrap().signatures().len(),
        2
    );
    assert_eq!(
        note.verify(&public(&[&key("c", 3)])),
        Err(NoteError::NoKnownSignature)
    );
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownSignature));
    // Same name, other key; same key under another name: both unknown.
    assert_eq!(
        note.verify(&public(&[&key("a", 9)])),
        Err(NoteError::NoKnownSignature)
    );
    assert_eq!(
        note.verify(&public(&[&key("A", 1)])),
        Err(NoteError::NoKnownSignature)
    );
    // The same key as a cosigner has another key ID.
    let cosigner = SignerKey::from_seed(model::name("a"), Algorithm::CosignatureEd25519, &[1; 32]);
    assert_eq!(
        note.verify(&public(&[&cosigner])),
        Err(NoteError::NoKnownSignature)
    );
    assert_eq!(
        cosigner.sign("text\n").err(),
        Some(NoteError::WrongAlgorithm(model::name("a")))
    );
}

#[test]
fn a_bad_signature_by_a_known_key_rejects_the_note() {
    let (a, b) = (key("a", 1), key("b", 2));
    let line = |signature: &[u8]| {
        let verifier = b.verifier();
        NoteSignature::new(verifier.name().clone(), verifier.id(), signature.to_vec()).unwrap()
    };
    let good = b.sign("text\n").unwrap();
    let mut flipped = good.signature().to_vec();
    flipped[63] ^= 1;
    let bad = SignatureError::Ed25519(Ed25519Error::BadSignature);
    let with = |signature: &[u8]| {
        let lines = vec![a.sign("text\n").unwrap(), line(signature)];
        Note::new("text\n".to_owned(), lines).unwrap()
    };
    for (signature, reason) in [
        (flipped.as_slice(), bad),
        (&good.signature()[..63], SignatureError::Length),
        (&[good.signature(), &[0]].concat(), SignatureError::Length),
        (b.sign("other\n").unwrap().signature(), bad),
    ] {
        let note = with(signature);
        assert_eq!(
            note.verify(&public(&[&a, &b])),
            Err(NoteError::BadSignature {
                name: model::name("b"),
                reason
            })
        );
        // To whoever does not know key b the line is only noise.
        assert!(note.verify(&public(&[&a])).is_ok());
    }
    // A good line does not outweigh a bad one by the same key.
    let both = with(&flipped).with_signatures(vec![good]).unwrap();
    assert!(matches!(
        both.verify(&public(&[&b])),
        Err(NoteError::BadSignature { .. })
    ));
}

/// Two keys under one name whose 32-bit key IDs collide, found by trying 114,673 seeds.
#[test]
fn keys_that_cannot_be_told_apart_are_an_error() {
    let key_of = |number: u32| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        SignerKey::from_seed(model::name("a"), Algorithm::Ed25519, &seed)
    };
    let (one, other) = (key_of(69_101), key_of(114_672));
    assert_eq!(one.verifier().id(), other.verifier().id());
    assert_ne!(one.verifier(), other.verifier());
    let note = signed("text\n", &[&one]);
    assert_eq!(
        note.verify(&public(&[&one, &other])),
        Err(NoteError::AmbiguousKey(model::name("a")))
    );
    // The same key twice is no contradiction, and a collision alone signs nothing.
    assert!(note.verify(&public(&[&one, &one])).is_ok());
    assert!(matches!(
        note.verify(&public(&[&other])),
        Err(NoteError::BadSignature { .. })
    ));
}

#[test]
fn sixteen_and_a_hundred_signatures_are_accepted() {
    for count in [16, MAX_SIGNATURES] {
        let keys: Vec<SignerKey> = (0..count)
            .map(|number| key(&format!("k{number}"), number as u8))
            .collect();
        let note = signed("text\n", &keys.iter().collect::<Vec<_>>());
        let parsed = Note::parse(note.to_string().as_bytes()).unwrap();
        let known: Vec<VerifierKey> = keys.iter().map(|key| key.verifier().clone()).collect();
        assert_eq!(parsed.verify(&known).unwrap().signatures().len(), count);
    }
}

#[test]
fn added_signatures_are_limited_and_not_repeated() {
    let a = key("a", 1);
    let note = signed("text\n", &[&a]);
    let again = note
        .clone()
        .with_signatures(note.signatures().to_vec())
        .unwrap();
    assert_eq!(again, note);
    let many: Vec<NoteSignature> = (0..100)
        .map(|number| key("n", number).sign("text\n").unwrap())
        .collect();
    assert_eq!(
        note.clone().with_signatures(many),
        Err(NoteError::TooManySignatures)
    );
    let large = NoteSignature::new(
        model::name("x"),
        KeyId::from_bytes([0; 4]),
        vec![0; MAX_NOTE_BYTES],
    );
    assert_eq!(
        note.clone().with_signatures(vec![large.unwrap()]),
        Err(NoteError::TooLarge)
    );
    assert_eq!(note.clone().retain_signatures(|_| false), None);
    assert_eq!(
        note.clone()
            .retain_signatures(|line| line.name() == a.name()),
        Some(note)
    );
    assert_eq!(
        NoteSignature::new(model::name("x"), KeyId::from_bytes([0; 4]), vec![]),
        None
    );
    assert_eq!(parse_signature_lines(""), Err(NoteError::NoSignatures));
}

proptest! {
    /// Logs add random lines in random order ("grease") so that clients learn to ignore them.
    #[test]
    fn grease_in_any_order_changes_nothing(
        grease in proptest::collection::vec(("[a-z]{1,8}", any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 1..90)), 0..15),
        order in any::<u64>(),
    ) {
        let a = key("log.example.com/a", 1);
        let mut lines = vec![a.sign("text\n").unwrap()];
        for (name, id, bytes) in grease {
            lines.push(NoteSignature::new(model::name(&name), KeyId::from_bytes(id), bytes).unwrap());
        }
        let position = (order % lines.len() as u64) as usize;
        lines.swap(0, position);
        let note = Note::new("text\n".to_owned(), lines.clone()).unwrap();
        let parsed = Note::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&parsed, &note);
        prop_assert_eq!(parsed.signatures(), lines);
        let known = public(&[&a]);
        prop_assert_eq!(parsed.verify(&known).unwrap().signatures().len(), 1);
    }

    #[test]
    fn any_changed_byte_is_noticed(at in 0usize..SPEC_NOTE.len(), bit in 0u8..8) {
        let known = [VerifierKey::parse(SPEC_KEY).unwrap()];
        let mut bytes = SPEC_NOTE.as_bytes().to_vec();
        bytes[at] ^= 1 << bit;
        let accepted = Note::parse(&bytes).is_ok_and(|note| note.verify(&known).is_ok());
        prop_assert!(!accepted);
    }
}
