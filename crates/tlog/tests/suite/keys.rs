//! Ed25519 key and signature checks, verifier keys, signer keys.

use counterfoil_tlog::ed25519::{Ed25519Error, check_public_key, verify};
use counterfoil_tlog::note::{Algorithm, KeyError, KeyId, KeyName, SignerKey, VerifierKey};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::model;

const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const GO_SECRET: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

/// From the signed-note specification, the Go checksum database, Go's note package, and the
/// transparency-dev witnesses (whose key has type 0x04). One base64 part begins after a `+` of its
/// own.
#[test]
fn published_verifier_keys_parse_and_print() {
    for (text, algorithm) in [
        (SPEC_KEY, Algorithm::Ed25519),
        (
            "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
            Algorithm::Ed25519,
        ),
        (
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            Algorithm::Ed25519,
        ),
        (
            "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
            Algorithm::Ed25519,
        ),
        (
            "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
            Algorithm::CosignatureEd25519,
        ),
    ] {
        let key = VerifierKey::parse(text).unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(
            key.id(),
            KeyId::compute(key.name(), algorithm, key.public_key())
        );
    }
}

#[test]
fn malformed_verifier_keys_are_refused() {
    let material = "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    for (text, expected) in [
        ("".to_owned(), KeyError::Form),
        ("example.com/foo".to_owned(), KeyError::Form),
        ("example.com/foo+530d903a".to_owned(), KeyError::Form),
        (format!("+530d903a+{material}"), KeyError::Name),
        (
            format!("example.com/f o+530d903a+{material}"),
            KeyError::Name,
        ),
        (
            format!("example.com/foo+530D903A+{material}"),
            KeyError::IdText,
        ),
        (
            format!("example.com/foo+0530d903a+{material}"),
            KeyError::IdText,
        ),
        (
            format!("example.com/foo+30d903a+{material}"),
            KeyError::IdText,
        ),
        (
            format!("example.com/foo+530d903b+{material}"),
            KeyError::IdMismatch,
        ),
        (
            format!("example.com/bar+530d903a+{material}"),
            KeyError::IdMismatch,
        ),
        (
            format!("example.com/foo+530d903a+{material}\n"),
            KeyError::Base64,
        ),
        (
            format!("example.com/foo+530d903a+{material}="),
            KeyError::Base64,
        ),
        ("example.com/foo+530d903a+".to_owned(), KeyError::Length),
        ("example.com/foo+530d903a+AQ==".to_owned(), KeyError::Length),
        (
            format!("example.com/foo+530d903a+{material}AAAA"),
            KeyError::Length,
        ),
        (
            format!("example.com/foo+530d903a+Ae{}", &material[3..]),
            KeyError::Base64,
        ),
        (
            format!("example.com/foo+530d903a+Bu{}", &material[2..]),
            KeyError::UnsupportedType(6),
        ),
        (
            format!("example.com/foo+530d903a+Au{}", &material[2..]),
            KeyError::UnsupportedType(2),
        ),
    ] {
        assert_eq!(VerifierKey::parse(&text), Err(expected), "{text:?}");
    }
}

#[test]
fn key_names_follow_the_rules() {
    assert!(KeyName::parse(&"a".repeat(255)).is_ok());
    assert!(KeyName::parse("oid/1.3.6.1").is_ok());
    assert!(KeyName::parse("bücher.example/log").is_ok());
    let long = "a".repeat(256);
    for refused in [
        "",
        "a b",
        "a+b",
        "a\tb",
        "a\n",
        "a\r",
        "a\u{a0}b",
        "a\u{2003}b",
        "\u{3000}",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{1680}b",
        "a\u{0}b",
        "a\u{1f}b",
        &long,
    ] {
        assert_eq!(KeyName::parse(refused), Err(KeyError::Name), "{refused:?}");
    }
}

#[test]
fn the_go_private_key_text_round_trips() {
    let key = SignerKey::parse(GO_SECRET).unwrap();
    assert_eq!(key.to_secret_text().as_str(), GO_SECRET);
    assert_eq!(
        key.verifier().to_string(),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    );
    let cosigner = model::witness_key(1);
    let again = SignerKey::parse(&cosigner.to_secret_text()).unwrap();
    assert_eq!(again.verifier(), cosigner.verifier());

    for (text, expected) in [
        (GO_SECRET.replace("PRIVATE", "PUBLIC"), KeyError::Form),
        (
            GO_SECRET.replace("c74f20a3", "c74f20a4"),
            KeyError::IdMismatch,
        ),
        (
            GO_SECRET.replace("AYEK", "BoEK"),
            KeyError::UnsupportedType(6),
        ),
        (format!("{GO_SECRET}AAAA"), KeyError::Length),
        (format!("{GO_SECRET}\n"), KeyError::Base64),
    ] {
        assert_eq!(SignerKey::parse(&text).err(), Some(expected));
    }
}

#[test]
fn debug_text_of_a_signer_key_has_no_secret() {
    let key = SignerKey::from_seed(model::name("a"), Algorithm::Ed25519, &[0xab; 32]);
    let debug = format!("{key:?}");
    assert!(!debug.contains("171, 171"), "{debug}");
    assert!(!debug.to_lowercase().contains("abababab"), "{debug}");
    assert!(!debug.contains("q6ur"), "{debug}");
}

/// The eight points of small order in their canonical form (the torsion subgroup).
fn small_order_points() -> Vec<[u8; 32]> {
    let order_8 = [
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    ];
    let mut points: Vec<[u8; 32]> = order_8.map(bytes).to_vec();
    let mut identity = [0; 32];
    identity[0] = 1;
    points.push(identity);
    points.push([0; 32]);
    let mut other = [0; 32];
    other[31] = 0x80;
    points.push(other);
    points.push(bytes(
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ));
    points
}

fn bytes(hex: &str) -> [u8; 32] {
    core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

#[test]
fn keys_of_small_order_are_refused() {
    for point in small_order_points() {
        assert_eq!(
            check_public_key(&point),
            Err(Ed25519Error::SmallOrder),
            "{point:02x?}"
        );
    }
}

#[test]
fn second_spellings_of_a_key_are_refused() {
    // y and y + p, for the y below 19 that are on the curve.
    let mut refused = 0;
    for y in 0..19u8 {
        for sign in [0x00, 0x80] {
            let mut second = [0xff; 32];
            second[0] = 0xed + y;
            second[31] = 0x7f | sign;
            match check_public_key(&second) {
                Err(Ed25519Error::NotCanonical) => refused += 1,
                other => assert_eq!(other, Err(Ed25519Error::NotAPoint)),
            }
        }
    }
    assert!(refused > 10, "{refused}");
    // The identity with the sign of zero set.
    let mut negative_zero = [0; 32];
    negative_zero[0] = 1;
    negative_zero[31] = 0x80;
    assert_eq!(
        check_public_key(&negative_zero),
        Err(Ed25519Error::NotCanonical)
    );
}

#[test]
fn keys_with_a_torsion_component_are_refused() {
    let honest = SigningKey::from_bytes(&[3; 32]).verifying_key();
    assert_eq!(check_public_key(honest.as_bytes()), Ok(honest));
    for point in small_order_points() {
        let torsion = VerifyingKey::from_bytes(&point).unwrap().to_edwards();
        let mixed = (honest.to_edwards() + torsion).compress().to_bytes();
        let expected = if mixed == *honest.as_bytes() {
            Ok(honest)
        } else {
            Err(Ed25519Error::MixedOrder)
        };
        assert_eq!(check_public_key(&mixed), expected);
    }
    let mut no_point = [0; 32];
    no_point[0] = 2;
    assert_eq!(check_public_key(&no_point), Err(Ed25519Error::NotAPoint));
}

/// RFC 8032 section 7.1, test 3.
#[test]
fn the_rfc_8032_signature_verifies() {
    let key = check_public_key(&bytes(
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    ))
    .unwrap();
    let r = bytes("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac");
    let s = bytes("18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a");
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    assert_eq!(verify(&key, &[0xaf, 0x82], &signature), Ok(()));
    assert_eq!(
        verify(&key, &[0xaf, 0x83], &signature),
        Err(Ed25519Error::BadSignature)
    );
}

#[test]
fn signatures_with_a_second_spelling_are_refused() {
    let key = SigningKey::from_bytes(&[3; 32]);
    let signature = key.sign(b"message").to_bytes();
    assert_eq!(verify(&key.verifying_key(), b"message", &signature), Ok(()));
    // S + L is congruent to S.
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let (mut second, mut carry) = (signature, 0u16);
    for at in 0..32 {
        let sum = u16::from(second[32 + at]) + u16::from(order[at]) + carry;
        second[32 + at] = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(
        verify(&key.verifying_key(), b"message", &second),
        Err(Ed25519Error::BadSignature)
    );
    // A weak key and R with S = 0 satisfy the loose equation for every message.
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = VerifyingKey::from_bytes(&identity).unwrap();
    let mut forged = [0; 64];
    forged[0] = 1;
    assert_eq!(
        verify(&weak, b"anything", &forged),
        Err(Ed25519Error::BadSignature)
    );
}
