//! Names and short texts with limits, checked once.
//!
//! Spec: records §4 (limits).

use core::fmt;

use crate::failure::{Failure, FailureCode};

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The most bytes of UTF-8 it may have.
            pub const MAX_BYTES: usize = $max;

            /// Checks and wraps a text.
            ///
            /// # Errors
            /// [`FailureCode::NameInvalid`] when it is empty, too long, or holds a character that
            /// this kind of name may not have.
            pub fn new(text: impl Into<String>) -> Result<Self, Failure> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if text.is_empty() || text.len() > Self::MAX_BYTES || !valid(&text) {
                    let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
                    return Err(Failure::new(
                        FailureCode::NameInvalid,
                        format!("`{shown}` is not a valid {}", $what),
                    ));
                }
                Ok(Self(text))
            }

            /// Wraps a literal of the program, which debug builds check.
            pub fn literal(text: &'static str) -> Self {
                debug_assert!(Self::new(text).is_ok(), "`{text}` is not a valid name");
                Self(text.to_owned())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl core::str::FromStr for $name {
            type Err = Failure;

            fn from_str(text: &str) -> Result<Self, Failure> {
                Self::new(text)
            }
        }
    };
}

text_type! {
    /// The name of an operator: a lower-case DNS name, such as `acme.example`.
    OperatorName, "operator name (a lower-case DNS name)", 253, is_dns_name
}
text_type! {
    /// The name of an agent within its operator.
    AgentName, "agent name", 256, is_printable
}
text_type! {
    /// On whose behalf an agent acts, as the operator names the person or service.
    PrincipalName, "principal name", 256, is_printable
}
text_type! {
    /// An agent's session, as the operator names it.
    SessionName, "session name", 256, is_printable
}
text_type! {
    /// The server a call is meant for, as the called operator names it.
    ServerName, "server name", 256, is_printable
}
text_type! {
    /// What is done: the protocol's method, such as `tools/call`.
    Verb, "verb", 128, is_printable
}
text_type! {
    /// What it is done with: the name of a tool or prompt, or the address of a resource.
    ToolName, "tool name", 1024, is_printable
}
text_type! {
    /// The risk tier of an action, as the policy names it.
    Tier, "risk tier", 64, is_identifier
}
text_type! {
    /// The id of a policy.
    PolicyId, "policy id", 256, is_printable
}
text_type! {
    /// A stable machine-readable reason for a verdict, such as `no_policy_allows`.
    ReasonCode, "reason code", 64, is_identifier
}
text_type! {
    /// What kind of evidence an external attestation is: a media type or a URI.
    AttestationKind, "kind of attestation", 256, is_uri_text
}
text_type! {
    /// Where an external attestation can be had: a URI.
    Location, "location", 2048, is_uri_text
}
text_type! {
    /// What a budget covers, such as `agent:support-bot`.
    Scope, "ledger scope", 1100, is_printable
}
text_type! {
    /// The unit of a ledger amount, such as `RISK_POINTS`.
    Unit, "ledger unit", 32, is_unit
}
text_type! {
    /// How to reach whoever may be asked when a party's agents may not decide alone.
    Contact, "contact", 256, is_printable
}

/// Printable ASCII without blanks: what URIs and media types are made of.
fn is_uri_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_dns_name(text: &str) -> bool {
    text.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn is_identifier(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_unit(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_names_are_lower_case_dns_names() {
        for good in ["acme", "acme.example", "a-b.c1.example"] {
            assert!(OperatorName::new(good).is_ok(), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            "Acme",
            "acme..example",
            ".acme",
            "acme.",
            "-acme",
            "acme-",
            "a_b",
            "é",
            &long,
        ] {
            assert_eq!(
                OperatorName::new(bad).unwrap_err().code(),
                FailureCode::NameInvalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn names_refuse_control_characters_and_excess() {
        assert!(AgentName::new("support bot 7").is_ok());
        assert!(AgentName::new("a\nb").is_err());
        assert!(AgentName::new("x".repeat(257)).is_err());
        assert!(ReasonCode::new("No").is_err());
    }
}
