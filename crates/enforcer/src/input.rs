//! The bytes of an evaluation input, whose salted digest stands in the record.
//!
//! Whoever is given them and the policy set can run the evaluation again. Spec: records §6.

use counterfoil_protocol::cbor::Encoder;

use crate::policy::EvaluationInput;

/// Encodes an evaluation input.
pub(crate) fn encode(input: &EvaluationInput<'_>) -> Vec<u8> {
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
