//! The dishonest operator of `counterfoil demo`: it denies an outcome that it has signed itself.
//!
//! ```text
//! dishonest-globex KEY EVIDENCE RECORD_ID OUT
//! ```
//!
//! KEY is the operator's enforcer key, EVIDENCE a bundle of its whole journal, RECORD_ID the record
//! to be denied; the denial is written to OUT as a receipt.
//!
//! `counterfoil channel deny` refuses to sign such a thing, and the enforcer keeps the key to
//! itself. But a key is a file, and whoever has it can sign anything: so this program takes the key
//! and does what the enforcer would not. The denial is well made, with its own place at the end of
//! the stream and of the channel. All that is wrong with it is that it is a lie.

use std::fs;

use anyhow::{Context as _, bail};
use counterfoil_protocol::bundle;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::keys::SigningKey;
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::record::{
    Body, ChannelControl, ChannelEvent, ChannelLink, Record, UnverifiedRecord,
};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [key, evidence, denied, out] = arguments.as_slice() else {
        bail!("usage: dishonest-globex KEY EVIDENCE RECORD_ID OUT");
    };
    let pem = fs::read_to_string(key).with_context(|| format!("cannot read `{key}`"))?;
    let key = SigningKey::from_pem(&pem).context("the key")?;
    let bytes = fs::read(evidence).with_context(|| format!("cannot read `{evidence}`"))?;
    let (header, parts) = bundle::parse(&bytes).context("the evidence")?;
    let records = parts
        .iter()
        .flat_map(|part| &part.records)
        .map(|bytes| UnverifiedRecord::parse(bytes))
        .collect::<Result<Vec<_>, _>>()
        .context("the evidence")?;
    let denied = RecordId::from_hex(denied).context("the id of the record")?;
    let denial = deny(&key, header.manifests, &records, denied)?;
    fs::write(out, denial.encode()).with_context(|| format!("cannot write `{out}`"))?;
    Ok(())
}

/// The denial of a record, at the end of the stream and of the channel that the record is in.
fn deny(
    key: &SigningKey,
    manifests: Vec<LoggedManifest>,
    records: &[UnverifiedRecord],
    id: RecordId,
) -> anyhow::Result<Receipt> {
    let denied = records
        .iter()
        .find(|record| record.id() == id)
        .with_context(|| format!("the evidence holds no record {id}"))?;
    let counterparty = &channel(denied)
        .with_context(|| format!("record {id} concerns nobody else"))?
        .counterparty;
    let stream = records.iter().filter(|record| record.kid() == denied.kid());
    let last = stream
        .clone()
        .max_by_key(|record| record.unverified_content().sequence)
        .context("the stream is empty")?;
    let (before, link) = stream
        .filter_map(|record| Some((record, channel(record)?)))
        .filter(|(_, link)| link.counterparty == *counterparty)
        .max_by_key(|(_, link)| link.sequence)
        .context("the channel is empty")?;
    let end = last.unverified_content();
    let denial = Record {
        sequence: end.sequence.next().context("the stream is full")?,
        previous: Some(last.id()),
        time: end.time,
        beacon: None,
        body: Body::Channel(ChannelControl {
            channel: ChannelLink {
                counterparty: counterparty.clone(),
                sequence: link.sequence.next().context("the channel is full")?,
                previous: Some(before.id()),
                acknowledged: link.acknowledged,
            },
            event: ChannelEvent::RecordDenied {
                record: id,
                reason: ReasonCode::literal("not_ours"),
            },
        }),
    };
    let prepared = denial.prepare(denied.issuer(), key.public().thumbprint());
    Ok(Receipt {
        record: prepared.sign(key),
        manifests,
        batch: None,
        log_proof: None,
        beacon: None,
        disclosures: Vec::new(),
        presentation: None,
    })
}

fn channel(record: &UnverifiedRecord) -> Option<&ChannelLink> {
    record.unverified_content().channel()
}
