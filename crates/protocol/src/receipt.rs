//! Receipts: everything needed to verify one record offline, in one file.
//!
//! Spec: receipts §1.

use ciborium::Value;
use counterfoil_tlog::tree::Hash;

use crate::batch::MAX_PATH;
use crate::cbor::fields::{array, bytes, fixed, nullable, row, text};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::digest::ReceiptDigest;
use crate::disclosure::{self, DisclosedField, Disclosure, MAX_CONTENT_BYTES};
use crate::failure::{Failure, FailureCode};
use crate::record::UnverifiedRecord;

/// The first field of every receipt, which says what the file is.
pub const FORMAT: &str = "counterfoil/receipt/v1";
/// The file name extension of a receipt.
pub const FILE_EXTENSION: &str = "receipt";
/// The most bytes of a receipt: 48 MiB, most of it disclosures.
pub const MAX_BYTES: usize = 3 * MAX_CONTENT_BYTES;
/// The most manifest versions of one receipt.
pub const MAX_MANIFESTS: usize = 256;
/// The most disclosures of one receipt: one for each field.
pub const MAX_DISCLOSURES: usize = DisclosedField::ALL.len();

/// A receipt: the parts as they were received, none of them verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The record.
    pub record: Vec<u8>,
    /// The operator's manifests, oldest first.
    pub manifests: Vec<LoggedManifest>,
    /// The record's place in a signed batch.
    pub batch: Option<BatchPart>,
    /// The tlog-proof of the commitment.
    pub log_proof: Option<Vec<u8>>,
    /// The cosigned checkpoint that the record's beacon names.
    pub beacon: Option<Vec<u8>>,
    /// What opens salted digests of the record.
    pub disclosures: Vec<Disclosure>,
    /// What binds it all to one audience.
    pub presentation: Option<PresentationPart>,
}

/// A presentation, and the manifests that vouch for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentationPart {
    /// The presentation.
    pub presentation: Vec<u8>,
    /// The manifests of the operator that presents, oldest first; none when it is the operator of
    /// the record, whose manifests the receipt has already.
    pub manifests: Vec<LoggedManifest>,
}

/// A manifest and the tlog-proof that it is logged, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedManifest {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Its tlog-proof.
    pub log_proof: Option<Vec<u8>>,
}

/// A record's place in a signed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPart {
    /// The path from the record to the batch's root, leaf side first.
    pub path: Vec<Hash>,
    /// The commitment.
    pub commitment: Vec<u8>,
}

impl Receipt {
    /// Encodes the receipt.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(self.presentation.as_ref())
    }

    /// The digest that a presentation of this receipt names: it covers all but the presentation.
    pub fn digest(&self) -> ReceiptDigest {
        ReceiptDigest::of(&self.encode_with(None))
    }

    /// The same receipt with some of its disclosures taken out. It verifies as before. If anything
    /// was taken out, a presentation does not fit any more and is taken out too.
    #[must_use]
    pub fn redact(mut self, fields: &[DisclosedField]) -> Self {
        let before = self.disclosures.len();
        self.disclosures
            .retain(|disclosure| !fields.contains(&disclosure.field));
        if self.disclosures.len() < before {
            self.presentation = None;
        }
        self
    }

    /// The fields that the record has a salted digest for and that the receipt does not open.
    ///
    /// # Errors
    /// Those of parsing the record.
    pub fn hidden(&self) -> Result<Vec<DisclosedField>, Failure> {
        let record = UnverifiedRecord::parse(&self.record)?;
        Ok(disclosure::hidden(
            record.unverified_content(),
            &self.disclosures,
        ))
    }

    fn encode_with(&self, presentation: Option<&PresentationPart>) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(4096);
        encoder.map(|map| {
            map.key(1).text(FORMAT);
            map.key(2).bytes(&self.record);
            encode_manifests(map.key(3), &self.manifests);
            if let Some(batch) = &self.batch {
                let path = map.key(4).array(batch.path.len());
                for hash in &batch.path {
                    path.bytes(hash.as_bytes());
                }
                map.key(5).bytes(&batch.commitment);
            }
            map.optional(6, self.log_proof.as_ref(), |encoder, proof| {
                encoder.bytes(proof);
            });
            map.optional(7, self.beacon.as_ref(), |encoder, note| {
                encoder.bytes(note);
            });
            if !self.disclosures.is_empty() {
                let disclosures = map.key(8).array(self.disclosures.len());
                for disclosure in &self.disclosures {
                    disclosures.bytes(&disclosure.encode());
                }
            }
            map.optional(9, presentation, |encoder, part| {
                encoder.array(2).bytes(&part.presentation);
                encode_manifests(encoder, &part.manifests);
            });
        });
        encoder.into_bytes()
    }

    /// Parses the bytes of a receipt.
    ///
    /// # Errors
    /// A CBOR or structure code; [`FailureCode::ReceiptIncomplete`] when a later part stands
    /// without the earlier one that it needs.
    pub fn parse(encoded: &[u8]) -> Result<Self, Failure> {
        let value = decode(encoded, &Limits::untagged(MAX_BYTES))?;
        let mut fields = Fields::of(value, "the receipt")?;
        if text(fields.required(1)?, "the format")? != FORMAT {
            return Err(Failure::new(
                FailureCode::StructureOutOfRange,
                format!("the format is not `{FORMAT}`"),
            ));
        }
        let record = bytes(fields.required(2)?, "the record")?;
        let manifests = logged_manifests(fields.required(3)?)?;
        let path = fields.optional(4).map(batch_path).transpose()?;
        let commitment = fields
            .optional(5)
            .map(|value| bytes(value, "the commitment"))
            .transpose()?;
        let log_proof = fields
            .optional(6)
            .map(|value| bytes(value, "log proof"))
            .transpose()?;
        let beacon = fields
            .optional(7)
            .map(|value| bytes(value, "the beacon"))
            .transpose()?;
        let disclosures = fields.optional(8).map(parse_disclosures).transpose()?;
        let presentation = fields.optional(9).map(presentation).transpose()?;
        fields.finish()?;

        let incomplete = |what: &str| Failure::new(FailureCode::ReceiptIncomplete, what);
        let batch = match (path, commitment) {
            (Some(path), Some(commitment)) => Some(BatchPart { path, commitment }),
            (None, None) => None,
            _ => return Err(incomplete("a batch path and a commitment go together")),
        };
        if log_proof.is_some() && batch.is_none() {
            return Err(incomplete("a log proof without a commitment"));
        }
        Ok(Self {
            record,
            manifests,
            batch,
            log_proof,
            beacon,
            disclosures: disclosures.unwrap_or_default(),
            presentation,
        })
    }
}

/// Writes the manifests of an operator as an array.
pub(crate) fn encode_manifests(encoder: &mut Encoder, manifests: &[LoggedManifest]) {
    encoder.array(manifests.len());
    for logged in manifests {
        encoder.array(2).bytes(&logged.manifest);
        match &logged.log_proof {
            Some(proof) => encoder.bytes(proof),
            None => encoder.null(),
        };
    }
}

fn logged_manifests(value: Value) -> Result<Vec<LoggedManifest>, Failure> {
    array(value, MAX_MANIFESTS, "manifests")?
        .into_iter()
        .map(logged_manifest)
        .collect()
}

fn presentation(value: Value) -> Result<PresentationPart, Failure> {
    let [presentation, manifests] = row(value, "the presentation part")?;
    Ok(PresentationPart {
        presentation: bytes(presentation, "the presentation")?,
        manifests: logged_manifests(manifests)?,
    })
}

/// Reads one of the manifests of an operator.
pub(crate) fn logged_manifest(value: Value) -> Result<LoggedManifest, Failure> {
    let [manifest, proof] = row(value, "a manifest")?;
    Ok(LoggedManifest {
        manifest: bytes(manifest, "a manifest")?,
        log_proof: nullable(proof)
            .map(|value| bytes(value, "a manifest's log proof"))
            .transpose()?,
    })
}

fn batch_path(value: Value) -> Result<Vec<Hash>, Failure> {
    array(value, MAX_PATH, "the batch path")?
        .iter()
        .map(|value| fixed(value, "a hash of the batch path").map(Hash::from_bytes))
        .collect()
}

fn parse_disclosures(value: Value) -> Result<Vec<Disclosure>, Failure> {
    let disclosures: Vec<Disclosure> = array(value, MAX_DISCLOSURES, "disclosures")?
        .into_iter()
        .map(|value| Disclosure::parse(&bytes(value, "a disclosure")?))
        .collect::<Result<_, _>>()?;
    // Absent, never empty, and in order: one spelling for each receipt.
    let ascending = disclosures
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.field < b.field));
    if disclosures.is_empty() || !ascending {
        return Err(Failure::new(
            FailureCode::StructureOutOfRange,
            "disclosures are empty, or not one for each field in ascending order",
        ));
    }
    Ok(disclosures)
}
