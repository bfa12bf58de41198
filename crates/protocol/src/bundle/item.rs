//! The items of a bundle, and how they are written.

use counterfoil_tlog::tree::Hash;

use super::FORMAT;
use crate::cbor::Encoder;
use crate::disclosure::Disclosure;
use crate::names::OperatorName;
use crate::receipt::{LoggedManifest, encode_manifests};

/// The first item: whose evidence it is. Spec: bundles §2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The operator whose records these are.
    pub operator: OperatorName,
    /// The counterparty, when the bundle holds records of the channel to it only.
    pub counterparty: Option<OperatorName>,
    /// The operator's manifests, oldest first.
    pub manifests: Vec<LoggedManifest>,
}

/// Every other item: records of one stream, as they were received, none of them verified yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The batch that they are from; none for records that no batch has sealed.
    pub seal: Option<Seal>,
    /// The records, ascending by sequence, at least one.
    pub records: Vec<Vec<u8>>,
    /// What opens salted digests: the index of a record above and the disclosure, ascending.
    pub disclosures: Vec<(usize, Disclosure)>,
    /// The notes of the checkpoints that the records' beacons name, ascending by SHA-256.
    pub beacons: Vec<Vec<u8>>,
}

/// What shows that records are from a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// The commitment.
    pub commitment: Vec<u8>,
    /// Its tlog-proof, where it is logged.
    pub log_proof: Option<Vec<u8>>,
    /// The multiproof of the records.
    pub hashes: Vec<Hash>,
}

impl Header {
    /// Encodes the header.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(4096);
        encoder.map(|map| {
            map.key(1).text(FORMAT);
            map.key(2).text(self.operator.as_str());
            map.optional(3, self.counterparty.as_ref(), |encoder, name| {
                encoder.text(name.as_str());
            });
            encode_manifests(map.key(4), &self.manifests);
        });
        encoder.into_bytes()
    }
}

impl Part {
    /// Encodes the part.
    pub fn encode(&self) -> Vec<u8> {
        let size: usize = self.records.iter().map(|record| record.len() + 3).sum();
        let mut encoder = Encoder::with_capacity(size + 4096);
        encoder.map(|map| {
            if let Some(seal) = &self.seal {
                map.key(1).bytes(&seal.commitment);
                match &seal.log_proof {
                    Some(proof) => map.key(2).bytes(proof),
                    None => map.key(2).null(),
                };
                encode_all(map.key(3), &self.records);
                encode_all(map.key(4), seal.hashes.iter().map(Hash::as_bytes));
            }
            if !self.disclosures.is_empty() {
                let array = map.key(5).array(self.disclosures.len());
                for (index, disclosure) in &self.disclosures {
                    array
                        .array(2)
                        .unsigned(*index as u64)
                        .bytes(&disclosure.encode());
                }
            }
            if !self.beacons.is_empty() {
                encode_all(map.key(6), &self.beacons);
            }
            if self.seal.is_none() {
                encode_all(map.key(7), &self.records);
            }
        });
        encoder.into_bytes()
    }
}

fn encode_all<T: AsRef<[u8]>>(
    encoder: &mut Encoder,
    strings: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
) {
    let strings = strings.into_iter();
    encoder.array(strings.len());
    for string in strings {
        encoder.bytes(string.as_ref());
    }
}
