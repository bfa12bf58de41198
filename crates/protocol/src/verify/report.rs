//! What a verification says: step by step, and in sum.

use crate::digest::{KeyThumbprint, RecordId};
use crate::disclosure::DisclosedField;
use crate::failure::Failure;
use crate::level::Level;
use crate::names::OperatorName;
use crate::numbers::UnixSeconds;
use crate::presentation::Presentation;
use crate::record::Record;

/// The steps, in the order they run. Spec: verification §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepName {
    /// 1: the file is a receipt.
    Receipt,
    /// 2: the record in it is well formed.
    Record,
    /// 3: the manifests are a chain from a trusted root key.
    Manifests,
    /// 4: they list the key that signed the record.
    Key,
    /// 5: the record's signature verifies.
    RecordSignature,
    /// 6: the disclosures hash to what the record holds.
    Disclosures,
    /// 7: the commitment is signed by the same key and covers the record.
    Commitment,
    /// 8: the record is in the batch.
    BatchPath,
    /// 9: the commitment is in a trusted log.
    LogInclusion,
    /// 10: a quorum of trusted witnesses cosigned the log's checkpoint.
    Witnesses,
    /// 11: the manifests are in the log, before what they vouch for, and the key is not revoked.
    ManifestLog,
    /// 12: the beacon and the cosignatures bound the record's time from both sides.
    TimeBounds,
    /// 13: the receipt was presented to this verifier.
    Presentation,
    /// 14: the level that was asked for is reached.
    Level,
}

impl StepName {
    /// The step's number in the specification.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The step's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Record => "record",
            Self::Manifests => "manifests",
            Self::Key => "key",
            Self::RecordSignature => "record_signature",
            Self::Disclosures => "disclosures",
            Self::Commitment => "commitment",
            Self::BatchPath => "batch_path",
            Self::LogInclusion => "log_inclusion",
            Self::Witnesses => "witnesses",
            Self::ManifestLog => "manifest_log",
            Self::TimeBounds => "time_bounds",
            Self::Presentation => "presentation",
            Self::Level => "level",
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It was checked and holds.
    Passed,
    /// The receipt does not contain what it would check.
    Absent,
    /// It was checked and does not hold.
    Failed,
}

impl StepOutcome {
    /// The outcome's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Absent => "absent",
            Self::Failed => "failed",
        }
    }
}

/// One step and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which step.
    pub name: StepName,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What was checked, for people.
    pub detail: String,
}

/// What the record says, once its signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The record's id.
    pub id: RecordId,
    /// Who signed it.
    pub issuer: OperatorName,
    /// With which key.
    pub kid: KeyThumbprint,
    /// Its content.
    pub record: Record,
}

/// The report of one verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the file could be read as a receipt at all.
    pub readable: bool,
    /// The steps that ran, in order.
    pub steps: Vec<Step>,
    /// Why the receipt does not verify; none if it does.
    pub failure: Option<Failure>,
    /// The level reached before any failure.
    pub level: Option<Level>,
    /// What the record says.
    pub facts: Option<Facts>,
    /// The fields of the record that are disclosed.
    pub disclosed: Vec<DisclosedField>,
    /// The fields that the record has a salted digest for and that stay closed.
    pub hidden: Vec<DisclosedField>,
    /// Who presented the receipt, to whom and when.
    pub presented: Option<Presentation>,
    /// The record is not older than this: from the witnesses of its beacon.
    pub not_before: Option<UnixSeconds>,
    /// The record is not younger than this: from the witnesses of the covering checkpoint.
    pub not_after: Option<UnixSeconds>,
    /// Whether the time the operator claims lies within the bounds, where there is one.
    pub time_within_bounds: Option<bool>,
    /// Up to which size of the log the state of the operator's keys is known: where the newest
    /// manifest shown was logged. A later manifest may exist, and offline nobody can tell.
    pub keys_known_to_size: Option<u64>,
    current: Option<StepName>,
}

impl Report {
    /// Whether the receipt is verified.
    pub const fn is_verified(&self) -> bool {
        self.readable && self.failure.is_none()
    }

    pub(super) fn begin(&mut self, name: StepName) {
        self.current = Some(name);
    }

    pub(super) fn pass(&mut self, detail: String) {
        self.end(StepOutcome::Passed, detail);
    }

    pub(super) fn absent(&mut self, detail: &str) {
        self.end(StepOutcome::Absent, detail.to_owned());
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.end(StepOutcome::Failed, failure.to_string());
        self.failure = Some(failure);
    }

    fn end(&mut self, outcome: StepOutcome, detail: String) {
        if let Some(name) = self.current.take() {
            self.steps.push(Step {
                name,
                outcome,
                detail,
            });
        }
    }
}
