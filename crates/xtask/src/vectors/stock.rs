//! COSE receipts and transparent statements.

use anyhow::{Context as _, Result};
use ciborium::Value;
use counterfoil_protocol::failure::FailureCode::{
    BatchPathInvalid, CborTrailingBytes, CommitmentRangeMismatch, CommitmentStreamMismatch,
    CoseAlgorithm, CoseHeader, CoseStructure, CoseType, KeyUnknown, LogPathInvalid, NameInvalid,
    SignatureInvalid, StructureOutOfRange, StructureWrongType,
};
use counterfoil_protocol::keys::{PublicKey, SigningKey};
use counterfoil_protocol::stock::{
    Algorithm, CoseReceipt, Inclusion, LogSigner, TransparentStatement,
};
use counterfoil_tlog::tree::Hash;

use super::Case;
use super::edit::{Entries, bytes, decode, edited, encode, remove, set, to_hex, within};
use crate::world::{Stream, World, record};

const RECEIPT: &str = "cose-receipt";
const STATEMENT: &str = "transparent-statement";
const VDP: i64 = 396;
const TREE_SIZE: i64 = -65538;
/// The place of acme's request in its stream and first batch.
const REQUEST: u64 = 2;

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut cases = good(world)?;
    cases.extend(operator_faults(world)?);
    cases.extend(log_faults(world)?);
    cases.extend(statements(world)?);
    Ok(cases)
}

/// A receipt for `entry`, which is a vector.
fn with(case: Case, entry: &str, key: &PublicKey) -> Case {
    case.with("entry", entry)
        .with("key", to_hex(key.as_bytes()))
}

fn good(world: &World) -> Result<Vec<Case>> {
    let log = signer(world)?;
    let mut cases = Vec::new();
    for (name, algorithm) in [("ed25519", Algorithm::Ed25519), ("eddsa", Algorithm::EdDsa)] {
        for (what, stream, sequence, entry, comment) in [
            (
                "operator",
                &world.acme_stream,
                REQUEST,
                "record/request",
                "leaf 2 of a batch of seven",
            ),
            (
                "operator-one-leaf",
                &world.acme_next_stream,
                0,
                "record/control-stream-continued",
                "a batch of one record: the path is empty",
            ),
        ] {
            let receipt = of_operator(stream, sequence, algorithm)?;
            cases.push(
                with(
                    Case::success(
                        RECEIPT,
                        &format!("{what}-{name}"),
                        comment,
                        receipt.encode(),
                    ),
                    entry,
                    stream.key.public(),
                )
                .with("root", receipt.root()),
            );
        }
        for (what, index, size, entry, comment) in [
            (
                "log-commitment",
                world.commitments.acme,
                6,
                "commitment/first",
                "in a tree of six",
            ),
            ("log-manifest", 0, 2, "manifest/first", "in a tree of two"),
            (
                "log-one-leaf",
                0,
                1,
                "manifest/first",
                "the first entry of a log: the path is empty",
            ),
        ] {
            let receipt = of_log(world, &log, index, size, algorithm)?;
            cases.push(
                with(
                    Case::success(
                        RECEIPT,
                        &format!("{what}-{name}"),
                        comment,
                        receipt.encode(),
                    ),
                    entry,
                    log.key(),
                )
                .with("root", receipt.root()),
            );
        }
    }
    Ok(cases)
}

/// A receipt taken apart.
#[derive(Clone)]
struct Parts {
    protected: Vec<u8>,
    unprotected: Value,
    payload: Value,
    signature: Vec<u8>,
    root: Vec<u8>,
}

impl Parts {
    fn of(receipt: &CoseReceipt) -> Result<Self> {
        let Value::Tag(18, parts) = decode(&receipt.encode())? else {
            anyhow::bail!("no tag");
        };
        let parts = parts.into_array().ok().context("no array")?;
        let [
            Value::Bytes(protected),
            unprotected,
            payload,
            Value::Bytes(signature),
        ] = parts.as_slice()
        else {
            anyhow::bail!("not four parts");
        };
        Ok(Self {
            protected: protected.clone(),
            unprotected: unprotected.clone(),
            payload: payload.clone(),
            signature: signature.clone(),
            root: receipt.root().as_bytes().to_vec(),
        })
    }

    fn header(mut self, edit: impl FnOnce(&mut Entries)) -> Result<Self> {
        self.protected = edited(&self.protected, edit)?;
        Ok(self)
    }

    fn unprotected(mut self, edit: impl FnOnce(&mut Entries)) -> Self {
        if let Value::Map(entries) = &mut self.unprotected {
            edit(entries);
        }
        self
    }

    /// With other items in its inclusion proof.
    fn proof(self, edit: impl FnOnce(&mut Vec<Value>)) -> Result<Self> {
        let Value::Map(labels) = &self.unprotected else {
            anyhow::bail!("no map");
        };
        let proofs = labels.first().and_then(|(_, proofs)| proofs.as_map());
        let list = proofs.and_then(|proofs| proofs.first()?.1.as_array());
        let proof = list.and_then(|list| list.first()?.as_bytes());
        let Value::Array(mut items) = decode(proof.context("no proof")?)? else {
            anyhow::bail!("no proof");
        };
        edit(&mut items);
        let proof = bytes(encode(&Value::Array(items))?);
        Ok(self.unprotected(|labels| {
            within(labels, VDP, |proofs| {
                set(proofs, -1, Value::Array(vec![proof]))
            });
        }))
    }

    /// Signs what it is now, over the root that it had.
    fn sign(mut self, key: &SigningKey) -> Result<Self> {
        let signed = encode(&Value::Array(vec![
            Value::from("Signature1"),
            bytes(self.protected.clone()),
            bytes(Vec::new()),
            bytes(self.root.clone()),
        ]))?;
        self.signature = key.sign(&signed).to_vec();
        Ok(self)
    }

    fn encode(self) -> Result<Vec<u8>> {
        encode(&Value::Tag(
            18,
            Box::new(Value::Array(vec![
                bytes(self.protected),
                self.unprotected,
                self.payload,
                bytes(self.signature),
            ])),
        ))
    }
}

fn operator_faults(world: &World) -> Result<Vec<Case>> {
    let stream = &world.acme_stream;
    let receipt = of_operator(stream, REQUEST, Algorithm::Ed25519)?;
    let whole = Parts::of(&receipt)?;
    let key = &stream.key;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, entry: &str, body: Vec<u8>| {
        let case = Case::refused(RECEIPT, name, code, comment, body);
        cases.push(with(case, entry, key.public()));
    };
    let request = "record/request";
    for (name, entry, code, comment) in [
        (
            "entry-of-neighbour",
            "record/outcome-asking-side",
            CommitmentRangeMismatch,
            "the receipt of another record of the batch",
        ),
        (
            "entry-of-other-operator",
            "record/outcome-executing-side",
            CommitmentStreamMismatch,
            "the receipt is acme's, the record globex's",
        ),
        (
            "entry-is-commitment",
            "commitment/first",
            CoseType,
            "an operator signs receipts for records",
        ),
    ] {
        add(name, code, comment, entry, receipt.encode());
    }
    let attached = Parts {
        payload: bytes(whole.root.clone()),
        ..whole.clone()
    };
    add(
        "payload-attached",
        CoseStructure,
        "the root stands in it",
        request,
        attached.encode()?,
    );
    let mut trailing = receipt.encode();
    trailing.push(0);
    add(
        "trailing",
        CborTrailingBytes,
        "one byte too many",
        request,
        trailing,
    );
    for (name, number, comment) in [
        ("algorithm-es256", -7, "ES256, and a good Ed25519 signature"),
        ("algorithm-absent", 0, "no algorithm"),
    ] {
        let code = if number == 0 {
            CoseHeader
        } else {
            CoseAlgorithm
        };
        let edit = |labels: &mut Entries| match number {
            0 => remove(labels, 1),
            number => set(labels, 1, number),
        };
        let body = whole.clone().header(edit)?.sign(key)?.encode()?;
        add(name, code, comment, request, body);
    }
    add(
        "algorithm-exchanged",
        SignatureInvalid,
        "-8 over a signature that was made for -19",
        request,
        whole
            .clone()
            .header(|labels| set(labels, 1, -8))?
            .encode()?,
    );
    for (name, vds) in [("vds-two", Some(2)), ("vds-absent", None)] {
        let edit = |labels: &mut Entries| match vds {
            Some(vds) => set(labels, 395, vds),
            None => remove(labels, 395),
        };
        let body = whole.clone().header(edit)?.sign(key)?.encode()?;
        add(name, CoseHeader, "vds is not 1", request, body);
    }
    let mut flipped = whole.clone();
    if let Some(byte) = flipped.signature.first_mut() {
        *byte ^= 1;
    }
    add(
        "signature-flipped",
        SignatureInvalid,
        "one bit of the signature",
        request,
        flipped.encode()?,
    );
    add(
        "unprotected-empty",
        CoseHeader,
        "no proof: a commitment with its payload detached",
        request,
        whole.clone().unprotected(Vec::clear).encode()?,
    );
    add(
        "unprotected-unknown-label",
        CoseHeader,
        "kid stands in both headers",
        request,
        whole
            .clone()
            .unprotected(|labels| set(labels, 4, bytes([0; 32])))
            .encode()?,
    );
    let proofs = |list: Vec<Value>| {
        whole.clone().unprotected(|labels| {
            within(labels, VDP, |proofs| set(proofs, -1, Value::Array(list)));
        })
    };
    add(
        "proofs-none",
        StructureOutOfRange,
        "an empty list of proofs",
        request,
        proofs(Vec::new()).encode()?,
    );
    add(
        "proof-not-bytes",
        StructureWrongType,
        "a number where the proof should be",
        request,
        proofs(vec![Value::from(7)]).encode()?,
    );
    for (name, code, comment, edit) in proof_edits() {
        add(
            name,
            code,
            comment,
            request,
            whole.clone().proof(edit)?.encode()?,
        );
    }
    let other = &world.globex_stream.key;
    let case = Case::refused(
        RECEIPT,
        "key-other",
        KeyUnknown,
        "verified with another key than the one it names",
        receipt.encode(),
    );
    cases.push(with(case, request, other.public()));
    Ok(cases)
}

type ProofEdit = (
    &'static str,
    counterfoil_protocol::FailureCode,
    &'static str,
    fn(&mut Vec<Value>),
);

fn proof_edits() -> [ProofEdit; 6] {
    fn path(items: &mut [Value]) -> Option<&mut Vec<Value>> {
        items.last_mut()?.as_array_mut()
    }
    [
        (
            "path-trailing-hash",
            BatchPathInvalid,
            "one hash too many",
            |items| {
                if let Some(path) = path(items) {
                    path.push(bytes([7; 32]));
                }
            },
        ),
        (
            "path-short",
            BatchPathInvalid,
            "one hash too few",
            |items| {
                if let Some(path) = path(items) {
                    path.pop();
                }
            },
        ),
        (
            "path-hash-changed",
            SignatureInvalid,
            "the path leads to another root",
            |items| {
                if let Some(first) = path(items).and_then(|path| path.first_mut()) {
                    *first = bytes([7; 32]);
                }
            },
        ),
        (
            "size-other",
            CommitmentRangeMismatch,
            "a tree of eight, where the same path fits; the batch has seven",
            |items| {
                if let Some(size) = items.first_mut() {
                    *size = Value::from(8);
                }
            },
        ),
        ("index-outside", BatchPathInvalid, "leaf 7 of 7", |items| {
            if let Some(index) = items.get_mut(1) {
                *index = Value::from(7);
            }
        }),
        (
            "proof-of-four-items",
            StructureWrongType,
            "one item too many",
            |items| items.push(Value::from(0)),
        ),
    ]
}

fn log_faults(world: &World) -> Result<Vec<Case>> {
    let log = signer(world)?;
    let key = SigningKey::from_seed(&world.log.key().seed())?;
    let receipt = of_log(world, &log, world.commitments.acme, 6, Algorithm::Ed25519)?;
    let first = of_log(world, &log, 0, 6, Algorithm::Ed25519)?;
    let whole = Parts::of(&receipt)?;
    let mut cases = Vec::new();
    let mut add = |name: &str, code, comment: &str, entry: &str, body: Vec<u8>| {
        let case = Case::refused(RECEIPT, name, code, comment, body);
        cases.push(with(case, entry, log.key()));
    };
    let commitment = "commitment/first";
    add(
        "log-entry-other",
        SignatureInvalid,
        "the receipt of another commitment: the path leads to another root",
        "commitment/one-record",
        receipt.encode(),
    );
    add(
        "log-entry-is-record",
        CoseType,
        "a log signs receipts for commitments and manifests",
        "record/request",
        receipt.encode(),
    );
    add(
        "log-size-other",
        LogPathInvalid,
        "a tree of seven, where the same path fits; signed is one of six",
        "manifest/first",
        Parts::of(&first)?
            .proof(|items| {
                if let Some(size) = items.first_mut() {
                    *size = Value::from(7);
                }
            })?
            .encode()?,
    );
    for (name, code, comment, edit) in [
        (
            "log-size-not-signed",
            CoseHeader,
            "no tree size in the protected header",
            (|labels| remove(labels, TREE_SIZE)) as fn(&mut Entries),
        ),
        (
            "log-subject-manifest",
            CoseType,
            "says that the entry is a manifest",
            |labels| within(labels, 15, |claims| set(claims, 2, "manifest")),
        ),
        (
            "log-subject-record",
            CoseType,
            "says that the entry is a record, which no log holds",
            |labels| within(labels, 15, |claims| set(claims, 2, "record")),
        ),
        (
            "log-issuer-absent",
            CoseHeader,
            "nobody is said to sign",
            |labels| within(labels, 15, |claims| remove(claims, 1)),
        ),
        (
            "log-issuer-blank",
            NameInvalid,
            "is no origin: it has a blank",
            |labels| within(labels, 15, |claims| set(claims, 1, "log example")),
        ),
        ("log-kid-short", CoseHeader, "31 bytes", |labels| {
            set(labels, 4, bytes([7; 31]))
        }),
        (
            "log-type-of-checkpoint",
            CoseType,
            "is neither an operator's receipt nor a log's",
            |labels| set(labels, 16, "application/counterfoil-checkpoint+cose"),
        ),
    ] {
        let body = whole.clone().header(edit)?.sign(&key)?.encode()?;
        add(name, code, comment, commitment, body);
    }
    Ok(cases)
}

fn statements(world: &World) -> Result<Vec<Case>> {
    let statement = record(&world.acme_stream, REQUEST)?.bytes.clone();
    let receipts = Algorithm::ALL
        .into_iter()
        .map(|algorithm| Ok(of_operator(&world.acme_stream, REQUEST, algorithm)?.encode()))
        .collect::<Result<Vec<_>>>()?;
    let whole = TransparentStatement {
        statement: statement.clone(),
        receipts,
    };
    let bytes_of_it = whole.encode()?;
    let mut cases = vec![
        Case::success(
            STATEMENT,
            "record",
            "a record with the operator's receipt in both forms",
            bytes_of_it.clone(),
        )
        .with("statement", "record/request")
        .with("receipts", 2),
    ];
    let with_receipts = |receipts: Value| -> Result<Vec<u8>> {
        let Value::Tag(18, parts) = decode(&bytes_of_it)? else {
            anyhow::bail!("no tag");
        };
        let mut parts = parts.into_array().ok().context("no array")?;
        if let Some(Value::Map(labels)) = parts.get_mut(1) {
            set(labels, 394, receipts);
        }
        encode(&Value::Tag(18, Box::new(Value::Array(parts))))
    };
    for (name, code, comment, body) in [
        (
            "receipts-absent",
            CoseHeader,
            "a signed statement and nothing that makes it transparent",
            statement,
        ),
        (
            "receipts-none",
            StructureOutOfRange,
            "an empty list",
            with_receipts(Value::Array(Vec::new()))?,
        ),
        (
            "receipts-too-many",
            StructureOutOfRange,
            "17 receipts",
            with_receipts(Value::Array(vec![bytes([0xf6]); 17]))?,
        ),
        (
            "receipt-not-bytes",
            StructureWrongType,
            "a number where a receipt should be",
            with_receipts(Value::Array(vec![Value::from(1)]))?,
        ),
    ] {
        cases.push(Case::refused(STATEMENT, name, code, comment, body));
    }
    Ok(cases)
}

fn of_operator(stream: &Stream, sequence: u64, algorithm: Algorithm) -> Result<CoseReceipt> {
    let record = &record(stream, sequence)?.bytes;
    let part = stream.batches.first().context("no batch")?.part(sequence)?;
    Ok(match algorithm {
        Algorithm::Ed25519 => CoseReceipt::of_batch(record, &part.commitment, part.path)?,
        Algorithm::EdDsa => {
            CoseReceipt::of_batch_signed_again(record, &part.commitment, part.path, &stream.key)?
        }
    })
}

fn signer(world: &World) -> Result<LogSigner> {
    let key = world.log.key();
    let signing = SigningKey::from_seed(&key.seed())?;
    Ok(LogSigner::new(key.name().as_str().to_owned(), signing))
}

fn of_log(
    world: &World,
    log: &LogSigner,
    index: u64,
    size: u64,
    algorithm: Algorithm,
) -> Result<CoseReceipt> {
    let entry = if index == 0 {
        &world.acme_manifests.first().context("no manifest")?.bytes
    } else {
        &world.acme_stream.batches.first().context("no batch")?.bytes
    };
    let path: Vec<Hash> = world.log.path(index, size)?;
    Ok(log.sign(entry, Inclusion { size, index, path }, algorithm)?)
}
