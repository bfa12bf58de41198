//! Faults around the four parts.

use anyhow::{Context as _, Result};
use ciborium::Value;
use counterfoil_protocol::failure::FailureCode::{
    CborNotShortest, CborTag, CborTooLarge, CborTrailingBytes, CborTruncated, CoseHeader,
    CoseStructure, KeyUnknown, SignatureInvalid,
};

use counterfoil_protocol::keys::SigningKey;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest as _, Sha512};

use super::super::Case;
use super::super::edit::{Parts, bytes, encode, set};
use super::{REQUEST, parts, refused};
use crate::world::World;

/// Faults around the four parts.
pub(super) fn structure_faults(world: &World) -> Result<Vec<Case>> {
    let key = &world.acme_stream.key;
    let request = parts(world, REQUEST)?;
    let whole = request.object()?;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, object: Vec<u8>| {
        cases.push(refused(world, name, code, comment, object));
    };
    let array = |items: Vec<Value>| encode(&Value::Tag(18, Box::new(Value::Array(items))));
    let items = || request.items();

    let with_kid = Parts {
        unprotected: Value::Map(vec![(Value::from(4), bytes([7; 32]))]),
        ..request.clone()
    };
    add(
        "unprotected-not-empty",
        CoseHeader,
        "a kid that nobody signed",
        with_kid.object()?,
    );
    add(
        "untagged",
        CoseStructure,
        "no tag 18",
        encode(&Value::Array(items()))?,
    );
    add(
        "tag-cwt",
        CborTag,
        "tag 61 around the tag",
        encode(&Value::Tag(
            61,
            Box::new(Value::Tag(18, Box::new(Value::Array(items())))),
        ))?,
    );
    add(
        "tag-sign",
        CborTag,
        "tag 98, COSE_Sign",
        request.wrapped(98)?,
    );
    add(
        "three-parts",
        CoseStructure,
        "no signature",
        array(items().into_iter().take(3).collect())?,
    );
    add(
        "five-parts",
        CoseStructure,
        "one part more",
        array([items(), vec![Value::Null]].concat())?,
    );
    add(
        "payload-detached",
        CoseStructure,
        "null for a payload",
        array(spoilt(items(), 2, Value::Null))?,
    );
    add(
        "header-not-wrapped",
        CoseStructure,
        "the header's map itself",
        array(spoilt(items(), 0, Value::Map(Vec::new())))?,
    );
    add(
        "unprotected-null",
        CoseHeader,
        "null for the unprotected header",
        array(spoilt(items(), 1, Value::Null))?,
    );
    add(
        "signature-short",
        CoseStructure,
        "63 bytes",
        array(spoilt(items(), 3, bytes([0; 63])))?,
    );
    add("not-cose", CoseStructure, "a number", vec![0x01]);
    add(
        "trailing-byte",
        CborTrailingBytes,
        "a byte after the object",
        [whole.as_slice(), &[0]].concat(),
    );
    add(
        "truncated",
        CborTruncated,
        "the last byte is missing",
        whole.split_last().context("empty")?.1.to_vec(),
    );
    add(
        "tag-not-shortest",
        CborNotShortest,
        "tag 18 in two bytes",
        [&[0xd8, 0x12], whole.get(1..).context("empty")?].concat(),
    );
    let large = Parts {
        payload: vec![0; 65_500],
        ..request.clone()
    };
    add(
        "too-large",
        CborTooLarge,
        "more than 65,535 bytes",
        large.sign(key)?,
    );

    let mut flipped = request.clone();
    if let Some(byte) = flipped.signature.last_mut() {
        *byte ^= 1;
    }
    add(
        "signature-flipped",
        SignatureInvalid,
        "one bit",
        flipped.object()?,
    );
    let malleable = Parts {
        signature: plus_order(&request.signature),
        ..request.clone()
    };
    add(
        "signature-s-not-reduced",
        SignatureInvalid,
        "S plus the group order: the same to a lax verifier",
        malleable.object()?,
    );
    let of_small_order = Parts {
        signature: with_identity(&request, key)?,
        ..request.clone()
    };
    add(
        "signature-r-small-order",
        SignatureInvalid,
        "R is the identity, made with the key: the equation holds",
        of_small_order.object()?,
    );
    add(
        "signature-other-key",
        SignatureInvalid,
        "names acme's key, signed with globex's",
        request.clone().sign(&world.globex_stream.key)?,
    );
    let renamed = request.clone().header(|h| {
        set(
            h,
            4,
            bytes(*world.globex_stream.key.public().thumbprint().as_bytes()),
        )
    })?;
    add(
        "kid-other-key",
        KeyUnknown,
        "names globex's key, signed with acme's",
        renamed.sign(key)?,
    );
    let moved = request.payload(|p| set(p, 2, 4))?;
    add(
        "payload-changed",
        SignatureInvalid,
        "another sequence under the same signature",
        moved.object()?,
    );
    Ok(cases)
}

pub(super) fn spoilt(mut items: Vec<Value>, at: usize, value: Value) -> Vec<Value> {
    if let Some(item) = items.get_mut(at) {
        *item = value;
    }
    items
}

/// A signature that a key's owner can make without a nonce: R is the identity and S = H(R, A, M) a,
/// so that S B = R + H(R, A, M) A.
fn with_identity(parts: &Parts, key: &SigningKey) -> Result<Vec<u8>> {
    let mut r = [0; 32];
    r[0] = 1;
    let wide = |bytes: &[u8]| <[u8; 64]>::from(Sha512::digest(bytes));
    let secret = wide(&key.seed()[..]);
    let (half, _) = secret.split_first_chunk().context("a half")?;
    let a = Scalar::from_bytes_mod_order(clamp_integer(*half));
    let message = parts.signature_structure()?;
    let hashed = [&r[..], key.public().as_bytes(), &message].concat();
    let s = Scalar::from_bytes_mod_order_wide(&wide(&hashed)) * a;
    Ok([r, s.to_bytes()].concat())
}

/// R and S plus the order of the group, little end first.
pub(super) fn plus_order(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (r, s) = signature.split_at(32);
    let mut carry = 0_u16;
    let sum = s.iter().zip(ORDER).map(|(a, b)| {
        let digit = u16::from(*a) + u16::from(b) + carry;
        carry = digit >> 8;
        (digit & 0xff) as u8
    });
    r.iter().copied().chain(sum.collect::<Vec<_>>()).collect()
}
