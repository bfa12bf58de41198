//! A conversation of two operators, for tests and benchmarks of reconciliation. Nothing is signed:
//! what is compared has been verified before.

use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis, UnixSeconds};
use counterfoil_protocol::reconcile::{Reconciler, Seen, Side};
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelLink, Decision, Outcome, OutcomeStatus, Record, Request, Verdict,
};
use counterfoil_protocol::verify::Level;

use super::{ACME, GLOBEX, START, decision, digest, outcome, request};

/// A record of one side.
#[derive(Clone)]
pub struct Said {
    pub id: RecordId,
    pub signer: Side,
    pub kid: KeyThumbprint,
    pub record: Record,
    pub level: Level,
    pub not_after: Option<UnixSeconds>,
}

/// One side's stream and channel.
struct Half {
    name: OperatorName,
    kid: KeyThumbprint,
    sequence: u64,
    last: Option<RecordId>,
    channel: Option<(u64, RecordId)>,
}

pub struct Conversation {
    halves: [Half; 2],
    pub now: u64,
}

impl Default for Conversation {
    fn default() -> Self {
        let half = |name: &str| Half {
            name: name.parse().unwrap(),
            kid: KeyThumbprint::from_bytes(*digest(name).as_bytes()),
            sequence: 1,
            last: Some(RecordId::from_bytes([1; 32])),
            channel: None,
        };
        Self {
            halves: [half(ACME), half(GLOBEX)],
            now: START * 1000,
        }
    }
}

pub fn name(side: Side) -> OperatorName {
    match side {
        Side::Ours => ACME.parse().unwrap(),
        Side::Theirs => GLOBEX.parse().unwrap(),
    }
}

impl Conversation {
    fn half(&self, side: Side) -> &Half {
        &self.halves[usize::from(side == Side::Theirs)]
    }

    /// The link that the next record of a side has.
    pub fn link(&self, side: Side) -> ChannelLink {
        let (half, other) = (self.half(side), self.half(side.other()));
        ChannelLink {
            counterparty: other.name.clone(),
            sequence: ChannelSequence::new(half.channel.map_or(0, |(number, _)| number + 1)),
            previous: half.channel.map(|(_, id)| id),
            acknowledged: other.channel.map(|(number, id)| Acknowledgement {
                stream: other.kid,
                sequence: ChannelSequence::new(number),
                id,
            }),
        }
    }

    pub fn say(&mut self, side: Side, body: Body) -> Said {
        self.now += 10;
        let half = &mut self.halves[usize::from(side == Side::Theirs)];
        let record = Record {
            sequence: Sequence::new(half.sequence),
            previous: half.last,
            time: UnixMillis::new(self.now),
            beacon: None,
            body,
        };
        let id = record.prepare(&half.name, half.kid).id();
        half.sequence += 1;
        half.last = Some(id);
        if let Some(link) = record.channel() {
            half.channel = Some((link.sequence.get(), id));
        }
        Said {
            id,
            signer: side,
            kid: half.kid,
            record,
            level: Level::Witnessed,
            not_after: Some(UnixSeconds::new(self.now / 1000)),
        }
    }

    /// What a side says from now on is of another stream of it.
    pub fn change_stream(&mut self, side: Side) {
        let half = &mut self.halves[usize::from(side == Side::Theirs)];
        half.kid = KeyThumbprint::from_bytes(*digest(&half.kid.to_string()).as_bytes());
        half.sequence = 1;
        half.channel = None;
    }

    pub fn request(&mut self, side: Side) -> Said {
        let mut body: Request = request(&name(side), self.link(side));
        // Salted, so different each time.
        body.parameters = unique(self.now, "parameters");
        self.say(side, Body::Request(body))
    }

    /// The decision that an honest side makes about a request.
    pub fn decision(&self, request: &Said, verdict: Verdict) -> Decision {
        let side = request.signer.other();
        let link = self.link(side);
        let mut body = decision(&name(request.signer), Some(link), Some(request.id));
        if let Body::Request(asked) = &request.record.body {
            body.parameters = asked.parameters;
            body.actor = asked.actor.clone();
            body.contract = asked.contract;
        }
        body.evaluation.verdict = verdict;
        body
    }

    pub fn decide(&mut self, request: &Said, verdict: Verdict) -> Said {
        let body = self.decision(request, verdict);
        self.say(request.signer.other(), Body::Decision(body))
    }

    pub fn settle(
        &mut self,
        side: Side,
        of: &Said,
        status: OutcomeStatus,
        answer: Option<RecordId>,
    ) -> Said {
        let body = Outcome {
            status,
            answer,
            result: Some(unique(self.now, "result")),
            ..outcome(of.id, Some(self.link(side)))
        };
        self.say(side, Body::Outcome(body))
    }

    /// A whole call that is executed and about which both sides agree.
    pub fn call(&mut self, asking: Side) -> [Said; 4] {
        let request = self.request(asking);
        let decision = self.decide(&request, Verdict::Allow);
        let there = self.settle(asking.other(), &decision, OutcomeStatus::Succeeded, None);
        let here = self.settle(asking, &request, OutcomeStatus::Succeeded, Some(there.id));
        [request, decision, there, here]
    }
}

fn unique(now: u64, label: &str) -> ContentDigest {
    digest(&format!("{label} {now}"))
}

/// Adds a record to the evidence of a side.
pub fn add(reconciler: &mut Reconciler, holder: Side, said: &Said) -> bool {
    let issuer = name(said.signer);
    reconciler.add(
        holder,
        &Seen {
            id: said.id,
            issuer: &issuer,
            kid: said.kid,
            record: &said.record,
            level: said.level,
            not_after: said.not_after,
            parameters: None,
        },
    )
}
