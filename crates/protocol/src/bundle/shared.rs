//! What the records of one part share, checked once.

use counterfoil_tlog::tree::leaf_hash;

use super::item::{Header, Part, Seal};
use super::links::{BrokenLink, Links};
use super::log_cache::LogCache;
use crate::commitment::{UnverifiedCommitment, VerifiedCommitment};
use crate::digest::{CheckpointDigest, KeyThumbprint};
use crate::failure::{Failure, FailureCode};
use crate::keys::PublicKey;
use crate::level::Level;
use crate::manifest::VerifiedManifest;
use crate::multiproof::PartialTree;
use crate::numbers::{Sequence, UnixSeconds};
use crate::record::UnverifiedRecord;
use crate::verify::LogPosition;
use crate::verify::checks::{listed_key, manifests_in_log, not_revoked};

/// The operator of a bundle, its manifests a chain from a trusted root key.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) header: Header,
    pub(super) manifests: Vec<VerifiedManifest>,
    /// Where each manifest stands in the log, once that was asked for.
    pub(super) places: Vec<Option<Result<LogPosition, Failure>>>,
}

/// What the records of a part share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) key: PublicKey,
    pub(super) level: Level,
    pub(super) batch: Option<(Sequence, PartialTree)>,
    pub(super) not_after: Option<UnixSeconds>,
    pub(super) keys_known_to: Option<u64>,
    pub(super) commitment: Option<VerifiedCommitment>,
    // Of the commitment; handed out with the first record.
    pub(super) broken: Option<BrokenLink>,
}

/// Checks what the records of a part share, in the order of bundles §4.
pub(super) fn share(
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
        commitment: None,
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
        None => not_revoked(&operator.manifests, kid)?,
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
    if let Some((_, commitment)) = sealed {
        shared.broken = links.commitment(&commitment);
        shared.commitment = Some(commitment);
    }
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
    }
    let Some(counterparty) = &header.counterparty else {
        return Ok(());
    };
    for record in records {
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
