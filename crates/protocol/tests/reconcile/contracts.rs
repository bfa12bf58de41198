//! Calls that a contract does not allow.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_protocol::contract::{Clauses, Pattern, Permission, Pointer, Target, Terms};
use counterfoil_protocol::fault::FaultKind;
use counterfoil_protocol::names::Tier;
use counterfoil_protocol::numbers::{Amount, Millis, UnixMillis};
use counterfoil_protocol::reconcile::{Agreement, Class, Line, Options, Reconciler, Seen, Side};
use counterfoil_protocol::record::{Body, OutcomeStatus, Verdict};
use counterfoil_protocol::verify::Level;

use super::support::conversation::{Conversation, Said, name};
use super::support::{Log, START, action, digest};

/// What ours may ask theirs for: refunds, with a level and perhaps a target.
fn terms(change: impl FnOnce(&mut Clauses)) -> Terms {
    let names = action();
    let tier = Tier::literal("money");
    let mut clauses = Clauses {
        asking: name(Side::Ours),
        asked: name(Side::Theirs),
        begins: UnixMillis::new(START * 1000),
        expires: UnixMillis::new(START * 1000 + 3_600_000),
        permissions: vec![Permission {
            server: names.server,
            verb: names.verb,
            tool: Pattern::new("refund*").unwrap(),
            targets: Vec::new(),
            tier: tier.clone(),
            points: Amount::new(1),
        }],
        levels: BTreeMap::from([(tier, Level::Signed)]),
        publish_delay: Millis::new(60_000),
        policy: Log::default().policy(),
        disclosures: BTreeSet::new(),
        admission: None,
        budgets: BTreeMap::new(),
        escalation: BTreeSet::new(),
        notice: Millis::new(0),
    };
    change(&mut clauses);
    Terms::new(clauses).unwrap()
}

/// The line of one agreed call under some terms, its parameters disclosed or not.
fn line(terms: Terms, asking: Side, parameters: Option<&[u8]>) -> Line {
    let mut conversation = Conversation::default();
    let said = conversation.call(asking);
    judged(&said, "contract", terms, parameters)
}

fn judged(said: &[Said], contract: &str, terms: Terms, parameters: Option<&[u8]>) -> Line {
    let options = Options {
        contracts: vec![Agreement {
            digest: digest(contract),
            terms,
        }],
        ..Options::default()
    };
    let mut reconciler = Reconciler::new(name(Side::Ours), name(Side::Theirs), options);
    // At first without parameters, as the other side may show it.
    for parameters in [None, parameters] {
        for said in said {
            let issuer = name(said.signer);
            let opens = matches!(said.record.body, Body::Request(_) | Body::Decision(_));
            let seen = Seen {
                id: said.id,
                issuer: &issuer,
                kid: said.kid,
                record: &said.record,
                level: said.level,
                not_after: said.not_after,
                parameters: parameters.filter(|_| opens),
            };
            assert!(reconciler.add(said.signer, &seen));
        }
    }
    let mut lines = Vec::new();
    reconciler.finish(|line| lines.push(line));
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

fn outside(line: &Line, side: Side, text: &str) {
    assert_eq!(line.class, Class::OutsideContract, "{}", line.sentence);
    assert_eq!(line.findings[0].side, Some(side));
    assert!(line.sentence.contains(text), "{}", line.sentence);
}

#[test]
fn what_the_contract_allows_is_matched() {
    assert_eq!(line(terms(|_| {}), Side::Ours, None).class, Class::Matched);
}

#[test]
fn a_call_that_no_permission_names_is_outside() {
    let other = terms(|clauses| {
        clauses.permissions[0].tool = Pattern::new("payout").unwrap();
    });
    let other = line(other, Side::Ours, None);
    outside(&other, Side::Ours, "no permission");
    assert_eq!(other.findings[0].fault, Some(FaultKind::OutsideContract));
    // The contract has a direction.
    let line = line(terms(|_| {}), Side::Theirs, None);
    outside(
        &line,
        Side::Theirs,
        "not about calls between these operators",
    );
}

#[test]
fn a_call_before_or_after_the_contract_is_outside() {
    let early = terms(|clauses| clauses.begins = UnixMillis::new(START * 1000 + 60_000));
    outside(&line(early, Side::Ours, None), Side::Ours, "begins at");
    let late = terms(|clauses| {
        clauses.begins = UnixMillis::new(0);
        clauses.expires = UnixMillis::new(START * 1000);
    });
    outside(&line(late, Side::Ours, None), Side::Ours, "expired");
}

#[test]
fn targets_count_where_the_parameters_are_disclosed() {
    let targeted = || {
        terms(|clauses| {
            clauses.permissions[0].targets = vec![Target {
                pointer: Pointer::new("/ticket").unwrap(),
                pattern: Pattern::new("T-*").unwrap(),
            }];
        })
    };
    let class = |parameters| line(targeted(), Side::Ours, parameters).class;
    assert_eq!(class(None), Class::Matched);
    assert_eq!(class(Some(br#"{"ticket":"T-1"}"#)), Class::Matched);
    let other = line(targeted(), Side::Ours, Some(br#"{"ticket":"X-1"}"#));
    outside(&other, Side::Ours, "for these parameters");
    let unreadable = line(targeted(), Side::Ours, Some(b"[]"));
    outside(&unreadable, Side::Ours, "/ticket");
}

#[test]
fn too_little_evidence_is_outside() {
    let witnessed = terms(|clauses| {
        clauses
            .levels
            .insert(Tier::literal("money"), Level::Witnessed);
    });
    let line = line(witnessed, Side::Ours, None);
    outside(
        &line,
        Side::Theirs,
        "on evidence that was signed, the contract asks for witnessed",
    );
}

#[test]
fn no_contract_or_another_one_is_outside() {
    let mut conversation = Conversation::default();
    let said = conversation.call(Side::Ours);
    let line = judged(&said, "another contract", terms(|_| {}), None);
    outside(&line, Side::Ours, "which is not given");

    let mut conversation = Conversation::default();
    let mut request = conversation.request(Side::Ours);
    if let Body::Request(request) = &mut request.record.body {
        request.contract = None;
    }
    let decision = conversation.decide(&request, Verdict::Deny);
    let refused = OutcomeStatus::RefusedByCounterparty;
    let outcome = conversation.settle(Side::Ours, &request, refused, Some(decision.id));
    let said = [request, decision, outcome];
    // Asked and refused: the asking side went outside all the same.
    let line = judged(&said, "contract", terms(|_| {}), None);
    outside(&line, Side::Ours, "under no contract");
    // It names no contract, so it proves to nobody that one was broken.
    assert_eq!(line.findings[0].fault, None);

    // Nothing was needed before the contract began, nor in the direction that has none.
    let early = terms(|clauses| clauses.begins = UnixMillis::new(START * 1000 + 60_000));
    let line = judged(&said, "contract", early, None);
    assert_eq!(line.class, Class::Matched, "{}", line.sentence);
    let opposite = terms(|clauses| std::mem::swap(&mut clauses.asking, &mut clauses.asked));
    let line = judged(&said, "contract", opposite, None);
    assert_eq!(line.class, Class::Matched, "{}", line.sentence);
}

#[test]
fn the_publish_delay_of_the_contract_counts() {
    let mut conversation = Conversation::default();
    let mut said = conversation.call(Side::Ours);
    let made = said[2].record.time.seconds().get();
    said[2].not_after = Some(counterfoil_protocol::numbers::UnixSeconds::new(made + 62));
    let line = judged(&said, "contract", terms(|_| {}), None);
    assert_eq!(line.class, Class::Late);
    assert_eq!(line.findings[0].side, Some(Side::Theirs));
}
