//! What a witness accepts and refuses.

use counterfoil_tlog::checkpoint::Checkpoint;
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{Algorithm, Note, NoteError, SignerKey, VerifierKey};
use counterfoil_tlog::proof::ProofError;
use counterfoil_tlog::tree::{EMPTY_ROOT, Hash, leaf_hash};
use counterfoil_tlog::witness::{
    AddCheckpoint, Refusal, SIZE_CONTENT_TYPE, TreeHead, WitnessError, accept_cosignatures,
    cosignature_body, monitoring_path, parse_size_body, size_body,
};
use proptest::prelude::*;

use crate::model;

/// The request of tlog-witness, section "add-checkpoint".
const SPEC_REQUEST: &str = "\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

fn trusted() -> Vec<VerifierKey> {
    vec![model::log_key().verifier().clone()]
}

fn head(leaves: &[Hash]) -> Option<TreeHead> {
    Some(TreeHead {
        size: leaves.len() as u64,
        root: model::mth(leaves),
    })
}

fn request(old: u64, proof: Vec<Hash>, checkpoint: &Checkpoint) -> AddCheckpoint {
    AddCheckpoint::new(old, proof, checkpoint.sign(&model::log_key()).unwrap()).unwrap()
}

#[test]
fn the_request_of_the_specification_parses_and_prints() {
    let request = AddCheckpoint::parse(SPEC_REQUEST.as_bytes()).unwrap();
    assert_eq!((request.old_size(), request.proof().len()), (20_852_014, 4));
    assert_eq!(request.checkpoint().size(), 20_852_163);
    assert_eq!(request.note().signatures().len(), 2);
    assert_eq!(request.to_string(), SPEC_REQUEST);
}

#[test]
fn malformed_requests_are_refused() {
    let good = SPEC_REQUEST;
    let first = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
    for (body, expected) in [
        (String::new(), WitnessError::Form),
        ("old 0\n".to_owned(), WitnessError::Form),
        (good.replace("old 20852014\n", ""), WitnessError::OldSize),
        (good.replace("old 2", "old 02"), WitnessError::OldSize),
        (good.replace("old 2", "old  2"), WitnessError::OldSize),
        (good.replace("old 2", "Old 2"), WitnessError::OldSize),
        (good.replace("old 20852014", "old"), WitnessError::OldSize),
        (
            good.replace("old 20852014", "old 20852014 "),
            WitnessError::OldSize,
        ),
        (
            good.replace("old 20852014", "old -1"),
            WitnessError::OldSize,
        ),
        (
            good.replace("old 20852014", "old 18446744073709551616"),
            WitnessError::OldSize,
        ),
        (
            good.replace("old 20852014\n", "old 20852014\r\n"),
            WitnessError::OldSize,
        ),
        (good.replace("kaw=", "kax="), WitnessError::ProofHash(1)),
        (good.replace("swk=", "swk"), WitnessError::ProofHash(2)),
        (good.replace(first, "AAAA\n"), WitnessError::ProofHash(1)),
        (
            good.replace(first, &first.repeat(61)),
            WitnessError::ProofTooLong,
        ),
        (
            good.trim_end().to_owned(),
            WitnessError::Note(NoteError::MalformedSignature(2)),
        ),
        (
            good.split_inclusive('—').next().unwrap().replace('—', ""),
            WitnessError::Note(NoteError::NoSignatures),
        ),
    ] {
        assert_eq!(
            AddCheckpoint::parse(body.as_bytes()),
            Err(expected),
            "{body:?}"
        );
    }
    let full = good.replace(first, &first.repeat(60));
    assert_eq!(
        AddCheckpoint::parse(full.as_bytes()).unwrap().proof().len(),
        63
    );
    assert_eq!(
        AddCheckpoint::parse(&vec![b'a'; 2 << 20]),
        Err(WitnessError::TooLarge)
    );
}

#[test]
fn consistent_growth_is_accepted_between_all_sizes() {
    let leaves = model::leaves(20);
    for new in 0..=20 {
        let checkpoint = model::checkpoint(&leaves[..new]);
        // First contact and a tree that was empty so far need no proof.
        for latest in [None, head(&[])] {
            let first = request(0, vec![], &checkpoint);
            assert_eq!(first.check(&trusted(), latest), Ok(&checkpoint));
        }
        for old in 1..=new {
            let proof = model::consistency(old, &leaves[..new]);
            let request = request(old as u64, proof, &checkpoint);
            let parsed = AddCheckpoint::parse(request.to_string().as_bytes()).unwrap();
            assert_eq!(parsed, request);
            assert_eq!(
                parsed.check(&trusted(), head(&leaves[..old])),
                Ok(&checkpoint)
            );
        }
    }
}

#[test]
fn every_refusal_has_its_status() {
    let leaves = model::leaves(9);
    let checkpoint = model::checkpoint(&leaves);
    let proof = model::consistency(4, &leaves);
    let latest = head(&leaves[..4]);
    let good = request(4, proof.clone(), &checkpoint);
    assert!(good.check(&trusted(), latest).is_ok());
    let refusal = |request: &AddCheckpoint, keys: &[VerifierKey], latest| {
        let refusal = request.check(keys, latest).unwrap_err();
        (refusal.status(), refusal)
    };

    // 404
    assert_eq!(refusal(&good, &[], latest), (404, Refusal::UnknownOrigin));
    let other = SignerKey::from_seed(
        model::name("other.example/log"),
        Algorithm::Ed25519,
        &[1; 32],
    );
    assert_eq!(
        refusal(&good, &[other.verifier().clone()], latest),
        (404, Refusal::UnknownOrigin)
    );
    // 403
    let rotated = SignerKey::from_seed(model::name(model::ORIGIN), Algorithm::Ed25519, &[9; 32]);
    assert_eq!(
        refusal(&good, &[rotated.verifier().clone()], latest),
        (403, Refusal::Signature(NoteError::NoKnownSignature))
    );
    let forged = Note::new(
        model::checkpoint(&model::leaves(8)).to_string(),
        good.note().signatures().to_vec(),
    );
    let forged = AddCheckpoint::new(4, proof.clone(), forged.unwrap()).unwrap();
    assert_eq!(refusal(&forged, &trusted(), latest).0, 403);
    // 400
    let behind = request(10, vec![], &checkpoint);
    assert_eq!(
        refusal(&behind, &trusted(), latest),
        (400, Refusal::OldSizeLarger)
    );
    // 409
    for (old, latest, size) in [(4, head(&leaves[..5]), 5), (4, None, 0), (0, latest, 4)] {
        let stale = request(old, vec![], &checkpoint);
        let (status, refusal) = refusal(&stale, &trusted(), latest);
        assert_eq!(
            (status, &refusal),
            (409, &Refusal::Conflict { latest: size })
        );
        assert_eq!(refusal.content_type(), SIZE_CONTENT_TYPE);
        assert_eq!(parse_size_body(refusal.body().as_bytes()), Ok(size));
    }
    // 422
    let mut altered = proof.clone();
    altered[0] = leaf_hash(b"x");
    for (proof, expected) in [
        (altered, ProofError::RootMismatch),
        (
            vec![],
            ProofError::WrongLength {
                expected: 2,
                got: 0,
            },
        ),
        (
            [proof.clone(), vec![leaves[0]]].concat(),
            ProofError::WrongLength {
                expected: 2,
                got: 3,
            },
        ),
    ] {
        let bad = request(4, proof, &checkpoint);
        assert_eq!(
            refusal(&bad, &trusted(), latest),
            (422, Refusal::Inconsistent(expected))
        );
    }
    let needless = request(0, vec![leaves[0]], &checkpoint);
    assert_eq!(
        refusal(&needless, &trusted(), None),
        (422, Refusal::NeedlessProof)
    );
    let odd_empty = Checkpoint::new(model::origin(), 0, leaves[0]);
    assert_eq!(
        refusal(&request(0, vec![], &odd_empty), &trusted(), None),
        (422, Refusal::EmptyTreeRoot)
    );
    // A fork at the same size.
    let mut forked = leaves.clone();
    forked[8] = leaf_hash(b"another history");
    let fork = request(9, vec![], &model::checkpoint(&forked));
    assert_eq!(
        refusal(&fork, &trusted(), head(&leaves)),
        (422, Refusal::Inconsistent(ProofError::RootMismatch))
    );
    let same = request(9, vec![leaves[0]], &checkpoint);
    assert_eq!(refusal(&same, &trusted(), head(&leaves)).0, 422);
    // A fork behind a larger tree, with the fork's own honest proof.
    forked.push(leaf_hash(b"more"));
    let fork = request(
        9,
        model::consistency(9, &forked),
        &model::checkpoint(&forked),
    );
    assert_eq!(
        refusal(&fork, &trusted(), head(&leaves)),
        (422, Refusal::Inconsistent(ProofError::OldRootMismatch))
    );
    // An empty tree may be confirmed again.
    let empty = Checkpoint::new(model::origin(), 0, EMPTY_ROOT);
    assert!(
        request(0, vec![], &empty)
            .check(&trusted(), head(&[]))
            .is_ok()
    );
}

#[test]
fn a_log_keeps_only_verified_cosignatures() {
    let leaves = model::leaves(3);
    let note = model::checkpoint(&leaves).sign(&model::log_key()).unwrap();
    let (w1, w2) = (model::witness_key(1), model::witness_key(2));
    let lines = vec![
        cosign(note.text(), &w2, 10).unwrap(),
        cosign(note.text(), &w1, 11).unwrap(),
    ];
    let body = cosignature_body(&lines);
    let known = [w1.verifier().clone()];

    let kept = accept_cosignatures(note.text(), body.as_bytes(), &known).unwrap();
    assert_eq!(kept, [lines[1].clone()]);
    let complete = note.clone().with_signatures(kept).unwrap();
    let all = [model::log_key().verifier().clone(), w1.verifier().clone()];
    assert_eq!(complete.verify(&all).unwrap().signatures().len(), 2);

    let accept = |body: &[u8]| accept_cosignatures(note.text(), body, &known).unwrap_err();
    let refused = WitnessError::Cosignatures;
    assert_eq!(accept(b""), refused(NoteError::NoSignatures));
    assert_eq!(accept(b"\n"), refused(NoteError::MalformedSignature(1)));
    assert_eq!(accept(b"\xff"), refused(NoteError::NotUtf8));
    assert_eq!(
        accept(body.trim_end().as_bytes()),
        refused(NoteError::MalformedSignature(2))
    );
    assert_eq!(
        accept(format!("\n{body}").as_bytes()),
        refused(NoteError::MalformedSignature(1))
    );
    assert_eq!(
        accept(lines[0].to_string().as_bytes()),
        refused(NoteError::NoKnownSignature)
    );
    let elsewhere = model::checkpoint(&model::leaves(4)).to_string();
    let wrong = cosign(&elsewhere, &w1, 11).unwrap().to_string();
    assert!(matches!(
        accept(wrong.as_bytes()),
        WitnessError::Cosignatures(NoteError::BadSignature { .. })
    ));
}

#[test]
fn size_bodies_have_one_spelling() {
    assert_eq!(size_body(0), "0\n");
    assert_eq!(parse_size_body(b"20852163\n"), Ok(20_852_163));
    for refused in ["", "5", "05\n", "5\n\n", "5\r\n", " 5\n", "-5\n", "x\n"] {
        assert_eq!(
            parse_size_body(refused.as_bytes()),
            Err(WitnessError::SizeBody),
            "{refused:?}"
        );
    }
}

/// `printf example.com/behind-the-sofa | sha256sum`
#[test]
fn monitoring_paths_name_the_hash_of_the_origin() {
    let request = AddCheckpoint::parse(SPEC_REQUEST.as_bytes()).unwrap();
    assert_eq!(
        monitoring_path(request.checkpoint().origin()),
        "5fd2dc0beb4ce54da5050cf6d5c75248b023abad441c3cecde3976fbe9da4fe4/checkpoint"
    );
}

proptest! {
    #[test]
    fn requests_round_trip(
        old in any::<u64>(),
        proof in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash::from_bytes), 0..=63),
    ) {
        let request = request(old, proof, &model::checkpoint(&model::leaves(2)));
        prop_assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()), Ok(request));
    }

    #[test]
    fn no_state_makes_the_check_panic(old in any::<u64>(), size in any::<u64>(), latest in any::<u64>(), hashes in 0usize..=63) {
        let root = leaf_hash(b"x");
        let request = request(old, vec![root; hashes], &Checkpoint::new(model::origin(), size, root));
        let outcome = request.check(&trusted(), Some(TreeHead { size: latest, root }));
        if old != latest || old > size {
            prop_assert!(outcome.is_err());
        }
    }
}
