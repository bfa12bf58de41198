//! Logs that show two histories, and operators that show two manifests.

use counterfoil_protocol::fault::{FaultKind, FaultProof, Statement, verify_fault};
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::note::{Algorithm, Note, SignerKey};

use super::collected::code;
use super::world::{Log, Manifests, ORIGIN, globex, key, log_key, peer, trust, witness_key};

fn log(entries: &[&str]) -> Log {
    let mut log = Log::default();
    for entry in entries {
        log.add(entry.as_bytes());
    }
    log
}

fn bytes(note: &Note) -> Vec<u8> {
    note.to_string().into_bytes()
}

fn verdict(proof: Option<FaultProof>) -> &'static str {
    let bytes = proof.unwrap().encode();
    code(&verify_fault(&bytes, &trust()))
}

#[test]
fn a_log_that_signs_two_trees_of_one_size_is_convicted() {
    let one = bytes(&log(&["a", "b"]).checkpoint(true));
    let other = bytes(&log(&["a", "c"]).checkpoint(true));
    for (a, b) in [(&one, &other), (&other, &one)] {
        let proof = FaultProof::of_checkpoints(a, b).unwrap();
        let report = verify_fault(&proof.encode(), &trust());
        assert!(report.convicts(), "{report:?}");
        assert_eq!(report.cosigned_both, ["w"]);
        assert_eq!(report.accused.unwrap().to_string(), ORIGIN);
    }
    let unseen = bytes(&log(&["a", "c"]).checkpoint(false));
    let proof = FaultProof::of_checkpoints(&one, &unseen).unwrap();
    let report = verify_fault(&proof.encode(), &trust());
    assert!(report.convicts() && report.cosigned_both.is_empty());

    let mut swapped = proof.clone();
    swapped.statements.reverse();
    assert_eq!(verdict(Some(swapped)), "fault_not_shown");
    let mut twice = proof;
    twice.statements[1] = twice.statements[0].clone();
    assert_eq!(verdict(Some(twice)), "fault_not_shown");
}

#[test]
fn a_log_that_holds_two_entries_at_one_index_is_convicted() {
    let (one, other) = (log(&["a", "b"]), log(&["a", "c", "d"]));
    let entry = |log: &Log, index: u64| {
        let at = usize::try_from(index).unwrap();
        (log.entries[at].clone(), log.proof(index, true))
    };
    let of = |a: &(Vec<u8>, Vec<u8>), b: &(Vec<u8>, Vec<u8>)| {
        FaultProof::of_entries((&a.0, &a.1), (&b.0, &b.1))
    };
    let proof = of(&entry(&other, 1), &entry(&one, 1)).unwrap();
    assert_eq!(proof.kind, FaultKind::LogRewritten);
    assert_eq!(verdict(Some(proof.clone())), "convicts");
    let mut swapped = proof;
    swapped.statements.reverse();
    assert_eq!(verdict(Some(swapped)), "fault_not_shown");

    // The same entry under trees of different sizes is what a log is for.
    assert!(of(&entry(&one, 0), &entry(&other, 0)).is_none());
    // And so are different entries in different places.
    assert!(of(&entry(&one, 1), &entry(&other, 0)).is_none());
    let elsewhere = |entry: (Vec<u8>, Vec<u8>)| Statement::Entry {
        entry: entry.0,
        log_proof: entry.1,
    };
    let mut forged = of(&entry(&other, 1), &entry(&one, 1)).unwrap();
    let mut pair = vec![elsewhere(entry(&one, 0)), elsewhere(entry(&one, 1))];
    forged.statements.clone_from(&pair);
    assert_eq!(verdict(Some(forged.clone())), "fault_not_shown");
    pair.reverse();
    forged.statements = pair;
    assert_eq!(verdict(Some(forged)), "fault_not_shown");

    // Trees of one size need no entries to contradict each other.
    let third = log(&["a", "x"]);
    let proof = of(&entry(&one, 0), &entry(&third, 1)).unwrap();
    assert_eq!(proof.kind, FaultKind::LogFork);
    assert_eq!(verdict(Some(proof)), "convicts");
}

#[test]
fn trees_of_others_convict_no_log() {
    let one = bytes(&log(&["a", "b"]).checkpoint(false));
    let grown = bytes(&log(&["a", "b", "c"]).checkpoint(false));
    assert!(FaultProof::of_checkpoints(&one, &grown).is_none());
    assert!(FaultProof::of_checkpoints(&one, &one).is_none());

    let other = log(&["a", "c"]);
    let proof = |note: Note| FaultProof::of_checkpoints(&one, &bytes(&note));
    let mut grown_too = proof(other.checkpoint(false)).unwrap();
    grown_too.statements[1] = Statement::Checkpoint(grown);
    assert_eq!(verdict(Some(grown_too)), "fault_not_shown");

    let unknown = SignerKey::from_seed(
        "other.example".parse().unwrap(),
        Algorithm::Ed25519,
        &[3; 32],
    );
    assert!(proof(other.checkpoint_by(&unknown, false)).is_none());
    let mut foreign = proof(other.checkpoint(false)).unwrap();
    foreign.statements[0] = Statement::Checkpoint(bytes(&other.checkpoint_by(&unknown, false)));
    assert_eq!(verdict(Some(foreign)), "log_unknown");

    // Somebody who uses the name of the log has another key.
    let thief = SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[3; 32]);
    let forged = proof(other.checkpoint_by(&thief, false));
    assert_eq!(verdict(forged), "checkpoint_signature_invalid");

    // Two logs of one name in the trust file are two logs.
    let file = format!(
        "log {}\nlog {}\nquorum none\n",
        log_key().verifier(),
        thief.verifier()
    );
    let both = Trust::parse(file.as_bytes()).unwrap();
    let of_both = proof(other.checkpoint_by(&thief, false)).unwrap();
    let report = verify_fault(&of_both.encode(), &both);
    assert_eq!(code(&report), "fault_not_shown");

    let mut accuse_witness = proof(other.checkpoint(true)).unwrap();
    accuse_witness.accused = counterfoil_protocol::fault::Accused::Log(
        counterfoil_tlog::checkpoint::Origin::parse(witness_key().name().as_str()).unwrap(),
    );
    assert_eq!(verdict(Some(accuse_witness)), "fault_accused_mismatch");
}

#[test]
fn an_operator_that_signs_two_manifests_of_one_version_is_convicted() {
    let mut chain = Manifests::new(globex());
    let first = chain.next(&[&key(1)], &[], 1_000);
    let other_first = chain.next(&[&key(1)], &[], 2_000);
    let proof = FaultProof::of_manifests(Vec::new(), &first, &other_first);
    assert_eq!(verdict(proof), "convicts");

    chain.publish(&[&key(1)], &[]);
    let second = chain.next(&[&key(1), &key(2)], &[], 3_000);
    let other = chain.next(&[&key(1), &key(3)], &[], 3_000);
    let of = |a: &[u8], b: &[u8]| FaultProof::of_manifests(chain.unlogged(), a, b);
    assert_eq!(verdict(of(&second, &other)), "convicts");
    assert_eq!(verdict(of(&other, &second)), "convicts");
    assert!(of(&second, &second).is_none());
    assert!(of(&first, &second).is_none());

    let mut swapped = of(&second, &other).unwrap();
    swapped.statements.reverse();
    assert_eq!(verdict(Some(swapped)), "fault_not_shown");
    let mut twice = of(&second, &other).unwrap();
    twice.statements[1] = twice.statements[0].clone();
    assert_eq!(verdict(Some(twice)), "fault_not_shown");
    // They follow no version that is shown.
    let orphans = FaultProof::of_manifests(Vec::new(), &second, &other);
    assert_eq!(verdict(orphans), "manifest_chain_broken");
    let mut forged = of(&second, &other).unwrap();
    if let Statement::Manifest(bytes) = &mut forged.statements[1] {
        *bytes.last_mut().unwrap() ^= 1;
    }
    assert_eq!(verdict(Some(forged)), "signature_invalid");
    let foreign = Manifests::new(peer(0)).next(&[&key(1)], &[], 1_000);
    let mut mixed = of(&second, &other).unwrap();
    mixed.statements[1] = Statement::Manifest(foreign);
    assert_eq!(verdict(Some(mixed)), "fault_accused_mismatch");
}
