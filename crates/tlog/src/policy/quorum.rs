//! Whether cosignatures meet a quorum, and what that says about time.

use super::{Definition, Policy};
use crate::checkpoint::Checkpoint;
use crate::note::{VerifiedNote, VerifierKey};

/// One witness's verified cosignatures on a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    witness: Vec<u8>,
    key: VerifierKey,
    earliest: u64,
    latest: u64,
}

impl Cosignature {
    /// The witness's name in the policy file.
    #[must_use]
    pub fn witness(&self) -> &[u8] {
        &self.witness
    }

    /// The witness's key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The smallest timestamp under which this witness cosigned, in seconds since 1970.
    #[must_use]
    pub const fn earliest(&self) -> u64 {
        self.earliest
    }

    /// The largest timestamp under which this witness cosigned, in seconds since 1970. The same as
    /// the earliest unless it cosigned more than once.
    #[must_use]
    pub const fn latest(&self) -> u64 {
        self.latest
    }
}

/// What a policy says about a checkpoint signed by one of its logs.
///
/// The two times rest on the witnesses' clocks only. They hold as long as the dishonest witnesses
/// cannot meet the quorum by themselves: any set that meets it then has an honest witness's time in
/// it, at or before [`Quorum::not_after`], at or after [`Quorum::not_before`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the quorum may not be met"]
pub struct Quorum {
    checkpoint: Checkpoint,
    log_keys: Vec<VerifierKey>,
    cosignatures: Vec<Cosignature>,
    met: bool,
    not_after: Option<u64>,
    not_before: Option<u64>,
}

impl Quorum {
    /// The checkpoint, its log signature verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log's keys that signed, at least one.
    #[must_use]
    pub fn log_keys(&self) -> &[VerifierKey] {
        &self.log_keys
    }

    /// The policy's witnesses that cosigned, in the order of the policy file.
    #[must_use]
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }

    /// Whether the witnesses that cosigned meet the quorum. Always true for `quorum none`.
    #[must_use]
    pub const fn is_met(&self) -> bool {
        self.met
    }

    /// The smallest time T, in seconds since 1970, such that the cosignatures made at T or before
    /// meet the quorum: the tree existed by then. `None` when the quorum is not met or needs no
    /// witness.
    #[must_use]
    pub const fn not_after(&self) -> Option<u64> {
        self.not_after
    }

    /// The largest time T, in seconds since 1970, such that the cosignatures made at T or later meet
    /// the quorum: whoever shows this checkpoint had it no earlier. `None` as for `not_after`.
    #[must_use]
    pub const fn not_before(&self) -> Option<u64> {
        self.not_before
    }
}

pub(super) fn evaluate(
    policy: &Policy,
    checkpoint: Checkpoint,
    log_keys: Vec<VerifierKey>,
    verified: &VerifiedNote<'_>,
) -> Quorum {
    let cosignatures: Vec<Cosignature> = policy
        .witnesses()
        .filter_map(|witness| {
            let times = || {
                let by_witness = verified
                    .signatures()
                    .iter()
                    .filter(|s| s.key() == &witness.key);
                by_witness.filter_map(|signature| signature.timestamp())
            };
            Some(Cosignature {
                witness: witness.name.clone(),
                key: witness.key.clone(),
                earliest: times().min()?,
                latest: times().max()?,
            })
        })
        .collect();
    let earliest = |c: &Cosignature| c.earliest;
    let latest = |c: &Cosignature| c.latest;
    let not_after = threshold_time(policy, &cosignatures, earliest, |times| {
        times.sort_unstable()
    });
    let not_before = threshold_time(policy, &cosignatures, latest, |times| {
        times.sort_unstable_by(|a, b| b.cmp(a));
    });
    let met = policy.quorum.is_none() || not_after.is_some();
    Quorum {
        checkpoint,
        log_keys,
        cosignatures,
        met,
        not_after,
        not_before,
    }
}

/// The time at which the quorum becomes met when cosignatures count in the given order of time.
///
/// A group becomes met when its k-th member does, so its time is the k-th in order. Definitions only
/// refer to earlier ones, which makes one pass enough.
fn threshold_time(
    policy: &Policy,
    cosignatures: &[Cosignature],
    time: impl Fn(&Cosignature) -> u64,
    order: impl Fn(&mut Vec<u64>),
) -> Option<u64> {
    let mut met_at: Vec<Option<u64>> = Vec::with_capacity(policy.definitions.len());
    for definition in &policy.definitions {
        let at = match definition {
            Definition::Witness(witness) => cosignatures
                .iter()
                .find(|c| c.witness == witness.name)
                .map(&time),
            Definition::Group(group) => {
                let members = group.members.iter();
                let mut times: Vec<u64> = members
                    .filter_map(|member| met_at.get(*member).copied().flatten())
                    .collect();
                order(&mut times);
                times.get(group.threshold.saturating_sub(1)).copied()
            }
        };
        met_at.push(at);
    }
    met_at.get(policy.quorum?).copied().flatten()
}
