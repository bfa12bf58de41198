//! Takes in records, and keeps of each what is needed to compare it.

use std::collections::BTreeMap;

use super::kept::{Asked, Interned, Judged, Kept, What};
use super::line::{HeldBy, Line, Side, Totals};
use crate::bundle::Entry;
use crate::contract::{Call, OutsideContract, Terms};
use crate::digest::{ContentDigest, KeyThumbprint, RecordId};
use crate::level::Level;
use crate::names::{AgentName, OperatorName, ServerName, ToolName, Verb};
use crate::numbers::{Millis, UnixMillis, UnixSeconds};
use crate::record::{Acknowledgement, Action, Actor, Body, ChannelEvent, Record};
use crate::verify::Report;

/// A verified record as it is handed to a reconciliation.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its id.
    pub id: RecordId,
    /// Who signed it.
    pub issuer: &'a OperatorName,
    /// With which key.
    pub kid: KeyThumbprint,
    /// Its content.
    pub record: &'a Record,
    /// How far its evidence goes.
    pub level: Level,
    /// It is not younger than this: from the witnesses of the covering checkpoint.
    pub not_after: Option<UnixSeconds>,
    /// The parameters, if they are disclosed.
    pub parameters: Option<&'a [u8]>,
}

impl<'a> Seen<'a> {
    /// A record of a bundle; none if it does not verify.
    pub fn of_entry(entry: &'a Entry) -> Option<Self> {
        if !entry.is_verified() {
            return None;
        }
        let record = entry.record.as_ref()?;
        Some(Self {
            id: record.id(),
            issuer: record.issuer(),
            kid: record.kid(),
            record: record.record(),
            level: entry.level?,
            not_after: entry.not_after,
            parameters: None,
        })
    }

    /// The record of a receipt; none if the receipt does not verify.
    pub fn of_report(report: &'a Report) -> Option<Self> {
        if !report.is_verified() {
            return None;
        }
        let facts = report.facts.as_ref()?;
        Some(Self {
            id: facts.id,
            issuer: &facts.issuer,
            kid: facts.kid,
            record: &facts.record,
            level: report.level?,
            not_after: report.not_after,
            parameters: None,
        })
    }
}

/// A contract that was in force between the two.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The digest that records made under it hold.
    pub digest: ContentDigest,
    /// Its terms.
    pub terms: Terms,
}

/// What to compare, and by what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only calls that were made at this time or later. The channels are then expected to begin
    /// anywhere, else at 0.
    pub from: Option<UnixMillis>,
    /// Only calls that were made before this time.
    pub until: Option<UnixMillis>,
    /// The time for which it is asked: what was not logged by then, and should have been, is late.
    pub as_of: Option<UnixMillis>,
    /// How long after it was made a record may be published, where no contract says it.
    pub publish_delay: Option<Millis>,
    /// The contracts between the two, both directions. If there is none, no call is outside of one.
    pub contracts: Vec<Agreement>,
}

/// Takes the records of both sides and says where they differ.
#[derive(Debug)]
pub struct Reconciler {
    pub(super) ours: OperatorName,
    pub(super) theirs: OperatorName,
    pub(super) options: Options,
    pub(super) records: Vec<Kept>,
    pub(super) index: BTreeMap<RecordId, usize>,
    pub(super) actions: Interned<(ServerName, Verb, ToolName)>,
    pub(super) agents: Interned<(OperatorName, AgentName)>,
    pub(super) totals: Totals,
}

impl Reconciler {
    /// A reconciliation of `ours` with `theirs`.
    pub const fn new(ours: OperatorName, theirs: OperatorName, options: Options) -> Self {
        Self {
            ours,
            theirs,
            options,
            records: Vec::new(),
            index: BTreeMap::new(),
            actions: Interned::new(),
            agents: Interned::new(),
            totals: Totals {
                calls: 0,
                lines: 0,
                by_class: [0; 7],
                records: 0,
                passed_over: 0,
                outside_period: 0,
            },
        }
    }

    /// Takes in a record that stands in the evidence of `holder`, whoever of the two signed it. A
    /// record may come several times and from both.
    ///
    /// The answer is false for a record that is not of a channel between the two: it is passed
    /// over.
    pub fn add(&mut self, holder: Side, seen: &Seen<'_>) -> bool {
        let signer = self.side(seen.issuer);
        let counterparty = seen.record.channel().map(|link| &link.counterparty);
        let between = counterparty.and_then(|name| self.side(name));
        let (Some(signer), Some(to)) = (signer, between) else {
            self.totals.passed_over += 1;
            return false;
        };
        if signer == to {
            self.totals.passed_over += 1;
            return false;
        }
        if let Some(known) = self.index.get(&seen.id).copied() {
            let judged = seen.parameters.map(|_| self.judge(seen));
            if let Some(kept) = self.records.get_mut(known) {
                kept.held_by.add(holder);
                kept.level = kept.level.max(seen.level);
                kept.not_after = match (kept.not_after, seen.not_after) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                if let (Some(judged), What::Request(asked) | What::Decision { asked, .. }) =
                    (judged, &mut kept.what)
                {
                    asked.terms = judged;
                }
            }
            return true;
        }
        let kept = self.keep(signer, holder, seen);
        self.index.insert(seen.id, self.records.len());
        self.records.extend(kept);
        self.totals.records = self.records.len() as u64;
        true
    }

    /// Compares everything: `each` gets the lines, calls first, in the order of their times. The
    /// answer is the sum.
    pub fn finish(self, mut each: impl FnMut(Line)) -> Totals {
        let mut totals = self.totals.clone();
        let denials = self.denials();
        let (calls, outside) = self.calls();
        totals.outside_period = outside;
        for call in calls {
            let line = self.judge_call(&call, &denials);
            totals.count(&line);
            each(line);
        }
        for line in self.channel_lines(&denials) {
            totals.count(&line);
            each(line);
        }
        totals
    }

    /// Which of the two an operator is.
    fn side(&self, name: &OperatorName) -> Option<Side> {
        if *name == self.ours {
            Some(Side::Ours)
        } else if *name == self.theirs {
            Some(Side::Theirs)
        } else {
            None
        }
    }

    pub(super) const fn name(&self, side: Side) -> &OperatorName {
        match side {
            Side::Ours => &self.ours,
            Side::Theirs => &self.theirs,
        }
    }

    fn keep(&mut self, signer: Side, holder: Side, seen: &Seen<'_>) -> Option<Kept> {
        let record = seen.record;
        let link = record.channel()?;
        let mut acknowledged: Vec<Acknowledgement> = link.acknowledged.into_iter().collect();
        let what = match &record.body {
            Body::Request(request) => What::Request(Box::new(Asked {
                terms: self.judge(seen),
                ..self.asked(
                    &request.actor,
                    &request.action,
                    request.parameters,
                    request.contract,
                )
            })),
            Body::Decision(decision) => What::Decision {
                request: decision
                    .request
                    .map(|request| (request.id, request.evidence)),
                verdict: decision.evaluation.verdict,
                asked: Box::new(Asked {
                    terms: self.judge(seen),
                    ..self.asked(
                        &decision.actor,
                        &decision.action,
                        decision.parameters,
                        decision.contract,
                    )
                }),
            },
            Body::Outcome(outcome) => What::Outcome {
                of: outcome.decision,
                status: outcome.status,
                answer: outcome.answer,
            },
            Body::Channel(control) => match &control.event {
                ChannelEvent::RecordDenied { record, .. } => What::Denial(*record),
                ChannelEvent::Statement(statement) => {
                    acknowledged.extend(&statement.received);
                    What::Other
                }
                ChannelEvent::ContractProposed { .. }
                | ChannelEvent::ContractAccepted { .. }
                | ChannelEvent::ContractEnded { .. } => What::Other,
            },
            Body::Control(_) => What::Other,
        };
        let mut held_by = HeldBy::default();
        held_by.add(holder);
        Some(Kept {
            id: seen.id,
            signer,
            held_by,
            kid: seen.kid,
            sequence: record.sequence,
            channel: link.sequence,
            acknowledged,
            time: record.time,
            level: seen.level,
            not_after: seen.not_after,
            what,
        })
    }

    fn asked(
        &mut self,
        actor: &Actor,
        action: &Action,
        parameters: ContentDigest,
        contract: Option<ContentDigest>,
    ) -> Asked {
        let names = (
            action.server.clone(),
            action.verb.clone(),
            action.tool.clone(),
        );
        Asked {
            action: self.actions.number(names),
            agent: self
                .agents
                .number((actor.operator.clone(), actor.agent.clone())),
            on_behalf_of: actor.on_behalf_of,
            session: actor.session,
            parameters,
            contract,
            terms: Judged::Unknown,
        }
    }

    /// What the contracts say of a request, or of a decision about one.
    fn judge(&self, seen: &Seen<'_>) -> Judged {
        let Some(action) = seen.record.action() else {
            return Judged::Unknown;
        };
        if self.options.contracts.is_empty() {
            return Judged::Unknown;
        }
        let (ours, theirs) = (&self.ours, &self.theirs);
        let other = if seen.issuer == ours { theirs } else { ours };
        let (asking, asked) = match seen.record.body {
            Body::Request(_) => (seen.issuer, other),
            _ => (other, seen.issuer),
        };
        let mut contracts = self.options.contracts.iter();
        let Some(digest) = seen.record.contract() else {
            // Before there was one for the direction, none was needed.
            let needed = contracts.any(|agreement| {
                let clauses = agreement.terms.clauses();
                clauses.asking == *asking
                    && clauses.asked == *asked
                    && clauses.begins <= seen.record.time
            });
            return if needed {
                Judged::Outside("it was made under no contract".to_owned())
            } else {
                Judged::Unknown
            };
        };
        let Some(agreement) = contracts.find(|agreement| agreement.digest == digest) else {
            return Judged::Outside(format!("it names contract {digest}, which is not given"));
        };
        let call = Call {
            asking,
            asked,
            action,
            parameters: seen.parameters.unwrap_or(b"{}"),
            time: seen.record.time,
        };
        match (agreement.terms.permits(&call), seen.parameters) {
            (Ok(permitted), _) => Judged::Permitted(permitted.level),
            // What hangs on parameters that are not disclosed cannot be told.
            (
                Err(
                    OutsideContract::Target
                    | OutsideContract::Parameters(_)
                    | OutsideContract::Unreadable { .. },
                ),
                None,
            ) => Judged::Unknown,
            (Err(outside), _) => Judged::Outside(outside.to_string()),
        }
    }

    /// The publish delay for what was made under a contract.
    pub(super) fn publish_delay(&self, contract: Option<ContentDigest>) -> Option<Millis> {
        let mut contracts = self.options.contracts.iter();
        contracts
            .find(|agreement| Some(agreement.digest) == contract)
            .map(|agreement| agreement.terms.clauses().publish_delay)
            .or(self.options.publish_delay)
    }

    /// The records that deny a record of their own signer, by what they deny.
    fn denials(&self) -> BTreeMap<RecordId, usize> {
        let mut denials = BTreeMap::new();
        for (at, kept) in self.records.iter().enumerate() {
            if let What::Denial(denied) = kept.what
                && let Some(own) = self.kept(denied)
                && own.signer == kept.signer
            {
                denials.entry(denied).or_insert(at);
            }
        }
        denials
    }

    pub(super) fn kept(&self, id: RecordId) -> Option<&Kept> {
        self.records.get(*self.index.get(&id)?)
    }

    /// Whether a time lies in the period.
    pub(super) fn in_period(&self, time: UnixMillis) -> bool {
        self.options.from.is_none_or(|from| time >= from)
            && self.options.until.is_none_or(|until| time < until)
    }
}
