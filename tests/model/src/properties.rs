//! What has to hold in every state, and what has to be possible in some.

use stateright::{Model, Property};

use crate::enforcer::Enforcer;
use crate::exchange::{Exchange, State};
use crate::faults::{Kind, Statements};
use crate::statements::{Body, Party, Signed, Status, Verdict};

/// No contradiction convicts an operator that keeps the rules.
pub const NEVER_CONVICTED: &str = "an honest operator is never convicted";
/// What convicts a Byzantine side and was shown to the other one stays provable.
pub const EVIDENCE_KEPT: &str = "shown faults stay provable";
/// What was acknowledged cannot be replaced without a conviction.
pub const ACKNOWLEDGED_BOUND: &str = "what is acknowledged is bound";
/// What was signed and withheld is missed, or convicts.
pub const WITHHELD_MISSED: &str = "what is withheld is missed";
/// No request is executed twice, unless the disk was lost in between.
pub const EXECUTED_ONCE: &str = "a request is executed once";
/// When there is nothing left to do, both sides agree.
pub const SETTLED_AT_REST: &str = "at rest everything is settled";

/// All that has to hold in every state.
pub(crate) fn always() -> Vec<Property<Exchange>> {
    vec![
        Property::always(NEVER_CONVICTED, |model: &Exchange, state: &State| {
            Party::BOTH
                .into_iter()
                .all(|party| conviction(model, state, party).is_none())
        }),
        Property::always(EVIDENCE_KEPT, evidence_kept),
        Property::always(ACKNOWLEDGED_BOUND, acknowledged_bound),
        Property::always(WITHHELD_MISSED, withheld_missed),
        Property::always(EXECUTED_ONCE, executed_once),
        Property::always(SETTLED_AT_REST, settled_at_rest),
    ]
}

/// What convicts a side that keeps the rules, if an accuser has all that ever left it.
#[must_use]
pub fn conviction(model: &Exchange, state: &State, party: Party) -> Option<Kind> {
    let side = state.honest(party)?;
    everything(model, state, side).convict()
}

/// All kinds that convict a side which keeps the rules, as numbers of faults §3.
#[must_use]
pub fn convictions(model: &Exchange, state: &State, party: Party) -> Vec<Kind> {
    let Some(side) = state.honest(party) else {
        return Vec::new();
    };
    let mut kinds: Vec<_> = everything(model, state, side).all().collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn everything<'a>(model: &Exchange, state: &'a State, side: &'a Enforcer) -> Statements<'a> {
    let journals = || side.journals();
    let requests = match state.honest(side.party.other()) {
        Some(other) => other.left(model.conduct(other.party)).collect(),
        None => side.journal.custody().collect(),
    };
    Statements {
        records: side.left(model.conduct(side.party)).collect(),
        commitments: journals()
            .flat_map(|journal| &journal.batches)
            .chain(&side.lost.commitments)
            .collect(),
        manifests: side.manifests.iter().chain(&side.lost.manifests).collect(),
        requests,
    }
}

/// What the honest side can prove of what it keeps, together with further records.
fn provable<'a>(side: &'a Enforcer, further: &[&'a Signed]) -> Option<Kind> {
    let mut records: Vec<&Signed> = side.journal.custody().collect();
    records.extend(further);
    Statements {
        records,
        requests: side.journal.records.iter().collect(),
        ..Statements::default()
    }
    .convict()
}

/// Honest sides whose disk was not lost. Of one that lost its disk nothing but this is asked: it is not
/// convicted, and it comes to rest. What it had acknowledged, kept as evidence or executed is gone with
/// the disk, until it comes again.
fn honest<'a>(model: &'a Exchange, state: &'a State) -> impl Iterator<Item = &'a Enforcer> {
    Party::BOTH
        .into_iter()
        .filter(|party| state.restores == 0 || model.bounds.restored != Some(*party))
        .filter_map(|party| state.honest(party))
}

fn evidence_kept(model: &Exchange, state: &State) -> bool {
    honest(model, state).all(|side| {
        let Some(other) = state.byzantine(side.party.other()) else {
            return true;
        };
        let shown = Statements {
            records: other.shown.iter().collect(),
            requests: side.journal.records.iter().collect(),
            ..Statements::default()
        };
        shown.convict().is_none() || provable(side, &[]).is_some()
    })
}

/// For whatever an honest side has acknowledged it holds the whole chain; so whatever else the other
/// side signs for one of these places convicts it.
fn acknowledged_bound(model: &Exchange, state: &State) -> bool {
    honest(model, state).all(|side| {
        let mut left = side.left(model.conduct(side.party));
        left.all(|record| {
            record.record.acknowledged().all(|ack| {
                let held = side.journal.received(ack.key);
                let last = held.get(usize::from(ack.sequence));
                let before = held.iter().take(usize::from(ack.sequence) + 1);
                let links = before.map(|held| held.record.link.and_then(|link| link.previous));
                let ids = held.iter().map(|held| Some(held.id));
                last.is_some_and(|last| last.id == ack.id)
                    && links.eq([None]
                        .into_iter()
                        .chain(ids)
                        .take(usize::from(ack.sequence) + 1))
            })
        })
    })
}

/// A record that a Byzantine side has signed and not shown: whoever sees it beside what the honest
/// side keeps has a conviction, or sees that the honest side has got nothing at that place, which it
/// never acknowledged.
fn withheld_missed(model: &Exchange, state: &State) -> bool {
    honest(model, state).all(|side| {
        let Some(other) = state.byzantine(side.party.other()) else {
            return true;
        };
        other.withheld.iter().all(|withheld| {
            let place = withheld.place().unwrap_or(0);
            let missed = usize::from(place) >= side.journal.received(withheld.record.key).len();
            let acknowledged = side.left(model.conduct(side.party)).any(|record| {
                let mut acks = record.record.acknowledged();
                acks.any(|ack| ack.key == withheld.record.key && ack.sequence >= place)
            });
            missed && !acknowledged || provable(side, &[withheld]).is_some()
        })
    })
}

fn executed_once(model: &Exchange, state: &State) -> bool {
    honest(model, state).all(|side| {
        let executed = &side.executed;
        let again = |id| executed.iter().filter(|executed| *executed == id).count() > 1;
        !executed.iter().any(again)
    })
}

/// Both sides keep the rules, and nothing is left to do: all that was said has arrived, and every
/// request and every allowed decision has an outcome.
fn settled_at_rest(model: &Exchange, state: &State) -> bool {
    let (Some(asking), Some(asked)) = (state.honest(Party::Asking), state.honest(Party::Asked))
    else {
        return true;
    };
    let settled = |side: &Enforcer| {
        let all = || side.journals().flat_map(|journal| &journal.records);
        all().all(|record| {
            let opens = matches!(
                record.record.body,
                Body::Request(_) | Body::Decision(Some(_), _, Verdict::Allow)
            );
            let ends = |other: &Signed| matches!(other.record.body, Body::Outcome(id, ..) if id == record.id);
            !opens || all().any(ends)
        })
    };
    // The gaps of a stream whose end was lost with the disk stay.
    let linked = |side: &Enforcer, from: &Enforcer| {
        let mut apart = side.journal.held.iter().chain(&side.journal.refused);
        !apart.any(|record| state.restores == 0 || record.record.key == from.journal.key)
    };
    if settled(asking) && settled(asked) && linked(asking, asked) && linked(asked, asking) {
        return true;
    }
    let under_way = |from: &Enforcer, to: &Enforcer| {
        let mut records = from.journal.records.iter();
        to.up
            && records.any(|record| {
                record.record.link.is_some()
                    && !to.has(model.conduct(to.party), model.bounds.window, record)
            })
    };
    // A side that may not go on, and has used up the new keys that the bounds give it.
    let out_of_keys = |side: &Enforcer| {
        state.restores > 0 && model.bounds.restored == Some(side.party) && !side.up
    };
    if under_way(asking, asked)
        || under_way(asked, asking)
        || out_of_keys(asking)
        || out_of_keys(asked)
    {
        return true;
    }
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    !actions.is_empty()
}

/// What has to be possible: else the model checks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sometimes {
    /// A call was asked for, allowed, executed and settled, on both sides.
    CallCompletes,
    /// A Byzantine side signed two records for one place, and is convicted.
    ForkConvicted,
    /// An honest side holds a record, and misses one before it.
    GapSeen,
    /// A missing record came, and what came before it was linked up.
    GapFilled,
    /// After a crash a call is `unknown`, and the other side has a later record.
    GoesOnAfterUnknown,
    /// The other side has records of a second key.
    GoesOnWithNewKey,
    /// A request came again and was refused.
    RepeatRefused,
    /// A record was denied.
    RecordDenied,
    /// A period was closed with something received.
    PeriodClosed,
    /// A disk was set back, what it has lost nobody has, and the stream goes on.
    GoesOnAfterRestore,
    /// A side has said something with a second key, beside what it had left open with the first.
    SpeaksWithNewKey,
    /// A side has sealed a batch that holds something it said to the other one.
    BatchSealed,
}

impl Sometimes {
    pub(crate) fn property(self) -> Property<Exchange> {
        match self {
            Self::CallCompletes => Property::sometimes("a call completes", |_, state: &State| {
                any_record(state, |record| {
                    record.record.signer == Party::Asking
                        && matches!(
                            record.record.body,
                            Body::Outcome(_, Status::Succeeded, Some(_))
                        )
                })
            }),
            Self::ForkConvicted => {
                Property::sometimes("a fork is convicted", |model: &Exchange, state: &State| {
                    let convicted = |side: &Enforcer| {
                        let forks = [Kind::StreamFork, Kind::ChannelFork];
                        provable(side, &[]).is_some_and(|kind| forks.contains(&kind))
                    };
                    honest(model, state).any(convicted)
                })
            }
            Self::GapSeen => {
                Property::sometimes("a gap is seen", |model: &Exchange, state: &State| {
                    honest(model, state).any(|side| !side.journal.held.is_empty())
                })
            }
            Self::GapFilled => {
                Property::sometimes("a gap is filled", |model: &Exchange, state: &State| {
                    honest(model, state).any(|side| side.filled)
                })
            }
            Self::GoesOnAfterUnknown => {
                Property::sometimes("unknown, and on", |model: &Exchange, state: &State| {
                    state.crashes > 0 && honest(model, state).any(goes_on_after_unknown)
                })
            }
            Self::GoesOnWithNewKey => {
                Property::sometimes("on with a new key", |_, state: &State| {
                    let taken = |side: &Enforcer| !side.journal.received(1).is_empty();
                    Party::BOTH
                        .iter()
                        .filter_map(|party| state.honest(*party))
                        .any(taken)
                })
            }
            Self::RepeatRefused => {
                Property::sometimes("a repeat is refused", |_, state: &State| {
                    any_record(state, |record| {
                        matches!(record.record.body, Body::Decision(None, ..))
                    })
                })
            }
            Self::RecordDenied => Property::sometimes("a record is denied", |_, state: &State| {
                any_record(state, |record| {
                    matches!(record.record.body, Body::Denied(_))
                })
            }),
            Self::PeriodClosed => Property::sometimes("a period is closed", |_, state: &State| {
                any_record(state, |record| {
                    matches!(record.record.body, Body::Statement(_))
                        && record.record.acknowledged().next().is_some()
                })
            }),
            Self::GoesOnAfterRestore => {
                Property::sometimes("on after a restore", |model: &Exchange, state: &State| {
                    let side = model.bounds.restored.and_then(|party| state.honest(party));
                    let on = |side: &Enforcer| side.up && side.journal.key == 0 && side.lost.unseen;
                    side.is_some_and(on)
                })
            }
            Self::SpeaksWithNewKey => {
                Property::sometimes("speaks with a new key", |_, state: &State| {
                    any_record(state, |record| {
                        record.record.key > 0
                            && matches!(record.record.body, Body::Request(_) | Body::Decision(..))
                    })
                })
            }
            Self::BatchSealed => Property::sometimes("a batch is sealed", |_, state: &State| {
                let sides = Party::BOTH
                    .into_iter()
                    .filter_map(|party| state.honest(party));
                sides
                    .flat_map(|side| &side.journal.batches)
                    .any(|batch| batch.leaves.len() > 1)
            }),
        }
    }
}

fn any_record(state: &State, is: fn(&Signed) -> bool) -> bool {
    let sides = Party::BOTH
        .into_iter()
        .filter_map(|party| state.honest(party));
    sides.flat_map(|side| &side.journal.records).any(is)
}

/// Whether the other side has got an outcome of `unknown`, without an answer, and a record after it.
fn goes_on_after_unknown(side: &Enforcer) -> bool {
    side.journal.received.iter().any(|received| {
        let unknown =
            |record: &Signed| matches!(record.record.body, Body::Outcome(_, Status::Unknown, None));
        let mut after = received.iter().skip_while(|record| !unknown(record));
        after.next().is_some() && after.next().is_some()
    })
}
