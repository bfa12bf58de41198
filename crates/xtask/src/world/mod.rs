//! A small world: two operators, a log, two witnesses, and what they signed one morning.
//!
//! Acme's agent asks globex for a refund; globex decides, executes and answers. Both seal batches
//! and log them. Then acme changes its keys and revokes the first one, and the revoked key goes on
//! signing. All keys come from labels and all times are fixed, so that the bytes never change.

mod agreement;
mod bodies;
pub mod keys;
mod log;
mod streams;

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::ManifestDigest;
use counterfoil_protocol::disclosure::Disclosure;
use counterfoil_protocol::keys::{PublicKey, SigningKey};
use counterfoil_protocol::manifest::{Manifest, UnverifiedManifest};
use counterfoil_protocol::numbers::{ManifestVersion, UnixMillis};
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_protocol::trust::operator_vkey;
use counterfoil_tlog::note::{Note, SignerKey};

pub use agreement::Agreement;
pub use keys::Operator;
pub use log::{Log, Signing, beacon};
pub use streams::{Batch, Made, Stream};

/// When the agent starts: 2026-01-02T03:04:05Z, in seconds since 1970.
pub const START: u64 = 1_767_323_045;

/// A signed object and its place in the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its index in the log.
    pub index: u64,
}

/// The whole world. Log sizes: 1 after acme's first manifest, 2 with globex's, 6 after the morning,
/// 8 after the revocation and what the revoked key signed afterwards.
#[derive(Debug)]
pub struct World {
    /// The operator that asks.
    pub acme: Operator,
    /// The operator that is asked.
    pub globex: Operator,
    /// The log.
    pub log: Log,
    /// A log that no trust file names.
    pub other_log: Log,
    /// The trusted witnesses.
    pub witnesses: [SignerKey; 2],
    /// A witness that no trust file names.
    pub stranger: SignerKey,
    /// Acme's manifests: first keys, second keys, revocation.
    pub acme_manifests: Vec<Logged>,
    /// Globex's manifest.
    pub globex_manifest: Logged,
    /// Acme's first stream: batch 0 of seven records; batch 1, logged after the revocation.
    pub acme_stream: Stream,
    /// Acme's second stream, by its second key: one batch of one record.
    pub acme_next_stream: Stream,
    /// Globex's stream: one batch of three records.
    pub globex_stream: Stream,
    /// Where each commitment stands in the log.
    pub commitments: Commitments,
    /// Checkpoints by size, cosigned by both witnesses.
    pub checkpoints: Checkpoints,
    /// The contract between the two, made before the morning.
    pub agreement: Agreement,
    /// What opens acme's request and globex's outcome.
    pub disclosures: Disclosures,
}

/// Where each commitment stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct Commitments {
    /// Acme's batch 0.
    pub acme: u64,
    /// Globex's batch 0.
    pub globex: u64,
    /// The only batch of acme's second key.
    pub acme_next: u64,
    /// Acme's batch 1, after the revocation.
    pub acme_late: u64,
}

/// Checkpoints by size.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// Acme's first manifest and nothing else.
    pub one: Note,
    /// Both first manifests: the beacon of the morning.
    pub two: Note,
    /// The morning.
    pub six: Note,
    /// Everything.
    pub eight: Note,
}

/// What opens salted digests.
#[derive(Clone, Debug)]
pub struct Disclosures {
    /// The parameters of acme's request.
    pub parameters: Disclosure,
    /// The evaluation input of acme's request.
    pub input: Disclosure,
    /// The result of globex's outcome.
    pub result: Disclosure,
    /// On whose behalf acme's request is made.
    pub on_behalf_of: Disclosure,
    /// The session of the agent that makes it.
    pub session: Disclosure,
}

impl World {
    /// Makes the world.
    ///
    /// # Errors
    /// When the protocol refuses one of its own objects: a bug.
    pub fn build() -> Result<Self> {
        let acme = Operator::new("acme.example")?;
        let globex = Operator::new("globex.example")?;
        let mut log = Log::new(keys::log_key("log.example/2026")?)?;
        let other_log = Log::new(keys::log_key("other.example/2026")?)?;
        let witnesses = [
            keys::witness_key("one.witness.example")?,
            keys::witness_key("two.witness.example")?,
        ];
        let stranger = keys::witness_key("stranger.witness.example")?;

        let mut acme_manifests = manifests(&acme)?;
        let mut globex_manifest = manifests(&globex)?
            .into_iter()
            .next()
            .context("no manifest")?;
        let [first, second, third] = acme_manifests.as_mut_slice() else {
            anyhow::bail!("three manifests are made");
        };

        first.index = log.append(&first.bytes);
        let one = log.checkpoint(1, &both(&witnesses, START - 40))?;
        globex_manifest.index = log.append(&globex_manifest.bytes);
        let two = log.checkpoint(2, &both(&witnesses, START - 20))?;

        let policy = policy(&log, &witnesses);
        let agreement = Agreement::make(&acme, &globex, &policy)?;
        let disclosures = bodies::disclosures();
        let (acme_stream, globex_stream) = bodies::morning(
            &acme,
            &globex,
            beacon(&two)?,
            agreement.disclosure.digest(),
            &disclosures,
        )?;
        let acme_next_stream = bodies::second_stream(&acme)?;
        let batch = |stream: &Stream, number: usize| -> Result<Vec<u8>> {
            Ok(stream
                .batches
                .get(number)
                .context("no such batch")?
                .bytes
                .clone())
        };
        let acme_index = log.append(&batch(&acme_stream, 0)?);
        let globex_index = log.append(&batch(&globex_stream, 0)?);
        second.index = log.append(&second.bytes);
        let acme_next = log.append(&batch(&acme_next_stream, 0)?);
        let six = log.checkpoint(6, &both(&witnesses, START + 5))?;
        third.index = log.append(&third.bytes);
        let acme_late = log.append(&batch(&acme_stream, 1)?);
        let eight = log.checkpoint(8, &both(&witnesses, START + 65))?;

        Ok(Self {
            acme,
            globex,
            log,
            other_log,
            witnesses,
            stranger,
            acme_manifests,
            globex_manifest,
            acme_stream,
            acme_next_stream,
            globex_stream,
            commitments: Commitments {
                acme: acme_index,
                globex: globex_index,
                acme_next,
                acme_late,
            },
            checkpoints: Checkpoints {
                one,
                two,
                six,
                eight,
            },
            agreement,
            disclosures,
        })
    }

    /// The trust file that names both operators, the log and both witnesses.
    ///
    /// # Errors
    /// Never for these names.
    pub fn trust(&self) -> Result<String> {
        let policy = policy(&self.log, &self.witnesses);
        Ok(format!("{policy}{}", self.operator_lines()?))
    }

    /// The `log` line of trust files.
    pub fn log_line(&self) -> String {
        format!("log {}\n", self.log.key().verifier())
    }

    /// The `operator` lines of trust files.
    ///
    /// # Errors
    /// Never for these names.
    pub fn operator_lines(&self) -> Result<String> {
        Ok(format!(
            "operator {}\noperator {}\n",
            operator_vkey(&self.acme.name, self.acme.root.public())?,
            operator_vkey(&self.globex.name, self.globex.root.public())?
        ))
    }

    /// A signed object with its proof under a checkpoint.
    ///
    /// # Errors
    /// When the checkpoint does not cover it.
    pub fn logged(&self, object: &Logged, checkpoint: &Note) -> Result<LoggedManifest> {
        Ok(LoggedManifest {
            manifest: object.bytes.clone(),
            log_proof: Some(self.proof(object.index, checkpoint)?),
        })
    }

    /// Acme's first manifest and another second one, which leaves out the keys that the first lists
    /// and revokes none. Neither is logged.
    ///
    /// # Errors
    /// When the first is no manifest.
    pub fn acme_retired(&self) -> Result<Vec<LoggedManifest>> {
        let first = &self.acme_manifests.first().context("no manifest")?.bytes;
        let content = UnverifiedManifest::parse(first)?.verify_first(|_| true)?;
        let second = Manifest {
            version: ManifestVersion::new(2),
            previous: Some(ManifestDigest::of(first)),
            enforcers: vec![self.acme.next_enforcer.public().clone()],
            ..content.manifest().clone()
        };
        let manifests = [first.clone(), second.sign(&self.acme.root)];
        let unlogged = manifests.map(|manifest| LoggedManifest {
            manifest,
            log_proof: None,
        });
        Ok(unlogged.into())
    }

    /// The bytes of the tlog-proof of an entry.
    ///
    /// # Errors
    /// When the checkpoint does not cover it.
    pub fn proof(&self, index: u64, checkpoint: &Note) -> Result<Vec<u8>> {
        Ok(self.log.proof(index, checkpoint)?.to_string().into_bytes())
    }

    /// The witnessed receipt of one of acme's first seven records, with the manifests that are
    /// logged under the same checkpoint.
    ///
    /// # Errors
    /// When there is no such record.
    pub fn acme_receipt(&self, sequence: u64) -> Result<Receipt> {
        let record = record(&self.acme_stream, sequence)?;
        let batch = self.acme_stream.batches.first().context("no batch")?;
        let manifest = self.acme_manifests.first().context("no manifest")?;
        Ok(Receipt {
            record: record.bytes.clone(),
            manifests: vec![self.logged(manifest, &self.checkpoints.six)?],
            batch: Some(batch.part(sequence)?),
            log_proof: Some(self.proof(self.commitments.acme, &self.checkpoints.six)?),
            beacon: record
                .record
                .beacon
                .map(|_| self.checkpoints.two.to_string().into_bytes()),
            disclosures: Vec::new(),
            presentation: None,
        })
    }

    /// The witnessed receipt of one of globex's records.
    ///
    /// # Errors
    /// When there is no such record.
    pub fn globex_receipt(&self, sequence: u64) -> Result<Receipt> {
        let record = record(&self.globex_stream, sequence)?;
        let batch = self.globex_stream.batches.first().context("no batch")?;
        Ok(Receipt {
            record: record.bytes.clone(),
            manifests: vec![self.logged(&self.globex_manifest, &self.checkpoints.six)?],
            batch: Some(batch.part(sequence)?),
            log_proof: Some(self.proof(self.commitments.globex, &self.checkpoints.six)?),
            beacon: record
                .record
                .beacon
                .map(|_| self.checkpoints.two.to_string().into_bytes()),
            disclosures: Vec::new(),
            presentation: None,
        })
    }
}

/// The lines of trust files that name the log and ask for both witnesses.
fn policy(log: &Log, witnesses: &[SignerKey; 2]) -> String {
    let [one, two] = witnesses;
    format!(
        "log {}\nwitness one {}\nwitness two {}\ngroup both all one two\nquorum both\n",
        log.key().verifier(),
        one.verifier(),
        two.verifier()
    )
}

/// The record of a stream with this sequence.
///
/// # Errors
/// When there is none.
pub fn record(stream: &Stream, sequence: u64) -> Result<&Made> {
    stream
        .records
        .get(usize::try_from(sequence)?)
        .context("no such record")
}

/// Both witnesses, the second one second later.
pub fn both(witnesses: &[SignerKey; 2], at: u64) -> [Signing<'_>; 2] {
    let [one, two] = witnesses;
    [
        Signing { witness: one, at },
        Signing {
            witness: two,
            at: at + 1,
        },
    ]
}

/// The public keys, as a manifest lists them.
fn sorted<const N: usize>(keys: [&SigningKey; N]) -> Vec<PublicKey> {
    let mut keys: Vec<PublicKey> = keys.iter().map(|key| key.public().clone()).collect();
    keys.sort_by_key(|key| *key.as_bytes());
    keys
}

/// The three manifests of an operator: first keys, second keys, revocation of the first.
fn manifests(operator: &Operator) -> Result<Vec<Logged>> {
    let first = Manifest {
        operator: operator.name.clone(),
        version: ManifestVersion::new(1),
        previous: None,
        time: UnixMillis::new((START - 3600) * 1000),
        roots: vec![operator.root.public().clone()],
        enforcers: sorted([&operator.previous_enforcer, &operator.enforcer]),
        exchange: Some(format!("https://exchange.{}/v1", operator.name)),
        revoked: Vec::new(),
    };
    let first_bytes = first.sign(&operator.root);
    let enforcers = sorted([
        &operator.previous_enforcer,
        &operator.enforcer,
        &operator.next_enforcer,
    ]);
    let second = Manifest {
        version: ManifestVersion::new(2),
        previous: Some(ManifestDigest::of(&first_bytes)),
        time: UnixMillis::new((START + 3) * 1000),
        roots: vec![operator.next_root.public().clone()],
        enforcers,
        ..first
    };
    let second_bytes = second.sign(&operator.root);
    let third = Manifest {
        version: ManifestVersion::new(3),
        previous: Some(ManifestDigest::of(&second_bytes)),
        time: UnixMillis::new((START + 60) * 1000),
        enforcers: sorted([&operator.previous_enforcer, &operator.next_enforcer]),
        revoked: vec![operator.enforcer.public().thumbprint()],
        ..second
    };
    let third_bytes = third.sign(&operator.next_root);
    Ok([first_bytes, second_bytes, third_bytes]
        .into_iter()
        .map(|bytes| Logged { bytes, index: 0 })
        .collect())
}
