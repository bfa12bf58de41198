//! Reads the items of a bundle, while its bytes are still coming.

use ciborium::Value;
use counterfoil_tlog::tree::Hash;

use super::framing::Framing;
use super::item::{Header, Part, Seal};
use super::{FORMAT, LIMITS};
use crate::batch::MAX_RECORDS;
use crate::cbor::fields::{array, bytes, fixed, nullable, row, text, unsigned};
use crate::cbor::{Fields, decode};
use crate::digest::CheckpointDigest;
use crate::disclosure::Disclosure;
use crate::failure::{Failure, FailureCode};
use crate::names::OperatorName;
use crate::receipt::{MAX_MANIFESTS, logged_manifest};

/// The most records of one part: as many as a batch may have.
const MAX_PART_RECORDS: usize = MAX_RECORDS as usize;

/// An item of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The first one.
    Header(Header),
    /// Every other.
    Part(Part),
}

/// Takes the bytes of a bundle as they come and gives its items.
///
/// It checks the form of each item and nothing of what it says. After a refusal it gives nothing
/// but that refusal.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    framing: Framing,
    items: u64,
    unsealed: bool,
    refused: Option<Failure>,
}

impl Parser {
    /// Takes more bytes of the bundle.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.refused.is_none() {
            self.framing.push(bytes);
        }
    }

    /// The next item, if its bytes are all there.
    ///
    /// # Errors
    /// A CBOR or structure code, with the number of the item; [`FailureCode::BundleOrder`] when
    /// records of a batch follow records that none has sealed.
    pub fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let item = self.read();
        match &item {
            Ok(Some(_)) => self.items += 1,
            Ok(None) => {}
            Err(failure) => self.refused = Some(failure.clone()),
        }
        item
    }

    /// Says that no more bytes come. Ask for the remaining items before.
    ///
    /// # Errors
    /// The refusal, if there was one; a CBOR code when the bundle ends within an item;
    /// [`FailureCode::BundleEmpty`] when it has no record.
    pub fn finish(&self) -> Result<(), Failure> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let place = format!("item {}", self.items);
        self.framing
            .finish()
            .map_err(|failure| failure.at(&place))?;
        match self.items {
            0 => Err(Failure::new(
                FailureCode::CborTruncated,
                "the bundle has no header",
            )),
            1 => Err(Failure::new(
                FailureCode::BundleEmpty,
                "the bundle has no part",
            )),
            _ => Ok(()),
        }
    }

    fn read(&mut self) -> Result<Option<Item>, Failure> {
        let place = format!("item {}", self.items);
        let at = |failure: Failure| failure.at(&place);
        let Some(bytes) = self.framing.next_item().map_err(at)? else {
            return Ok(None);
        };
        let value = decode(bytes, &LIMITS).map_err(at)?;
        if self.items == 0 {
            return Ok(Some(Item::Header(header(value).map_err(at)?)));
        }
        let part = part(value).map_err(at)?;
        if self.unsealed && part.seal.is_some() {
            return Err(at(Failure::new(
                FailureCode::BundleOrder,
                "records of a batch follow records that none has sealed",
            )));
        }
        self.unsealed |= part.seal.is_none();
        Ok(Some(Item::Part(part)))
    }
}

/// Parses a whole bundle that is in memory.
///
/// # Errors
/// As [`Parser::next_item`] and [`Parser::finish`].
pub fn parse(bundle: &[u8]) -> Result<(Header, Vec<Part>), Failure> {
    let mut parser = Parser::default();
    parser.push(bundle);
    let mut header = None;
    let mut parts = Vec::new();
    while let Some(item) = parser.next_item()? {
        match item {
            Item::Header(first) => header = Some(first),
            Item::Part(part) => parts.push(part),
        }
    }
    parser.finish()?;
    match header {
        Some(header) => Ok((header, parts)),
        None => Err(Failure::new(
            FailureCode::CborTruncated,
            "the bundle has no header",
        )),
    }
}

fn header(value: Value) -> Result<Header, Failure> {
    let mut fields = Fields::of(value, "the bundle's header")?;
    if text(fields.required(1)?, "the format")? != FORMAT {
        return Err(range(format!("the format is not `{FORMAT}`")));
    }
    let operator = OperatorName::new(text(fields.required(2)?, "the operator")?)?;
    let counterparty = fields
        .optional(3)
        .map(|value| OperatorName::new(text(value, "the counterparty")?))
        .transpose()?;
    let manifests = array(fields.required(4)?, MAX_MANIFESTS, "manifests")?
        .into_iter()
        .map(logged_manifest)
        .collect::<Result<_, _>>()?;
    fields.finish()?;
    Ok(Header {
        operator,
        counterparty,
        manifests,
    })
}

fn part(value: Value) -> Result<Part, Failure> {
    let mut fields = Fields::of(value, "the part")?;
    let commitment = fields
        .optional(1)
        .map(|value| bytes(value, "the commitment"))
        .transpose()?;
    let sealed = match commitment {
        None => None,
        Some(commitment) => {
            let log_proof = nullable(fields.required(2)?)
                .map(|value| bytes(value, "the log proof"))
                .transpose()?;
            let records = records(fields.required(3)?)?;
            let hashes = array(fields.required(4)?, MAX_PART_RECORDS, "the multiproof")?
                .iter()
                .map(|value| fixed(value, "a hash of the multiproof").map(Hash::from_bytes))
                .collect::<Result<_, _>>()?;
            let seal = Seal {
                commitment,
                log_proof,
                hashes,
            };
            Some((seal, records))
        }
    };
    let disclosures = fields.optional(5).map(disclosures).transpose()?;
    let beacons = fields.optional(6).map(beacons).transpose()?;
    let (seal, records) = match sealed {
        Some((seal, records)) => (Some(seal), records),
        None => (None, records(fields.required(7)?)?),
    };
    fields.finish()?;
    let disclosures = disclosures.unwrap_or_default();
    if let Some((index, _)) = disclosures.last()
        && *index >= records.len()
    {
        return Err(range(format!(
            "a disclosure of record {index}, the part has {}",
            records.len()
        )));
    }
    Ok(Part {
        seal,
        records,
        disclosures,
        beacons: beacons.unwrap_or_default(),
    })
}

fn records(value: Value) -> Result<Vec<Vec<u8>>, Failure> {
    let records: Vec<Vec<u8>> = array(value, MAX_PART_RECORDS, "records")?
        .into_iter()
        .map(|value| bytes(value, "a record"))
        .collect::<Result<_, _>>()?;
    if records.is_empty() {
        return Err(range("a part without a record".to_owned()));
    }
    Ok(records)
}

fn disclosures(value: Value) -> Result<Vec<(usize, Disclosure)>, Failure> {
    let disclosures: Vec<(usize, Disclosure)> = array(value, usize::MAX, "disclosures")?
        .into_iter()
        .map(disclosure)
        .collect::<Result<_, _>>()?;
    let ascending =
        disclosures.is_sorted_by(|(a, first), (b, second)| (a, first.field) < (b, second.field));
    if disclosures.is_empty() || !ascending {
        return Err(range(
            "disclosures are empty, or not one for each record and field in ascending order"
                .to_owned(),
        ));
    }
    Ok(disclosures)
}

fn disclosure(value: Value) -> Result<(usize, Disclosure), Failure> {
    let [index, disclosure] = row(value, "a disclosure")?;
    let index = unsigned(&index, "the index of a disclosure")?;
    let index = usize::try_from(index)
        .map_err(|_| range(format!("a disclosure of record {index} of the part")))?;
    Ok((
        index,
        Disclosure::parse(&bytes(disclosure, "a disclosure")?)?,
    ))
}

fn beacons(value: Value) -> Result<Vec<Vec<u8>>, Failure> {
    let notes: Vec<Vec<u8>> = array(value, MAX_PART_RECORDS, "beacons")?
        .into_iter()
        .map(|value| bytes(value, "a beacon"))
        .collect::<Result<_, _>>()?;
    let digests: Vec<CheckpointDigest> = notes
        .iter()
        .map(|note| CheckpointDigest::of(note))
        .collect();
    if notes.is_empty() || !digests.is_sorted_by(|a, b| a < b) {
        return Err(range(
            "beacons are empty, or not in ascending order of their digests".to_owned(),
        ));
    }
    Ok(notes)
}

fn range(detail: String) -> Failure {
    Failure::new(FailureCode::StructureOutOfRange, detail)
}
