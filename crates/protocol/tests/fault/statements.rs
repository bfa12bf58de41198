//! Statements that proofs, good and forged, are put together from.

use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::fault::{
    Accused, FaultKind, FaultProof, FaultReport, Statement, verify_fault,
};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, DecidedRequest, Decision,
    Event, Outcome, OutcomeStatus, Record, Request, Verdict,
};

use super::calls::{action, actor, evaluation};
use super::collected::{bare, code};
use super::world::{Manifests, content, globex, key, peer, trust};

/// What the tests start from: a record in a channel, at a place of a stream.
pub(crate) fn record(sequence: u64, body: Body) -> Record {
    Record {
        sequence: Sequence::new(sequence),
        previous: Some(RecordId::from_bytes([1; 32])),
        time: UnixMillis::new(1_700_000_000_000),
        beacon: None,
        body,
    }
}

pub(crate) fn link(to: usize, sequence: u64) -> ChannelLink {
    ChannelLink {
        counterparty: peer(to),
        sequence: ChannelSequence::new(sequence),
        previous: (sequence > 0).then(|| RecordId::from_bytes([2; 32])),
        acknowledged: None,
    }
}

pub(crate) fn acknowledging(stream: u8, sequence: u64) -> ChannelLink {
    ChannelLink {
        acknowledged: Some(Acknowledgement {
            stream: key(stream).public().thumbprint(),
            sequence: ChannelSequence::new(sequence),
            id: RecordId::from_bytes([4; 32]),
        }),
        ..link(0, 5)
    }
}

pub(crate) fn said(channel: ChannelLink) -> Body {
    Body::Channel(ChannelControl {
        channel,
        event: ChannelEvent::ContractProposed {
            contract: content(1),
        },
    })
}

pub(crate) fn refused() -> Body {
    Body::Control(Event::MessageRefused {
        reason: ReasonCode::literal("json_malformed"),
    })
}

pub(crate) fn decision(request: Option<RecordId>, verdict: Verdict) -> Decision {
    Decision {
        channel: Some(link(0, 5)),
        request: request.map(|id| DecidedRequest {
            id,
            evidence: Level::Signed,
        }),
        contract: None,
        actor: actor(&peer(0)),
        action: action("charge"),
        parameters: content(7),
        evaluation: evaluation(verdict),
        reservations: Vec::new(),
        attestations: Vec::new(),
    }
}

pub(crate) fn outcome(decision: RecordId, status: OutcomeStatus) -> Body {
    Body::Outcome(Outcome {
        channel: None,
        decision,
        answer: None,
        status,
        result: None,
        settlements: Vec::new(),
        attestations: Vec::new(),
    })
}

pub(crate) fn request(parameters: u64, to: &OperatorName) -> Request {
    Request {
        channel: ChannelLink {
            counterparty: to.clone(),
            ..link(0, 5)
        },
        contract: None,
        actor: actor(&peer(0)),
        action: action("charge"),
        parameters: content(parameters),
        evaluation: evaluation(Verdict::Allow),
        reservations: Vec::new(),
        attestations: Vec::new(),
    }
}

/// Signs a record as globex with the key of this seed.
pub(crate) fn signed(seed: u8, record: &Record) -> (RecordId, Vec<u8>) {
    signed_by(&globex(), seed, record)
}

pub(crate) fn signed_by(operator: &OperatorName, seed: u8, record: &Record) -> (RecordId, Vec<u8>) {
    let key = key(seed);
    let prepared = record.prepare(operator, key.public().thumbprint());
    (prepared.id(), prepared.sign(&key))
}

pub(crate) fn manifests() -> Vec<LoggedManifest> {
    let mut manifests = Manifests::new(globex());
    let keys: Vec<SigningKey> = (1..=3).map(key).collect();
    manifests.publish(&keys.iter().collect::<Vec<_>>(), &[]);
    manifests.unlogged()
}

pub(crate) fn accuse(kind: FaultKind, statements: Vec<Statement>) -> FaultReport {
    let proof = FaultProof {
        kind,
        accused: Accused::Operator(globex()),
        manifests: manifests(),
        statements,
    };
    verify_fault(&proof.encode(), &trust())
}

pub(crate) fn two(
    kind: FaultKind,
    a: &(RecordId, Vec<u8>),
    b: &(RecordId, Vec<u8>),
) -> &'static str {
    let statement = |bytes: &[u8]| Statement::record(bare(bytes));
    code(&accuse(kind, vec![statement(&a.1), statement(&b.1)]))
}

/// Two that may stand in either order, in the right one.
pub(crate) fn fork(
    kind: FaultKind,
    a: &(RecordId, Vec<u8>),
    b: &(RecordId, Vec<u8>),
) -> &'static str {
    if a.0 < b.0 {
        two(kind, a, b)
    } else {
        two(kind, b, a)
    }
}

/// The same content, signed with other signature bytes, which only the holder of the key can make:
/// the nonce is drawn from another place than RFC 8032 says.
pub(crate) fn signed_again(seed: u8, object: &[u8]) -> Vec<u8> {
    use counterfoil_protocol::cbor::{Encoder, Limits, decode};
    let limits = Limits {
        tags: &[18],
        ..Limits::untagged(65_535)
    };
    let ciborium::Value::Tag(_, inner) = decode(object, &limits).unwrap() else {
        panic!("a signed object");
    };
    let parts = inner.into_array().unwrap();
    let part = |at: usize| parts[at].as_bytes().unwrap().as_slice();
    let mut signed = Encoder::with_capacity(1024);
    signed
        .array(4)
        .text("Signature1")
        .bytes(part(0))
        .bytes(&[])
        .bytes(part(2));
    let signature = randomized_signature(seed, &signed.into_bytes());
    let mut again = Encoder::with_capacity(1024);
    again
        .tag(18)
        .array(4)
        .bytes(part(0))
        .map(|_| {})
        .bytes(part(2))
        .bytes(&signature);
    again.into_bytes()
}

fn randomized_signature(seed: u8, message: &[u8]) -> [u8; 64] {
    use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
    let signing = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let mut expanded = ExpandedSecretKey::from(&[seed; 32]);
    expanded.hash_prefix = [77; 32];
    raw_sign::<sha2::Sha512>(&expanded, message, &signing.verifying_key()).to_bytes()
}
