//! What is known of contracts: who said what about which, and the terms.
//!
//! Derived from the records on both sides and the terms beside them. It does not depend on the
//! order in which the two sides' records are looked at, so that a restart finds what was there
//! before. Spec: contracts §3.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil_protocol::contract::{Party, Terms};
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId, Salt};
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::record::{Acknowledgement, ChannelControl, ChannelEvent};

use crate::policy::Policy;

/// How many proposals of one counterparty may be open, with their terms.
pub(crate) const MAX_OPEN_PROPOSALS: usize = 64;

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Us,
    Them,
}

/// A record that says something about a contract.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) id: RecordId,
    pub(crate) time: UnixMillis,
    /// When we had it: our own time for what we said ourselves.
    pub(crate) arrived: UnixMillis,
    pub(crate) stream: KeyThumbprint,
    pub(crate) sequence: Sequence,
    pub(crate) place: ChannelSequence,
    pub(crate) acknowledged: Option<Acknowledgement>,
}

/// The terms of a contract, with what opens its digest.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) terms: Terms,
    pub(crate) salt: Salt,
    /// The policy that the asked side applies; why it cannot be applied, if it cannot.
    pub(crate) admission: Option<Result<Arc<dyn Policy>, String>>,
}

impl Text {
    pub(crate) fn disclosure(&self) -> Disclosure {
        self.terms.disclosure(self.salt)
    }
}

/// What one side has said about a contract. The first word counts.
#[derive(Clone, Debug, Default)]
struct Side {
    proposed: Option<Said>,
    accepted: Option<(Said, RecordId)>,
    ended: Option<(Said, ReasonCode)>,
}

/// One contract between us and a counterparty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    text: Option<Arc<Text>>,
    ours: Side,
    theirs: Side,
}

/// How a contract stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One side has proposed it, the other has not accepted it.
    Proposed,
    /// The proposal was taken back or refused.
    Withdrawn,
    /// Both agreed; it begins later.
    NotBegun,
    /// Calls may be made under it.
    InForce,
    /// It has run its time.
    Expired,
    /// A side has ended it, and the notice is over.
    Ended,
}

impl Standing {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Withdrawn => "withdrawn",
            Self::NotBegun => "not_begun",
            Self::InForce => "in_force",
            Self::Expired => "expired",
            Self::Ended => "ended",
        }
    }
}

/// All contracts, by counterparty.
#[derive(Debug, Default)]
pub(crate) struct Contracts {
    known: BTreeMap<OperatorName, BTreeMap<ContentDigest, Known>>,
}

impl Contracts {
    /// Takes in a record about a contract.
    pub(crate) fn note(
        &mut self,
        by: By,
        counterparty: &OperatorName,
        said: Said,
        event: &ChannelEvent,
    ) {
        let Some(digest) = event.contract() else {
            return;
        };
        // What is neither proposed nor known has nothing to be accepted or ended.
        let all = self.known.entry(counterparty.clone()).or_default();
        let known = all.entry(digest).or_default();
        let side = match by {
            By::Us => &mut known.ours,
            By::Them => &mut known.theirs,
        };
        match event {
            ChannelEvent::ContractProposed { .. } => {
                side.proposed.get_or_insert(said);
            }
            ChannelEvent::ContractAccepted { proposal, .. } => {
                side.accepted.get_or_insert((said, *proposal));
            }
            ChannelEvent::ContractEnded { reason, .. } => {
                side.ended.get_or_insert((said, reason.clone()));
            }
            ChannelEvent::Statement(_) | ChannelEvent::RecordDenied { .. } => {}
        }
    }

    /// Notes the terms of a contract.
    pub(crate) fn open(
        &mut self,
        counterparty: &OperatorName,
        digest: ContentDigest,
        text: Arc<Text>,
    ) {
        let all = self.known.entry(counterparty.clone()).or_default();
        all.entry(digest).or_default().text.get_or_insert(text);
    }

    pub(crate) fn get(&self, counterparty: &OperatorName, digest: ContentDigest) -> Option<&Known> {
        self.known.get(counterparty)?.get(&digest)
    }

    /// The contracts with this digest, with their counterparties. One is usual; another operator
    /// may have proposed something under a digest that it saw elsewhere.
    pub(crate) fn find(
        &self,
        digest: ContentDigest,
    ) -> impl Iterator<Item = (&OperatorName, &Known)> {
        self.known
            .iter()
            .filter_map(move |(operator, all)| Some((operator, all.get(&digest)?)))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&OperatorName, ContentDigest, &Known)> {
        self.known.iter().flat_map(|(operator, all)| {
            all.iter()
                .map(move |(digest, known)| (operator, *digest, known))
        })
    }

    /// The contracts that both sides agreed to in which `asking` asks, whatever became of them.
    pub(crate) fn agreed(
        &self,
        counterparty: &OperatorName,
        asking: &OperatorName,
    ) -> Vec<(ContentDigest, Known)> {
        let all = self.known.get(counterparty).into_iter().flatten();
        all.filter(|(_, known)| {
            let asks = |text: &Arc<Text>| text.terms.clauses().asking == *asking;
            // Where the terms are lost nothing may be done that they could have forbidden.
            known.text.as_ref().is_none_or(asks) && known.acceptance().is_some()
        })
        .map(|(digest, known)| (*digest, known.clone()))
        .collect()
    }

    /// Makes room for the terms of one more proposal of this counterparty. Only those that are open
    /// count; where others take up the room, their terms are forgotten: they stay in the journal,
    /// and are of no use any more. False if too many are open.
    pub(crate) fn make_room(&mut self, counterparty: &OperatorName, now: UnixMillis) -> bool {
        let Some(all) = self.known.get_mut(counterparty) else {
            return true;
        };
        let offered = |known: &&mut Known| known.is_only_offered();
        if all.values_mut().filter(offered).count() < MAX_OPEN_PROPOSALS {
            return true;
        }
        let mut open = 0;
        for known in all.values_mut().filter(offered) {
            if known.end().is_some() || known.expires().is_some_and(|expires| expires <= now) {
                known.text = None;
            } else {
                open += 1;
            }
        }
        open < MAX_OPEN_PROPOSALS
    }
}

impl Known {
    pub(crate) const fn text(&self) -> Option<&Arc<Text>> {
        self.text.as_ref()
    }

    /// Whether it is nothing but a proposal of the counterparty's, with its terms.
    const fn is_only_offered(&self) -> bool {
        self.text.is_some()
            && self.theirs.proposed.is_some()
            && self.ours.proposed.is_none()
            && self.ours.accepted.is_none()
    }

    fn expires(&self) -> Option<UnixMillis> {
        Some(self.text.as_ref()?.terms.clauses().expires)
    }

    /// Whether it was taken back or refused before anybody accepted it.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.end().is_some() && self.acceptance().is_none()
    }

    /// The proposal that counts: the one that was accepted, or else the first.
    pub(crate) fn proposal(&self) -> Option<(By, &Said)> {
        let accepted_by = self.acceptance().map(|(by, _)| by);
        let ours = self.ours.proposed.as_ref().map(|said| (By::Us, said));
        let theirs = self.theirs.proposed.as_ref().map(|said| (By::Them, said));
        match accepted_by {
            Some(By::Us) => theirs,
            Some(By::Them) => ours,
            None => ours.or(theirs),
        }
    }

    /// The counterparty's proposal.
    pub(crate) const fn proposed_to_us(&self) -> Option<&Said> {
        self.theirs.proposed.as_ref()
    }

    /// Whether we have proposed it.
    pub(crate) const fn proposed_by_us(&self) -> Option<&Said> {
        self.ours.proposed.as_ref()
    }

    /// The acceptance that counts: that of the other side's proposal, unless it is void.
    pub(crate) fn acceptance(&self) -> Option<(By, &Said)> {
        if let Some(said) = Self::accepts(&self.ours, &self.theirs) {
            return Some((By::Us, said));
        }
        Some((By::Them, Self::accepts(&self.theirs, &self.ours)?))
    }

    fn accepts<'a>(accepting: &'a Side, proposing: &Side) -> Option<&'a Said> {
        let (said, proposal) = accepting.accepted.as_ref()?;
        if proposing.proposed.as_ref()?.id != *proposal {
            return None;
        }
        // Whoever has refused a proposal before does not accept it after.
        let refused = accepting.ended.as_ref().is_some_and(|(end, _)| {
            if end.stream == said.stream {
                end.sequence < said.sequence
            } else {
                end.time < said.time
            }
        });
        // Nor does one accept what one knows to be taken back.
        let taken_back = proposing.ended.as_ref().is_some_and(|(end, _)| {
            said.acknowledged
                .is_some_and(|seen| seen.stream == end.stream && seen.sequence >= end.place)
        });
        (!refused && !taken_back).then_some(said)
    }

    /// The end that counts: the one that is over first.
    pub(crate) fn end(&self) -> Option<(By, &Said, &ReasonCode)> {
        let ours = self
            .ours
            .ended
            .iter()
            .map(|(said, reason)| (By::Us, said, reason));
        let theirs = self
            .theirs
            .ended
            .iter()
            .map(|(said, reason)| (By::Them, said, reason));
        ours.chain(theirs)
            .min_by_key(|(_, said, _)| said.time.max(said.arrived))
    }

    /// From when on it is over, once it has been ended.
    pub(crate) fn ends(&self) -> Option<UnixMillis> {
        let (_, said, _) = self.end()?;
        let notice = match self.acceptance() {
            Some(_) => self.text.as_ref()?.terms.clauses().notice.get(),
            None => 0,
        };
        Some(said.time.max(said.arrived).saturating_add(notice))
    }

    /// How it stands at a time of our clock.
    pub(crate) fn standing(&self, now: UnixMillis) -> Standing {
        if self.acceptance().is_none() {
            return match self.end() {
                Some(_) => Standing::Withdrawn,
                None => Standing::Proposed,
            };
        }
        let Some(text) = &self.text else {
            return Standing::Proposed;
        };
        let clauses = text.terms.clauses();
        if self.ends().is_some_and(|end| end <= now) {
            Standing::Ended
        } else if clauses.expires <= now {
            Standing::Expired
        } else if now < clauses.begins {
            Standing::NotBegun
        } else {
            Standing::InForce
        }
    }
}

impl Said {
    /// A record of a channel, as it says something there.
    pub(crate) fn of(
        id: RecordId,
        stream: KeyThumbprint,
        sequence: Sequence,
        control: &ChannelControl,
        time: UnixMillis,
        arrived: UnixMillis,
    ) -> Self {
        Self {
            id,
            time,
            arrived,
            stream,
            sequence,
            place: control.channel.sequence,
            acknowledged: control.channel.acknowledged,
        }
    }
}

/// The party that an operator is in terms which are between it and another.
pub(crate) fn parties(terms: &Terms, own: &OperatorName, other: &OperatorName) -> Option<Party> {
    let party = terms.party(own)?;
    terms.party(other).filter(|theirs| *theirs != party)?;
    Some(party)
}
