//! The trust file: whom a verifier believes.
//!
//! It is a C2SP tlog-policy file with one more kind of line, `operator <vkey>`, which names an
//! operator and a root key that its first manifest must be signed with. Without those lines it is
//! a tlog-policy that any other tool reads.
//!
//! ```text
//! log <vkey of the log>
//! witness w1 <vkey>
//! witness w2 <vkey>
//! group both all w1 w2
//! quorum both
//! operator <vkey: operator name, root key>
//! ```
//!
//! Spec: receipts §4.

use std::collections::BTreeMap;

use counterfoil_tlog::note::{Algorithm, VerifierKey};
use counterfoil_tlog::policy::Policy;

use crate::failure::{Failure, FailureCode};
use crate::keys::PublicKey;
use crate::names::OperatorName;

/// The most bytes of a trust file: 1 MiB.
pub const MAX_BYTES: usize = 1 << 20;

/// Whom a verifier believes: logs, witnesses and their quorum, and operators' root keys.
#[derive(Clone, Debug)]
pub struct Trust {
    policy: Policy,
    operators: BTreeMap<OperatorName, Vec<PublicKey>>,
}

impl Trust {
    /// Parses a trust file.
    ///
    /// # Errors
    /// [`FailureCode::TrustMalformed`], naming the line.
    pub fn parse(file: &[u8]) -> Result<Self, Failure> {
        if file.len() > MAX_BYTES {
            return Err(malformed(format!("more than {MAX_BYTES} bytes")));
        }
        let mut operators: BTreeMap<OperatorName, Vec<PublicKey>> = BTreeMap::new();
        let mut rest = Vec::with_capacity(file.len());
        for (index, line) in file.split_inclusive(|&byte| byte == b'\n').enumerate() {
            // Only tab and space separate words, as in the lines of a tlog-policy.
            let mut words = line
                .strip_suffix(b"\n")
                .unwrap_or(line)
                .split(|byte| matches!(byte, b' ' | b'\t'))
                .filter(|word| !word.is_empty());
            if words.next() != Some(b"operator".as_slice()) {
                rest.extend_from_slice(line);
                continue;
            }
            let number = index + 1;
            if !line.ends_with(b"\n") {
                return Err(malformed(format!(
                    "line {number}: line does not end in a newline"
                )));
            }
            let (name, key) = match (words.next(), words.next()) {
                (Some(vkey), None) => operator(vkey)
                    .map_err(|detail| malformed(format!("line {number}: {detail}")))?,
                _ => {
                    return Err(malformed(format!(
                        "line {number}: expected `operator <vkey>`"
                    )));
                }
            };
            let keys = operators.entry(name).or_default();
            if keys.contains(&key) {
                return Err(malformed(format!("line {number}: the key stands twice")));
            }
            keys.push(key);
            // An empty line in its place keeps the line numbers of the policy parser right.
            rest.push(b'\n');
        }
        let policy = Policy::parse(&rest).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { policy, operators })
    }

    /// The logs, witnesses and quorum.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The same operators, believed under other logs and witnesses: those of a contract.
    #[must_use]
    pub fn under(&self, policy: Policy) -> Self {
        Self {
            policy,
            operators: self.operators.clone(),
        }
    }

    /// The trusted root keys of an operator.
    ///
    /// # Errors
    /// [`FailureCode::OperatorUnknown`] when there are none.
    pub fn roots(&self, operator: &OperatorName) -> Result<&[PublicKey], Failure> {
        self.operators
            .get(operator)
            .map(Vec::as_slice)
            .ok_or_else(|| {
                Failure::new(
                    FailureCode::OperatorUnknown,
                    format!("the trust file names no root key of operator `{operator}`"),
                )
            })
    }

    /// The operators the file names, in order.
    pub fn operators(&self) -> impl Iterator<Item = &OperatorName> {
        self.operators.keys()
    }
}

/// The vkey of an operator's root key, as a trust file names it.
///
/// # Errors
/// [`FailureCode::NameInvalid`] when the operator's name cannot be a key name, which a DNS name
/// always can.
pub fn operator_vkey(operator: &OperatorName, root: &PublicKey) -> Result<VerifierKey, Failure> {
    let name = operator
        .as_str()
        .parse()
        .map_err(|_| Failure::new(FailureCode::NameInvalid, format!("`{operator}`")))?;
    VerifierKey::new(name, Algorithm::Ed25519, root.as_bytes())
        .map_err(|error| Failure::new(FailureCode::KeyInvalid, error.to_string()))
}

fn operator(vkey: &[u8]) -> Result<(OperatorName, PublicKey), String> {
    let vkey = core::str::from_utf8(vkey).map_err(|_| "the vkey is not UTF-8".to_owned())?;
    let vkey = VerifierKey::parse(vkey).map_err(|error| error.to_string())?;
    if vkey.algorithm() != Algorithm::Ed25519 {
        return Err("the vkey is not of type 0x01 (Ed25519)".to_owned());
    }
    let name =
        OperatorName::new(vkey.name().as_str()).map_err(|failure| failure.detail().to_owned())?;
    let key =
        PublicKey::from_bytes(vkey.public_key()).map_err(|failure| failure.detail().to_owned())?;
    Ok((name, key))
}

fn malformed(detail: String) -> Failure {
    Failure::new(FailureCode::TrustMalformed, detail)
}
