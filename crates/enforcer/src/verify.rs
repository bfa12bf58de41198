//! `journal verify`: whether a journal is whole, unchanged and not cut.
//!
//! Alone, a journal can show that it holds together. That nothing was cut off its end only others
//! can show: the log, which has the commitments, and the counterparties, which acknowledge what
//! they have seen. So the report says which of them were asked.

use std::path::Path;

use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint};
use counterfoil_protocol::disclosure::DisclosedField;
use counterfoil_protocol::keys::PublicKey;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{BatchNumber, Sequence};
use counterfoil_protocol::record::{Acknowledgement, UnverifiedRecord};
use counterfoil_protocol::trust::Trust;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;

use crate::channel::Channel;
use crate::error::EnforcerError;
use crate::journal::{JournalReader, Opening};
use crate::ledger::Ledger;
use crate::operators::Operators;
use crate::policy::{Denied, Evaluation, EvaluationInput, Policy};
use crate::publish::{LoggedStream, compare_with_log};
use crate::replay::{Signatures, replay_before, replay_with};
use crate::stream::Stream;

/// What was found wrong with a journal, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable code: `file`, `chain`, `openings`, `received`, `log_proof`, `log` or `counterparty`.
    pub code: &'static str,
    /// What and where, for people.
    pub detail: String,
}

/// What a verification of a journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalReport {
    /// Whose journal it is.
    pub operator: OperatorName,
    /// The enforcer key that names the stream.
    pub kid: KeyThumbprint,
    /// How many records were verified.
    pub records: u64,
    /// How many of them are in no sealed batch yet.
    pub unsealed: u64,
    /// How many of them have no proof of the log yet.
    pub unlogged: u64,
    /// How many records of other operators were verified.
    pub received: u64,
    /// Allowed calls without an outcome.
    pub open_calls: u64,
    /// Everything that is wrong; nothing if the journal verifies.
    pub findings: Vec<Finding>,
}

/// What others know of the journal.
#[derive(Clone, Debug, Default)]
pub struct Others<'a> {
    /// What the log says.
    pub log: Option<&'a LoggedStream>,
    /// What counterparties say they have received last.
    pub counterparties: &'a [(OperatorName, Option<Acknowledgement>)],
}

/// Verifies the journal at `path`. `progress` is told how many records have been read.
///
/// # Errors
/// Only when the journal cannot be opened, or is not of the key given. Whatever is wrong inside
/// is a finding.
pub fn verify(
    path: &Path,
    key: &PublicKey,
    operators: &Operators,
    trust: &Trust,
    others: &Others<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<JournalReport, EnforcerError> {
    let reader = JournalReader::open(path)?;
    let identity = reader.identity()?;
    if identity.kid != key.thumbprint() {
        return Err(EnforcerError::JournalForeign(format!(
            "key {}",
            identity.kid
        )));
    }
    let mut report = JournalReport {
        operator: identity.operator.clone(),
        kid: identity.kid,
        records: 0,
        unsealed: 0,
        unlogged: 0,
        received: 0,
        open_calls: 0,
        findings: Vec::new(),
    };
    if let Err(error) = reader.check_file() {
        report.add("file", error.to_string());
    }
    let replayed = Ledger::new(Vec::new())
        .and_then(|ledger| replay_before(path, &identity, &NoPolicy, ledger))
        .and_then(|before| {
            let all = Signatures::All;
            replay_with(&reader, key, &identity, &NoPolicy, before, all, progress)
        });
    match replayed {
        Ok(stream) => report.take(&stream, others),
        Err(error) => report.add("chain", error.to_string()),
    }
    verify_openings(&reader, &mut report)?;
    verify_received(&reader, operators, &mut report)?;
    verify_proofs(&reader, trust, &mut report)?;
    if let Some(logged) = others.log
        && let Some(difference) = compare_with_log(&reader, logged)?
    {
        report.add("log", difference);
    }
    Ok(report)
}

/// Where nothing is decided, nobody asks for a policy.
#[derive(Debug)]
struct NoPolicy;

impl Policy for NoPolicy {
    fn evaluate(&self, _: &EvaluationInput<'_>) -> Evaluation {
        Evaluation::Deny(Denied {
            reason: ReasonCode::literal("policy_error"),
            policies: Vec::new(),
            explanation: "nothing is decided here".to_owned(),
            instead: None,
        })
    }

    fn digest(&self) -> ContentDigest {
        ContentDigest::of(&[])
    }
}

impl JournalReport {
    /// Whether nothing is wrong.
    pub const fn is_verified(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, code: &'static str, detail: String) {
        self.findings.push(Finding { code, detail });
    }

    fn take(&mut self, stream: &Stream, others: &Others<'_>) {
        self.records = stream.next.get();
        self.unsealed = self.records.saturating_sub(stream.unsealed.get());
        self.unlogged = self.records.saturating_sub(stream.unlogged.get());
        self.open_calls = stream.open.len() as u64;
        for (_, digest, known) in stream.contracts.all() {
            if known.proposed_by_us().is_some() && known.text().is_none() {
                self.add(
                    "openings",
                    format!("the terms of contract {digest}, which we proposed, are missing"),
                );
            }
        }
        for (counterparty, acknowledged) in others.counterparties {
            let Some(acknowledged) = acknowledged else {
                continue;
            };
            let channel = stream.channels.get(counterparty);
            let holds =
                |channel: &Channel| channel.has_sent(acknowledged.sequence, acknowledged.id);
            if acknowledged.stream == self.kid && !channel.is_some_and(holds) {
                self.add(
                    "counterparty",
                    format!(
                        "{counterparty} has received record {} of the channel as {}, which the \
                         journal does not hold",
                        acknowledged.sequence, acknowledged.id
                    ),
                );
            }
        }
    }
}

/// What is kept to open the salted digests must still open them.
fn verify_openings(
    reader: &JournalReader,
    report: &mut JournalReport,
) -> Result<(), EnforcerError> {
    let mut next = Sequence::new(0);
    loop {
        let page = reader.records(next, 1024)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        next = last.next().ok_or(EnforcerError::Exhausted)?;
        for (sequence, bytes) in page {
            let Ok(record) = UnverifiedRecord::parse(&bytes) else {
                continue;
            };
            let (_, openings) = reader.record(sequence)?;
            let content = record.unverified_content();
            for field in DisclosedField::ALL {
                let held = content.disclosable(field);
                let opening = openings.iter().find(|opening| opening.field == field);
                let opens = opening
                    .and_then(Opening::disclosure)
                    .is_none_or(|disclosure| Some(disclosure.digest()) == held);
                // Terms and people of a counterparty's request may be known to it alone.
                let ours = !matches!(
                    field,
                    DisclosedField::Contract | DisclosedField::OnBehalfOf | DisclosedField::Session
                );
                let fits = match (held, opening) {
                    (Some(_), None) => !ours,
                    (None, Some(_)) => false,
                    _ => true,
                };
                if !fits || !opens {
                    report.add(
                        "openings",
                        format!(
                            "what opens the {} of record {sequence} was changed",
                            field.name()
                        ),
                    );
                }
            }
        }
    }
}

fn verify_received(
    reader: &JournalReader,
    operators: &Operators,
    report: &mut JournalReport,
) -> Result<(), EnforcerError> {
    let mut after = 0;
    loop {
        let page = reader.received(after, 4096)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.number;
        for row in page {
            let verified = UnverifiedRecord::parse(&row.bytes).and_then(|record| {
                // What was signed before a key was revoked keeps its worth.
                let key = operators.listed_key(record.issuer(), record.kid())?;
                record.verify(&key)
            });
            match verified {
                Ok(_) => report.received += 1,
                Err(failure) => {
                    report.add(
                        "received",
                        format!("received record {}: {failure}", row.number),
                    );
                }
            }
        }
    }
}

fn verify_proofs(
    reader: &JournalReader,
    trust: &Trust,
    report: &mut JournalReport,
) -> Result<(), EnforcerError> {
    let mut next = BatchNumber::new(0);
    loop {
        let page = reader.batches(next, 1024)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        next = last.number.next().ok_or(EnforcerError::Exhausted)?;
        for batch in page {
            let Some(proof) = &batch.log_proof else {
                continue;
            };
            let checked = TlogProof::parse(proof)
                .and_then(|proof| proof.verify(&leaf_hash(&batch.commitment), trust.policy()));
            if let Err(error) = checked {
                report.add("log_proof", format!("batch {}: {error}", batch.number));
            }
        }
    }
}
