//! What a Byzantine operator may sign next: records that fit and records that do not, made of what it
//! has signed and of what it was shown. Each has at most one thing wrong with itself; together they
//! are wrong in any way.

use crate::rules::Bounds;
use crate::statements::{
    Acknowledgement, Body, Id, KEYS, Link, Party, Record, Signed, Status, Verdict,
};

/// Every record that it may sign, when it has signed `own` and was shown `theirs`.
#[must_use]
pub fn forgeries(bounds: &Bounds, party: Party, own: &[Signed], theirs: &[&Signed]) -> Vec<Signed> {
    let bodies = bodies(bounds, party, own, theirs);
    let true_ack = theirs
        .iter()
        .filter_map(|record| acknowledge(record))
        .max_by_key(|ack| (ack.key, ack.sequence));
    let first_ack = theirs.iter().filter_map(|record| acknowledge(record)).min();
    let false_ack = Some(Acknowledgement {
        key: 0,
        sequence: 0,
        id: Id::NOTHING,
    });
    let mut forged = Vec::new();
    for place in 0..bounds.places {
        for before in before(own, place) {
            let link = |previous, acknowledged| Link {
                sequence: place,
                previous,
                acknowledged,
            };
            // (place in the stream, link)
            let mut forms = vec![
                (place + 1, link(before, true_ack)),
                (place + 1, link(before, None)),
                (place + 1, link(before, first_ack)),
                (place + 1, link(before, false_ack)),
                (place, link(before, true_ack)),
            ];
            if place > 0 {
                forms.push((place + 1, link(Some(Id::NOTHING), true_ack)));
            }
            forms.sort_unstable();
            forms.dedup();
            for (sequence, link) in forms {
                forged.extend(bodies.iter().map(|body| {
                    Signed::new(Record {
                        signer: party,
                        key: 0,
                        sequence,
                        previous: link.previous,
                        link: Some(link),
                        body: *body,
                    })
                }));
            }
        }
    }
    forged.sort_unstable();
    forged.dedup();
    forged.retain(|record| !own.contains(record));
    forged
}

fn acknowledge(record: &Signed) -> Option<Acknowledgement> {
    Some(Acknowledgement {
        key: record.record.key,
        sequence: record.place()?,
        id: record.id,
    })
}

/// The records that one at this place may name as the one before.
fn before(own: &[Signed], place: u8) -> Vec<Option<Id>> {
    let Some(before) = place.checked_sub(1) else {
        return vec![None];
    };
    let there = own.iter().filter(|record| record.place() == Some(before));
    let mut before: Vec<_> = there.map(|record| Some(record.id)).collect();
    if before.is_empty() {
        // One that it has not signed yet, and shows to nobody.
        before.push(Some(Id::of(&place)));
    }
    before
}

fn bodies(bounds: &Bounds, party: Party, own: &[Signed], theirs: &[&Signed]) -> Vec<Body> {
    let mut bodies = Vec::new();
    match party {
        Party::Asking => {
            bodies.extend((0..bounds.calls).map(Body::Request));
            if bounds.statements > 0 {
                bodies.push(Body::Statement([None; KEYS]));
            }
        }
        Party::Asked => {
            for request in theirs {
                if let Body::Request(call) = request.record.body {
                    for verdict in [Verdict::Allow, Verdict::Deny] {
                        bodies.push(Body::Decision(Some(request.id), call, verdict));
                    }
                }
            }
            for decision in own {
                if matches!(decision.record.body, Body::Decision(..)) {
                    bodies.push(Body::Outcome(decision.id, Status::Succeeded, None));
                }
            }
        }
    }
    bodies
}
