//! An honest operator is never convicted of a contradiction: whatever happens to it, and whatever
//! somebody keeps or withholds of what it signed.

use counterfoil_protocol::fault::{
    Accused, FaultKind, FaultProof, LoggedCommitment, Statement, verify_fault,
};
use counterfoil_protocol::record::Body;
use proptest::prelude::*;

use super::collected::{Item, bare, some_of};
use super::model::{Act, Entry, Model};
use super::world::{globex, trust};

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let enforcer = 0..2_usize;
    let peer = 0..2_usize;
    let stream = 0..2_usize;
    let pick = 0..64_usize;
    prop_oneof![
        3 => (peer.clone(), stream.clone()).prop_map(|(peer, stream)| Act::PeerAsks { peer, stream }),
        6 => (enforcer.clone(), peer.clone(), stream)
            .prop_map(|(enforcer, peer, stream)| Act::Deliver { enforcer, peer, stream }),
        5 => (enforcer.clone(), pick.clone(), any::<bool>())
            .prop_map(|(enforcer, pick, allow)| Act::Decide { enforcer, pick, allow }),
        2 => (enforcer.clone(), pick.clone()).prop_map(|(enforcer, pick)| Act::Replay { enforcer, pick }),
        4 => (enforcer.clone(), pick.clone(), 0..5_usize)
            .prop_map(|(enforcer, pick, how)| Act::Complete { enforcer, pick, how }),
        3 => (enforcer.clone(), peer.clone()).prop_map(|(enforcer, peer)| Act::Ask { enforcer, peer }),
        1 => (enforcer.clone(), any::<bool>()).prop_map(|(enforcer, allow)| Act::Local { enforcer, allow }),
        2 => enforcer.clone().prop_map(|enforcer| Act::Crash { enforcer }),
        2 => (-100_000..100_000_i64).prop_map(|step| Act::Clock { step }),
        1 => enforcer.clone().prop_map(|enforcer| Act::Rotate { enforcer }),
        2 => (enforcer.clone(), pick.clone()).prop_map(|(enforcer, keep)| Act::Restore { enforcer, keep }),
        3 => (enforcer.clone(), pick.clone()).prop_map(|(enforcer, show)| Act::Seal { enforcer, show }),
        1 => (enforcer.clone(), peer.clone()).prop_map(|(enforcer, peer)| Act::Close { enforcer, peer }),
        1 => enforcer.clone().prop_map(|enforcer| Act::Refuse { enforcer }),
        2 => (enforcer, peer, pick, any::<bool>())
            .prop_map(|(enforcer, peer, pick, forged)| Act::AskedToDeny { enforcer, peer, pick, forged }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn nothing_is_detected_in_what_an_honest_operator_signed(
        acts in prop::collection::vec(act(), 1..70),
        seeds in prop::collection::vec((any::<u64>(), any::<bool>()), 4),
    ) {
        let mut model = Model::new();
        for act in &acts {
            model.act(act);
        }
        for (seed, all) in seeds {
            let order = some_of(model.collected.tokens(), seed, all);
            let findings = model.collected.detect(&order);
            prop_assert!(findings.is_empty(), "{:?}", findings);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Nor does any proof that is put together from any of it verify.
    #[test]
    fn no_proof_against_an_honest_operator_verifies(
        acts in prop::collection::vec(act(), 1..40),
        seed: u64,
    ) {
        let mut model = Model::new();
        for act in &acts {
            model.act(act);
        }
        let statements = statements(&model, seed);
        let all = statements.iter().flat_map(|a| statements.iter().map(move |b| (a.clone(), b.clone())));
        let pairs: Vec<_> = all.chain(related(&model)).collect();
        let manifests = model.collected.manifests();
        let trust = trust();
        let mut tried = 0;
        for kind in FaultKind::ALL {
            for (a, b) in &pairs {
                let proof = FaultProof {
                    kind: *kind,
                    accused: Accused::Operator(globex()),
                    manifests: manifests.clone(),
                    statements: vec![a.clone(), b.clone()],
                }
                .encode();
                // What is not of the form of the kind is no fault proof.
                if FaultProof::parse(&proof).is_ok() {
                    let report = verify_fault(&proof, &trust);
                    prop_assert!(!report.convicts(), "{:?}", report);
                    tried += 1;
                }
            }
        }
        prop_assert!(tried > 0);
    }
}

/// Some of the statements that were collected, of each form a few.
fn statements(model: &Model, seed: u64) -> Vec<Statement> {
    let mut statements = Vec::new();
    let (mut records, mut commitments, mut requests) = (0, 0, 0);
    for token in some_of(model.collected.tokens(), seed, true) {
        match &model.collected.items[token] {
            Item::Record(bytes) if records < 6 => {
                records += 1;
                statements.push(Statement::record(bare(bytes)));
            }
            Item::Commitment(bytes) if commitments < 3 => {
                commitments += 1;
                statements.push(Statement::Commitment(LoggedCommitment {
                    commitment: bytes.clone(),
                    log_proof: None,
                }));
            }
            Item::Request(bytes) if requests < 2 => {
                requests += 1;
                statements.push(Statement::Request(bytes.clone()));
            }
            _ => {}
        }
    }
    statements
}

/// The records that are about one thing: two decisions of one request, two outcomes of one call.
fn related(model: &Model) -> Vec<(Statement, Statement)> {
    let entries: Vec<&Entry> = model.sent.iter().collect();
    let about = |entry: &Entry| match &entry.record.body {
        Body::Decision(decision) => decision.request.map(|request| request.id),
        Body::Outcome(outcome) => Some(outcome.decision),
        _ => None,
    };
    let mut pairs = Vec::new();
    for a in &entries {
        for b in &entries {
            if a.id != b.id && about(a).is_some() && about(a) == about(b) {
                let statement = |entry: &Entry| Statement::record(bare(&entry.bytes));
                pairs.push((statement(a), statement(b)));
            }
        }
    }
    pairs.truncate(30);
    pairs
}
