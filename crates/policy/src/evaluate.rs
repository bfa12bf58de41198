//! One evaluation: input, Cedar request, verdict. Whatever goes wrong is a deny.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Context, Decision, Entities, Entity, EntityId, EntityUid, Request,
    Response, RestrictedExpression,
};
use counterfoil_enforcer::policy::{Allowed, Denied, Evaluation, EvaluationInput, Policy};
use counterfoil_protocol::Failure;
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::names::{PolicyId, ReasonCode};
use counterfoil_protocol::numbers::Amount;

use crate::arguments::shorten;
use crate::http;
use crate::json::Json;
use crate::rules::Rule;
use crate::schema::{TOOL_VERB, is_verb};
use crate::set::{Action, PolicySet};

/// What the admission policies of a contract are called in errors.
const ADMISSION_NAME: &str = "admission.cedar";

/// The reason codes that do not come from a policy, checked once at load.
#[derive(Debug)]
pub(crate) struct ReasonCodes {
    no_policy_allows: ReasonCode,
    policy_error: ReasonCode,
    policy_forbids: ReasonCode,
    policy_input_invalid: ReasonCode,
    unknown_tool: ReasonCode,
}

impl ReasonCodes {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            no_policy_allows: ReasonCode::new("no_policy_allows")?,
            policy_error: ReasonCode::new("policy_error")?,
            policy_forbids: ReasonCode::new("policy_forbids")?,
            policy_input_invalid: ReasonCode::new("policy_input_invalid")?,
            unknown_tool: ReasonCode::new("unknown_tool")?,
        })
    }
}

/// Why an action is not allowed.
#[derive(Debug)]
enum Refusal<'a> {
    /// Policies failed to evaluate, or the evaluation contradicts itself.
    Error {
        failed: Vec<&'a Rule>,
        explanation: String,
    },
    /// Policies forbid it.
    Forbidden(Vec<&'a Rule>),
    /// The call cannot be put to the policy.
    InputInvalid(String),
    /// No policy allows it.
    NotAllowed(String),
    /// The schema declares no such action.
    Unknown(String),
}

impl Policy for PolicySet {
    fn evaluate(&self, input: &EvaluationInput<'_>) -> Evaluation {
        let decided = self.find_action(input).and_then(|action| {
            let (request, entities) = self.request(action, input)?;
            let response = self
                .authorizer
                .is_authorized(&request, &action.policies, &entities);
            self.verdict(input, &response)
        });
        match decided {
            Ok(allowed) => Evaluation::Allow(allowed),
            Err(refusal) => Evaluation::Deny(self.denied(refusal)),
        }
    }

    fn digest(&self) -> ContentDigest {
        self.set_digest()
    }

    fn admission(&self, text: &str) -> Result<Arc<dyn Policy>, String> {
        match self.with_policies(ADMISSION_NAME, text) {
            Ok(set) => Ok(Arc::new(set)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl PolicySet {
    fn find_action(&self, input: &EvaluationInput<'_>) -> Result<&Action, Refusal<'_>> {
        let (verb, tool) = (input.verb.as_str(), input.tool.as_str());
        if http::is_method(verb)
            && let Some(action) = http::find(self.actions.iter(), verb, tool)
        {
            return Ok(action);
        }
        let (name, in_its_class) = if verb == TOOL_VERB {
            (tool, !is_verb(tool))
        } else {
            (verb, is_verb(verb))
        };
        let found = self.actions.get(name).filter(|_| in_its_class);
        found.ok_or_else(|| {
            let shown = shorten(name);
            Refusal::Unknown(if verb == TOOL_VERB {
                format!("the policy knows no tool `{shown}`{}", known(self.tools()))
            } else {
                format!("the policy knows no verb `{shown}`{}", known(self.verbs()))
            })
        })
    }

    /// The request, checked against the schema, and the entities it refers to.
    fn request(
        &self,
        action: &Action,
        input: &EvaluationInput<'_>,
    ) -> Result<(Request, Entities), Refusal<'static>> {
        let context = context(action, input)?;
        let agent = format!("{}/{}", input.operator, input.agent);
        let agent =
            EntityUid::from_type_name_and_id(self.types.agent.clone(), EntityId::new(agent));
        let server = EntityUid::from_type_name_and_id(
            self.types.server.clone(),
            EntityId::new(input.server.as_str()),
        );
        let mut attributes = HashMap::from([
            ("operator".to_owned(), text(input.operator.as_str())),
            ("name".to_owned(), text(input.agent.as_str())),
        ]);
        if let Some(principal) = input.on_behalf_of {
            attributes.insert("on_behalf_of".to_owned(), text(principal.as_str()));
        }
        if let Some(session) = input.session {
            attributes.insert("session".to_owned(), text(session.as_str()));
        }
        let unusable = |_| invalid("the call cannot be put to the policy".to_owned());
        let agent_entity = Entity::new(agent.clone(), attributes, HashSet::new())
            .map_err(|_| invalid("the agent cannot be put to the policy".to_owned()))?;
        let entities = action
            .hierarchy
            .clone()
            .add_entities([agent_entity, Entity::with_uid(server.clone())], None)
            .map_err(unusable)?;
        let request = Request::new(
            agent,
            action.uid.clone(),
            server,
            context,
            Some(&self.schema),
        )
        .map_err(|_| invalid("the call does not fit the policy's schema".to_owned()))?;
        Ok((request, entities))
    }

    fn verdict(
        &self,
        input: &EvaluationInput<'_>,
        response: &Response,
    ) -> Result<Allowed, Refusal<'_>> {
        // Cedar skips a policy that fails, a forbid included. We deny instead.
        let failed: Vec<&str> = response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id().as_ref())
            .collect();
        if !failed.is_empty() {
            let failed = self.rules(failed)?;
            let explanation = format!(
                "{} could not be evaluated, so the call is refused",
                listed(&failed)
            );
            return Err(Refusal::Error {
                failed,
                explanation,
            });
        }
        let rules = self.rules(response.diagnostics().reason().map(AsRef::as_ref))?;
        match response.decision() {
            Decision::Allow if rules.is_empty() => Err(contradiction()),
            Decision::Allow => Ok(Allowed {
                policies: ids(&rules),
                tier: rules
                    .iter()
                    .filter_map(|rule| rule.tier.as_ref())
                    .max()
                    .map(|ranked| ranked.tier.clone()),
                points: rules
                    .iter()
                    .map(|rule| rule.points)
                    .max()
                    .unwrap_or(Amount::new(0)),
            }),
            Decision::Deny if rules.is_empty() => Err(Refusal::NotAllowed(format!(
                "no policy allows agent `{}/{}` to do `{}` with `{}`",
                input.operator,
                input.agent,
                input.verb,
                shorten(input.tool.as_str())
            ))),
            Decision::Deny => Err(Refusal::Forbidden(rules)),
        }
    }

    /// The rules with these ids, sorted by id and each once.
    fn rules<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<Vec<&Rule>, Refusal<'_>> {
        let found: Option<BTreeMap<&str, &Rule>> = ids
            .into_iter()
            .map(|id| Some((id, self.rules.get(id)?)))
            .collect();
        found
            .map(|rules| rules.into_values().collect())
            .ok_or_else(contradiction)
    }

    #[cold]
    fn denied(&self, refusal: Refusal<'_>) -> Denied {
        let codes = &self.reason_codes;
        let (reason, rules, explanation) = match refusal {
            Refusal::Error {
                failed,
                explanation,
            } => (&codes.policy_error, failed, explanation),
            Refusal::Forbidden(rules) => {
                let given = rules.iter().find_map(|rule| rule.reason.as_ref());
                let explanation = format!("refused by {}", listed(&rules));
                (given.unwrap_or(&codes.policy_forbids), rules, explanation)
            }
            Refusal::InputInvalid(text) => (&codes.policy_input_invalid, Vec::new(), text),
            Refusal::NotAllowed(text) => (&codes.no_policy_allows, Vec::new(), text),
            Refusal::Unknown(text) => (&codes.unknown_tool, Vec::new(), text),
        };
        Denied {
            reason: reason.clone(),
            policies: ids(&rules),
            explanation,
            instead: rules.iter().find_map(|rule| rule.instead.clone()),
        }
    }
}

fn context(action: &Action, input: &EvaluationInput<'_>) -> Result<Context, Refusal<'static>> {
    let json = Json::parse(input.arguments).map_err(|error| {
        invalid(format!(
            "the call's arguments are not one strict JSON value: {error}"
        ))
    })?;
    let shown = if action.is_route {
        http::shown(json)
    } else if input.verb.as_str() == TOOL_VERB {
        json
    } else {
        let name = Json::Text(input.tool.as_str().to_owned());
        Json::Object(BTreeMap::from([("name".to_owned(), name)]))
    };
    let arguments = action.arguments.convert(shown).map_err(invalid)?;
    let now = i64::try_from(input.time.get())
        .map_err(|_| invalid("the time is out of range".to_owned()))?;
    let mut call = vec![("now".to_owned(), RestrictedExpression::new_long(now))];
    call.extend(
        input
            .counterparty
            .map(|name| ("counterparty".to_owned(), text(name.as_str()))),
    );
    let unusable = || invalid("the call cannot be put to the policy".to_owned());
    let call = RestrictedExpression::new_record(call).map_err(|_| unusable())?;
    Context::from_pairs([
        ("arguments".to_owned(), arguments),
        ("call".to_owned(), call),
    ])
    .map_err(|_| unusable())
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn ids(rules: &[&Rule]) -> Vec<PolicyId> {
    rules.iter().map(|rule| rule.id.clone()).collect()
}

/// "policy `a`" or "policies `a`, `b`".
fn listed(rules: &[&Rule]) -> String {
    let ids: Vec<_> = rules.iter().map(|rule| format!("`{}`", rule.id)).collect();
    let word = if ids.len() == 1 { "policy" } else { "policies" };
    format!("{word} {}", ids.join(", "))
}

/// The first few names that an agent could have meant.
fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<_> = names.map(|name| format!("`{}`", shorten(name))).collect();
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        _ if names.is_empty() => String::new(),
        0 => format!("; it knows {}", shown.join(", ")),
        more => format!("; it knows {} and {more} more", shown.join(", ")),
    }
}

const fn invalid<'a>(explanation: String) -> Refusal<'a> {
    Refusal::InputInvalid(explanation)
}

/// Cedar's answer does not fit the policies it was given; this cannot happen, and denies.
fn contradiction<'a>() -> Refusal<'a> {
    let explanation = "the verdict does not follow from the policies".to_owned();
    Refusal::Error {
        failed: Vec::new(),
        explanation,
    }
}
