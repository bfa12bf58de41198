//! Checkpoints and cosignatures.

use counterfoil_tlog::checkpoint::{Checkpoint, CheckpointError, Origin};
use counterfoil_tlog::cosignature::{MAX_TIMESTAMP, cosign, message};
use counterfoil_tlog::ed25519::Ed25519Error;
use counterfoil_tlog::note::{Note, NoteError, NoteSignature, SignatureError, VerifierKey};
use counterfoil_tlog::tree::EMPTY_ROOT;
use proptest::prelude::*;

use crate::model;

/// A checkpoint published by a real log and cosigned by real witnesses in 2026. The first line is of
/// type 0x05, which this crate does not know and must ignore.
const PUBLISHED: &str = "\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";

#[test]
fn a_published_checkpoint_and_its_cosignature_verify() {
    let known = [
        "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    ]
    .map(|text| VerifierKey::parse(text).unwrap());
    let note = Note::parse(PUBLISHED.as_bytes()).unwrap();
    assert_eq!(note.to_string(), PUBLISHED);
    let verified = note.verify(&known).unwrap();
    let times: Vec<Option<u64>> = verified
        .signatures()
        .iter()
        .map(|s| s.timestamp())
        .collect();
    assert_eq!(times, [None, Some(0x6a12_2120)]);
    let checkpoint = Checkpoint::parse(verified.text()).unwrap();
    assert_eq!(checkpoint.size(), 1_432_088_532);
    assert_eq!(checkpoint.origin().key_name(), known[0].name());

    let altered = PUBLISHED.replace("1432088532", "1432088533");
    let altered = Note::parse(altered.as_bytes()).unwrap();
    for key in known {
        assert!(matches!(
            altered.verify(&[key]),
            Err(NoteError::BadSignature { .. })
        ));
    }
}

#[test]
fn malformed_checkpoints_are_refused() {
    let good = "example.com/log\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert!(Checkpoint::parse(good).is_ok());
    for (text, expected) in [
        ("".to_owned(), CheckpointError::Lines),
        ("\n".to_owned(), CheckpointError::Lines),
        ("example.com/log\n5\n".to_owned(), CheckpointError::Lines),
        (good.trim_end().to_owned(), CheckpointError::Lines),
        (format!("\n{good}"), CheckpointError::Origin),
        (
            good.replace("example.com", "exam ple.com"),
            CheckpointError::Origin,
        ),
        (
            good.replace("example.com", "exam+ple.com"),
            CheckpointError::Origin,
        ),
        (
            good.replace("example.com", "exam\u{a0}ple.com"),
            CheckpointError::Origin,
        ),
        (
            good.replace("example.com", &"a".repeat(256)),
            CheckpointError::Origin,
        ),
        (good.replace("\n5\n", "\n05\n"), CheckpointError::Size),
        (good.replace("\n5\n", "\n+5\n"), CheckpointError::Size),
        (good.replace("\n5\n", "\n-5\n"), CheckpointError::Size),
        (good.replace("\n5\n", "\n5 \n"), CheckpointError::Size),
        (good.replace("\n5\n", "\n\n"), CheckpointError::Size),
        (good.replace("\n5\n", "\n0x5\n"), CheckpointError::Size),
        (
            good.replace("\n5\n", "\n18446744073709551616\n"),
            CheckpointError::Size,
        ),
        (good.replace("q2I=", "q2J="), CheckpointError::Root),
        (good.replace("q2I=", "q2I"), CheckpointError::Root),
        (good.replace("q2I=", "q2I=="), CheckpointError::Root),
        (good.replace("CsUY", ""), CheckpointError::Root),
        (good.replace("CsUY", "CsUYCsUY"), CheckpointError::Root),
        (good.replace('\n', "\r\n"), CheckpointError::Origin),
        (format!("{good}\n"), CheckpointError::Extension),
        (
            format!("{good}extension\n\nmore\n"),
            CheckpointError::Extension,
        ),
        (format!("{good}exten\tsion\n"), CheckpointError::Extension),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
    assert_eq!(Origin::parse("https://a b"), Err(CheckpointError::Origin));
}

#[test]
fn extension_lines_are_kept_and_signed() {
    let text = format!(
        "{}\n0\n{EMPTY_ROOT}\nfirst extension\nsecond\n",
        model::ORIGIN
    );
    let checkpoint = Checkpoint::parse(&text).unwrap();
    assert_eq!(checkpoint.extensions(), ["first extension", "second"]);
    assert_eq!(checkpoint.to_string(), text);
    let note = checkpoint.sign(&model::log_key()).unwrap();
    let witness = model::witness_key(1);
    let note = note
        .with_signatures(vec![cosign(&text, &witness, 7).unwrap()])
        .unwrap();
    let known = [
        model::log_key().verifier().clone(),
        witness.verifier().clone(),
    ];
    assert_eq!(note.verify(&known).unwrap().signatures().len(), 2);
    let without = note.to_string().replace("second\n", "");
    let without = Note::parse(without.as_bytes()).unwrap();
    assert!(without.verify(&known[..1]).is_err());
    assert!(without.verify(&known[1..]).is_err());
}

#[test]
fn only_the_logs_own_key_signs_its_checkpoints() {
    let checkpoint = model::checkpoint(&model::leaves(3));
    assert!(matches!(
        checkpoint.sign(&model::witness_key(1)),
        Err(CheckpointError::KeyName { .. })
    ));
    let cosigner = counterfoil_tlog::note::SignerKey::from_seed(
        model::name(model::ORIGIN),
        counterfoil_tlog::note::Algorithm::CosignatureEd25519,
        &[1; 32],
    );
    assert_eq!(
        checkpoint.sign(&cosigner),
        Err(CheckpointError::Note(NoteError::WrongAlgorithm(
            model::name(model::ORIGIN)
        )))
    );
}

#[test]
fn the_cosigned_message_is_that_of_the_specification() {
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(
        message(text, 1_679_315_147),
        format!("cosignature/v1\ntime 1679315147\n{text}").into_bytes()
    );
    let line = cosign(text, &model::witness_key(1), 1_679_315_147).unwrap();
    assert_eq!(line.signature().len(), 72);
    assert_eq!(&line.signature()[..8], &1_679_315_147u64.to_be_bytes());
    // 4 bytes of key ID and 72 of timestamp and signature.
    assert_eq!(
        line.to_string()
            .trim_end()
            .rsplit_once(' ')
            .unwrap()
            .1
            .len(),
        104
    );
}

#[test]
fn cosigning_needs_a_checkpoint_a_cosigner_and_a_time() {
    let text = model::checkpoint(&model::leaves(3)).to_string();
    let witness = model::witness_key(1);
    assert!(cosign(&text, &witness, 1).is_ok());
    assert!(cosign(&text, &witness, MAX_TIMESTAMP).is_ok());
    for time in [0, MAX_TIMESTAMP + 1, u64::MAX] {
        assert_eq!(
            cosign(&text, &witness, time).unwrap_err().code(),
            "note_bad_signature"
        );
    }
    assert_eq!(
        cosign("not a checkpoint\n", &witness, 1),
        Err(CheckpointError::Lines)
    );
    assert_eq!(
        cosign(&text, &model::log_key(), 1).unwrap_err().code(),
        "note_wrong_algorithm"
    );
}

#[test]
fn faulty_cosignatures_are_refused() {
    let text = model::checkpoint(&model::leaves(3)).to_string();
    let witness = model::witness_key(1);
    let good = cosign(&text, &witness, 1000).unwrap().signature().to_vec();
    let other_time = [&1001u64.to_be_bytes()[..], &good[8..]].concat();
    let zero = [&[0; 8][..], &good[8..]].concat();
    let late = [&(MAX_TIMESTAMP + 1).to_be_bytes()[..], &good[8..]].concat();
    // A plain signature by the same key over the text alone.
    let plain = counterfoil_tlog::note::SignerKey::from_seed(
        witness.name().clone(),
        counterfoil_tlog::note::Algorithm::Ed25519,
        &[101; 32],
    );
    let plain = plain.sign(&text).unwrap().signature().to_vec();
    let plain_with_time = [&good[..8], &plain].concat();
    let bad = SignatureError::Ed25519(Ed25519Error::BadSignature);
    for (signature, reason) in [
        (other_time, bad),
        (plain_with_time, bad),
        (zero, SignatureError::Timestamp),
        (late, SignatureError::Timestamp),
        (plain, SignatureError::Length),
        (good[..7].to_vec(), SignatureError::Length),
        (good[..71].to_vec(), SignatureError::Length),
        ([&good[..], &[0]].concat(), SignatureError::Length),
    ] {
        let verifier = witness.verifier();
        let line = NoteSignature::new(verifier.name().clone(), verifier.id(), signature).unwrap();
        let note = Note::new(text.clone(), vec![line]).unwrap();
        assert_eq!(
            note.verify(std::slice::from_ref(verifier)),
            Err(NoteError::BadSignature {
                name: verifier.name().clone(),
                reason
            })
        );
    }
}

proptest! {
    #[test]
    fn checkpoints_round_trip(
        origin in "[a-z][a-z0-9./-]{0,60}",
        size in any::<u64>(),
        root in any::<[u8; 32]>(),
        extensions in proptest::collection::vec("[ -~é—]{1,30}", 0..3),
    ) {
        let root = counterfoil_tlog::tree::Hash::from_bytes(root);
        let mut text = Checkpoint::new(Origin::parse(&origin).unwrap(), size, root).to_string();
        for line in &extensions {
            text.push_str(line);
            text.push('\n');
        }
        let checkpoint = Checkpoint::parse(&text).unwrap();
        prop_assert_eq!(checkpoint.to_string(), text);
        prop_assert_eq!(checkpoint.extensions(), extensions);
        prop_assert_eq!((checkpoint.size(), *checkpoint.root()), (size, root));
    }
}
