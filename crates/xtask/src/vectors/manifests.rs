//! Manifests, alone and as links of a chain.

use anyhow::{Context as _, Result, bail};
use ciborium::Value;
use counterfoil_protocol::digest::ManifestDigest;
use counterfoil_protocol::failure::FailureCode::{
    self, KeyInvalid, ManifestChainBroken, RecordTimeMismatch, SignatureInvalid,
    StructureMissingField, StructureOutOfRange, StructureUnknownField, StructureWrongType,
};
use counterfoil_protocol::keys::SigningKey;
use counterfoil_tlog::ed25519::{Ed25519Error, check_public_key};

use super::Case;
use super::edit::{Entries, Parts, bytes, remove, set, to_hex};
use crate::world::{World, keys};

const OBJECT: &str = "manifest";

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let acme = &world.acme;
    let trusted = to_hex(acme.root.public().as_bytes());
    let mut cases = Vec::new();
    for (name, number, comment) in [
        (
            "first",
            0,
            "version 1, signed by a root key that it lists itself",
        ),
        (
            "rotation",
            1,
            "version 2, signed by the root of version 1; new root, second enforcer key",
        ),
        ("revocation", 2, "version 3 revokes the first enforcer key"),
    ] {
        let manifest = world
            .acme_manifests
            .get(number)
            .context("no such version")?;
        let case = Case::success(OBJECT, name, comment, manifest.bytes.clone())
            .with("digest", ManifestDigest::of(&manifest.bytes));
        cases.push(match number {
            0 => case.with("trusted", trusted.clone()),
            1 => case.with("before", "manifest/first"),
            _ => case.with("before", "manifest/rotation"),
        });
    }
    cases.extend(alone(world, &trusted)?);
    cases.extend(chained(world, &trusted)?);
    Ok(cases)
}

/// Thumbprints that nobody has, in the order of these numbers.
fn revocations(numbers: impl IntoIterator<Item = u16>) -> Value {
    let thumbprint = |number: u16| {
        let mut thumbprint = [7; 32];
        let [high, low] = number.to_be_bytes();
        (thumbprint[0], thumbprint[1]) = (high, low);
        bytes(thumbprint)
    };
    Value::Array(numbers.into_iter().map(thumbprint).collect())
}

fn parts(world: &World, number: usize) -> Result<Parts> {
    Parts::of(
        &world
            .acme_manifests
            .get(number)
            .context("no such version")?
            .bytes,
    )
}

/// Faults of a first version.
fn alone(world: &World, trusted: &str) -> Result<Vec<Case>> {
    let root = &world.acme.root;
    let first = parts(world, 0)?;
    let mut cases = Vec::new();
    let mut add = |name: &str, code: FailureCode, comment: &str, object: Vec<u8>| {
        cases.push(Case::refused(OBJECT, name, code, comment, object).with("trusted", trusted));
    };
    let payload = |edit: &dyn Fn(&mut Entries)| first.clone().payload(edit)?.sign(root);
    let keys_of = |keys: &[[u8; 32]]| Value::Array(keys.iter().map(|key| bytes(*key)).collect());

    let mut identity = [0_u8; 32];
    identity[0] = 1;
    let mut non_canonical = [0xff_u8; 32];
    non_canonical[0] = 0xee;
    non_canonical[31] = 0x7f;
    let mut off_curve = [0_u8; 32];
    off_curve[0] = 2;
    for (name, comment, key) in [
        (
            "key-small-order",
            "the identity: anyone can sign for it",
            identity,
        ),
        (
            "key-not-canonical",
            "a second spelling of a point",
            non_canonical,
        ),
        ("key-not-a-point", "no point of the curve", off_curve),
        (
            "key-mixed-order",
            "a point outside the prime-order group",
            mixed_order()?,
        ),
    ] {
        add(
            name,
            KeyInvalid,
            comment,
            payload(&|p| set(p, 5, keys_of(&[key])))?,
        );
    }
    let mut two = [
        *world.acme.enforcer.public().as_bytes(),
        *world.acme.next_enforcer.public().as_bytes(),
    ];
    two.sort_unstable();
    let [low, high] = two;
    add(
        "key-short",
        StructureWrongType,
        "31 bytes",
        payload(&|p| set(p, 5, Value::Array(vec![bytes([7; 31])])))?,
    );
    add(
        "keys-unsorted",
        StructureOutOfRange,
        "the larger key first",
        payload(&|p| set(p, 5, keys_of(&[high, low])))?,
    );
    add(
        "key-twice",
        StructureOutOfRange,
        "one key, listed twice",
        payload(&|p| set(p, 5, keys_of(&[low, low])))?,
    );
    add(
        "no-root",
        StructureOutOfRange,
        "nobody could sign the next version",
        payload(&|p| set(p, 4, keys_of(&[])))?,
    );
    add(
        "version-zero",
        StructureOutOfRange,
        "versions begin at 1",
        payload(&|p| set(p, 1, 0))?,
    );
    add(
        "roots-missing",
        StructureMissingField,
        "no field 4",
        payload(&|p| remove(p, 4))?,
    );
    add(
        "field-unknown",
        StructureUnknownField,
        "field 8",
        payload(&|p| set(p, 8, 1))?,
    );
    add(
        "exchange-file",
        StructureOutOfRange,
        "an address that is not http or https",
        payload(&|p| set(p, 6, "file:///etc"))?,
    );
    add(
        "exchange-too-long",
        StructureOutOfRange,
        "2,049 bytes",
        payload(&|p| set(p, 6, format!("https://{}", "a".repeat(2041))))?,
    );
    add(
        "exchange-blank",
        StructureOutOfRange,
        "an address with a blank",
        payload(&|p| set(p, 6, "https://a b"))?,
    );
    add(
        "revoked-too-many",
        StructureOutOfRange,
        "257 revocations",
        payload(&|p| set(p, 7, revocations(0..257)))?,
    );
    add(
        "revoked-unsorted",
        StructureOutOfRange,
        "the larger thumbprint first",
        payload(&|p| set(p, 7, revocations([2, 1])))?,
    );
    add(
        "revoked-twice",
        StructureOutOfRange,
        "one thumbprint, listed twice",
        payload(&|p| set(p, 7, revocations([1, 1])))?,
    );
    add(
        "first-with-predecessor",
        ManifestChainBroken,
        "version 1 names one",
        payload(&|p| set(p, 2, bytes([5; 32])))?,
    );
    add(
        "iat-other-second",
        RecordTimeMismatch,
        "iat is not the manifest's time",
        first.clone().header_map(15, |c| set(c, 6, 1))?.sign(root)?,
    );

    let mut flipped = first.clone();
    if let Some(byte) = flipped.signature.first_mut() {
        *byte ^= 1;
    }
    add(
        "signature-flipped",
        SignatureInvalid,
        "one bit",
        flipped.object()?,
    );
    add(
        "signed-by-enforcer",
        ManifestChainBroken,
        "an enforcer key is no root key",
        renamed(&first, &world.acme.enforcer)?,
    );
    let foreign = renamed(
        &first
            .clone()
            .payload(|p| set(p, 4, keys_of(&[*world.globex.root.public().as_bytes()])))?,
        &world.globex.root,
    )?;
    add(
        "root-not-trusted",
        ManifestChainBroken,
        "signed by a root key that it lists, which is not the trusted one",
        foreign,
    );
    let second = parts(world, 1)?.object()?;
    add(
        "later-version-as-first",
        ManifestChainBroken,
        "version 2 does not begin a chain",
        second,
    );
    let relisted = parts(world, 1)?
        .payload(|p| set(p, 4, keys_of(&[*root.public().as_bytes()])))?
        .sign(root)?;
    add(
        "later-version-signed-by-trusted-root",
        ManifestChainBroken,
        "version 2, signed by a trusted root key that it lists",
        relisted,
    );
    Ok(cases)
}

/// Faults of a later version.
fn chained(world: &World, trusted: &str) -> Result<Vec<Case>> {
    let acme = &world.acme;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, before: &str, object: Vec<u8>| {
        cases.push(Case::refused(OBJECT, name, code, comment, object).with("before", before));
    };
    let second = |edit: &dyn Fn(&mut Entries)| parts(world, 1)?.payload(edit)?.sign(&acme.root);
    add(
        "later-without-predecessor",
        ManifestChainBroken,
        "version 2 names none",
        "manifest/first",
        second(&|p| set(p, 2, Value::Null))?,
    );
    add(
        "version-skipped",
        ManifestChainBroken,
        "version 3 after version 1",
        "manifest/first",
        second(&|p| set(p, 1, 3))?,
    );
    add(
        "predecessor-other",
        ManifestChainBroken,
        "names another version 1",
        "manifest/first",
        second(&|p| set(p, 2, bytes([5; 32])))?,
    );
    let other = parts(world, 1)?.header_map(15, |c| set(c, 1, "globex.example"))?;
    add(
        "operator-other",
        ManifestChainBroken,
        "version 2 of another operator",
        "manifest/first",
        other.sign(&acme.root)?,
    );
    let own = renamed(&parts(world, 1)?, &acme.next_root)?;
    add(
        "signed-by-own-root",
        ManifestChainBroken,
        "signed by the root it brings in, not by the one before",
        "manifest/first",
        own,
    );
    let third = renamed(&parts(world, 2)?, &acme.root)?;
    add(
        "signed-by-former-root",
        ManifestChainBroken,
        "signed by the root of version 1",
        "manifest/rotation",
        third,
    );

    // Version 4 follows version 3 in all but that it takes a revocation back.
    let revocation = world.acme_manifests.get(2).context("no such version")?;
    let restored = parts(world, 2)?
        .payload(|p| {
            set(p, 1, 4);
            set(
                p,
                2,
                bytes(*ManifestDigest::of(&revocation.bytes).as_bytes()),
            );
            set(p, 7, Value::Array(Vec::new()));
        })?
        .sign(&acme.next_root)?;
    add(
        "revocation-dropped",
        ManifestChainBroken,
        "a revocation is final",
        "manifest/revocation",
        restored,
    );

    // A version that revokes its own root, and one signed by that root.
    let suicidal = parts(world, 0)?
        .payload(|p| {
            set(
                p,
                7,
                Value::Array(vec![bytes(*acme.root.public().thumbprint().as_bytes())]),
            )
        })?
        .sign(&acme.root)?;
    cases.push(
        Case::success(
            OBJECT,
            "first-revoking-its-root",
            "nothing can follow it",
            suicidal.clone(),
        )
        .with("trusted", trusted)
        .with("digest", ManifestDigest::of(&suicidal)),
    );
    let after = parts(world, 1)?
        .payload(|p| {
            set(p, 2, bytes(*ManifestDigest::of(&suicidal).as_bytes()));
            set(
                p,
                7,
                Value::Array(vec![bytes(*acme.root.public().thumbprint().as_bytes())]),
            );
        })?
        .sign(&acme.root)?;
    cases.push(
        Case::refused(
            OBJECT,
            "signed-by-revoked-root",
            ManifestChainBroken,
            "the root before it is revoked",
            after,
        )
        .with("before", "manifest/first-revoking-its-root"),
    );
    Ok(cases)
}

/// The object signed by another key, which its header names.
fn renamed(parts: &Parts, key: &SigningKey) -> Result<Vec<u8>> {
    parts
        .clone()
        .header(|h| set(h, 4, bytes(*key.public().thumbprint().as_bytes())))?
        .sign(key)
}

/// A point with a torsion component. Seven of eight points have one.
fn mixed_order() -> Result<[u8; 32]> {
    for attempt in 0..64 {
        let candidate = keys::seed(&format!("point {attempt}"));
        if check_public_key(&candidate) == Err(Ed25519Error::MixedOrder) {
            return Ok(candidate);
        }
    }
    bail!("no point of mixed order among 64 candidates")
}
