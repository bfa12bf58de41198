//! Offline proof files.

use counterfoil_tlog::note::{Note, NoteError};
use counterfoil_tlog::policy::{Policy, PolicyCheckError};
use counterfoil_tlog::proof::ProofError;
use counterfoil_tlog::tlog_proof::{MAX_EXTRA_BYTES, TlogProof, TlogProofError};
use counterfoil_tlog::tree::{Hash, leaf_hash};
use proptest::prelude::*;

use crate::model;

fn policy() -> Policy {
    let file = format!(
        "log {}\nwitness a {}\nwitness b {}\ngroup both all a b\nquorum both\n",
        model::log_key().verifier(),
        model::witness_key(1).verifier(),
        model::witness_key(2).verifier(),
    );
    Policy::parse(file.as_bytes()).unwrap()
}

fn proof(index: usize, leaves: &[Hash], witnesses: &[(u8, u64)]) -> TlogProof {
    let note = model::cosigned(&model::checkpoint(leaves), witnesses);
    TlogProof::new(None, index as u64, model::path(index, leaves), note).unwrap()
}

#[test]
fn a_proof_verifies_and_names_the_witnesses() {
    let leaves = model::leaves(11);
    let file = proof(4, &leaves, &[(1, 500), (2, 400)]).to_string();
    let parsed = TlogProof::parse(file.as_bytes()).unwrap();
    assert_eq!(parsed.to_string(), file);
    let quorum = parsed.verify(&leaves[4], &policy()).unwrap();
    assert_eq!(quorum.checkpoint().size(), 11);
    assert_eq!(
        (quorum.not_after(), quorum.not_before()),
        (Some(500), Some(400))
    );
    let names: Vec<&str> = quorum
        .cosignatures()
        .iter()
        .map(|c| c.key().name().as_str())
        .collect();
    assert_eq!(names, ["witness.example.com/w1", "witness.example.com/w2"]);
}

#[test]
fn a_proof_of_the_only_entry_has_no_hashes() {
    let leaves = model::leaves(1);
    let file = proof(0, &leaves, &[(1, 1), (2, 1)]).to_string();
    assert!(file.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example.com/test\n1\n"));
    let parsed = TlogProof::parse(file.as_bytes()).unwrap();
    assert!(parsed.path().is_empty());
    assert!(parsed.verify(&leaves[0], &policy()).is_ok());
}

#[test]
fn extra_data_is_carried_and_not_authenticated() {
    let leaves = model::leaves(3);
    let plain = proof(1, &leaves, &[(1, 1), (2, 1)]);
    let with = |extra| TlogProof::new(extra, 1, plain.path().to_vec(), plain.note().clone());
    let file = with(Some(b"context".to_vec())).unwrap().to_string();
    assert!(file.contains("\nextra Y29udGV4dA==\nindex 1\n"));
    let parsed = TlogProof::parse(file.as_bytes()).unwrap();
    assert_eq!(parsed.extra(), Some(&b"context"[..]));
    assert!(parsed.verify(&leaves[1], &policy()).is_ok());
    let altered = file.replace("Y29udGV4dA==", "Y29udGV4dB==");
    assert_eq!(
        TlogProof::parse(altered.as_bytes()),
        Err(TlogProofError::Extra)
    );
    assert_eq!(with(Some(vec![])), Err(TlogProofError::Extra));
    assert_eq!(
        with(Some(vec![0; MAX_EXTRA_BYTES + 1])),
        Err(TlogProofError::Extra)
    );
}

#[test]
fn malformed_proofs_are_refused() {
    let leaves = model::leaves(3);
    let good = proof(1, &leaves, &[(1, 1), (2, 1)]).to_string();
    assert!(TlogProof::parse(good.as_bytes()).is_ok());
    let first = model::path(1, &leaves)[0].to_string();
    let wrong_bits = format!("{}{}", &first[..42], "B=");
    let faults: Vec<(String, TlogProofError)> = vec![
        (String::new(), TlogProofError::Form),
        (
            "c2sp.org/tlog-proof@v1\nindex 1\n".to_owned(),
            TlogProofError::Form,
        ),
        (good.replace("@v1", "@v2"), TlogProofError::Header),
        (format!(" {good}"), TlogProofError::Header),
        (format!("\n{good}"), TlogProofError::Header),
        (format!("\n\n{good}"), TlogProofError::Header),
        (good.replace("@v1\n", "@v1\r\n"), TlogProofError::Header),
        (good.replace("index 1\n", ""), TlogProofError::Index),
        (
            good.replace("index 1\n", "index 01\n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "index  1\n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "index 1 \n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "index -1\n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "index 18446744073709551616\n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "Index 1\n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "extra AA==\n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "extra AA==\nextra AA==\nindex 1\n"),
            TlogProofError::Index,
        ),
        (
            good.replace("index 1\n", "extra \nindex 1\n"),
            TlogProofError::Extra,
        ),
        (
            good.replace("index 1\n", "extra AB==\nindex 1\n"),
            TlogProofError::Extra,
        ),
        (
            good.replace("index 1\n", "index 1\nextra AA==\n"),
            TlogProofError::PathHash(1),
        ),
        (
            good.replace("index 1\n", "index 1\nAA==\n"),
            TlogProofError::PathHash(1),
        ),
        (
            good.replace(&first, &wrong_bits),
            TlogProofError::PathHash(1),
        ),
        (
            good.replace(&first, &format!("{first} ")),
            TlogProofError::PathHash(1),
        ),
        (
            good.replace(&first, &format!("{first}\r")),
            TlogProofError::PathHash(1),
        ),
        (
            good.replace(
                "index 1\n",
                &format!("index 1\n{}", format!("{first}\n").repeat(62)),
            ),
            TlogProofError::PathTooLong,
        ),
        (
            good.trim_end().to_owned(),
            TlogProofError::Note(NoteError::MalformedSignature(3)),
        ),
        (
            format!("{good}\n"),
            TlogProofError::Note(NoteError::NoSignatures),
        ),
    ];
    for (file, expected) in faults {
        assert_eq!(TlogProof::parse(file.as_bytes()), Err(expected), "{file:?}");
    }
    let not_checkpoint = good.replace("\n3\n", "\n03\n");
    assert_eq!(
        TlogProof::parse(not_checkpoint.as_bytes())
            .unwrap_err()
            .code(),
        "checkpoint_size"
    );
}

#[test]
fn false_statements_are_refused() {
    let leaves = model::leaves(7);
    let policy = policy();
    let witnesses = [(1, 1), (2, 1)];
    let good = proof(3, &leaves, &witnesses);
    assert!(good.verify(&leaves[3], &policy).is_ok());

    let refused = |result: Result<_, TlogProofError>| result.map(|_| ()).unwrap_err();
    let other_leaf = good.verify(&leaf_hash(b"never logged"), &policy);
    assert_eq!(
        refused(other_leaf),
        TlogProofError::Inclusion(ProofError::RootMismatch)
    );
    for index in [11, 19, 35, 7, u64::MAX] {
        let alias = TlogProof::new(None, index, good.path().to_vec(), good.note().clone()).unwrap();
        assert_eq!(
            refused(alias.verify(&leaves[3], &policy)),
            TlogProofError::Inclusion(ProofError::IndexOutOfRange { index, size: 7 })
        );
    }
    let mut longer = good.path().to_vec();
    longer.push(leaves[0]);
    let longer = TlogProof::new(None, 3, longer, good.note().clone()).unwrap();
    assert_eq!(
        refused(longer.verify(&leaves[3], &policy)),
        TlogProofError::Inclusion(ProofError::WrongLength {
            expected: 3,
            got: 4
        })
    );
    let one_witness = proof(3, &leaves, &[(1, 1)]);
    assert!(!one_witness.check(&leaves[3], &policy).unwrap().is_met());
    assert_eq!(
        refused(one_witness.verify(&leaves[3], &policy)),
        TlogProofError::Policy(PolicyCheckError::QuorumNotMet)
    );
    // A true path to a root nobody signed.
    let forged = model::checkpoint(&model::leaves(8)).to_string();
    let forged = Note::new(forged, good.note().signatures().to_vec()).unwrap();
    let forged = TlogProof::new(None, 3, model::path(3, &model::leaves(8)), forged).unwrap();
    assert_eq!(
        refused(forged.verify(&leaves[3], &policy)).code(),
        "note_bad_signature"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let leaves = model::leaves(6);
        let mut bytes = proof(2, &leaves, &[(1, 1), (2, 1)]).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let accepted = TlogProof::parse(&bytes)
            .is_ok_and(|proof| proof.verify(&leaves[2], &policy()).is_ok());
        prop_assert!(!accepted, "byte {at}");
    }

    #[test]
    fn proofs_round_trip(
        extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..100)),
        index in any::<u64>(),
        path in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash::from_bytes), 0..=63),
    ) {
        let note = model::cosigned(&model::checkpoint(&model::leaves(2)), &[(1, 1)]);
        let proof = TlogProof::new(extra, index, path, note).unwrap();
        prop_assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof));
    }
}
