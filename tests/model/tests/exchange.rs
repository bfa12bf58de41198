//! The exchange, checked exhaustively within bounds.

use counterfoil_model::check::exhaust;
use counterfoil_model::exchange::Exchange;
use counterfoil_model::properties::Sometimes;
use counterfoil_model::rules::{Bounds, Conduct, Restores};
use counterfoil_model::statements::Party;

/// One call, and the asking side may give up waiting.
const PATIENT: Bounds = Bounds {
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
            ..PATIENT
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
            ..PATIENT
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
            ..PATIENT
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
            ..PATIENT
        },
        &[Sometimes::CallCompletes, Sometimes::PeriodClosed],
    );
}

#[test]
fn keys_that_change_in_order() {
    honest(
        "one call, new keys, a crash",
        Bounds {
            crashes: 1,
            rotations: 1,
            patience: false,
            ..PATIENT
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
            ..PATIENT
        },
        &[Sometimes::CallCompletes, Sometimes::RecordDenied],
    );
}

/// Where the asked side's disk is lost, the asking side must not wait for ever: the decision that it
/// has may be one of which the outcome is lost.
const BACKUP: Bounds = Bounds {
    restores: 1,
    rotations: 1,
    ..PATIENT
};

#[test]
fn backups_of_the_asking_side() {
    honest(
        "one call, batches, the asking side restores a backup",
        Bounds {
            restored: Some(Party::Asking),
            batches: 1,
            patience: false,
            ..BACKUP
        },
        &[
            Sometimes::CallCompletes,
            Sometimes::GoesOnWithNewKey,
            Sometimes::BatchSealed,
        ],
    );
}

#[test]
fn backups_of_the_asking_side_that_gives_up() {
    honest(
        "one call, the asking side restores a backup",
        Bounds {
            restored: Some(Party::Asking),
            ..BACKUP
        },
        &[Sometimes::CallCompletes, Sometimes::GoesOnWithNewKey],
    );
}

#[test]
fn backups_of_the_asking_side_and_denials() {
    honest(
        "one call, denials, the asking side restores a backup",
        Bounds {
            restored: Some(Party::Asking),
            denials: 1,
            patience: false,
            ..BACKUP
        },
        &[Sometimes::GoesOnWithNewKey, Sometimes::RecordDenied],
    );
}

#[test]
fn backups_of_the_asked_side() {
    honest(
        "one call, batches, the asked side restores a backup",
        Bounds {
            restored: Some(Party::Asked),
            batches: 1,
            ..BACKUP
        },
        &[
            Sometimes::CallCompletes,
            Sometimes::GoesOnWithNewKey,
            Sometimes::BatchSealed,
        ],
    );
}

#[test]
fn backups_of_the_asked_side_and_denials() {
    honest(
        "one call, denials, the asked side restores a backup",
        Bounds {
            restored: Some(Party::Asked),
            denials: 1,
            ..BACKUP
        },
        &[Sometimes::GoesOnWithNewKey, Sometimes::RecordDenied],
    );
}

#[test]
fn backups_from_before_a_new_key() {
    for (party, patience, name) in [
        (
            Party::Asking,
            false,
            "one call, the asking side restores a backup from before its new key",
        ),
        (
            Party::Asked,
            true,
            "one call, the asked side restores a backup from before its new key",
        ),
    ] {
        honest(
            name,
            Bounds {
                restored: Some(party),
                rotates_first: true,
                patience,
                ..BACKUP
            },
            &[Sometimes::CallCompletes, Sometimes::GoesOnWithNewKey],
        );
    }
}

#[test]
fn a_rollback_of_the_asking_side() {
    honest(
        "one call, the asking side is set back in place",
        Bounds {
            restored: Some(Party::Asking),
            restoring: Restores::InPlace,
            ..BACKUP
        },
        &[
            Sometimes::CallCompletes,
            Sometimes::GoesOnAfterRestore,
            Sometimes::GoesOnWithNewKey,
        ],
    );
}

#[test]
fn a_rollback_of_the_asking_side_with_batches() {
    honest(
        "one call, batches, the asking side is set back in place",
        Bounds {
            restored: Some(Party::Asking),
            restoring: Restores::InPlace,
            batches: 1,
            patience: false,
            ..BACKUP
        },
        &[
            Sometimes::CallCompletes,
            Sometimes::GoesOnAfterRestore,
            Sometimes::GoesOnWithNewKey,
            Sometimes::BatchSealed,
        ],
    );
}

#[test]
fn a_rollback_of_the_asked_side() {
    honest(
        "one call, batches, the asked side is set back in place",
        Bounds {
            restored: Some(Party::Asked),
            restoring: Restores::InPlace,
            batches: 1,
            ..BACKUP
        },
        &[
            Sometimes::CallCompletes,
            Sometimes::GoesOnAfterRestore,
            Sometimes::GoesOnWithNewKey,
            Sometimes::BatchSealed,
        ],
    );
}

#[test]
fn a_rollback_to_before_a_new_key() {
    for (party, patience, name) in [
        (
            Party::Asking,
            false,
            "one call, the asking side is set back in place to before its new key",
        ),
        (
            Party::Asked,
            true,
            "one call, the asked side is set back in place to before its new key",
        ),
    ] {
        honest(
            name,
            Bounds {
                restored: Some(party),
                restoring: Restores::InPlace,
                rotates_first: true,
                patience,
                ..BACKUP
            },
            &[Sometimes::CallCompletes, Sometimes::GoesOnAfterRestore],
        );
    }
}

#[test]
fn a_rollback_and_a_crash() {
    for (party, patience, name) in [
        (
            Party::Asking,
            false,
            "one call, a crash, the asking side is set back in place",
        ),
        (
            Party::Asked,
            true,
            "one call, a crash, the asked side is set back in place",
        ),
    ] {
        honest(
            name,
            Bounds {
                crashes: 1,
                restored: Some(party),
                restoring: Restores::InPlace,
                patience,
                ..BACKUP
            },
            &[Sometimes::CallCompletes, Sometimes::GoesOnAfterRestore],
        );
    }
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
            ..PATIENT
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
            ..PATIENT
        },
        &[Sometimes::ForkConvicted, Sometimes::CallCompletes],
    );
}

const FORGED: Bounds = Bounds {
    forged: 2,
    places: 2,
    ..PATIENT
};

#[test]
fn a_byzantine_asking_side_of_three_records() {
    for (places, name) in [
        (2, "Byzantine asking side, three records at two places"),
        (3, "Byzantine asking side, three records at three places"),
    ] {
        byzantine(
            name,
            Party::Asking,
            Bounds {
                forged: 3,
                places,
                ..PATIENT
            },
            &[
                Sometimes::ForkConvicted,
                Sometimes::GapSeen,
                Sometimes::GapFilled,
            ],
        );
    }
}

#[test]
fn a_byzantine_asked_side_of_three_records() {
    byzantine(
        "Byzantine asked side, three records at two places",
        Party::Asked,
        Bounds {
            forged: 3,
            ..FORGED
        },
        &[
            Sometimes::ForkConvicted,
            Sometimes::GapFilled,
            Sometimes::CallCompletes,
        ],
    );
}

#[test]
fn a_byzantine_side_and_a_backup_of_the_honest_one() {
    for (party, name) in [
        (
            Party::Asking,
            "Byzantine asking side, the asked side restores a backup",
        ),
        (
            Party::Asked,
            "Byzantine asked side, the asking side restores a backup",
        ),
    ] {
        byzantine(
            name,
            party,
            Bounds {
                restores: 1,
                restored: Some(party.other()),
                rotations: 1,
                ..FORGED
            },
            &[Sometimes::ForkConvicted, Sometimes::SpeaksWithNewKey],
        );
    }
}

#[test]
fn a_byzantine_side_and_denials() {
    for (party, name) in [
        (Party::Asking, "Byzantine asking side, denials"),
        (Party::Asked, "Byzantine asked side, denials"),
    ] {
        byzantine(
            name,
            party,
            Bounds {
                denials: 1,
                ..FORGED
            },
            &[Sometimes::ForkConvicted, Sometimes::RecordDenied],
        );
    }
}

#[test]
fn a_byzantine_side_and_statements() {
    for (party, name) in [
        (Party::Asking, "Byzantine asking side, statements"),
        (Party::Asked, "Byzantine asked side, statements"),
    ] {
        byzantine(
            name,
            party,
            Bounds {
                crashes: 1,
                statements: 1,
                ..FORGED
            },
            &[Sometimes::ForkConvicted, Sometimes::PeriodClosed],
        );
    }
}

#[test]
fn a_byzantine_side_and_batches() {
    for (party, name) in [
        (Party::Asking, "Byzantine asking side, batches"),
        (Party::Asked, "Byzantine asked side, batches"),
    ] {
        byzantine(
            name,
            party,
            Bounds {
                crashes: 1,
                batches: 2,
                ..FORGED
            },
            &[Sometimes::ForkConvicted, Sometimes::BatchSealed],
        );
    }
}

#[test]
fn a_byzantine_side_and_a_new_key_of_the_honest_one() {
    for (party, name) in [
        (
            Party::Asking,
            "Byzantine asking side, the asked side has a new key",
        ),
        (
            Party::Asked,
            "Byzantine asked side, the asking side has a new key",
        ),
    ] {
        byzantine(
            name,
            party,
            Bounds {
                crashes: 1,
                rotations: 1,
                ..FORGED
            },
            &[Sometimes::ForkConvicted, Sometimes::SpeaksWithNewKey],
        );
    }
}
