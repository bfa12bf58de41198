use counterfoil_enforcer::input;
use counterfoil_enforcer::policy::EvaluationInput;
use counterfoil_protocol::digest::Salt;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::{PolicyId, ReasonCode};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::Decision;

use super::*;

const TIME: UnixMillis = UnixMillis::new(1_790_000_000_000);

/// What the policy says of a call of this tool, which is `search` or one that it does not know.
struct Denied<'a> {
    tool: &'static str,
    reason: &'static str,
    policies: &'a [&'static str],
    contract: Option<ContentDigest>,
}

impl Denied<'_> {
    /// Whether a decision that denies it follows.
    fn follows(&self) -> bool {
        let files = counterfoil_policy::sample().iter();
        let files = files.map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        let set = PolicySet::from_sources(files.collect()).unwrap();
        let policy_set = set.digest();
        let operator: OperatorName = "acme.example".parse().unwrap();
        let actor = Actor {
            operator: operator.clone(),
            agent: "support-bot".parse().unwrap(),
            on_behalf_of: None,
            session: None,
        };
        let action = Action {
            server: "desk".parse().unwrap(),
            verb: "tools/call".parse().unwrap(),
            tool: self.tool.parse().unwrap(),
            tier: None,
        };
        let content = input::encode(&EvaluationInput {
            operator: &operator,
            agent: &actor.agent,
            on_behalf_of: None,
            session: None,
            server: &action.server,
            verb: &action.verb,
            tool: &action.tool,
            arguments: br#"{"query":"x"}"#,
            counterparty: None,
            time: TIME,
        });
        let disclosure = Disclosure {
            field: DisclosedField::EvaluationInput,
            salt: Salt::from_bytes([1; 16]),
            content,
        };
        let policies = self.policies.iter().map(|id| PolicyId::literal(id));
        let record = Record {
            sequence: Sequence::new(9),
            previous: None,
            time: TIME,
            beacon: None,
            body: Body::Decision(Decision {
                channel: None,
                request: None,
                contract: self.contract,
                actor,
                action,
                parameters: ContentDigest::of(b"parameters"),
                evaluation: Evaluation {
                    verdict: Verdict::Deny,
                    reason: ReasonCode::literal(self.reason),
                    policies: policies.collect(),
                    policy_set,
                    input: Some(disclosure.digest()),
                },
                reservations: Vec::new(),
                attestations: Vec::new(),
            }),
        };
        let mut judge = Judge::new(vec![set]);
        let key = SigningKey::from_seed(&[1; 32].into()).unwrap();
        let decided = decided(&record, vec![&disclosure]).unwrap();
        let followed = judge.decide_again(key.public().thumbprint(), &decided);
        assert_eq!(judge.counts.decided_again, 1);
        followed.is_ok()
    }
}

#[test]
fn honest_denials_for_what_stands_in_no_policy_follow() {
    let contract = Some(ContentDigest::of(b"terms"));
    let denied = |tool, reason, policies, contract| Denied {
        tool,
        reason,
        policies,
        contract,
    };
    for (denied, follows) in [
        // The own policy allows it.
        (denied("search", "too_many_budgets", &[], None), true),
        (denied("search", "too_many_budgets", &[], contract), true),
        (denied("search", "contract_admission", &[], contract), true),
        (denied("search", "unknown_tool", &[], None), false),
        // The own policy denies it.
        (denied("dig", "unknown_tool", &[], None), true),
        (denied("dig", "contract_admission", &[], contract), true),
        (denied("dig", "contract_admission", &["x"], contract), false),
        (denied("dig", "contract_admission", &[], None), false),
        (denied("dig", "too_many_budgets", &[], contract), false),
        (denied("dig", "policy_forbids", &[], contract), false),
    ] {
        let said = format!("{} {}", denied.tool, denied.reason);
        assert_eq!(denied.follows(), follows, "{said} {:?}", denied.policies);
    }
}
