//! Writes terms. Spec: contracts §1, `contract-terms` in the CDDL.

use super::terms::{Clauses, FORMAT, Permission};
use crate::cbor::Encoder;

pub(super) fn terms(clauses: &Clauses) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(1024);
    encoder.map(|map| {
        map.key(1).text(FORMAT);
        map.key(2).text(clauses.asking.as_str());
        map.key(3).text(clauses.asked.as_str());
        map.key(4).unsigned(clauses.begins.get());
        map.key(5).unsigned(clauses.expires.get());
        let permissions = map.key(6).array(clauses.permissions.len());
        for each in &clauses.permissions {
            permission(permissions, each);
        }
        let levels = map.key(7).array(clauses.levels.len());
        for (tier, level) in &clauses.levels {
            levels.array(2).text(tier.as_str()).unsigned(level.number());
        }
        map.key(8).unsigned(clauses.publish_delay.get());
        map.key(9).text(&clauses.policy);
        let disclosures = map.key(10).array(clauses.disclosures.len());
        for (party, field) in &clauses.disclosures {
            disclosures
                .array(2)
                .unsigned(party.number())
                .unsigned(field.key());
        }
        map.optional(11, clauses.admission.as_deref(), |encoder, admission| {
            encoder.text(admission);
        });
        let budgets = map.key(12).array(clauses.budgets.len());
        for ((unit, period), amount) in &clauses.budgets {
            budgets
                .array(3)
                .text(unit.as_str())
                .unsigned(amount.get())
                .unsigned(period.get());
        }
        let escalation = map.key(13).array(clauses.escalation.len());
        for (party, contact) in &clauses.escalation {
            escalation
                .array(2)
                .unsigned(party.number())
                .text(contact.as_str());
        }
        map.key(14).unsigned(clauses.notice.get());
    });
    encoder.into_bytes()
}

fn permission(encoder: &mut Encoder, permission: &Permission) {
    encoder.map(|map| {
        map.key(1).text(permission.server.as_str());
        map.key(2).text(permission.verb.as_str());
        map.key(3).text(permission.tool.as_str());
        if !permission.targets.is_empty() {
            let targets = map.key(4).array(permission.targets.len());
            for target in &permission.targets {
                targets
                    .array(2)
                    .text(target.pointer.as_str())
                    .text(target.pattern.as_str());
            }
        }
        map.key(5).text(permission.tier.as_str());
        map.key(6).unsigned(permission.points.get());
    });
}
