//! `counterfoil evidence export --received`: another operator's records that we hold.
//!
//! What an operator sends with its calls is signed, no more. How far it has come since, its
//! receipts say, and it gives us those for its records to us. Receipts of one batch share its
//! commitment, so their paths become one proof.

use std::collections::BTreeMap;

use counterfoil_enforcer::export::{Exported, Selection, Sink as _};
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_protocol::Failure;
use counterfoil_protocol::bundle::{Header, Part, Seal};
use counterfoil_protocol::commitment::UnverifiedCommitment;
use counterfoil_protocol::digest::{CheckpointDigest, KeyThumbprint, RecordId};
use counterfoil_protocol::multiproof::merge;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::UnverifiedRecord;
use counterfoil_protocol::trust::Trust;
use counterfoil_protocol::verify::{Level, verify};
use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::export::{Export, Output, answer};
use crate::answer::{Answer, OrProblem as _, Problem};
use crate::exchange::Peer;
use crate::home::{HomeArgument, journal, operators, trust};
use crate::progress::Progress;
use crate::serve;

/// How many receipts are asked for at once, at most.
const PAGE: usize = 256;

/// A record that we hold.
struct Held {
    kid: KeyThumbprint,
    sequence: Sequence,
    bytes: Vec<u8>,
}

pub(super) fn run(command: &Export, operator: &OperatorName) -> Result<Answer, Problem> {
    let home = command.home.layout();
    let trust = trust(&home)?;
    let reader = journal(&home)?;
    let us = reader.identity()?.operator;
    let manifests = operators(&home, &trust)?.manifests(operator);
    if manifests.is_empty() {
        return Err(
            Problem::new(format!("no manifest of {operator} is known here")).next(format!(
                "counterfoil operator fetch --home {} {operator}",
                home.directory().display()
            )),
        );
    }
    let mut held = held(&reader, operator, &command.selection(Some(us.clone())))?;
    if held.is_empty() {
        return Err(
            Problem::new(format!("we have received no such record from {operator}"))
                .next("`counterfoil journal list --received` shows which there are"),
        );
    }
    let (receipts, missing) = if command.offline {
        (Vec::new(), None)
    } else {
        let asked = receipts(&command.home, &trust, operator, held.len());
        let (receipts, problem) = serve::runtime()?.block_on(asked);
        let missing = problem
            .map(|problem| format!("{operator}: {problem}; its records are signed, no more"));
        (receipts, missing)
    };
    let sealed = sealed_parts(&mut held, &receipts, &trust)?;

    let mut output = Output::create(&command.out)?;
    let header = Header {
        operator: operator.clone(),
        counterparty: Some(us),
        manifests,
    };
    let mut exported = Exported::default();
    let mut write = |item: &[u8]| {
        exported.bytes += item.len() as u64;
        output.item(item)
    };
    write(&header.encode())?;
    for part in sealed {
        exported.records += part.records.len() as u64;
        if part
            .seal
            .as_ref()
            .is_some_and(|seal| seal.log_proof.is_none())
        {
            exported.unlogged += part.records.len() as u64;
        }
        exported.parts += 1;
        write(&part.encode())?;
    }
    for part in signed_parts(held) {
        exported.records += part.records.len() as u64;
        exported.unsealed += part.records.len() as u64;
        exported.parts += 1;
        write(&part.encode())?;
    }
    output.finish()?;
    let trust = home.trust().display().to_string();
    Ok(answer(
        operator,
        &command.out,
        &exported,
        &trust,
        missing.as_deref(),
    ))
}

/// The records of the operator that the journal holds and that are wanted, by id.
fn held(
    reader: &JournalReader,
    operator: &OperatorName,
    selection: &Selection,
) -> Result<BTreeMap<RecordId, Held>, Problem> {
    let mut held = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = reader.received(after, 4096)?;
        let Some(last) = page.last() else {
            return Ok(held);
        };
        after = last.number;
        for row in page.into_iter().filter(|row| row.operator == *operator) {
            let record = UnverifiedRecord::parse(&row.bytes)?;
            let content = record.unverified_content();
            let (sequence, time) = (content.sequence, content.time);
            let wanted = selection.first.is_none_or(|first| sequence >= first)
                && selection.last.is_none_or(|last| sequence <= last)
                && selection.from.is_none_or(|from| time >= from)
                && selection.until.is_none_or(|until| time < until);
            if wanted {
                let one = Held {
                    kid: record.kid(),
                    sequence,
                    bytes: row.bytes,
                };
                held.insert(record.id(), one);
            }
        }
    }
}

/// The receipts of its records to us, as far as the operator gives them, and why no further.
async fn receipts(
    home: &HomeArgument,
    trust: &Trust,
    operator: &OperatorName,
    wanted: usize,
) -> (Vec<Receipt>, Option<Problem>) {
    let mut receipts = Vec::new();
    let peer = match Peer::new(&home.layout(), trust, operator) {
        Ok(peer) => peer,
        Err(problem) => return (receipts, Some(problem)),
    };
    let mut progress = Progress::new(format!("receipts of {operator}"));
    let mut from = 0;
    loop {
        let page = match peer.receipts(from, PAGE).await {
            Ok(page) => page,
            Err(problem) => return (receipts, Some(problem)),
        };
        // Pages may be shorter than was asked for; the last one is empty.
        let mut next = None;
        for bytes in page {
            let Ok(receipt) = Receipt::parse(&bytes) else {
                continue;
            };
            let record = UnverifiedRecord::parse(&receipt.record).ok();
            let link = record
                .as_ref()
                .and_then(|record| record.unverified_content().channel());
            next = next.max(link.and_then(|link| link.sequence.get().checked_add(1)));
            // A level that it does not reach says nothing against its signature.
            if verify(&bytes, trust, Level::Signed).is_verified() {
                receipts.push(receipt);
            }
        }
        progress.at(receipts.len() as u64, Some(wanted as u64), "receipts");
        match next {
            Some(next) if next > from => from = next,
            _ => return (receipts, None),
        }
    }
}

/// One record of a batch, by its receipt.
struct Proven<'a> {
    index: u64,
    leaf: Hash,
    receipt: &'a Receipt,
}

/// The parts of the batches that receipts show. What goes into them is taken out of `held`.
fn sealed_parts(
    held: &mut BTreeMap<RecordId, Held>,
    receipts: &[Receipt],
    trust: &Trust,
) -> Result<Vec<Part>, Problem> {
    let mut batches: BTreeMap<(KeyThumbprint, Sequence, &[u8]), Vec<Proven<'_>>> = BTreeMap::new();
    for receipt in receipts {
        let Some(batch) = &receipt.batch else {
            continue;
        };
        let record = UnverifiedRecord::parse(&receipt.record)?;
        if held.remove(&record.id()).is_none() {
            continue;
        }
        let commitment = UnverifiedCommitment::parse(&batch.commitment)?;
        let content = commitment.unverified_content();
        let proven = Proven {
            index: content.index_of(record.unverified_content().sequence)?,
            leaf: leaf_hash(&receipt.record),
            receipt,
        };
        let place = (record.kid(), content.first, batch.commitment.as_slice());
        batches.entry(place).or_default().push(proven);
    }
    batches
        .into_iter()
        .map(|((_, _, commitment), proven)| {
            part(commitment, proven, trust).at("the receipts of one batch do not fit together")
        })
        .collect()
}

fn part(commitment: &[u8], mut proven: Vec<Proven<'_>>, trust: &Trust) -> Result<Part, Failure> {
    proven.sort_by_key(|one| one.index);
    let unverified = UnverifiedCommitment::parse(commitment)?;
    let content = unverified.unverified_content();
    let paths: Vec<(u64, Hash, &[Hash])> = proven
        .iter()
        .filter_map(|one| {
            let batch = one.receipt.batch.as_ref()?;
            Some((one.index, one.leaf, batch.path.as_slice()))
        })
        .collect();
    let mut disclosures = Vec::new();
    let mut beacons = BTreeMap::new();
    for (index, one) in proven.iter().enumerate() {
        let opened = one.receipt.disclosures.iter().cloned();
        disclosures.extend(opened.map(|disclosure| (index, disclosure)));
        if let Some(note) = &one.receipt.beacon {
            beacons.insert(CheckpointDigest::of(note), note.clone());
        }
    }
    // Any of them will do, best one that goes furthest.
    let furthest = proven.iter().filter(|one| one.receipt.log_proof.is_some());
    let furthest =
        furthest.max_by_key(|one| verify(&one.receipt.encode(), trust, Level::Signed).level);
    Ok(Part {
        seal: Some(Seal {
            commitment: commitment.to_vec(),
            log_proof: furthest.and_then(|one| one.receipt.log_proof.clone()),
            hashes: merge(&paths, content.count, &content.root)?,
        }),
        records: proven
            .iter()
            .map(|one| one.receipt.record.clone())
            .collect(),
        disclosures,
        beacons: beacons.into_values().collect(),
    })
}

/// The parts of what is signed and no more: one for each stream.
fn signed_parts(held: BTreeMap<RecordId, Held>) -> Vec<Part> {
    let mut streams: BTreeMap<KeyThumbprint, BTreeMap<Sequence, Vec<u8>>> = BTreeMap::new();
    for one in held.into_values() {
        let stream = streams.entry(one.kid).or_default();
        stream.insert(one.sequence, one.bytes);
    }
    streams
        .into_values()
        .map(|records| Part {
            records: records.into_values().collect(),
            ..Part::default()
        })
        .collect()
}
