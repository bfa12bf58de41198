//! COSE receipts and transparent statements: made, read again, and refused when anything is changed.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops where it fails"
)]

#[path = "../support/mod.rs"]
mod support;

use ciborium::Value;
use counterfoil_protocol::FailureCode;
use counterfoil_protocol::keys::{PublicKey, SigningKey};
use counterfoil_protocol::stock::{
    Algorithm, CoseReceipt, Inclusion, LogSigner, TransparentStatement,
};
use counterfoil_tlog::proof::{LeafSlice, prove_inclusion};
use counterfoil_tlog::tree::{Hash, leaf_hash};

use support::{ACME, GLOBEX, Stream, key, manifest};

/// A stream with one batch of so many records.
fn stream(records: usize) -> Stream {
    let mut stream = Stream::new(ACME, ACME);
    while stream.records.len() < records {
        stream.local_call();
    }
    stream.records.truncate(records);
    stream.seal();
    stream
}

fn of_batch(stream: &Stream, index: usize, algorithm: Algorithm) -> CoseReceipt {
    let batch = &stream.batches[0];
    let path = batch.tree.path(index as u64).unwrap();
    let record = &stream.records[index].bytes;
    match algorithm {
        Algorithm::Ed25519 => CoseReceipt::of_batch(record, &batch.bytes, path),
        Algorithm::EdDsa => {
            CoseReceipt::of_batch_signed_again(record, &batch.bytes, path, &stream.key)
        }
    }
    .unwrap()
}

/// A log's entries: manifests and commitments.
fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            let label = format!("enforcer {number}");
            if number % 2 == 0 {
                manifest(ACME, &[&key(&label)], &[], None)
            } else {
                let mut stream = Stream::new(GLOBEX, &label);
                stream.seal();
                stream.batches[0].bytes.clone()
            }
        })
        .collect()
}

fn log_signer() -> LogSigner {
    LogSigner::new("log.example/one".to_owned(), key("log"))
}

fn of_log(entries: &[Vec<u8>], index: usize, algorithm: Algorithm) -> CoseReceipt {
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let size = entries.len() as u64;
    let inclusion = Inclusion {
        size,
        index: index as u64,
        path: prove_inclusion(index as u64, size, &LeafSlice(&leaves)).unwrap(),
    };
    log_signer()
        .sign(&entries[index], inclusion, algorithm)
        .unwrap()
}

fn check(receipt: &[u8], entry: &[u8], key: &PublicKey) -> Result<(), FailureCode> {
    CoseReceipt::parse(receipt, entry)
        .and_then(|receipt| receipt.verify(key))
        .map_err(|failure| failure.code())
}

#[test]
fn every_record_of_every_small_batch_has_a_receipt() {
    for count in 1..=17 {
        let stream = stream(count);
        for (index, made) in stream.records.iter().enumerate() {
            for algorithm in Algorithm::ALL {
                let receipt = of_batch(&stream, index, algorithm).encode();
                check(&receipt, &made.bytes, stream.key.public()).unwrap();
                let read = CoseReceipt::parse(&receipt, &made.bytes).unwrap();
                assert_eq!(read.encode(), receipt);
                assert_eq!((read.issuer(), read.algorithm()), (ACME, algorithm));
                assert_eq!(read.inclusion().size, count as u64);
                assert_eq!(*read.root(), stream.batches[0].tree.root());
                if count > 1 {
                    let other = &stream.records[(index + 1) % count].bytes;
                    assert_eq!(
                        check(&receipt, other, stream.key.public()),
                        Err(FailureCode::CommitmentRangeMismatch)
                    );
                }
            }
        }
    }
}

#[test]
fn every_entry_of_every_small_log_has_a_receipt() {
    let all = entries(17);
    let key = key("log");
    for size in 1..=all.len() {
        for index in 0..size {
            for algorithm in Algorithm::ALL {
                let receipt = of_log(&all[..size], index, algorithm).encode();
                check(&receipt, &all[index], key.public()).unwrap();
                let read = CoseReceipt::parse(&receipt, &all[index]).unwrap();
                assert_eq!(read.encode(), receipt);
                assert_eq!(read.issuer(), "log.example/one");
            }
        }
    }
}

/// The same hashes on the same sides: paths of first leaves fit trees of several sizes, and
/// nothing that RFC 9942 asks to be signed tells them apart.
#[test]
fn the_size_of_a_logs_tree_is_signed() {
    let all = entries(6);
    let receipt = of_log(&all, 0, Algorithm::Ed25519).encode();
    let proof = [0x83, 0x06, 0x00, 0x83];
    let at = receipt.windows(4).position(|bytes| bytes == proof).unwrap();
    let mut other = receipt.clone();
    other[at + 1] = 0x07;
    assert_eq!(
        check(&other, &all[0], key("log").public()),
        Err(FailureCode::LogPathInvalid)
    );
}

#[test]
fn no_bit_of_a_receipt_or_its_entry_can_be_flipped() {
    let stream = stream(5);
    let log = entries(6);
    let log_key = key("log");
    let cases: [(Vec<u8>, &[u8], &PublicKey); 4] = [
        (
            of_batch(&stream, 3, Algorithm::Ed25519).encode(),
            &stream.records[3].bytes,
            stream.key.public(),
        ),
        (
            of_batch(&stream, 4, Algorithm::EdDsa).encode(),
            &stream.records[4].bytes,
            stream.key.public(),
        ),
        (
            of_log(&log, 0, Algorithm::EdDsa).encode(),
            &log[0],
            log_key.public(),
        ),
        (
            of_log(&log, 5, Algorithm::Ed25519).encode(),
            &log[5],
            log_key.public(),
        ),
    ];
    let flip = |bytes: &[u8], bit: usize| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    };
    for (receipt, entry, key) in cases {
        check(&receipt, entry, key).unwrap();
        for bit in 0..receipt.len() * 8 {
            assert!(check(&flip(&receipt, bit), entry, key).is_err(), "{bit}");
        }
        for bit in 0..entry.len() * 8 {
            assert!(check(&receipt, &flip(entry, bit), key).is_err(), "{bit}");
        }
    }
}

#[test]
fn a_commitment_can_be_rebuilt_from_its_receipt() {
    let stream = stream(6);
    let record = &stream.records[2].bytes;
    let receipt = of_batch(&stream, 2, Algorithm::Ed25519);
    let Value::Tag(18, parts) = ciborium::from_reader(&receipt.encode()[..]).unwrap() else {
        panic!("no tag");
    };
    let mut parts = parts.into_array().unwrap();
    parts[1] = Value::Map(Vec::new());
    let read = CoseReceipt::parse(&receipt.encode(), record).unwrap();
    parts[2] = Value::Bytes(read.root().as_bytes().to_vec());
    let mut rebuilt = Vec::new();
    ciborium::into_writer(&Value::Tag(18, Box::new(Value::Array(parts))), &mut rebuilt).unwrap();
    assert_eq!(rebuilt, stream.batches[0].bytes);
}

#[test]
fn only_the_key_of_the_commitment_signs_it_again() {
    let stream = stream(2);
    let batch = &stream.batches[0];
    let path = batch.tree.path(0).unwrap();
    let again = |commitment: &[u8], key: &SigningKey| {
        CoseReceipt::of_batch_signed_again(&stream.records[0].bytes, commitment, path.clone(), key)
            .map(|_| ())
            .map_err(|failure| failure.code())
    };
    assert_eq!(
        again(&batch.bytes, &key("another")),
        Err(FailureCode::KeyUnknown)
    );
    let mut forged = batch.bytes.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(
        again(&forged, &stream.key),
        Err(FailureCode::SignatureInvalid)
    );
    assert_eq!(again(&batch.bytes, &stream.key), Ok(()));
}

#[test]
fn a_transparent_statement_gives_back_the_leaf_and_its_receipts() {
    let stream = stream(3);
    let statement = stream.records[1].bytes.clone();
    let receipts: Vec<Vec<u8>> = Algorithm::ALL
        .map(|algorithm| of_batch(&stream, 1, algorithm).encode())
        .into();
    let transparent = TransparentStatement {
        statement: statement.clone(),
        receipts: receipts.clone(),
    };
    let bytes = transparent.encode().unwrap();
    let read = TransparentStatement::parse(&bytes).unwrap();
    assert_eq!(read, transparent);
    for receipt in &read.receipts {
        check(receipt, &read.statement, stream.key.public()).unwrap();
    }
    // Neither is one the other, and there is no statement with nothing that makes it transparent.
    let code = |result: Result<TransparentStatement, counterfoil_protocol::Failure>| {
        result.unwrap_err().code()
    };
    assert_eq!(
        code(TransparentStatement::parse(&statement)),
        FailureCode::CoseHeader
    );
    let twice = TransparentStatement {
        statement: bytes,
        receipts,
    };
    assert_eq!(twice.encode().unwrap_err().code(), FailureCode::CoseHeader);
    for receipts in [Vec::new(), vec![vec![0xf6]; 17]] {
        let wrong = TransparentStatement {
            statement: statement.clone(),
            receipts,
        };
        assert_eq!(
            wrong.encode().unwrap_err().code(),
            FailureCode::StructureOutOfRange
        );
    }
}
