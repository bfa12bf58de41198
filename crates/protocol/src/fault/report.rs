//! What the verification of a fault proof says: step by step, and in sum.

use super::kind::FaultKind;
use super::proof::Accused;
use crate::failure::Failure;
use crate::verify::StepOutcome;

/// The steps, in the order they run. Spec: faults §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultStepName {
    /// 1: the file is a fault proof.
    Proof,
    /// 2: the manifests are a chain of the accused from a trusted root key.
    Manifests,
    /// 3, once for each statement: it is a statement of the accused, or of who it must be of.
    Statement,
    /// 4: the keys were not revoked before the statements were logged.
    Keys,
    /// 5: what the statements show together.
    Fault,
}

impl FaultStepName {
    /// The step's number in the specification.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The step's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::Manifests => "manifests",
            Self::Statement => "statement",
            Self::Keys => "keys",
            Self::Fault => "fault",
        }
    }
}

/// One step and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultStep {
    /// Which step.
    pub name: FaultStepName,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What was checked, for people.
    pub detail: String,
}

/// The report of the verification of one fault proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultReport {
    /// Of what the accused is accused, once the file could be read.
    pub kind: Option<FaultKind>,
    /// Who is accused.
    pub accused: Option<Accused>,
    /// The steps that ran, in order.
    pub steps: Vec<FaultStep>,
    /// Why nobody is convicted; none if the accused is.
    pub failure: Option<Failure>,
    /// What the statements show together, for people.
    pub finding: Option<String>,
    /// Up to which size of the log the state of the accused's keys is known, where the newest
    /// manifest shown is logged.
    pub keys_known_to_size: Option<u64>,
    /// The witnesses of the trust file that cosigned both of the trees of an accused log.
    pub cosigned_both: Vec<String>,
    current: Option<FaultStepName>,
}

impl FaultReport {
    /// Whether the accused is convicted.
    pub const fn convicts(&self) -> bool {
        self.finding.is_some() && self.failure.is_none()
    }

    pub(super) const fn begin(&mut self, name: FaultStepName) {
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
            self.steps.push(FaultStep {
                name,
                outcome,
                detail,
            });
        }
    }
}
