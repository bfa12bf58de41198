//! The exchange, checked exhaustively within bounds.

use counterfoil_model::check::exhaust;
use counterfoil_model::exchange::Exchange;
use counterfoil_model::properties::Sometimes;
use counterfoil_model::rules::{Bounds, Conduct, Restores};
use counterfoil_model::statements::Party;

/// The asking side may give up waiting.
const ONE_CALL: Bounds = Bounds {
    patience: true,
    ..Bounds::ONE_CALL
};

fn honest(name: &str, bounds: Bounds, expected: &[Sometimes]) {
    exhaust(
        name,
        Exchange {
            asking: Conduct::Honest,
            asked: Conduct::Honest,
            bounds,
            expected: expected.to_vec(),
        },
    );
}

fn byzantine(name: &str, party: Party, bounds: Bounds, expected: &[Sometimes]) {
    let conduct = |side| {
        if side == party {
            Conduct::Byzantine
        } else {
            Conduct::Honest
        }
    };
    exhaust(
        name,
        Exchange {
            asking: conduct(Party::Asking),
            asked: conduct(Party::Asked),
            bounds,
            expected: expected.to_vec(),
        },
    );
}

#[test]
fn two_calls_and_a_crash() {
    honest(
        "two calls, a crash",
        Bounds {
            requests: 2,
            crashes: 1,
            patience: false,
            ..ONE_CALL
        },
        &[
            Sometimes::CallCompletes,
            Sometimes::GapSeen,
            Sometimes::GapFilled,
            Sometimes::GoesOnAfterUnknown,
        ],
    );
}

#[test]
fn crashes_between_signing_and_writing() {
    honest(
        "one call, two crashes, writes apart",
        Bounds {
            crashes: 2,
            pending: 1,
            ..ONE_CALL
        },
        &[Sometimes::CallCompletes, Sometimes::GapFilled],
    );
}

#[test]
fn batches_repeats_and_late_results() {
    honest(
        "one call, batches, repeats, late results, a crash",
        Bounds {
            crashes: 1,
            batches: 1,
            repeats: 1,
            late_results: true,
            ..ONE_CALL
        },
        &[Sometimes::CallCompletes, Sometimes::RepeatRefused],
    );
}

#[test]
fn statements() {
    honest(
        "one call, statements, a crash",
        Bounds {
            crashes: 1,
            statements: 1,
            ..ONE_CALL
        },
        &[Sometimes::CallCompletes, Sometimes::PeriodClosed],
    );
}

#[test]
fn keys_that_change_in_order() {
    honest(
        "one call, new keys, a crash, denials",
        Bounds {
            crashes: 1,
            rotations: 1,
            patience: false,
            ..ONE_CALL
        },
        &[Sometimes::CallCompletes, Sometimes::GoesOnWithNewKey],
    );
}

#[test]
fn denials() {
    honest(
        "one call, denials",
        Bounds {
            denials: 1,
            ..ONE_CALL
        },
        &[Sometimes::CallCompletes, Sometimes::RecordDenied],
    );
}

#[test]
fn backups_of_the_asking_side() {
    honest(
        "one call, the asking side restores a backup, denials",
        Bounds {
            restores: 1,
            restored: Some(Party::Asking),
            rotations: 1,
            batches: 1,
            ..ONE_CALL
        },
        &[Sometimes::CallCompletes, Sometimes::GoesOnWithNewKey],
    );
}

#[test]
fn backups_of_the_asked_side() {
    honest(
        "one call, the asked side restores a backup, denials",
        Bounds {
            restores: 1,
            restored: Some(Party::Asked),
            rotations: 1,
            batches: 1,
            ..ONE_CALL
        },
        &[Sometimes::CallCompletes, Sometimes::GoesOnWithNewKey],
    );
}

#[test]
fn a_rollback_in_place_that_log_or_counterparty_saw() {
    honest(
        "one call, a rollback that was seen",
        Bounds {
            restores: 1,
            restored: Some(Party::Asked),
            restoring: Restores::InPlace,
            rotations: 1,
            batches: 1,
            ..ONE_CALL
        },
        &[Sometimes::GoesOnAfterRestore, Sometimes::GoesOnWithNewKey],
    );
}

#[test]
fn a_byzantine_asking_side() {
    byzantine(
        "Byzantine asking side",
        Party::Asking,
        Bounds {
            calls: 2,
            forged: 2,
            places: 2,
            repeats: 1,
            crashes: 1,
            ..ONE_CALL
        },
        &[Sometimes::ForkConvicted, Sometimes::RepeatRefused],
    );
}

#[test]
fn a_byzantine_asked_side() {
    byzantine(
        "Byzantine asked side",
        Party::Asked,
        Bounds {
            forged: 2,
            places: 2,
            crashes: 1,
            ..ONE_CALL
        },
        &[Sometimes::ForkConvicted, Sometimes::CallCompletes],
    );
}

