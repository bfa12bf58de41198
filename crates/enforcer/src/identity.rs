//! The operator and the key that an enforcer signs with.

use counterfoil_protocol::digest::KeyThumbprint;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::OperatorName;

/// Who signs, and with what.
#[derive(Debug)]
pub(crate) struct SigningIdentity {
    pub(crate) operator: OperatorName,
    pub(crate) kid: KeyThumbprint,
    pub(crate) key: SigningKey,
}
