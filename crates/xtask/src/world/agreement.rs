//! The contract between the two operators, and the streams in which they made it: those of the
//! enforcer keys that they used before the morning.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use counterfoil_protocol::contract::{Clauses, Party, Pattern, Permission, Pointer, Target, Terms};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{
    Contact, OperatorName, ReasonCode, ServerName, Tier, Unit, Verb,
};
use counterfoil_protocol::numbers::{Amount, ChannelSequence, Millis, UnixMillis};
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, Event, Statement,
};

use super::START;
use super::keys::{Operator, salt, signing_key};
use super::streams::Stream;

const DAY: u64 = 86_400_000;

/// What acme and globex agreed on: acme's agents may ask for refunds and for mail.
#[derive(Debug)]
pub struct Agreement {
    /// The terms.
    pub terms: Terms,
    /// What opens their digest.
    pub disclosure: Disclosure,
    /// Acme's: opened, contract proposed, statement, contract ended, closed.
    pub acme: Stream,
    /// Globex's: opened, contract accepted, record denied.
    pub globex: Stream,
}

impl Agreement {
    /// Both streams. `policy` are the lines of the terms that name the log and the witnesses.
    ///
    /// # Errors
    /// When the protocol refuses the terms: a bug.
    pub(super) fn make(acme: &Operator, globex: &Operator, policy: &str) -> Result<Self> {
        let terms = Terms::new(clauses(&acme.name, &globex.name, policy)?)?;
        let disclosure = terms.disclosure(salt("contract"));
        let contract = disclosure.digest();
        let stream = |operator: &Operator, start| -> Result<Stream> {
            let key = signing_key(&format!("{} previous enforcer", operator.name))?;
            Ok(Stream::new(operator.name.clone(), key, start))
        };
        let mut ours = stream(acme, (START - 3000) * 1000)?;
        let mut theirs = stream(globex, (START - 3000) * 1000 + 300)?;

        ours.push(Body::Control(Event::StreamOpened { predecessor: None }));
        theirs.push(Body::Control(Event::StreamOpened { predecessor: None }));
        let proposal = ours.push(says(
            globex,
            None,
            None,
            ChannelEvent::ContractProposed { contract },
        ));
        let seen = acknowledged(acme, 0, proposal);
        let acceptance = theirs.push(says(
            acme,
            None,
            Some(seen),
            ChannelEvent::ContractAccepted { contract, proposal },
        ));
        let heard = acknowledged(globex, 0, acceptance);
        let statement = ours.push(says(
            globex,
            Some((1, proposal)),
            Some(heard),
            ChannelEvent::Statement(Statement {
                from: ChannelSequence::new(0),
                received: vec![heard],
                open: 0,
            }),
        ));
        theirs.push(says(
            acme,
            Some((1, acceptance)),
            Some(seen),
            ChannelEvent::RecordDenied {
                record: RecordId::from_bytes([0x5a; 32]),
                reason: ReasonCode::new("never_signed")?,
            },
        ));
        ours.push(says(
            globex,
            Some((2, statement)),
            Some(heard),
            ChannelEvent::ContractEnded {
                contract,
                reason: ReasonCode::new("not_renewed")?,
            },
        ));
        ours.push(Body::Control(Event::StreamClosed {
            successor: Some(acme.enforcer.public().thumbprint()),
        }));
        Ok(Self {
            terms,
            disclosure,
            acme: ours,
            globex: theirs,
        })
    }
}

fn says(
    to: &Operator,
    before: Option<(u64, RecordId)>,
    acknowledged: Option<Acknowledgement>,
    event: ChannelEvent,
) -> Body {
    Body::Channel(ChannelControl {
        channel: ChannelLink {
            counterparty: to.name.clone(),
            sequence: ChannelSequence::new(before.map_or(0, |(sequence, _)| sequence)),
            previous: before.map(|(_, id)| id),
            acknowledged,
        },
        event,
    })
}

fn acknowledged(operator: &Operator, sequence: u64, id: RecordId) -> Acknowledgement {
    Acknowledgement {
        stream: operator.previous_enforcer.public().thumbprint(),
        sequence: ChannelSequence::new(sequence),
        id,
    }
}

fn clauses(acme: &OperatorName, globex: &OperatorName, policy: &str) -> Result<Clauses> {
    let permission = |server: &str, tool: &str, targets, tier: &str| -> Result<Permission> {
        Ok(Permission {
            server: ServerName::new(server)?,
            verb: Verb::new("tools/call")?,
            tool: Pattern::new(tool)?,
            targets,
            tier: Tier::new(tier)?,
            points: Amount::new(10),
        })
    };
    let ticket = Target {
        pointer: Pointer::new("/ticket")?,
        pattern: Pattern::new("T-*")?,
    };
    Ok(Clauses {
        asking: acme.clone(),
        asked: globex.clone(),
        begins: UnixMillis::new((START - 2900) * 1000),
        expires: UnixMillis::new(START * 1000 + 30 * DAY),
        permissions: vec![
            permission("support-desk", "refund", vec![ticket], "money")?,
            permission("mail", "*", Vec::new(), "outside")?,
        ],
        levels: BTreeMap::from([
            (Tier::new("money")?, Level::Signed),
            (Tier::new("outside")?, Level::Witnessed),
        ]),
        publish_delay: Millis::new(60_000),
        policy: policy.to_owned(),
        disclosures: BTreeSet::from([
            (Party::Asking, DisclosedField::Parameters),
            (Party::Asked, DisclosedField::Result),
        ]),
        admission: Some("permit(principal, action, resource);".to_owned()),
        budgets: BTreeMap::from([(
            (Unit::new("RISK_POINTS")?, Millis::new(DAY)),
            Amount::new(500),
        )]),
        escalation: BTreeSet::from([(Party::Asked, Contact::new("desk@globex.example")?)]),
        notice: Millis::new(DAY),
    })
}
