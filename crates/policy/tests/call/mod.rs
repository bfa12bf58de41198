//! A call to put to a policy set, with everything a test does not care about filled in.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    unreachable_pub,
    reason = "the module is compiled into several test binaries"
)]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use counterfoil_enforcer::policy::{Allowed, Denied, Evaluation, EvaluationInput, Policy};
use counterfoil_policy::{PolicyError, PolicySet};
use counterfoil_protocol::numbers::UnixMillis;

pub fn load(files: &[(&str, &str)]) -> Result<PolicySet, PolicyError> {
    let owned = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
    PolicySet::from_sources(owned.collect())
}

#[derive(Clone, Debug)]
pub struct Call {
    pub operator: String,
    pub agent: String,
    pub on_behalf_of: Option<String>,
    pub session: Option<String>,
    pub server: String,
    pub verb: String,
    pub tool: String,
    pub arguments: Vec<u8>,
    pub counterparty: Option<String>,
    pub millis: u64,
}

impl Call {
    pub fn of(tool: &str, arguments: &str) -> Self {
        Self {
            operator: "acme.example".to_owned(),
            agent: "support-bot".to_owned(),
            on_behalf_of: None,
            session: None,
            server: "desk".to_owned(),
            verb: "tools/call".to_owned(),
            tool: tool.to_owned(),
            arguments: arguments.as_bytes().to_vec(),
            counterparty: None,
            millis: 1_780_000_000_000,
        }
    }

    pub fn evaluate(&self, policies: &PolicySet) -> Evaluation {
        policies.evaluate(&EvaluationInput {
            operator: &self.operator.parse().unwrap(),
            agent: &self.agent.parse().unwrap(),
            on_behalf_of: self
                .on_behalf_of
                .as_ref()
                .map(|text| text.parse().unwrap())
                .as_ref(),
            session: self
                .session
                .as_ref()
                .map(|text| text.parse().unwrap())
                .as_ref(),
            server: &self.server.parse().unwrap(),
            verb: &self.verb.parse().unwrap(),
            tool: &self.tool.parse().unwrap(),
            arguments: &self.arguments,
            counterparty: self
                .counterparty
                .as_ref()
                .map(|text| text.parse().unwrap())
                .as_ref(),
            time: UnixMillis::new(self.millis),
        })
    }

    pub fn allowed(&self, policies: &PolicySet) -> Allowed {
        match self.evaluate(policies) {
            Evaluation::Allow(allowed) => allowed,
            Evaluation::Deny(denied) => panic!("{self:?} denied: {denied:?}"),
        }
    }

    pub fn denied(&self, policies: &PolicySet) -> Denied {
        match self.evaluate(policies) {
            Evaluation::Deny(denied) => denied,
            Evaluation::Allow(allowed) => panic!("{self:?} allowed: {allowed:?}"),
        }
    }

    /// The reason code of a denial.
    pub fn reason(&self, policies: &PolicySet) -> String {
        self.denied(policies).reason.to_string()
    }
}
