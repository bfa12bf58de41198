//! The bytes of an evaluation input, whose salted digest stands in the record.
//!
//! Whoever is given them and the policy set can run the evaluation again. Spec: records §6.

use ciborium::Value;
use counterfoil_protocol::cbor::{Encoder, Fields, Limits, decode};
use counterfoil_protocol::disclosure::MAX_CONTENT_BYTES;
use counterfoil_protocol::names::{
    AgentName, OperatorName, PrincipalName, ServerName, SessionName, ToolName, Verb,
};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::{Failure, FailureCode};

use crate::policy::EvaluationInput;

/// An evaluation input that stands by itself: what a record disclosed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisclosedInput {
    /// The operator whose agent acts.
    pub operator: OperatorName,
    /// The agent that acts.
    pub agent: AgentName,
    /// On whose behalf, where it was known.
    pub on_behalf_of: Option<PrincipalName>,
    /// The agent's session, where it was known.
    pub session: Option<SessionName>,
    /// The server the call was meant for.
    pub server: ServerName,
    /// The protocol's method.
    pub verb: Verb,
    /// The tool or prompt name, or the resource address.
    pub tool: ToolName,
    /// The arguments: the bytes of one JSON value.
    pub arguments: Vec<u8>,
    /// The other operator, when the call crossed operators.
    pub counterparty: Option<OperatorName>,
    /// The time of the decision.
    pub time: UnixMillis,
}

impl DisclosedInput {
    /// Parses the bytes of an evaluation input.
    ///
    /// # Errors
    /// A CBOR or structure code, [`FailureCode::NameInvalid`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let value = decode(bytes, &Limits::untagged(MAX_CONTENT_BYTES))?;
        let mut fields = Fields::of(value, "the evaluation input")?;
        let input = Self {
            operator: OperatorName::new(text(fields.required(1)?)?)?,
            agent: AgentName::new(text(fields.required(2)?)?)?,
            on_behalf_of: optional(fields.optional(3), PrincipalName::new)?,
            session: optional(fields.optional(4), SessionName::new)?,
            server: ServerName::new(text(fields.required(5)?)?)?,
            verb: Verb::new(text(fields.required(6)?)?)?,
            tool: ToolName::new(text(fields.required(7)?)?)?,
            arguments: fields
                .required(8)?
                .into_bytes()
                .map_err(|_| wrong("the arguments are no byte string"))?,
            counterparty: optional(fields.optional(9), OperatorName::new)?,
            time: fields
                .required(10)?
                .into_integer()
                .ok()
                .and_then(|time| u64::try_from(time).ok())
                .map(UnixMillis::new)
                .ok_or_else(|| wrong("the time is no unsigned integer"))?,
        };
        fields.finish()?;
        Ok(input)
    }

    /// The input as a policy is asked about it.
    pub fn as_input(&self) -> EvaluationInput<'_> {
        EvaluationInput {
            operator: &self.operator,
            agent: &self.agent,
            on_behalf_of: self.on_behalf_of.as_ref(),
            session: self.session.as_ref(),
            server: &self.server,
            verb: &self.verb,
            tool: &self.tool,
            arguments: &self.arguments,
            counterparty: self.counterparty.as_ref(),
            time: self.time,
        }
    }
}

fn wrong(detail: &str) -> Failure {
    Failure::new(FailureCode::StructureWrongType, detail)
}

fn text(value: Value) -> Result<String, Failure> {
    value
        .into_text()
        .map_err(|_| wrong("a field of the evaluation input is no text"))
}

fn optional<T>(
    value: Option<Value>,
    new: fn(String) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    value.map(|value| text(value).and_then(new)).transpose()
}

/// Encodes an evaluation input: what [`DisclosedInput::parse`] reads.
pub fn encode(input: &EvaluationInput<'_>) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(input.arguments.len() + 256);
    encoder.map(|map| {
        map.key(1).text(input.operator.as_str());
        map.key(2).text(input.agent.as_str());
        map.optional(3, input.on_behalf_of, |encoder, name| {
            encoder.text(name.as_str());
        });
        map.optional(4, input.session, |encoder, name| {
            encoder.text(name.as_str());
        });
        map.key(5).text(input.server.as_str());
        map.key(6).text(input.verb.as_str());
        map.key(7).text(input.tool.as_str());
        map.key(8).bytes(input.arguments);
        map.optional(9, input.counterparty, |encoder, name| {
            encoder.text(name.as_str());
        });
        map.key(10).unsigned(input.time.get());
    });
    encoder.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_read_again() {
        let mut input = DisclosedInput {
            operator: "acme.example".parse().unwrap(),
            agent: "bot".parse().unwrap(),
            on_behalf_of: Some("maria".parse().unwrap()),
            session: None,
            server: "desk".parse().unwrap(),
            verb: "tools/call".parse().unwrap(),
            tool: "refund".parse().unwrap(),
            arguments: br#"{"cents":12}"#.to_vec(),
            counterparty: Some("globex.example".parse().unwrap()),
            time: UnixMillis::new(1_790_000_000_000),
        };
        let bytes = encode(&input.as_input());
        assert_eq!(DisclosedInput::parse(&bytes).unwrap(), input);
        input.session = Some("s".parse().unwrap());
        assert_ne!(DisclosedInput::parse(&bytes).unwrap(), input);
        // One bit anywhere is another input, or none.
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = DisclosedInput::parse(&flipped) {
                assert_eq!(encode(&read.as_input()), flipped);
            }
        }
    }
}
