//! Public keys as COSE keys (RFC 9052 §7), for those who look them up.

use crate::cbor::Encoder;
use crate::keys::PublicKey;

/// A public key, named by its thumbprint. It names no algorithm: signatures of this key are
/// verified in the same way under both numbers.
pub fn cose_key(key: &PublicKey) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(96);
    write(&mut encoder, key);
    encoder.into_bytes()
}

/// A COSE key set.
pub fn cose_key_set(keys: &[&PublicKey]) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(96 * keys.len() + 8);
    encoder.array(keys.len());
    for key in keys {
        write(&mut encoder, key);
    }
    encoder.into_bytes()
}

fn write(encoder: &mut Encoder, key: &PublicKey) {
    encoder.map(|map| {
        map.key(1).unsigned(1); // kty: OKP
        map.key(2).bytes(key.thumbprint().as_bytes());
        map.key(-1).unsigned(6); // crv: Ed25519
        map.key(-2).bytes(key.as_bytes());
    });
}
