//! Contracts between two operators: made, held against calls, ended, and still known after a
//! restart.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use counterfoil_enforcer::call::{Call, Denial, Envelope, Party};
use counterfoil_enforcer::contract::{Contract, ContractSettings, Standing};
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_enforcer::policy::{Allowed, Denied, Evaluation, EvaluationInput, Policy};
use counterfoil_enforcer::service::{Service, ServiceSettings};
use counterfoil_enforcer::{Completion, Decided, Enforcer, Permit, Settings};
use counterfoil_protocol::contract::{
    Clauses, Party as Side, Pattern, Permission, Pointer, Target, Terms,
};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{PolicyId, ReasonCode};
use counterfoil_protocol::numbers::{Amount, Millis, Sequence, UnixMillis};
use counterfoil_protocol::record::{Body, OutcomeStatus, Record, UnverifiedRecord};
use support::{ByName, NOW, World, call, denied, name};

const ACME: &str = "acme.example";
const GLOBEX: &str = "globex.example";
const PARAMETERS: &[u8] = br#"{"name":"read","arguments":{"ticket":"T-1"}}"#;

/// As [`ByName`], and an admission policy is the name of an agent that is not admitted.
#[derive(Debug)]
struct Admitting;

#[derive(Debug)]
struct NotThisAgent(String);

impl Policy for Admitting {
    fn evaluate(&self, input: &EvaluationInput<'_>) -> Evaluation {
        ByName.evaluate(input)
    }

    fn digest(&self) -> ContentDigest {
        ByName.digest()
    }

    fn admission(&self, text: &str) -> Result<Arc<dyn Policy>, String> {
        if text.contains(' ') {
            return Err("it is no name of an agent".to_owned());
        }
        Ok(Arc::new(NotThisAgent(text.to_owned())))
    }
}

impl Policy for NotThisAgent {
    fn evaluate(&self, input: &EvaluationInput<'_>) -> Evaluation {
        if input.agent.as_str() == self.0 {
            Evaluation::Deny(Denied {
                reason: ReasonCode::literal("no_policy_allows"),
                policies: Vec::new(),
                explanation: "the agent is not welcome".to_owned(),
                instead: None,
            })
        } else {
            Evaluation::Allow(Allowed {
                policies: vec![PolicyId::literal("welcome")],
                tier: None,
                points: Amount::new(0),
            })
        }
    }

    fn digest(&self) -> ContentDigest {
        ContentDigest::of(self.0.as_bytes())
    }
}

fn settings(world: &World, operator: &str) -> Settings {
    Settings {
        policy: Arc::new(Admitting),
        contracts: ContractSettings {
            required: BTreeSet::new(),
            trust: Some(world.trust.clone()),
        },
        ..world.settings(operator)
    }
}

fn open(world: &World, operator: &str) -> Enforcer {
    Enforcer::open(settings(world, operator)).unwrap().0
}

/// acme may read anything, and may write what begins with `T-`.
fn clauses() -> Clauses {
    let permission = |tool: &str, targets, tier: &'static str, points| Permission {
        server: "desk".parse().unwrap(),
        verb: "tools/call".parse().unwrap(),
        tool: Pattern::new(tool).unwrap(),
        targets,
        tier: tier.parse().unwrap(),
        points: Amount::new(points),
    };
    let ticket = Target {
        pointer: Pointer::new("/arguments/ticket").unwrap(),
        pattern: Pattern::new("T-*").unwrap(),
    };
    Clauses {
        asking: name(ACME),
        asked: name(GLOBEX),
        begins: UnixMillis::new(NOW),
        expires: UnixMillis::new(NOW + 1_000_000),
        permissions: vec![
            permission("read*", vec![], "low", 1),
            permission("write", vec![ticket], "high", 7),
        ],
        levels: BTreeMap::from([
            ("low".parse().unwrap(), Level::Signed),
            ("high".parse().unwrap(), Level::Committed),
        ]),
        publish_delay: Millis::new(60_000),
        policy: "quorum none\n".to_owned(),
        disclosures: BTreeSet::new(),
        admission: None,
        budgets: BTreeMap::new(),
        escalation: BTreeSet::new(),
        notice: Millis::new(5_000),
    }
}

fn propose(from: &Enforcer, to: &Enforcer, clauses: Clauses) -> Contract {
    let contract = from.propose_contract(Terms::new(clauses).unwrap()).unwrap();
    push(from, to);
    let envelope = from
        .proposal_envelope(to.operator(), contract.digest)
        .unwrap();
    to.ingest(&envelope).unwrap();
    contract
}

/// Sends everything that was not acknowledged.
fn push(from: &Enforcer, to: &Enforcer) {
    let envelope = from.unacknowledged(to.operator()).unwrap();
    if !envelope.records.is_empty() {
        to.ingest(&envelope).unwrap();
    }
}

fn agree(acme: &Enforcer, globex: &Enforcer, clauses: Clauses) -> ContentDigest {
    let digest = propose(acme, globex, clauses).digest;
    let accepted = globex.accept_contract(digest).unwrap();
    assert_eq!(accepted.standing, Standing::InForce);
    push(globex, acme);
    assert_eq!(standing(acme, digest), Standing::InForce);
    digest
}

fn standing(enforcer: &Enforcer, digest: ContentDigest) -> Standing {
    enforcer.contract(digest).unwrap().standing
}

fn outgoing(acme: &Enforcer, call: &Call<'_>) -> Decided {
    let globex = name(GLOBEX);
    let party = Party::Outgoing {
        agent: "bot".parse().unwrap(),
        counterparty: &globex,
    };
    acme.authorize(call, &party).unwrap().wait().unwrap()
}

fn incoming(globex: &Enforcer, call: &Call<'_>, envelope: &Envelope) -> Decided {
    let party = Party::Incoming {
        envelope: Some(envelope),
    };
    globex.authorize(call, &party).unwrap().wait().unwrap()
}

fn ask(acme: &Enforcer, tool: &str, parameters: &[u8]) -> Permit {
    support::allowed(outgoing(acme, &call(tool, parameters)))
}

/// A call all the way, and what became of it.
fn converse(acme: &Enforcer, globex: &Enforcer, tool: &str, parameters: &[u8]) {
    let permit = ask(acme, tool, parameters);
    let envelope = permit.request_envelope().unwrap();
    let answering = support::allowed(incoming(globex, &call(tool, parameters), &envelope));
    let done = Completion {
        status: OutcomeStatus::Succeeded,
        result: Some(b"{}"),
    };
    let back = answering.complete(done).unwrap().wait().unwrap().unwrap();
    let (check, pending) = permit.complete_with_answer(Some(&back), b"{}").unwrap();
    pending.wait().unwrap();
    assert!(
        matches!(
            check,
            counterfoil_enforcer::call::AnswerCheck::Attested { .. }
        ),
        "{check:?}"
    );
}

fn refusal(decided: Decided) -> String {
    denied(decided).reason.as_str().to_owned()
}

fn records(world: &World, operator: &str) -> Vec<Record> {
    JournalReader::open(&world.journal(operator))
        .unwrap()
        .records(Sequence::new(0), 1_000)
        .unwrap()
        .iter()
        .map(|(_, bytes)| {
            let record = UnverifiedRecord::parse(bytes).unwrap();
            record.unverified_content().clone()
        })
        .collect()
}

fn last_decision(world: &World, operator: &str) -> counterfoil_protocol::record::Decision {
    let decisions = records(world, operator).into_iter().rev();
    let mut decisions = decisions.filter_map(|record| match record.body {
        Body::Decision(decision) => Some(decision),
        _ => None,
    });
    decisions.next().unwrap()
}

#[test]
fn what_both_agreed_on_is_in_force_and_named_by_request_and_decision() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let proposed = propose(&acme, &globex, clauses());
    assert_eq!(proposed.standing, Standing::Proposed);
    let seen = globex.contract(proposed.digest).unwrap();
    assert_eq!(seen.terms, proposed.terms);
    assert_eq!(seen.standing, Standing::Proposed);
    // Nobody is bound yet.
    let free = ask(&acme, "anything", PARAMETERS);
    assert_eq!(free.contract(), None);
    drop(free);

    globex.accept_contract(proposed.digest).unwrap();
    push(&globex, &acme);
    converse(&acme, &globex, "read", PARAMETERS);
    let named = |operator| {
        let all = records(&world, operator);
        all.iter()
            .rev()
            .find(|record| matches!(record.body, Body::Request(_) | Body::Decision(_)))
            .and_then(Record::contract)
    };
    assert_eq!(named(ACME), Some(proposed.digest));
    assert_eq!(named(GLOBEX), Some(proposed.digest));
    // Again is the same again.
    let before = records(&world, GLOBEX).len();
    globex.accept_contract(proposed.digest).unwrap();
    assert_eq!(records(&world, GLOBEX).len(), before);
}

#[test]
fn a_call_outside_is_refused_by_the_caller_with_its_own_record() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let digest = agree(&acme, &globex, clauses());
    for (tool, parameters, reason) in [
        ("delete", PARAMETERS, "contract_action"),
        (
            "write",
            br#"{"arguments":{"ticket":"X-1"}}"#.as_slice(),
            "contract_target",
        ),
        ("write", b"{}", "contract_target_unreadable"),
        ("write", b"no json", "contract_target_unreadable"),
    ] {
        assert_eq!(refusal(outgoing(&acme, &call(tool, parameters))), reason);
        let decision = last_decision(&world, ACME);
        assert_eq!(decision.contract, Some(digest));
        assert_eq!(decision.evaluation.reason.as_str(), reason);
        assert_eq!(decision.evaluation.input, None);
        assert_eq!(decision.channel, None, "it never leaves");
    }
    // The other direction was not agreed on, and is free.
    let party = name(ACME);
    let back = Party::Outgoing {
        agent: "bot".parse().unwrap(),
        counterparty: &party,
    };
    let decided = globex.authorize(&call("delete", PARAMETERS), &back);
    drop(support::allowed(decided.unwrap().wait().unwrap()));
}

#[test]
fn a_careless_caller_is_refused_by_the_called_side() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let digest = propose(&acme, &globex, clauses()).digest;
    globex.accept_contract(digest).unwrap();
    // acme does not know yet that its proposal was accepted: it asks without a contract.
    let permit = ask(&acme, "delete", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let refused = incoming(&globex, &call("delete", PARAMETERS), &envelope);
    assert_eq!(refusal(refused), "contract_missing");
    let decision = last_decision(&world, GLOBEX);
    assert_eq!(decision.contract, None);
    assert_eq!(decision.request.unwrap().id, permit.record());
    drop(permit);

    // globex has ended it at once by its own clock, acme has not heard of it.
    push(&globex, &acme);
    let over = globex
        .end_contract(digest, ReasonCode::literal("breach"))
        .unwrap();
    assert_eq!(over.standing, Standing::InForce);
    assert_eq!(over.ends, Some(UnixMillis::new(NOW + 5_000)));
    world.clock.set(NOW + 5_000);
    let permit = ask(&acme, "read", PARAMETERS);
    assert_eq!(permit.contract(), Some(digest));
    let envelope = permit.request_envelope().unwrap();
    let refused = incoming(&globex, &call("read", PARAMETERS), &envelope);
    assert_eq!(refusal(refused), "contract_ended");
    let decision = last_decision(&world, GLOBEX);
    assert_eq!(decision.contract, Some(digest));
    assert_eq!(decision.request.unwrap().id, permit.record());
}

#[test]
fn a_contract_whose_terms_are_lost_is_unknown() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let digest = agree(&acme, &globex, clauses());
    globex.close().unwrap();
    drop(globex);
    support::tamper(&world.journal(GLOBEX), "DELETE FROM terms");
    let globex = open(&world, GLOBEX);
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let refused = incoming(&globex, &call("read", PARAMETERS), &envelope);
    assert_eq!(refusal(refused), "contract_unknown");
    assert_eq!(last_decision(&world, GLOBEX).contract, Some(digest));
}

#[test]
fn both_sides_honour_begin_expiry_and_notice() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let later = Clauses {
        begins: UnixMillis::new(NOW + 1_000),
        ..clauses()
    };
    let digest = propose(&acme, &globex, later).digest;
    globex.accept_contract(digest).unwrap();
    push(&globex, &acme);
    assert_eq!(standing(&acme, digest), Standing::NotBegun);
    let read = || outgoing(&acme, &call("read", PARAMETERS));
    assert_eq!(refusal(read()), "contract_not_begun");
    world.clock.set(NOW + 1_000);
    drop(support::allowed(read()));
    world.clock.set(NOW + 999_999);
    let permit = support::allowed(read());
    world.clock.set(NOW + 1_000_000);
    assert_eq!(standing(&acme, digest), Standing::Expired);
    assert_eq!(refusal(read()), "contract_expired");
    let envelope = permit.request_envelope().unwrap();
    let refused = incoming(&globex, &call("read", PARAMETERS), &envelope);
    assert_eq!(refusal(refused), "contract_expired");
    let end = acme.end_contract(digest, ReasonCode::literal("done"));
    assert_eq!(end.unwrap_err().code(), "contract_over");
}

#[test]
fn an_end_that_arrives_late_gives_its_receiver_the_notice() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let digest = agree(&acme, &globex, clauses());
    let ended = globex
        .end_contract(digest, ReasonCode::literal("done"))
        .unwrap();
    assert_eq!(ended.ends, Some(UnixMillis::new(NOW + 5_000)));
    world.clock.set(NOW + 3_000);
    push(&globex, &acme);
    assert_eq!(
        acme.contract(digest).unwrap().ends,
        Some(UnixMillis::new(NOW + 8_000))
    );
    // Also after a restart.
    acme.close().unwrap();
    drop(acme);
    let acme = open(&world, ACME);
    let kept = acme.contract(digest).unwrap();
    assert_eq!(kept.ends, Some(UnixMillis::new(NOW + 8_000)));
    world.clock.set(NOW + 7_999);
    drop(ask(&acme, "read", PARAMETERS));
    world.clock.set(NOW + 8_000);
    assert_eq!(
        refusal(outgoing(&acme, &call("read", PARAMETERS))),
        "contract_ended"
    );
}

#[test]
fn a_proposal_is_taken_back_or_refused_at_once() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let digest = propose(&acme, &globex, clauses()).digest;
    let reason = || ReasonCode::literal("changed_mind");
    let taken = acme.end_contract(digest, reason()).unwrap();
    assert_eq!(taken.standing, Standing::Withdrawn);
    // The acceptance crosses with it: the contract is made, and ends after its notice.
    globex.accept_contract(digest).unwrap();
    push(&globex, &acme);
    push(&acme, &globex);
    for side in [&acme, &globex] {
        let made = side.contract(digest).unwrap();
        assert_eq!(made.standing, Standing::InForce);
        assert_eq!(made.ends, Some(UnixMillis::new(NOW + 5_000)));
    }
    // One that is known to be taken back cannot be accepted.
    let second = propose(&acme, &globex, clauses()).digest;
    assert_ne!(second, digest, "another salt, another contract");
    acme.end_contract(second, reason()).unwrap();
    push(&acme, &globex);
    let error = globex.accept_contract(second).unwrap_err();
    assert_eq!(error.code(), "contract_withdrawn");
    // Nor one that this side has refused.
    let third = propose(&acme, &globex, clauses()).digest;
    globex.end_contract(third, reason()).unwrap();
    let error = globex.accept_contract(third).unwrap_err();
    assert_eq!(error.code(), "contract_withdrawn");
    push(&globex, &acme);
    assert_eq!(standing(&acme, third), Standing::Withdrawn);
}

#[test]
fn only_open_proposals_of_the_other_side_take_up_room() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let terms = |digest| globex.contract(digest).unwrap().terms;
    let offer = |from: &Enforcer, clauses: Clauses| {
        let terms = Terms::new(clauses).unwrap();
        from.propose_contract(terms).unwrap().digest
    };
    // Hands over the last record, which is acme's, with the terms that it proposes.
    let hand_over = |digest| {
        push(&acme, &globex);
        let envelope = acme.proposal_envelope(globex.operator(), digest).unwrap();
        globex.ingest(&envelope).map_err(|error| error.code())
    };
    // Own ones count for nothing, nor those that were taken back, nor those that have expired.
    for _ in 0..64 {
        offer(&globex, clauses());
    }
    push(&globex, &acme);
    for _ in 0..64 {
        let digest = offer(&acme, clauses());
        hand_over(digest).unwrap();
        let reason = ReasonCode::literal("changed_mind");
        acme.end_contract(digest, reason).unwrap();
    }
    push(&acme, &globex);
    for _ in 0..64 {
        let brief = Clauses {
            expires: UnixMillis::new(NOW + 10),
            ..clauses()
        };
        let digest = offer(&acme, brief);
        hand_over(digest).unwrap();
        assert!(terms(digest).is_some());
    }
    world.clock.set(NOW + 10);
    for _ in 0..63 {
        let digest = offer(&acme, clauses());
        hand_over(digest).unwrap();
        assert!(terms(digest).is_some());
    }
    let last = offer(&acme, clauses());
    hand_over(last).unwrap();
    // Of those that are open there is no room for one more, until one is refused.
    let beyond = offer(&acme, clauses());
    assert_eq!(hand_over(beyond).unwrap_err(), "too_many_proposals");
    assert!(terms(beyond).is_none());
    let reason = ReasonCode::literal("no");
    globex.end_contract(last, reason).unwrap();
    hand_over(beyond).unwrap();
    globex.close().unwrap();
    drop(globex);
    let globex = open(&world, GLOBEX);
    globex.accept_contract(beyond).unwrap();
    assert_eq!(standing(&globex, beyond), Standing::InForce);
}

#[test]
fn nothing_is_said_of_contracts_while_too_much_is_not_acknowledged() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let digest = agree(&acme, &globex, clauses());
    while acme.waiting(globex.operator()) <= 384 {
        // Each leaves a request and an outcome.
        drop(ask(&acme, "read", PARAMETERS));
    }
    let before = acme.waiting(globex.operator());
    let refused = [
        acme.propose_contract(Terms::new(clauses()).unwrap()),
        acme.end_contract(digest, ReasonCode::literal("done")),
    ];
    for result in refused {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("channel_unacknowledged"), "{error}");
    }
    assert_eq!(acme.waiting(globex.operator()), before);
    assert_eq!(acme.contracts().len(), 1);
    // It is said once they have been acknowledged.
    push(&acme, &globex);
    globex
        .propose_contract(Terms::new(clauses()).unwrap())
        .unwrap();
    push(&globex, &acme);
    acme.end_contract(digest, ReasonCode::literal("done"))
        .unwrap();
}

#[test]
fn a_restart_keeps_contracts_and_their_terms() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let digest = agree(&acme, &globex, clauses());
    let open_proposal = propose(&globex, &acme, clauses()).digest;
    for side in [&acme, &globex] {
        side.close().unwrap();
    }
    drop((acme, globex));
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    for side in [&acme, &globex] {
        let kept = side.contract(digest).unwrap();
        assert_eq!(kept.standing, Standing::InForce);
        assert_eq!(kept.proposal.unwrap().by, name(ACME));
        assert_eq!(kept.acceptance.unwrap().by, name(GLOBEX));
        assert_eq!(standing(side, open_proposal), Standing::Proposed);
    }
    converse(&acme, &globex, "read", PARAMETERS);
    assert_eq!(
        refusal(outgoing(&acme, &call("delete", PARAMETERS))),
        "contract_action"
    );
    // Lost terms do not open the gate.
    acme.close().unwrap();
    drop(acme);
    support::tamper(&world.journal(ACME), "DELETE FROM terms");
    let acme = open(&world, ACME);
    assert_eq!(
        refusal(outgoing(&acme, &call("read", PARAMETERS))),
        "contract_unknown"
    );
}

#[test]
fn only_parties_make_contracts_and_only_their_own() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let code =
        |result: Result<Contract, counterfoil_enforcer::EnforcerError>| result.unwrap_err().code();
    let foreign = Clauses {
        asking: name("initech.example"),
        ..clauses()
    };
    assert_eq!(
        code(acme.propose_contract(Terms::new(foreign).unwrap())),
        "contract_parties"
    );
    let unknown = Clauses {
        asked: name("initech.example"),
        ..clauses()
    };
    assert_eq!(
        code(acme.propose_contract(Terms::new(unknown).unwrap())),
        "operator_unknown"
    );
    let past = Clauses {
        begins: UnixMillis::new(1),
        expires: UnixMillis::new(NOW),
        ..clauses()
    };
    assert_eq!(
        code(acme.propose_contract(Terms::new(past).unwrap())),
        "contract_expired"
    );
    let digest = propose(&acme, &globex, clauses()).digest;
    assert_eq!(code(acme.accept_contract(digest)), "contract_own");
    let nobody = ContentDigest::of(b"nobody");
    assert_eq!(code(globex.accept_contract(nobody)), "not_found");
    assert_eq!(
        code(globex.end_contract(nobody, ReasonCode::literal("x"))),
        "not_found"
    );
    // Without the terms nothing is accepted.
    let bare = acme
        .propose_contract(Terms::new(clauses()).unwrap())
        .unwrap();
    push(&acme, &globex);
    assert_eq!(
        code(globex.accept_contract(bare.digest)),
        "contract_terms_missing"
    );
    // They can be had, by the one that they are for.
    let terms = acme.terms_for(&name(GLOBEX), bare.digest).unwrap();
    assert_eq!(acme.terms_for(&name("initech.example"), bare.digest), None);
    // Others do not pass for them.
    let mut other = terms.clone();
    other.content = Terms::new(Clauses {
        notice: Millis::new(1),
        ..clauses()
    })
    .unwrap()
    .encoded()
    .to_vec();
    globex.take_terms(&name(ACME), &other).unwrap();
    assert_eq!(
        code(globex.accept_contract(bare.digest)),
        "contract_terms_missing"
    );
    globex.take_terms(&name(ACME), &terms).unwrap();
    globex.accept_contract(bare.digest).unwrap();
}

#[test]
fn a_server_can_require_a_contract() {
    let world = World::new();
    let required = |operator| {
        let mut settings = settings(&world, operator);
        settings.contracts.required = BTreeSet::from(["desk".parse().unwrap()]);
        Enforcer::open(settings).unwrap().0
    };
    let (acme, globex) = (open(&world, ACME), required(GLOBEX));
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let refused = incoming(&globex, &call("read", PARAMETERS), &envelope);
    assert_eq!(refusal(refused), "contract_missing");
    drop(permit);
    acme.close().unwrap();
    drop(acme);
    let acme = required(ACME);
    assert_eq!(
        refusal(outgoing(&acme, &call("read", PARAMETERS))),
        "contract_missing"
    );
    agree(&acme, &globex, clauses());
    converse(&acme, &globex, "read", PARAMETERS);
}

#[test]
fn the_admission_policy_comes_before_the_own_one() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let admission = |text: &str| Clauses {
        admission: Some(text.to_owned()),
        ..clauses()
    };
    // What the asked side cannot apply it does not agree to.
    let unfit = propose(&acme, &globex, admission("not a name")).digest;
    let error = globex.accept_contract(unfit).unwrap_err();
    assert_eq!(error.code(), "contract_admission_invalid");
    assert!(globex.contract(unfit).unwrap().admission_problem.is_some());
    let own = globex.propose_contract(Terms::new(admission("not a name")).unwrap());
    assert_eq!(own.unwrap_err().code(), "contract_admission_invalid");

    let digest = agree(&acme, &globex, admission("bot"));
    let permit = ask(&acme, "read", PARAMETERS);
    let envelope = permit.request_envelope().unwrap();
    let refused: Denial = denied(incoming(&globex, &call("read", PARAMETERS), &envelope));
    assert_eq!(refused.reason.as_str(), "contract_admission");
    assert!(refused.explanation.contains("not welcome"), "{refused:?}");
    let decision = last_decision(&world, GLOBEX);
    assert_eq!(decision.contract, Some(digest));
    assert!(decision.evaluation.input.is_some());
}

#[test]
fn budgets_of_the_relationship_are_reserved_and_settled_by_both() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let limited = Clauses {
        budgets: BTreeMap::from([(
            ("RISK_POINTS".parse().unwrap(), Millis::new(10_000)),
            Amount::new(2),
        )]),
        ..clauses()
    };
    let digest = agree(&acme, &globex, limited);
    let scope = format!("contract:{digest}/10000/{}", NOW / 10_000);
    converse(&acme, &globex, "read", PARAMETERS);
    for operator in [ACME, GLOBEX] {
        let all = records(&world, operator);
        let reserved = all
            .iter()
            .rev()
            .find(|record| !record.reservations().is_empty());
        let reservation = &reserved.unwrap().reservations()[0];
        assert_eq!(reservation.scope.as_str(), scope);
        assert_eq!(
            (reservation.amount.get(), reservation.remaining.get()),
            (1, 1)
        );
        let settled = all.iter().rev().find_map(|record| match &record.body {
            Body::Outcome(outcome) => Some(outcome.settlements.clone()),
            _ => None,
        });
        let settlement = &settled.unwrap()[0];
        assert_eq!(
            (settlement.committed.get(), settlement.remaining.get()),
            (1, 1)
        );
    }
    // What was not executed is given back; what is open is not there twice.
    drop(ask(&acme, "read", PARAMETERS));
    let second = ask(&acme, "read", PARAMETERS);
    assert_eq!(
        refusal(outgoing(&acme, &call("read", PARAMETERS))),
        "budget_exhausted"
    );
    drop(second);
    // A restart counts the same, and a new period begins full.
    let third = ask(&acme, "read", PARAMETERS);
    let _ = third.request_envelope();
    drop(third);
    acme.close().unwrap();
    drop(acme);
    let acme = open(&world, ACME);
    assert_eq!(
        refusal(outgoing(&acme, &call("read", PARAMETERS))),
        "budget_exhausted"
    );
    world.clock.set((NOW / 10_000 + 1) * 10_000);
    drop(ask(&acme, "read", PARAMETERS));
}

#[test]
fn what_must_be_disclosed_travels_and_is_demanded() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    let disclosing = Clauses {
        disclosures: BTreeSet::from([
            (Side::Asking, DisclosedField::EvaluationInput),
            (Side::Asking, DisclosedField::OnBehalfOf),
            (Side::Asked, DisclosedField::EvaluationInput),
        ]),
        ..clauses()
    };
    agree(&acme, &globex, disclosing);
    let request = Call {
        on_behalf_of: Some("jane".parse().unwrap()),
        ..call("read", PARAMETERS)
    };
    let permit = support::allowed(outgoing(&acme, &request));
    let envelope = permit.request_envelope().unwrap();
    let fields: Vec<_> = envelope.disclosures.iter().map(|each| each.field).collect();
    assert_eq!(
        fields,
        [DisclosedField::EvaluationInput, DisclosedField::OnBehalfOf]
    );
    let answering = support::allowed(incoming(&globex, &call("read", PARAMETERS), &envelope));
    let request_id = permit.record();
    let done = Completion {
        status: OutcomeStatus::Succeeded,
        result: Some(b"{}"),
    };
    let decision = answering.record();
    let back = answering.complete(done).unwrap().wait().unwrap().unwrap();
    assert_eq!(back.disclosures.len(), 1);
    let (_, pending) = permit.complete_with_answer(Some(&back), b"{}").unwrap();
    pending.wait().unwrap();
    let ours = JournalReader::open(&world.journal(ACME)).unwrap();
    assert_eq!(
        ours.disclosed(decision).unwrap()[0].salt,
        back.disclosures[0].salt
    );
    // The salts are kept beside what came; clear text is not, as the configuration says.
    globex.close().unwrap();
    let reader = JournalReader::open(&world.journal(GLOBEX)).unwrap();
    let kept = reader.disclosed(request_id).unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|opening| opening.content.is_none()));
    let all = reader.records(Sequence::new(0), 1_000).unwrap();
    let decided = all.iter().rev().find_map(|(sequence, bytes)| {
        let record = UnverifiedRecord::parse(bytes).unwrap();
        matches!(record.unverified_content().body, Body::Decision(_)).then_some(*sequence)
    });
    let (_, openings) = reader.record(decided.unwrap()).unwrap();
    assert!(
        openings
            .iter()
            .any(|opening| opening.field == DisclosedField::OnBehalfOf)
    );
    let globex = open(&world, GLOBEX);

    for hidden in [DisclosedField::EvaluationInput, DisclosedField::OnBehalfOf] {
        let permit = support::allowed(outgoing(&acme, &request));
        let mut envelope = permit.request_envelope().unwrap();
        envelope.disclosures.retain(|each| each.field != hidden);
        let refused = incoming(&globex, &call("read", PARAMETERS), &envelope);
        assert_eq!(refusal(refused), "disclosure_missing");
        // Nor does something else pass for it.
        let permit = support::allowed(outgoing(&acme, &request));
        let mut envelope = permit.request_envelope().unwrap();
        for each in &mut envelope.disclosures {
            if each.field == hidden {
                each.content = b"joe".to_vec();
            }
        }
        let refused = incoming(&globex, &call("read", PARAMETERS), &envelope);
        assert_eq!(refusal(refused), "disclosure_missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_can_ask_for_evidence_before_the_call() {
    let world = World::new();
    let (acme, globex) = (open(&world, ACME), open(&world, GLOBEX));
    agree(&acme, &globex, clauses());
    let parameters = br#"{"arguments":{"ticket":"T-9"}}"#;
    let write = || call("write", parameters);

    // Nobody seals: the evidence does not come, and nothing was executed.
    let mut late = ask(&acme, "write", parameters);
    assert!(late.needs_receipt());
    let error = late.attest(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.reason.as_str(), "evidence_late");
    let request = late.record();
    drop(late);
    // Queued after the outcome, and durable after it.
    acme.unacknowledged(globex.operator()).unwrap();
    let outcome = records(&world, ACME)
        .into_iter()
        .rev()
        .find_map(|record| match record.body {
            Body::Outcome(outcome) if outcome.decision == request => Some(outcome.status),
            _ => None,
        });
    assert_eq!(outcome, Some(OutcomeStatus::NotExecuted));

    // However long the batch interval is: the batch is closed for it.
    let sealing = Service::start(
        &acme,
        ServiceSettings {
            batch_interval: Duration::from_secs(86_400),
            log: None,
        },
    )
    .unwrap();
    let mut permit = ask(&acme, "write", parameters);
    permit.attest(Duration::from_secs(30)).await.unwrap();
    assert!(!permit.needs_receipt());
    let envelope = permit.request_envelope().unwrap();
    let mut without = envelope.clone();
    without.receipt = None;
    // Without it, or with that of another request, it is refused; each request is decided once.
    assert_eq!(
        refusal(incoming(&globex, &write(), &without)),
        "evidence_too_low"
    );
    let refused = last_decision(&world, GLOBEX);
    assert_eq!(refused.request.unwrap().evidence, Level::Signed);
    drop(permit);

    let mut second = ask(&acme, "write", parameters);
    second.attest(Duration::from_secs(30)).await.unwrap();
    let mut foreign = second.request_envelope().unwrap();
    foreign.receipt = envelope.receipt.clone();
    assert_eq!(
        refusal(incoming(&globex, &write(), &foreign)),
        "evidence_too_low"
    );
    drop(second);

    let mut third = ask(&acme, "write", parameters);
    third.attest(Duration::from_secs(30)).await.unwrap();
    let good = third.request_envelope().unwrap();
    drop(support::allowed(incoming(&globex, &write(), &good)));
    let decision = last_decision(&world, GLOBEX);
    assert_eq!(decision.request.unwrap().evidence, Level::Committed);
    assert_eq!(decision.request.unwrap().id, third.record());
    drop(third);
    sealing.stop().await;
}
