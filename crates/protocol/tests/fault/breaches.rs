//! Terms that were agreed on and not kept.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_protocol::contract::{
    Clauses, ContractFile, Pattern, Permission, Pointer, Target, Terms, verify_contract,
};
use counterfoil_protocol::digest::{RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::fault::{Accused, FaultKind, FaultProof, Statement, verify_fault};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, ReasonCode, Tier};
use counterfoil_protocol::numbers::{Amount, ChannelSequence, Millis, Sequence, UnixMillis};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::{
    Body, ChannelControl, ChannelEvent, ChannelLink, DecidedRequest, Decision, Record, Request,
    Verdict,
};

use super::calls::{action, actor, evaluation};
use super::collected::{bare, code};
use super::world::{Manifests, globex, key, peer, trust};

pub(crate) const START: u64 = 1_700_000_000_000;
pub(crate) const GLOBEX: u8 = 1;
pub(crate) const ACME: u8 = 90;

fn permission(tool: &str, path: Option<&str>, tier: &'static str) -> Permission {
    let target = |pattern: &str| Target {
        pointer: Pointer::new("/path").unwrap(),
        pattern: Pattern::new(pattern).unwrap(),
    };
    Permission {
        server: action("charge").server,
        verb: action("charge").verb,
        tool: Pattern::new(tool).unwrap(),
        targets: path.map(target).into_iter().collect(),
        tier: Tier::literal(tier),
        points: Amount::new(1),
    }
}

fn terms() -> Terms {
    Terms::new(Clauses {
        asking: peer(0),
        asked: globex(),
        begins: UnixMillis::new(START),
        expires: UnixMillis::new(START + 1_000_000_000),
        permissions: vec![
            permission("read", None, "low"),
            permission("files", Some("/public/*"), "low"),
            permission("files", Some("*"), "high"),
            permission("charge", None, "high"),
        ],
        levels: BTreeMap::from([
            (Tier::literal("low"), Level::Committed),
            (Tier::literal("high"), Level::Witnessed),
        ]),
        publish_delay: Millis::new(60_000),
        policy: format!(
            "log {}\nwitness w {}\nquorum w\n",
            super::world::log_key().verifier(),
            super::world::witness_key().verifier()
        ),
        disclosures: BTreeSet::new(),
        admission: None,
        budgets: BTreeMap::new(),
        escalation: BTreeSet::new(),
        notice: Millis::new(5_000),
    })
    .unwrap()
}

fn opened() -> Disclosure {
    terms().disclosure(Salt::from_bytes([6; 16]))
}

pub(crate) fn manifests(operator: &OperatorName, seed: u8) -> Vec<LoggedManifest> {
    let mut manifests = Manifests::new(operator.clone());
    manifests.publish(&[&key(seed)], &[]);
    manifests.unlogged()
}

pub(crate) fn link(to: &OperatorName, sequence: u64) -> ChannelLink {
    ChannelLink {
        counterparty: to.clone(),
        sequence: ChannelSequence::new(sequence),
        previous: Some(RecordId::from_bytes([2; 32])),
        acknowledged: None,
    }
}

pub(crate) fn record(sequence: u64, time: u64, body: Body) -> Record {
    Record {
        sequence: Sequence::new(sequence),
        previous: Some(RecordId::from_bytes([1; 32])),
        time: UnixMillis::new(START + time),
        beacon: None,
        body,
    }
}

pub(crate) fn signed(operator: &OperatorName, seed: u8, record: &Record) -> (RecordId, Vec<u8>) {
    let prepared = record.prepare(operator, key(seed).public().thumbprint());
    (prepared.id(), prepared.sign(&key(seed)))
}

/// The contract file, as far as `upto` records have made and ended it.
pub(crate) fn contract(upto: usize) -> Vec<u8> {
    let contract = opened().digest();
    let said = |operator: &OperatorName, seed, to, sequence, event| {
        let channel = link(to, sequence);
        let control = Body::Channel(ChannelControl { channel, event });
        let (id, bytes) = signed(operator, seed, &record(sequence, 10, control));
        let receipt = Receipt {
            manifests: manifests(operator, seed),
            ..bare(&bytes)
        };
        (id, receipt.encode())
    };
    let (acme, globex) = (peer(0), globex());
    let event = ChannelEvent::ContractProposed { contract };
    let (proposal, proposed) = said(&acme, ACME, &globex, 3, event);
    let event = ChannelEvent::ContractAccepted { contract, proposal };
    let (_, accepted) = said(&globex, GLOBEX, &acme, 3, event);
    let reason = ReasonCode::literal("no_need");
    let event = ChannelEvent::ContractEnded { contract, reason };
    let (_, ended) = said(&globex, GLOBEX, &acme, 20, event);
    ContractFile {
        terms: opened(),
        proposal: proposed,
        acceptance: (upto > 1).then_some(accepted),
        end: (upto > 2).then_some(ended),
    }
    .encode()
}

fn parameters(path: &str) -> Disclosure {
    Disclosure {
        field: DisclosedField::Parameters,
        salt: Salt::from_bytes([7; 16]),
        content: format!("{{\"path\":\"{path}\"}}").into_bytes(),
    }
}

/// A decision of globex to allow a call of acme's under the contract.
pub(crate) fn decision(tool: &'static str, path: &str, evidence: Level) -> Decision {
    Decision {
        channel: Some(link(&peer(0), 5)),
        request: Some(DecidedRequest {
            id: RecordId::from_bytes([9; 32]),
            evidence,
        }),
        contract: Some(opened().digest()),
        actor: actor(&peer(0)),
        action: action(tool),
        parameters: parameters(path).digest(),
        evaluation: evaluation(Verdict::Allow),
        reservations: Vec::new(),
        attestations: Vec::new(),
    }
}

/// The verdict on a record of globex's and the contract, the parameters disclosed if given.
fn judge(
    kind: FaultKind,
    record: &Record,
    disclosed: Option<Disclosure>,
    file: Vec<u8>,
) -> &'static str {
    let (_, bytes) = signed(&globex(), GLOBEX, record);
    let receipt = Receipt {
        disclosures: disclosed.into_iter().collect(),
        ..bare(&bytes)
    };
    let unverified = counterfoil_protocol::record::UnverifiedRecord::parse(&bytes).unwrap();
    let verified = unverified.verify(key(GLOBEX).public()).unwrap();
    let proof = FaultProof {
        kind,
        accused: Accused::Operator(globex()),
        manifests: manifests(&globex(), GLOBEX),
        statements: vec![
            Statement::record(receipt.clone()),
            Statement::Contract(file.clone()),
        ],
    };
    let verdict = code(&verify_fault(&proof.encode(), &trust()));
    let report = verify_contract(&file, &trust(), Level::Signed);
    if report.is_verified() {
        // What can be shown is found, and nothing else.
        let found = FaultProof::of_contract(&proof.manifests, &verified, &receipt, &file, &report);
        let convicts = verdict == "convicts" || verdict == "disclosure_mismatch";
        assert_eq!(found.contains(&proof), convicts, "{kind}: {verdict}");
    }
    verdict
}

pub(crate) fn decided(sequence: u64, time: u64, decision: Decision) -> Record {
    record(sequence, time, Body::Decision(decision))
}

#[test]
fn a_call_that_the_contract_does_not_permit() {
    let kind = FaultKind::OutsideContract;
    let allowed = |tool, path| decided(9, 20, decision(tool, path, Level::Witnessed));
    let file = contract(2);
    assert_eq!(
        judge(kind, &allowed("wire", "/"), None, file.clone()),
        "convicts"
    );
    assert_eq!(
        judge(kind, &allowed("read", "/"), None, file.clone()),
        "fault_not_shown"
    );
    // Whether it does depends on the parameters.
    let hidden = allowed("files", "/secret");
    assert_eq!(judge(kind, &hidden, None, file.clone()), "fault_not_shown");
    let open = Some(parameters("/secret"));
    assert_eq!(judge(kind, &hidden, open, file.clone()), "fault_not_shown");
    let mut unreadable = decision("files", "/", Level::Witnessed);
    let broken = Disclosure {
        content: b"{\"path\":7}".to_vec(),
        ..parameters("/")
    };
    unreadable.parameters = broken.digest();
    let unreadable = decided(9, 20, unreadable);
    assert_eq!(
        judge(kind, &unreadable, None, file.clone()),
        "fault_not_shown"
    );
    assert_eq!(
        judge(kind, &unreadable, Some(broken), file.clone()),
        "convicts"
    );
    let wrong = Some(parameters("/another"));
    let wrong = judge_only(kind, &hidden, wrong, &file);
    assert_eq!(wrong, "disclosure_mismatch");
    // Before it begins, and after it expires, by the clock of who allows.
    let late = decided(9, 1_000_000_000, decision("read", "/", Level::Witnessed));
    assert_eq!(judge(kind, &late, None, file.clone()), "convicts");
    let mut early = decided(9, 0, decision("read", "/", Level::Witnessed));
    early.time = UnixMillis::new(START - 1);
    assert_eq!(judge(kind, &early, None, file.clone()), "convicts");
    // Calls in the other direction.
    let request = Body::Request(Request {
        channel: link(&peer(0), 5),
        contract: Some(opened().digest()),
        actor: actor(&globex()),
        action: action("read"),
        parameters: parameters("/").digest(),
        evaluation: evaluation(Verdict::Allow),
        reservations: Vec::new(),
        attestations: Vec::new(),
    });
    assert_eq!(judge(kind, &record(9, 20, request), None, file), "convicts");
}

/// As [`judge`], of what a detector would not be given.
fn judge_only(
    kind: FaultKind,
    record: &Record,
    disclosed: Option<Disclosure>,
    file: &[u8],
) -> &'static str {
    let (_, bytes) = signed(&globex(), GLOBEX, record);
    let receipt = Receipt {
        disclosures: disclosed.into_iter().collect(),
        ..bare(&bytes)
    };
    let proof = FaultProof {
        kind,
        accused: Accused::Operator(globex()),
        manifests: manifests(&globex(), GLOBEX),
        statements: vec![
            Statement::record(receipt),
            Statement::Contract(file.to_vec()),
        ],
    };
    code(&verify_fault(&proof.encode(), &trust()))
}

#[test]
fn what_was_not_agreed_on_or_not_allowed_is_no_breach() {
    let kind = FaultKind::OutsideContract;
    let outside = decision("wire", "/", Level::Witnessed);
    let proposed = judge(kind, &decided(9, 20, outside.clone()), None, contract(1));
    assert_eq!(proposed, "fault_not_shown");
    let none = Decision {
        contract: None,
        ..outside.clone()
    };
    assert_eq!(
        judge(kind, &decided(9, 20, none), None, contract(2)),
        "fault_not_shown"
    );
    let denied = Decision {
        evaluation: evaluation(Verdict::Deny),
        ..outside.clone()
    };
    assert_eq!(
        judge(kind, &decided(9, 20, denied), None, contract(2)),
        "fault_not_shown"
    );
    let other = Decision {
        contract: Some(super::world::content(5)),
        ..outside
    };
    assert_eq!(
        judge(kind, &decided(9, 20, other), None, contract(2)),
        "fault_not_shown"
    );
    let mut file = ContractFile::parse(&contract(2)).unwrap();
    file.acceptance = Some(file.proposal.clone());
    let forged = judge_only(
        kind,
        &decided(9, 20, decision("wire", "/", Level::Witnessed)),
        None,
        &file.encode(),
    );
    assert_eq!(forged, "contract_mismatch");
}

#[test]
fn a_call_after_the_end_that_the_same_enforcer_signed() {
    let kind = FaultKind::OutsideContract;
    let allowed = |sequence, time| decided(sequence, time, decision("read", "/", Level::Witnessed));
    let file = contract(3);
    assert_eq!(
        judge(kind, &allowed(21, 5_010), None, file.clone()),
        "convicts"
    );
    // Within the notice, or made before.
    assert_eq!(
        judge(kind, &allowed(21, 5_009), None, file.clone()),
        "fault_not_shown"
    );
    assert_eq!(
        judge(kind, &allowed(19, 5_010), None, file),
        "fault_not_shown"
    );
}

#[test]
fn a_call_that_was_allowed_on_too_little_evidence() {
    let kind = FaultKind::EvidenceTooLow;
    let allowed = |tool, path: &str, level| decided(9, 20, decision(tool, path, level));
    let verdict = |tool, level| judge(kind, &allowed(tool, "/", level), None, contract(2));
    assert_eq!(verdict("charge", Level::Logged), "convicts");
    assert_eq!(verdict("charge", Level::Witnessed), "fault_not_shown");
    assert_eq!(verdict("read", Level::Signed), "convicts");
    assert_eq!(verdict("read", Level::Committed), "fault_not_shown");
    assert_eq!(verdict("wire", Level::Signed), "fault_not_shown");
    // The tier depends on the path: hidden, the lower of both counts.
    assert_eq!(verdict("files", Level::Signed), "convicts");
    assert_eq!(verdict("files", Level::Logged), "fault_not_shown");
    let open = |path: &str| {
        let record = allowed("files", path, Level::Logged);
        judge(kind, &record, Some(parameters(path)), contract(2))
    };
    assert_eq!(open("/secret"), "convicts");
    assert_eq!(open("/public/a"), "fault_not_shown");
    let mut unnamed = decision("charge", "/", Level::Logged);
    unnamed.request = None;
    assert_eq!(
        judge(kind, &decided(9, 20, unnamed), None, contract(2)),
        "fault_not_shown"
    );
}
