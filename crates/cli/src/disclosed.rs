//! The fields that can be disclosed, as commands name them.

use clap::ValueEnum;
use counterfoil_protocol::disclosure::DisclosedField;

/// A field that can be disclosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Field {
    /// The parameters, as they were sent.
    Parameters,
    /// The exact input of the policy evaluation. It holds the arguments and names the people.
    EvaluationInput,
    /// The result, as it came back.
    Result,
    /// The terms of the contract.
    Contract,
    /// The person or service on whose behalf the agent acts.
    OnBehalfOf,
    /// The agent's session.
    Session,
    /// All of them.
    All,
}

impl Field {
    /// The fields that these name, each once, in order.
    pub(crate) fn list(fields: &[Self]) -> Vec<DisclosedField> {
        let named = |field: &DisclosedField| {
            fields
                .iter()
                .any(|named| *named == Self::All || named.one() == Some(*field))
        };
        DisclosedField::ALL.into_iter().filter(named).collect()
    }

    const fn one(self) -> Option<DisclosedField> {
        Some(match self {
            Self::Parameters => DisclosedField::Parameters,
            Self::EvaluationInput => DisclosedField::EvaluationInput,
            Self::Result => DisclosedField::Result,
            Self::Contract => DisclosedField::Contract,
            Self::OnBehalfOf => DisclosedField::OnBehalfOf,
            Self::Session => DisclosedField::Session,
            Self::All => return None,
        })
    }
}
