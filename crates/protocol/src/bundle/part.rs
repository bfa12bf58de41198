//! One part of a bundle: what its records share, checked once, and then each record.

use core::ops::Range;

use counterfoil_tlog::tree::leaf_hash;

use super::entry::Entry;
use super::item::{Header, Part, Seal};
use super::links::{BrokenLink, Links};
use super::log_cache::LogCache;
use crate::commitment::{UnverifiedCommitment, VerifiedCommitment};
use crate::digest::{CheckpointDigest, KeyThumbprint};
use crate::disclosure::Disclosure;
use crate::failure::{Failure, FailureCode};
use crate::keys::PublicKey;
use crate::level::Level;
use crate::manifest::VerifiedManifest;
use crate::multiproof::PartialTree;
use crate::numbers::{Sequence, UnixSeconds};
use crate::receipt::{BatchPart, Receipt};
use crate::record::{UnverifiedRecord, VerifiedRecord};
use crate::verify::LogPosition;
use crate::verify::checks::{check_disclosures, listed_key, manifests_in_log};

/// The operator of a bundle, its manifests a chain from a trusted root key.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) header: Header,
    pub(super) manifests: Vec<VerifiedManifest>,
    /// Where each manifest stands in the log, once that was asked for.
    pub(super) places: Vec<Option<Result<LogPosition, Failure>>>,
}

/// A part whose records are being handed out.
#[derive(Debug)]
pub(super) struct OpenPart {
    part: Part,
    // Empty when what they share does not hold.
    records: std::vec::IntoIter<UnverifiedRecord>,
    shared: Result<Shared, Failure>,
    digests: Vec<CheckpointDigest>,
    next: usize,
}

/// What the records of a part share.
#[derive(Debug)]
struct Shared {
    key: PublicKey,
    level: Level,
    batch: Option<(Sequence, PartialTree)>,
    not_after: Option<UnixSeconds>,
    keys_known_to: Option<u64>,
    // Of the commitment; handed out with the first record.
    broken: Option<BrokenLink>,
}

impl OpenPart {
    pub(super) fn open(
        part: Part,
        operator: &mut Operator,
        links: &mut Links,
        log: &mut LogCache<'_>,
    ) -> Self {
        let digests: Vec<CheckpointDigest> = part
            .beacons
            .iter()
            .map(|note| CheckpointDigest::of(note))
            .collect();
        let mut records = Vec::new();
        let shared = share(&part, &digests, &mut records, operator, links, log);
        if shared.is_err() {
            records.clear();
        }
        Self {
            part,
            records: records.into_iter(),
            shared,
            digests,
            next: 0,
        }
    }

    /// Verifies the next record.
    pub(super) fn next_entry(
        &mut self,
        position: u64,
        required: Level,
        links: &mut Links,
        log: &mut LogCache<'_>,
    ) -> Option<Entry> {
        let index = self.next;
        let bytes = self.part.records.get(index)?;
        self.next += 1;
        let shared = match &mut self.shared {
            Ok(shared) => shared,
            Err(failure) => {
                let id = UnverifiedRecord::parse(bytes)
                    .ok()
                    .map(|record| record.id());
                let mut entry = Entry::new(position, id);
                entry.failure = Some(failure.clone());
                return Some(entry);
            }
        };
        let record = self.records.next()?;
        let mut entry = Entry::new(position, Some(record.id()));
        entry.broken_links.extend(shared.broken.take());
        let verified = record.verify(&shared.key).and_then(|record| {
            let range = disclosures_of(&self.part.disclosures, index);
            for (_, disclosure) in self.part.disclosures.get(range).unwrap_or_default() {
                check_disclosures(core::slice::from_ref(disclosure), &record)?;
            }
            Ok(record)
        });
        let record = match verified {
            Ok(record) => record,
            Err(failure) => {
                entry.failure = Some(failure);
                return Some(entry);
            }
        };
        entry.level = Some(shared.level);
        entry.keys_known_to_size = shared.keys_known_to;
        entry.failure = bound(&mut entry, &record, shared, &self.digests, &self.part, log)
            .and_then(|()| reached(shared.level, required))
            .err();
        entry.broken_links.extend(links.record(&record));
        entry.record = Some(record);
        Some(entry)
    }

    /// Whether all records were handed out.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.part.records.len()
    }

    /// The bytes of the record that was handed out last.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        let records = &self.part.records;
        records.get(self.next.checked_sub(1)?).map(Vec::as_slice)
    }

    /// What is disclosed of the record that was handed out last.
    pub(super) fn disclosures(&self) -> impl Iterator<Item = &Disclosure> {
        let range = match self.next.checked_sub(1) {
            Some(index) => disclosures_of(&self.part.disclosures, index),
            None => 0..0,
        };
        let disclosures = self.part.disclosures.get(range).unwrap_or_default();
        disclosures.iter().map(|(_, disclosure)| disclosure)
    }

    /// The receipt of the record that was handed out last.
    pub(super) fn receipt(&self, header: &Header) -> Option<Receipt> {
        let shared = self.shared.as_ref().ok()?;
        let bytes = self.bytes()?;
        let record = UnverifiedRecord::parse(bytes).ok()?;
        let content = record.unverified_content();
        let batch = match (&shared.batch, &self.part.seal) {
            (Some((first, tree)), Some(seal)) => {
                let index = content.sequence.get().checked_sub(first.get())?;
                Some(BatchPart {
                    path: tree.path(index)?,
                    commitment: seal.commitment.clone(),
                })
            }
            _ => None,
        };
        let beacon = content.beacon.and_then(|named| {
            let at = self.digests.binary_search(&named.checkpoint).ok()?;
            self.part.beacons.get(at).cloned()
        });
        Some(Receipt {
            record: bytes.to_vec(),
            manifests: header.manifests.clone(),
            log_proof: self.part.seal.as_ref().and_then(|s| s.log_proof.clone()),
            batch,
            beacon,
            disclosures: self.disclosures().cloned().collect(),
            presentation: None,
        })
    }
}

/// Checks what the records of a part share, in the order of bundles §4.
fn share(
    part: &Part,
    digests: &[CheckpointDigest],
    records: &mut Vec<UnverifiedRecord>,
    operator: &mut Operator,
    links: &mut Links,
    log: &mut LogCache<'_>,
) -> Result<Shared, Failure> {
    let sealed = part
        .seal
        .as_ref()
        .map(|seal| commitment(seal, operator).map(|commitment| (seal, commitment)))
        .transpose()?;
    parse_records(part, records)?;
    let stream = match (&sealed, records.first()) {
        (Some((_, commitment)), _) => Ok((commitment.kid(), FailureCode::CommitmentStreamMismatch)),
        (None, Some(record)) => Ok((record.kid(), FailureCode::BundleMismatch)),
        (None, None) => Err(Failure::new(FailureCode::BundleEmpty, "a part is empty")),
    };
    let (kid, stranger) = stream?;
    belong_together(records, &operator.header, kid, stranger)?;
    let key = listed_key(&operator.manifests, &operator.header.operator, kid)?.clone();
    check_beacons(records, digests)?;

    let mut shared = Shared {
        key,
        level: Level::Signed,
        batch: None,
        not_after: None,
        keys_known_to: None,
        broken: None,
    };
    let mut logged = None;
    if let Some((seal, commitment)) = &sealed {
        let content = commitment.commitment();
        let leaves = records
            .iter()
            .zip(&part.records)
            .map(|(record, bytes)| {
                let index = content.index_of(record.unverified_content().sequence)?;
                Ok((index, leaf_hash(bytes)))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let tree = PartialTree::verify(leaves, content.count, &seal.hashes, &content.root)?;
        shared.batch = Some((content.first, tree));
        shared.level = Level::Committed;
        if let Some(proof) = &seal.log_proof {
            logged = Some(log.place(proof, &seal.commitment)?);
        }
    }
    match &logged {
        None => {
            // Without a log there is no position to judge by: any revocation counts.
            let newest = operator.manifests.last().map(VerifiedManifest::manifest);
            newest.map_or(Ok(()), |manifest| manifest.enforcer(kid).map(|_| ()))?;
        }
        Some(logged) => {
            shared.keys_known_to = Some(manifests(operator, kid, logged, log)?);
            shared.not_after = logged.not_after;
            shared.level = if logged.witnessed {
                Level::Witnessed
            } else {
                Level::Logged
            };
        }
    }
    let sequence = |record: &UnverifiedRecord| record.unverified_content().sequence;
    if let (Some(first), Some(last)) = (records.first(), records.last()) {
        links.continues(kid, sequence(first), sequence(last))?;
    }
    shared.broken = sealed.and_then(|(_, commitment)| links.commitment(&commitment));
    Ok(shared)
}

fn commitment(seal: &Seal, operator: &Operator) -> Result<VerifiedCommitment, Failure> {
    let at = |failure: Failure| failure.at("commitment");
    let commitment = UnverifiedCommitment::parse(&seal.commitment).map_err(at)?;
    let name = &operator.header.operator;
    if commitment.issuer() != name {
        return Err(Failure::new(
            FailureCode::BundleMismatch,
            format!(
                "a commitment of {} in a bundle of {name}",
                commitment.issuer()
            ),
        ));
    }
    let key = listed_key(&operator.manifests, name, commitment.kid())?;
    commitment.verify(key).map_err(at)
}

fn parse_records(part: &Part, records: &mut Vec<UnverifiedRecord>) -> Result<(), Failure> {
    records.reserve_exact(part.records.len());
    for (index, bytes) in part.records.iter().enumerate() {
        let record = UnverifiedRecord::parse(bytes)
            .map_err(|failure| failure.at(&format!("record {index} of the part")))?;
        let sequence = record.unverified_content().sequence;
        if let Some(before) = records.last()
            && before.unverified_content().sequence >= sequence
        {
            return Err(Failure::new(
                FailureCode::BundleOrder,
                format!(
                    "record {sequence} after record {} of one part",
                    before.unverified_content().sequence
                ),
            ));
        }
        records.push(record);
    }
    Ok(())
}

/// Checks that all records are of one stream of the operator, and of the channel if there is one.
fn belong_together(
    records: &[UnverifiedRecord],
    header: &Header,
    kid: KeyThumbprint,
    stranger: FailureCode,
) -> Result<(), Failure> {
    for record in records {
        if record.issuer() != &header.operator || record.kid() != kid {
            return Err(Failure::new(
                stranger,
                format!(
                    "a record of stream {} of {} among those of {kid} of {}",
                    record.kid(),
                    record.issuer(),
                    header.operator
                ),
            ));
        }
        let Some(counterparty) = &header.counterparty else {
            continue;
        };
        let content = record.unverified_content();
        if content.channel().map(|link| &link.counterparty) != Some(counterparty) {
            return Err(Failure::new(
                FailureCode::BundleMismatch,
                format!(
                    "record {} is not of the channel to {counterparty}",
                    content.sequence
                ),
            ));
        }
    }
    Ok(())
}

/// Checks that each beacon is named by a record of the part.
fn check_beacons(
    records: &[UnverifiedRecord],
    digests: &[CheckpointDigest],
) -> Result<(), Failure> {
    if digests.is_empty() {
        return Ok(());
    }
    let mut named = vec![false; digests.len()];
    for beacon in records.iter().filter_map(|r| r.unverified_content().beacon) {
        let at = digests.binary_search(&beacon.checkpoint).ok();
        if let Some(named) = at.and_then(|at| named.get_mut(at)) {
            *named = true;
        }
    }
    match named.iter().position(|named| !named) {
        None => Ok(()),
        Some(at) => Err(Failure::new(
            FailureCode::BeaconMismatch,
            format!("no record of the part names beacon {at}"),
        )),
    }
}

fn manifests(
    operator: &mut Operator,
    kid: KeyThumbprint,
    logged: &LogPosition,
    log: &mut LogCache<'_>,
) -> Result<u64, Failure> {
    let Operator {
        header,
        manifests,
        places,
    } = operator;
    // They are asked for in order, each at most once.
    let mut places = places.iter_mut();
    manifests_in_log(
        &header.manifests,
        manifests,
        kid,
        logged,
        |part, proof| match places.next() {
            Some(place) => place
                .get_or_insert_with(|| log.place(proof, &part.manifest))
                .clone(),
            None => log.place(proof, &part.manifest),
        },
    )
}

/// Works out the bounds of a record's time. Spec: verification §4.
fn bound(
    entry: &mut Entry,
    record: &VerifiedRecord,
    shared: &Shared,
    digests: &[CheckpointDigest],
    part: &Part,
    log: &mut LogCache<'_>,
) -> Result<(), Failure> {
    if let Some(named) = record.record().beacon
        && let Ok(at) = digests.binary_search(&named.checkpoint)
        && let Some(note) = part.beacons.get(at)
    {
        let quorum = log.beacon(named.checkpoint, note)?;
        if quorum.checkpoint().size() != named.size {
            return Err(Failure::new(
                FailureCode::BeaconMismatch,
                format!("the record says size {}", named.size),
            ));
        }
        entry.not_before = quorum.not_before().map(UnixSeconds::new);
    }
    entry.not_after = shared.not_after;
    let (from, to) = (entry.not_before, entry.not_after);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Failure::new(
            FailureCode::TimeBoundsContradict,
            format!("not before {from} and not after {to}"),
        ));
    }
    if from.is_some() || to.is_some() {
        let claimed = record.record().time.seconds();
        let within = from.is_none_or(|from| claimed >= from) && to.is_none_or(|to| claimed <= to);
        entry.time_within_bounds = Some(within);
    }
    Ok(())
}

fn reached(level: Level, required: Level) -> Result<(), Failure> {
    if level >= required {
        return Ok(());
    }
    Err(Failure::new(
        if level == Level::Logged {
            FailureCode::QuorumNotMet
        } else {
            FailureCode::LevelNotReached
        },
        format!("the record is {level}, and {required} was asked for"),
    ))
}

/// Where the disclosures of the record at `index` stand.
fn disclosures_of(disclosures: &[(usize, Disclosure)], index: usize) -> Range<usize> {
    let start = disclosures.partition_point(|(at, _)| *at < index);
    let end = disclosures.partition_point(|(at, _)| *at <= index);
    start..end
}
