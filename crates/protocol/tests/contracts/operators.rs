//! Two operators, a trust file that knows both, and receipts of what they say.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_protocol::contract::{Clauses, Party, Pattern, Permission, Pointer, Target, Terms};
use counterfoil_protocol::digest::{ContentDigest, RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, salted_digest};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::manifest::Manifest;
use counterfoil_protocol::names::{
    AgentName, Contact, OperatorName, ReasonCode, ServerName, Tier, ToolName, Unit, Verb,
};
use counterfoil_protocol::numbers::{
    Amount, ChannelSequence, ManifestVersion, Millis, Sequence, UnixMillis,
};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::{
    Acknowledgement, Action, Actor, Body, ChannelControl, ChannelEvent, ChannelLink, Decision,
    Evaluation, Record, Verdict,
};
use counterfoil_protocol::trust::{Trust, operator_vkey};

/// When the contract of the tests begins, and everything else happens after.
pub(crate) const START: u64 = 1_800_000_000_000;
pub(crate) const DAY: u64 = 86_400_000;

pub(crate) const LOGS: &str = "\
log example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k
witness w remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2
group all-witnesses all w
quorum all-witnesses
";

pub(crate) struct Operator {
    pub(crate) name: OperatorName,
    pub(crate) enforcer: SigningKey,
    root: SigningKey,
}

impl Operator {
    fn new(name: &str, seed: u8) -> Self {
        let key = |byte| SigningKey::from_seed(&[byte; 32].into()).unwrap();
        Self {
            name: name.parse().unwrap(),
            enforcer: key(seed),
            root: key(seed + 1),
        }
    }

    /// The first manifest, in which `revoked` says whether the enforcer key is.
    pub(crate) fn manifest(&self, revoked: bool) -> LoggedManifest {
        let kid = self.enforcer.public().thumbprint();
        let manifest = Manifest {
            operator: self.name.clone(),
            version: ManifestVersion::new(1),
            previous: None,
            time: UnixMillis::new(START),
            roots: vec![self.root.public().clone()],
            enforcers: vec![self.enforcer.public().clone()],
            exchange: None,
            revoked: if revoked { vec![kid] } else { Vec::new() },
        };
        LoggedManifest {
            manifest: manifest.sign(&self.root),
            log_proof: None,
        }
    }

    pub(crate) fn receipt(&self, record: &Record) -> Receipt {
        let kid = self.enforcer.public().thumbprint();
        Receipt {
            record: record.prepare(&self.name, kid).sign(&self.enforcer),
            manifests: vec![self.manifest(false)],
            batch: None,
            log_proof: None,
            beacon: None,
            disclosures: Vec::new(),
            presentation: None,
        }
    }

    /// The id of one of our records.
    pub(crate) fn id(&self, record: &Record) -> RecordId {
        let kid = self.enforcer.public().thumbprint();
        record.prepare(&self.name, kid).id()
    }
}

pub(crate) struct Two {
    pub(crate) acme: Operator,
    pub(crate) globex: Operator,
    pub(crate) trust: Trust,
}

impl Two {
    pub(crate) fn new() -> Self {
        let acme = Operator::new("acme.example", 1);
        let globex = Operator::new("globex.example", 3);
        let mut file = LOGS.to_owned();
        for operator in [&acme, &globex] {
            let vkey = operator_vkey(&operator.name, operator.root.public()).unwrap();
            file.push_str(&format!("operator {vkey}\n"));
        }
        Self {
            trust: Trust::parse(file.as_bytes()).unwrap(),
            acme,
            globex,
        }
    }
}

/// A control record to the counterparty, in which channel and stream have the same numbers.
pub(crate) fn says(to: &Operator, sequence: u64, time: u64, event: ChannelEvent) -> Record {
    let previous = Some(RecordId::from_bytes([7; 32]));
    Record {
        sequence: Sequence::new(sequence),
        previous,
        time: UnixMillis::new(time),
        beacon: None,
        body: Body::Channel(ChannelControl {
            channel: ChannelLink {
                counterparty: to.name.clone(),
                sequence: ChannelSequence::new(sequence),
                previous,
                acknowledged: None,
            },
            event,
        }),
    }
}

/// The same record, which acknowledges another.
pub(crate) fn acknowledging(mut record: Record, of: &Operator, sequence: u64) -> Record {
    if let Body::Channel(control) = &mut record.body {
        control.channel.acknowledged = Some(Acknowledgement {
            stream: of.enforcer.public().thumbprint(),
            sequence: ChannelSequence::new(sequence),
            id: RecordId::from_bytes([9; 32]),
        });
    }
    record
}

pub(crate) fn reason() -> ReasonCode {
    ReasonCode::literal("no_longer_needed")
}

/// A salt for each field, as different as random ones.
pub(crate) fn salt(field: DisclosedField) -> Salt {
    Salt::from_bytes([0x40 + u8::try_from(field.key()).unwrap(); 16])
}

/// A decision of the operator's own, with parameters, a person and a session to disclose.
pub(crate) fn decision(of: &Operator, parameters: &[u8], person: &[u8], session: &[u8]) -> Record {
    let digest = |field, content| salted_digest(&salt(field), field, content);
    Record {
        sequence: Sequence::new(4),
        previous: Some(RecordId::from_bytes([7; 32])),
        time: UnixMillis::new(START + 5),
        beacon: None,
        body: Body::Decision(Decision {
            channel: None,
            request: None,
            contract: None,
            actor: Actor {
                operator: of.name.clone(),
                agent: AgentName::literal("support-bot"),
                on_behalf_of: Some(digest(DisclosedField::OnBehalfOf, person)),
                session: Some(digest(DisclosedField::Session, session)),
            },
            action: action("desk", "tools/call", "tickets.read"),
            parameters: digest(DisclosedField::Parameters, parameters),
            evaluation: Evaluation {
                verdict: Verdict::Allow,
                reason: ReasonCode::literal("policy_allows"),
                policies: Vec::new(),
                policy_set: ContentDigest::of(b"policies"),
                input: None,
            },
            reservations: Vec::new(),
            attestations: Vec::new(),
        }),
    }
}

pub(crate) fn action(server: &str, verb: &str, tool: &str) -> Action {
    Action {
        server: ServerName::new(server).unwrap(),
        verb: Verb::new(verb).unwrap(),
        tool: ToolName::new(tool).unwrap(),
        tier: None,
    }
}

pub(crate) fn permission(tool: &str, targets: &[(&str, &str)], tier: &str) -> Permission {
    Permission {
        server: ServerName::literal("desk"),
        verb: Verb::literal("tools/call"),
        tool: Pattern::new(tool).unwrap(),
        targets: targets
            .iter()
            .map(|(pointer, pattern)| Target {
                pointer: Pointer::new(*pointer).unwrap(),
                pattern: Pattern::new(*pattern).unwrap(),
            })
            .collect(),
        tier: Tier::new(tier).unwrap(),
        points: Amount::new(5),
    }
}

/// Clauses with every clause there is.
pub(crate) fn clauses() -> Clauses {
    Clauses {
        asking: OperatorName::literal("acme.example"),
        asked: OperatorName::literal("globex.example"),
        begins: UnixMillis::new(START),
        expires: UnixMillis::new(START + 30 * DAY),
        permissions: vec![
            permission("tickets.read", &[], "low"),
            permission("files.*", &[("/arguments/path", "/public/*")], "low"),
            permission("files.*", &[("/arguments/path", "/*")], "high"),
            permission("refund", &[], "high"),
        ],
        levels: BTreeMap::from([
            (Tier::literal("low"), Level::Signed),
            (Tier::literal("high"), Level::Witnessed),
        ]),
        publish_delay: Millis::new(60_000),
        policy: LOGS.to_owned(),
        disclosures: BTreeSet::from([
            (Party::Asking, DisclosedField::Parameters),
            (Party::Asked, DisclosedField::Result),
        ]),
        admission: Some("permit(principal, action, resource);".to_owned()),
        budgets: BTreeMap::from([(
            (Unit::literal("RISK_POINTS"), Millis::new(DAY)),
            Amount::new(500),
        )]),
        escalation: BTreeSet::from([(Party::Asked, Contact::literal("desk@globex.example"))]),
        notice: Millis::new(DAY),
    }
}

pub(crate) fn terms() -> Terms {
    Terms::new(clauses()).unwrap()
}
