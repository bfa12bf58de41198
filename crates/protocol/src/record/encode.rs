//! Writes the payload of a record. Spec: records §3, `record-payload` in the CDDL.

use super::{
    Acknowledgement, Action, Actor, Beacon, Body, ChannelEvent, ChannelLink, Decision, Evaluation,
    Event, Outcome, OutcomeStatus, Record, Request, Reservation, Settlement, Statement, Verdict,
};
use crate::attestation::Attestation;
use crate::cbor::{Encoder, MapEncoder};
use crate::digest::{ContentDigest, KeyThumbprint, RecordId};

pub(super) fn payload(record: &Record) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(640);
    encoder.map(|map| {
        map.key(1).unsigned(kind(&record.body));
        map.key(2).unsigned(record.sequence.get());
        id_or_null(map.key(3), record.previous);
        map.key(4).unsigned(record.time.get());
        map.optional(5, record.beacon, beacon);
        map.optional(6, record.channel(), channel);
        match &record.body {
            Body::Request(body) => request(map, body),
            Body::Decision(body) => decision(map, body),
            Body::Outcome(body) => outcome(map, body),
            Body::Control(event) => control(map, event),
            Body::Channel(body) => channel_control(map, &body.event),
        }
    });
    encoder.into_bytes()
}

const fn kind(body: &Body) -> u64 {
    match body {
        Body::Request(_) => 1,
        Body::Decision(_) => 2,
        Body::Outcome(_) => 3,
        Body::Control(_) | Body::Channel(_) => 4,
    }
}

fn request(map: &mut MapEncoder<'_>, body: &Request) {
    actor(map.key(7), &body.actor);
    action(map.key(8), &body.action);
    map.key(9).bytes(body.parameters.as_bytes());
    evaluation(map.key(10), &body.evaluation);
    reservations(map.key(11), &body.reservations);
    digest(map, 19, body.contract);
    attestations(map, &body.attestations);
}

fn decision(map: &mut MapEncoder<'_>, body: &Decision) {
    actor(map.key(7), &body.actor);
    action(map.key(8), &body.action);
    map.key(9).bytes(body.parameters.as_bytes());
    evaluation(map.key(10), &body.evaluation);
    reservations(map.key(11), &body.reservations);
    map.optional(12, body.request, |encoder, request| {
        encoder
            .array(2)
            .bytes(request.id.as_bytes())
            .unsigned(request.evidence.number());
    });
    digest(map, 19, body.contract);
    attestations(map, &body.attestations);
}

fn outcome(map: &mut MapEncoder<'_>, body: &Outcome) {
    map.key(13).bytes(body.decision.as_bytes());
    map.key(14).unsigned(match body.status {
        OutcomeStatus::Succeeded => 1,
        OutcomeStatus::Failed => 2,
        OutcomeStatus::NotExecuted => 3,
        OutcomeStatus::Unknown => 4,
        OutcomeStatus::RefusedByCounterparty => 5,
        OutcomeStatus::EvidenceInvalid => 6,
    });
    digest(map, 15, body.result);
    map.optional(16, body.answer, |encoder, id| {
        encoder.bytes(id.as_bytes());
    });
    settlements(map.key(17), &body.settlements);
    attestations(map, &body.attestations);
}

fn control(map: &mut MapEncoder<'_>, event: &Event) {
    map.key(18).map(|map| match event {
        Event::StreamOpened { predecessor } => {
            map.key(1).unsigned(1);
            thumbprint(map, 7, *predecessor);
        }
        Event::Started {
            policy_set,
            unresolved,
        } => {
            map.key(1).unsigned(2);
            map.key(2).bytes(policy_set.as_bytes());
            map.key(3).unsigned(*unresolved);
        }
        Event::MessageRefused { reason } => {
            map.key(1).unsigned(3);
            map.key(4).text(reason.as_str());
        }
        Event::StreamClosed { successor } => {
            map.key(1).unsigned(9);
            thumbprint(map, 7, *successor);
        }
    });
}

fn channel_control(map: &mut MapEncoder<'_>, event: &ChannelEvent) {
    map.key(18).map(|map| match event {
        ChannelEvent::ContractProposed { contract } => {
            map.key(1).unsigned(4);
            map.key(5).bytes(contract.as_bytes());
        }
        ChannelEvent::ContractAccepted { contract, proposal } => {
            map.key(1).unsigned(5);
            map.key(5).bytes(contract.as_bytes());
            map.key(6).bytes(proposal.as_bytes());
        }
        ChannelEvent::ContractEnded { contract, reason } => {
            map.key(1).unsigned(6);
            map.key(4).text(reason.as_str());
            map.key(5).bytes(contract.as_bytes());
        }
        ChannelEvent::Statement(body) => {
            map.key(1).unsigned(7);
            statement(map, body);
        }
        ChannelEvent::RecordDenied { record, reason } => {
            map.key(1).unsigned(8);
            map.key(4).text(reason.as_str());
            map.key(6).bytes(record.as_bytes());
        }
    });
}

fn statement(map: &mut MapEncoder<'_>, statement: &Statement) {
    map.key(8).unsigned(statement.from.get());
    let received = map.key(9).array(statement.received.len());
    for head in &statement.received {
        acknowledgement(received, head);
    }
    map.key(10).unsigned(statement.open);
}

fn thumbprint(map: &mut MapEncoder<'_>, key: i64, value: Option<KeyThumbprint>) {
    map.optional(key, value, |encoder, kid| {
        encoder.bytes(kid.as_bytes());
    });
}

fn digest(map: &mut MapEncoder<'_>, key: i64, value: Option<ContentDigest>) {
    map.optional(key, value, |encoder, digest| {
        encoder.bytes(digest.as_bytes());
    });
}

fn attestations(map: &mut MapEncoder<'_>, attestations: &[Attestation]) {
    if attestations.is_empty() {
        return;
    }
    let array = map.key(20).array(attestations.len());
    for attestation in attestations {
        attestation.encode(array);
    }
}

pub(crate) fn beacon(encoder: &mut Encoder, beacon: Beacon) {
    encoder.map(|map| {
        map.key(1).unsigned(beacon.size);
        map.key(2).bytes(beacon.checkpoint.as_bytes());
    });
}

fn channel(encoder: &mut Encoder, link: &ChannelLink) {
    encoder.map(|map| {
        map.key(1).text(link.counterparty.as_str());
        map.key(2).unsigned(link.sequence.get());
        id_or_null(map.key(3), link.previous);
        match &link.acknowledged {
            None => {
                map.key(4).null();
            }
            Some(head) => acknowledgement(map.key(4), head),
        }
    });
}

fn acknowledgement(encoder: &mut Encoder, head: &Acknowledgement) {
    encoder
        .array(3)
        .bytes(head.stream.as_bytes())
        .unsigned(head.sequence.get())
        .bytes(head.id.as_bytes());
}

fn actor(encoder: &mut Encoder, actor: &Actor) {
    encoder.map(|map| {
        map.key(1).text(actor.operator.as_str());
        map.key(2).text(actor.agent.as_str());
        digest(map, 3, actor.on_behalf_of);
        digest(map, 4, actor.session);
    });
}

fn action(encoder: &mut Encoder, action: &Action) {
    encoder.map(|map| {
        map.key(1).text(action.server.as_str());
        map.key(2).text(action.verb.as_str());
        map.key(3).text(action.tool.as_str());
        map.optional(4, action.tier.as_ref(), |encoder, tier| {
            encoder.text(tier.as_str());
        });
    });
}

fn evaluation(encoder: &mut Encoder, evaluation: &Evaluation) {
    encoder.map(|map| {
        map.key(1).unsigned(match evaluation.verdict {
            Verdict::Allow => 1,
            Verdict::Deny => 3,
        });
        map.key(2).text(evaluation.reason.as_str());
        let policies = map.key(3).array(evaluation.policies.len());
        for policy in &evaluation.policies {
            policies.text(policy.as_str());
        }
        map.key(4).bytes(evaluation.policy_set.as_bytes());
        digest(map, 5, evaluation.input);
    });
}

fn reservations(encoder: &mut Encoder, reservations: &[Reservation]) {
    encoder.array(reservations.len());
    for reservation in reservations {
        encoder
            .array(4)
            .text(reservation.scope.as_str())
            .text(reservation.unit.as_str())
            .unsigned(reservation.amount.get())
            .unsigned(reservation.remaining.get());
    }
}

fn settlements(encoder: &mut Encoder, settlements: &[Settlement]) {
    encoder.array(settlements.len());
    for settlement in settlements {
        encoder
            .array(4)
            .text(settlement.scope.as_str())
            .text(settlement.unit.as_str())
            .unsigned(settlement.committed.get())
            .unsigned(settlement.remaining.get());
    }
}

fn id_or_null(encoder: &mut Encoder, id: Option<RecordId>) {
    match id {
        Some(id) => encoder.bytes(id.as_bytes()),
        None => encoder.null(),
    };
}
