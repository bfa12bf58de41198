//! Fault proofs: the file, taken apart and put together. Spec: faults §2.

use core::fmt;

use ciborium::Value;
use counterfoil_tlog::checkpoint::Origin;
use counterfoil_tlog::tree::Hash;

use super::kind::FaultKind;
use crate::batch::MAX_PATH;
use crate::cbor::fields::{array, bytes, fixed, nullable, row, text, unsigned};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::failure::{Failure, FailureCode};
use crate::names::OperatorName;
use crate::receipt::{self, LoggedManifest, MAX_MANIFESTS, Receipt};

/// The first field of every fault proof, which says what the file is.
pub const FORMAT: &str = "counterfoil/fault/v1";
/// The file name extension of a fault proof.
pub const FILE_EXTENSION: &str = "fault";
/// The most bytes of a fault proof: those of two receipts.
pub const MAX_BYTES: usize = 2 * receipt::MAX_BYTES;
/// The most statements of a fault proof.
pub const MAX_STATEMENTS: usize = 8;

/// Who is accused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accused {
    /// An operator.
    Operator(OperatorName),
    /// A log, by its origin.
    Log(Origin),
}

impl fmt::Display for Accused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(operator) => operator.fmt(f),
            Self::Log(origin) => f.write_str(origin.as_str()),
        }
    }
}

/// The form of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Record,
    Request,
    Commitment,
    Leaf,
    Manifest,
    Checkpoint,
    Entry,
    Receipt,
    Contract,
}

/// A commitment and the tlog-proof that it is logged, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedCommitment {
    /// The commitment.
    pub commitment: Vec<u8>,
    /// Its tlog-proof.
    pub log_proof: Option<Vec<u8>>,
}

/// One statement of a fault proof, as it was received, not verified yet. Spec: faults §2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A record of the accused: a receipt without manifests, beacon and presentation.
    Record(Box<Receipt>),
    /// A request of another operator that the accused names by its id.
    Request(Vec<u8>),
    /// A commitment of the accused.
    Commitment(LoggedCommitment),
    /// What a batch holds in one place.
    Leaf {
        /// The hash of the leaf.
        hash: Hash,
        /// The path from it to the batch's root, leaf side first.
        path: Vec<Hash>,
    },
    /// A manifest of the accused.
    Manifest(Vec<u8>),
    /// A checkpoint note: of the accused log, or one that bounds a time.
    Checkpoint(Vec<u8>),
    /// An entry of the accused log, with its tlog-proof.
    Entry {
        /// The entry.
        entry: Vec<u8>,
        /// Its tlog-proof.
        log_proof: Vec<u8>,
    },
    /// The receipt of a record of another operator.
    Receipt(Vec<u8>),
    /// A contract file.
    Contract(Vec<u8>),
}

/// A fault proof: the parts as they were received, none of them verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultProof {
    /// What the accused is said to have done.
    pub kind: FaultKind,
    /// Who is accused.
    pub accused: Accused,
    /// The accused operator's manifests, oldest first.
    pub manifests: Vec<LoggedManifest>,
    /// The statements, in the order of the kind.
    pub statements: Vec<Statement>,
}

impl Statement {
    /// A record of the accused, with as much of its receipt as a fault proof needs.
    pub fn record(receipt: Receipt) -> Self {
        Self::Record(Box::new(Receipt {
            manifests: Vec::new(),
            beacon: None,
            presentation: None,
            ..receipt
        }))
    }

    fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(1024);
        match self {
            Self::Record(receipt) => return receipt.encode(),
            Self::Request(bytes)
            | Self::Manifest(bytes)
            | Self::Checkpoint(bytes)
            | Self::Receipt(bytes)
            | Self::Contract(bytes) => return bytes.clone(),
            Self::Commitment(logged) => {
                encoder.array(2).bytes(&logged.commitment);
                match &logged.log_proof {
                    Some(proof) => encoder.bytes(proof),
                    None => encoder.null(),
                };
            }
            Self::Leaf { hash, path } => {
                encoder.array(2).bytes(hash.as_bytes()).array(path.len());
                for hash in path {
                    encoder.bytes(hash.as_bytes());
                }
            }
            Self::Entry { entry, log_proof } => {
                encoder.array(2).bytes(entry).bytes(log_proof);
            }
        }
        encoder.into_bytes()
    }

    fn parse(form: Form, encoded: Vec<u8>) -> Result<Self, Failure> {
        Ok(match form {
            Form::Record => Self::Record(Box::new(record(&encoded)?)),
            Form::Request => Self::Request(encoded),
            Form::Manifest => Self::Manifest(encoded),
            Form::Checkpoint => Self::Checkpoint(encoded),
            Form::Receipt => Self::Receipt(encoded),
            Form::Contract => Self::Contract(encoded),
            Form::Commitment => {
                let [commitment, proof] = pair(&encoded, "a commitment")?;
                Self::Commitment(LoggedCommitment {
                    commitment: bytes(commitment, "a commitment")?,
                    log_proof: nullable(proof)
                        .map(|proof| bytes(proof, "a log proof"))
                        .transpose()?,
                })
            }
            Form::Leaf => {
                let [hash, path] = pair(&encoded, "a leaf")?;
                Self::Leaf {
                    hash: Hash::from_bytes(fixed(&hash, "a leaf")?),
                    path: array(path, MAX_PATH, "a path")?
                        .iter()
                        .map(|hash| fixed(hash, "a path").map(Hash::from_bytes))
                        .collect::<Result<_, _>>()?,
                }
            }
            Form::Entry => {
                let [entry, log_proof] = pair(&encoded, "an entry")?;
                Self::Entry {
                    entry: bytes(entry, "an entry")?,
                    log_proof: bytes(log_proof, "a log proof")?,
                }
            }
        })
    }
}

/// A record statement: a receipt with only what a fault proof needs of it.
fn record(encoded: &[u8]) -> Result<Receipt, Failure> {
    let receipt = Receipt::parse(encoded)?;
    if !receipt.manifests.is_empty() {
        return Err(Failure::new(
            FailureCode::StructureOutOfRange,
            "a statement has manifests of its own",
        ));
    }
    if receipt.beacon.is_some() {
        return Err(Failure::new(
            FailureCode::StructureUnknownField,
            "a statement has a beacon",
        ));
    }
    if receipt.presentation.is_some() {
        return Err(Failure::new(
            FailureCode::StructureUnknownField,
            "a statement has a presentation",
        ));
    }
    Ok(receipt)
}

fn pair(encoded: &[u8], place: &str) -> Result<[Value; 2], Failure> {
    let value = decode(encoded, &Limits::untagged(MAX_BYTES))?;
    row(value, place)
}

impl FaultProof {
    /// Encodes the fault proof.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(4096);
        encoder.map(|map| {
            map.key(1).text(FORMAT);
            map.key(2).unsigned(self.kind.number());
            map.key(3).text(&self.accused.to_string());
            receipt::encode_manifests(map.key(4), &self.manifests);
            let statements = map.key(5).array(self.statements.len());
            for statement in &self.statements {
                statements.bytes(&statement.encode());
            }
        });
        encoder.into_bytes()
    }

    /// Parses the bytes of a fault proof.
    ///
    /// # Errors
    /// A CBOR or structure code, [`FailureCode::NameInvalid`], or
    /// [`FailureCode::ReceiptIncomplete`] for a statement.
    pub fn parse(encoded: &[u8]) -> Result<Self, Failure> {
        let range = |detail: String| Failure::new(FailureCode::StructureOutOfRange, detail);
        let value = decode(encoded, &Limits::untagged(MAX_BYTES))?;
        let mut fields = Fields::of(value, "the fault proof")?;
        if text(fields.required(1)?, "the format")? != FORMAT {
            return Err(range(format!("the format is not `{FORMAT}`")));
        }
        let kind = FaultKind::from_number(unsigned(&fields.required(2)?, "the kind")?)?;
        let accused = accused(kind, text(fields.required(3)?, "the accused")?)?;
        let manifests = array(fields.required(4)?, MAX_MANIFESTS, "manifests")?
            .into_iter()
            .map(receipt::logged_manifest)
            .collect::<Result<Vec<_>, _>>()?;
        let statements = array(fields.required(5)?, MAX_STATEMENTS, "statements")?
            .into_iter()
            .map(|value| bytes(value, "a statement"))
            .collect::<Result<Vec<_>, _>>()?;
        fields.finish()?;
        if kind.accuses_log() && !manifests.is_empty() {
            return Err(range("a log has no manifests".to_owned()));
        }
        let forms = kind.forms();
        if statements.len() != forms.len() {
            return Err(range(format!(
                "{} statements, {kind} has {}",
                statements.len(),
                forms.len()
            )));
        }
        let statements = forms
            .iter()
            .zip(statements)
            .enumerate()
            .map(|(index, (form, statement))| {
                Statement::parse(*form, statement)
                    .map_err(|failure| failure.at(&format!("statement {}", index + 1)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            kind,
            accused,
            manifests,
            statements,
        })
    }

    /// The name of a file for it: accused and kind.
    pub fn file_name(&self) -> String {
        let accused: String = self
            .accused
            .to_string()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        format!("{accused}.{}.{FILE_EXTENSION}", self.kind)
    }
}

fn accused(kind: FaultKind, name: String) -> Result<Accused, Failure> {
    if kind.accuses_log() {
        Origin::parse(&name)
            .map(Accused::Log)
            .map_err(|error| Failure::new(FailureCode::NameInvalid, error.to_string()))
    } else {
        OperatorName::new(name).map(Accused::Operator)
    }
}
