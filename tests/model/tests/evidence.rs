//! Evidence levels under a log that may show two trees, checked exhaustively within bounds; and each
//! check left out, which the checker finds.

use counterfoil_model::check::{exhaust, refute};
use counterfoil_model::evidence::{
    Breach, Evidence, LEVEL_REACHED, LOG_NEVER_CONVICTED, Level, ONE_TREE,
};

/// A call that needs a witnessed request and one that needs a logged one, a Byzantine asking side
/// and log, and one Byzantine witness of four.
fn hostile() -> Evidence {
    Evidence {
        needs: vec![Level::Witnessed, Level::Logged],
        byzantine_asking: true,
        byzantine_log: true,
        witnesses: 3,
        byzantine_witnesses: 1,
        quorum: 3,
        entries: 2,
        breach: None,
    }
}

#[test]
fn everybody_is_honest() {
    exhaust(
        "honest log",
        Evidence {
            needs: vec![Level::Witnessed, Level::Logged, Level::Signed],
            byzantine_asking: false,
            byzantine_log: false,
            byzantine_witnesses: 0,
            witnesses: 3,
            quorum: 2,
            entries: 3,
            breach: None,
        },
    );
}

#[test]
fn the_log_and_the_asking_side_and_a_witness_are_byzantine() {
    exhaust("Byzantine log, asking side and witness", hostile());
}

#[test]
fn the_log_is_byzantine_and_all_witnesses_are_honest() {
    exhaust(
        "Byzantine log, honest witnesses",
        Evidence {
            byzantine_witnesses: 0,
            quorum: 2,
            ..hostile()
        },
    );
}

#[test]
fn each_check_of_the_asked_side_is_needed() {
    for breach in [
        Breach::ExecutesFirst,
        Breach::TrustsLog,
        Breach::AddsUpCheckpoints,
        Breach::TakesAnyCommitment,
    ] {
        let model = Evidence {
            breach: Some(breach),
            ..hostile()
        };
        refute(&format!("{breach:?}"), model, LEVEL_REACHED);
    }
}

#[test]
fn witnesses_that_forget_cosign_two_trees() {
    let model = Evidence {
        breach: Some(Breach::WitnessesForget),
        ..hostile()
    };
    refute("WitnessesForget", model, ONE_TREE);
}

/// Two quorums must have an honest witness in common.
#[test]
fn a_quorum_that_is_too_small_is_no_quorum() {
    let model = Evidence {
        quorum: 2,
        ..hostile()
    };
    refute("quorum of two in four", model, ONE_TREE);
}

#[test]
fn a_log_that_signs_what_is_not_durable_is_convicted() {
    let model = Evidence {
        byzantine_log: false,
        breach: Some(Breach::LogForgets),
        ..hostile()
    };
    refute("LogForgets", model, LOG_NEVER_CONVICTED);
}
