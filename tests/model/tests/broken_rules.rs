//! Each rule of faults §1 is broken by an operator that keeps all others, and the checker finds the
//! conviction. So the properties can fail, and no rule is there for nothing.

use counterfoil_model::check::refute;
use counterfoil_model::exchange::Exchange;
use counterfoil_model::faults::Kind;
use counterfoil_model::properties::{
    ACKNOWLEDGED_BOUND, EVIDENCE_KEPT, EXECUTED_ONCE, NEVER_CONVICTED, SETTLED_AT_REST,
    WITHHELD_MISSED, convictions,
};
use counterfoil_model::rules::{Bounds, Breach, Conduct, Restores};
use counterfoil_model::statements::Party;

/// The side breaks the rule, the other one keeps all; the shortest way to a conviction shows one of
/// these kinds.
fn convicted(party: Party, breach: Breach, bounds: Bounds, kinds: &[Kind]) {
    let conduct = |side| {
        if side == party {
            Conduct::Breaking(breach)
        } else {
            Conduct::Honest
        }
    };
    find(
        conduct(Party::Asking),
        conduct(Party::Asked),
        party,
        &format!("{breach:?}"),
        bounds,
        kinds,
    );
}

/// The same, with a Byzantine other side.
fn convicted_by_byzantine(party: Party, breach: Breach, bounds: Bounds, kinds: &[Kind]) {
    let conduct = |side| {
        if side == party {
            Conduct::Breaking(breach)
        } else {
            Conduct::Byzantine
        }
    };
    find(
        conduct(Party::Asking),
        conduct(Party::Asked),
        party,
        &format!("{breach:?}"),
        bounds,
        kinds,
    );
}

fn find(asking: Conduct, asked: Conduct, party: Party, name: &str, bounds: Bounds, kinds: &[Kind]) {
    let model = Exchange {
        asking,
        asked,
        bounds,
        expected: Vec::new(),
    };
    let (steps, state) = refute(name, model.clone(), NEVER_CONVICTED);
    let found = convictions(&model, &state, party);
    println!("  {found:?} after {} steps", steps.len());
    assert!(
        found.iter().any(|kind| kinds.contains(kind)),
        "{name} is convicted of {found:?} by {steps:#?}"
    );
}

const WITH_CRASH: Bounds = Bounds {
    crashes: 1,
    ..Bounds::ONE_CALL
};

const WITH_RESTORE: Bounds = Bounds {
    restores: 1,
    rotations: 1,
    ..Bounds::ONE_CALL
};

#[test]
fn rule_1_what_leaves_is_durable() {
    let bounds = Bounds {
        pending: 1,
        requests: 2,
        ..WITH_CRASH
    };
    for party in Party::BOTH {
        convicted(
            party,
            Breach::LeavesBeforeDurable,
            bounds,
            &[Kind::StreamFork],
        );
    }
}

#[test]
fn rule_1_there_is_one_journal() {
    for party in Party::BOTH {
        convicted(
            party,
            Breach::TwoJournals,
            Bounds::ONE_CALL,
            &[Kind::StreamFork, Kind::StreamLink],
        );
    }
}

#[test]
fn rule_1_commitments_are_durable() {
    let bounds = Bounds {
        batches: 1,
        ..WITH_CRASH
    };
    convicted(
        Party::Asking,
        Breach::CommitmentNotDurable,
        bounds,
        &[Kind::CommitmentFork],
    );
}

#[test]
fn rule_1_batches_leave_nothing_out() {
    let bounds = Bounds {
        batches: 2,
        ..Bounds::ONE_CALL
    };
    convicted(
        Party::Asked,
        Breach::LeavesRecordsOut,
        bounds,
        &[Kind::CommitmentLink],
    );
}

#[test]
fn rule_2_nothing_is_signed_again() {
    let bounds = Bounds {
        batches: 1,
        ..WITH_CRASH
    };
    convicted(
        Party::Asked,
        Breach::SignsAgain,
        bounds,
        &[Kind::RecordReplaced],
    );
}

#[test]
fn rule_2_a_backup_is_not_continued() {
    for party in Party::BOTH {
        let bounds = Bounds {
            restored: Some(party),
            ..WITH_RESTORE
        };
        convicted(
            party,
            Breach::ContinuesBackup,
            bounds,
            &[Kind::StreamFork, Kind::ChannelFork],
        );
    }
}

#[test]
fn rule_3_a_request_is_decided_once() {
    convicted(
        Party::Asked,
        Breach::DecidesAgain,
        Bounds::ONE_CALL,
        &[Kind::DecidedTwice],
    );
}

#[test]
fn rule_3_a_refusal_of_a_repeat_names_no_request() {
    let bounds = Bounds {
        repeats: 1,
        ..Bounds::ONE_CALL
    };
    convicted(
        Party::Asked,
        Breach::RefusalNamesRepeat,
        bounds,
        &[Kind::DecidedTwice],
    );
}

#[test]
fn rule_3_a_call_has_one_outcome() {
    let bounds = Bounds {
        late_results: true,
        ..Bounds::ONE_CALL
    };
    convicted(
        Party::Asked,
        Breach::SettlesAgain,
        bounds,
        &[Kind::SettledTwice],
    );
}

#[test]
fn rule_4_what_was_denied_is_not_executed() {
    convicted(
        Party::Asked,
        Breach::ExecutesDenied,
        Bounds::ONE_CALL,
        &[Kind::ExecutedUnallowed],
    );
}

#[test]
fn rule_4_a_request_is_allowed_as_it_is() {
    convicted(
        Party::Asked,
        Breach::AllowsOtherwise,
        Bounds::ONE_CALL,
        &[Kind::AllowedOtherwise],
    );
}

#[test]
fn rule_5_no_acknowledgement_across_a_gap() {
    let bounds = Bounds {
        forged: 2,
        places: 2,
        repeats: 1,
        ..Bounds::ONE_CALL
    };
    convicted_by_byzantine(
        Party::Asked,
        Breach::AcknowledgesAcrossGap,
        bounds,
        &[Kind::AcknowledgementReversed],
    );
}

#[test]
fn rule_5_what_is_acknowledged_is_durable() {
    let bounds = Bounds {
        requests: 2,
        ..WITH_CRASH
    };
    convicted(
        Party::Asked,
        Breach::AcknowledgesVolatile,
        bounds,
        &[Kind::AcknowledgementReversed, Kind::DecidedTwice],
    );
}

#[test]
fn rule_5_the_first_record_of_a_place_stays_acknowledged() {
    let bounds = Bounds {
        forged: 2,
        calls: 2,
        places: 1,
        ..Bounds::ONE_CALL
    };
    convicted_by_byzantine(
        Party::Asked,
        Breach::AcknowledgesFork,
        bounds,
        &[Kind::AcknowledgementReversed],
    );
}

#[test]
fn rule_6_what_a_lost_journal_may_have_held_is_not_denied() {
    for party in Party::BOTH {
        let bounds = Bounds {
            restored: Some(party),
            denials: 1,
            ..WITH_RESTORE
        };
        convicted(
            party,
            Breach::DeniesUnknown,
            bounds,
            &[Kind::OwnRecordDenied],
        );
    }
}

#[test]
fn rule_6_keys_of_the_past_are_own_keys() {
    let bounds = Bounds {
        rotations: 1,
        denials: 1,
        ..Bounds::ONE_CALL
    };
    convicted(
        Party::Asking,
        Breach::DeniesOldKeys,
        bounds,
        &[Kind::OwnRecordDenied],
    );
}

#[test]
fn rule_7_nothing_follows_the_end() {
    let bounds = Bounds {
        rotations: 1,
        ..Bounds::ONE_CALL
    };
    convicted(
        Party::Asking,
        Breach::SignsAfterEnd,
        bounds,
        &[Kind::StreamContinued],
    );
}

#[test]
fn rule_8_manifests_are_durable() {
    let bounds = Bounds {
        rotations: 1,
        ..WITH_CRASH
    };
    convicted(
        Party::Asking,
        Breach::ManifestNotDurable,
        bounds,
        &[Kind::ManifestFork],
    );
}

/// Faults §6: the manifests are restored with the rest, so the log is asked before the next one.
#[test]
fn rule_8_restored_manifests_are_not_continued() {
    let bounds = Bounds {
        restored: Some(Party::Asking),
        restores: 1,
        rotations: 1,
        rotates_first: true,
        ..Bounds::ONE_CALL
    };
    convicted(
        Party::Asking,
        Breach::ManifestFromBackup,
        bounds,
        &[Kind::ManifestFork],
    );
}

/// Of one side, in its own place.
const fn rollback(party: Party) -> Bounds {
    Bounds {
        restored: Some(party),
        restoring: Restores::InPlace,
        ..WITH_RESTORE
    }
}

const FORKS: [Kind; 2] = [Kind::StreamFork, Kind::ChannelFork];

/// Faults §6.3: what a rollback has lost only the counterparty knows, and must be asked.
#[test]
fn a_rollback_is_noticed_by_whoever_asks() {
    for party in Party::BOTH {
        convicted(party, Breach::PassesOver, rollback(party), &FORKS);
    }
}

/// The journal is back before the first record to the counterparty.
#[test]
fn a_rollback_has_lost_to_whom_it_spoke() {
    for party in Party::BOTH {
        convicted(party, Breach::AsksWhomItRemembers, rollback(party), &FORKS);
    }
}

/// The counterparty holds a record that came early. The one before it never comes.
#[test]
fn what_came_early_is_told_too() {
    let bounds = Bounds {
        patience: true,
        ..rollback(Party::Asking)
    };
    find(
        Conduct::Honest,
        Conduct::Breaking(Breach::TellsOnlyLinked),
        Party::Asking,
        "TellsOnlyLinked",
        bounds,
        &FORKS,
    );
}

/// What asking cannot find, so that whoever sets a disk back should take a new key: a record that is
/// under way, though everybody answers and tells the truth, and a counterparty that lies.
#[test]
fn a_rollback_that_nobody_tells_of_convicts() {
    let bounds = rollback(Party::Asking);
    let (honest, byzantine) = (Conduct::Honest, Conduct::Byzantine);
    let under_way = Bounds {
        restoring: Restores::InPlaceUnderWay,
        ..bounds
    };
    let name = "rollback, record under way";
    find(honest, honest, Party::Asking, name, under_way, &FORKS);
    let name = "rollback, counterparty lies";
    find(honest, byzantine, Party::Asking, name, bounds, &FORKS);
}

/// Nobody is asked for manifests that the disk has lost before a stream goes on: what the newer key
/// signed is taken for no record of its own, and denied.
#[test]
fn a_rollback_to_before_a_new_key_denies_what_that_signed() {
    for party in Party::BOTH {
        let bounds = Bounds {
            rotates_first: true,
            denials: 1,
            ..rollback(party)
        };
        let name = "rollback to before a new key, denials";
        let honest = Conduct::Honest;
        find(
            honest,
            honest,
            party,
            name,
            bounds,
            &[Kind::OwnRecordDenied],
        );
    }
}

/// The other properties can fail, too.
fn refuted(breach: Breach, asking: Conduct, bounds: Bounds, property: &'static str) {
    let model = Exchange {
        asking,
        asked: Conduct::Breaking(breach),
        bounds,
        expected: Vec::new(),
    };
    refute(&format!("{breach:?}: {property}"), model, property);
}

#[test]
fn evidence_that_is_dropped_proves_nothing() {
    let bounds = Bounds {
        forged: 2,
        calls: 2,
        places: 1,
        ..Bounds::ONE_CALL
    };
    refuted(
        Breach::DropsEvidence,
        Conduct::Byzantine,
        bounds,
        EVIDENCE_KEPT,
    );
}

#[test]
fn a_chain_that_is_not_linked_binds_nothing() {
    let bounds = Bounds {
        forged: 2,
        places: 2,
        ..Bounds::ONE_CALL
    };
    refuted(
        Breach::TakesUnlinked,
        Conduct::Byzantine,
        bounds,
        ACKNOWLEDGED_BOUND,
    );
}

#[test]
fn what_is_acknowledged_across_a_gap_is_not_missed() {
    let bounds = Bounds {
        forged: 2,
        places: 2,
        ..Bounds::ONE_CALL
    };
    refuted(
        Breach::AcknowledgesAcrossGap,
        Conduct::Byzantine,
        bounds,
        WITHHELD_MISSED,
    );
}

#[test]
fn what_is_decided_twice_is_executed_twice() {
    refuted(
        Breach::DecidesAgain,
        Conduct::Honest,
        Bounds::ONE_CALL,
        EXECUTED_ONCE,
    );
}

#[test]
fn calls_that_a_crash_left_open_are_executed_again() {
    refuted(
        Breach::LeavesCallsOpen,
        Conduct::Honest,
        WITH_CRASH,
        EXECUTED_ONCE,
    );
}

#[test]
fn a_refusal_for_ever_leaves_a_gap() {
    let bounds = Bounds {
        window: 0,
        patience: true,
        ..Bounds::ONE_CALL
    };
    refuted(
        Breach::RefusesForEver,
        Conduct::Honest,
        bounds,
        SETTLED_AT_REST,
    );
}
