//! What the verification of a bundle says: record by record, and in sum.

use super::links::BrokenLink;
use crate::digest::RecordId;
use crate::failure::Failure;
use crate::level::Level;
use crate::numbers::UnixSeconds;
use crate::record::VerifiedRecord;

/// What came of one record of a bundle. Spec: bundles §4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the bundle: 0, 1, 2, ….
    pub position: u64,
    /// Its id, if it could be read, whether or not it verifies.
    pub id: Option<RecordId>,
    /// What it says, once its signature has been verified.
    pub record: Option<VerifiedRecord>,
    /// The level that it reaches; none when it does not verify.
    pub level: Option<Level>,
    /// It is not older than this: from the witnesses of its beacon.
    pub not_before: Option<UnixSeconds>,
    /// It is not younger than this: from the witnesses of the covering checkpoint.
    pub not_after: Option<UnixSeconds>,
    /// Whether the time the operator claims lies within the bounds, where there is one.
    pub time_within_bounds: Option<bool>,
    /// Up to which size of the log the state of the operator's keys is known.
    pub keys_known_to_size: Option<u64>,
    /// The links to what stands before it that do not hold.
    pub broken_links: Vec<BrokenLink>,
    /// Why it does not verify; none if it does.
    pub failure: Option<Failure>,
}

impl Entry {
    pub(super) const fn new(position: u64, id: Option<RecordId>) -> Self {
        Self {
            position,
            id,
            record: None,
            level: None,
            not_before: None,
            not_after: None,
            time_within_bounds: None,
            keys_known_to_size: None,
            broken_links: Vec::new(),
            failure: None,
        }
    }

    /// Whether the record is verified: its receipt would be.
    pub const fn is_verified(&self) -> bool {
        self.failure.is_none()
    }
}

/// The sum over the records so far, and over all once the bundle is at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many bytes were taken in.
    pub bytes: u64,
    /// How many parts were begun.
    pub parts: u64,
    /// How many records there were, those that do not verify among them.
    pub records: u64,
    /// How many verified records are signed, committed, logged, witnessed: each counts once, at the
    /// highest level that it reaches.
    pub by_level: [u64; 4],
    /// How many records do not verify.
    pub failed: u64,
    /// How many links are broken.
    pub broken_links: u64,
    /// How many records claim a time outside of the bounds that witnesses give.
    pub outside_bounds: u64,
    /// The first record that does not verify, and why.
    pub first_failure: Option<(u64, Failure)>,
    /// The first record with a broken link.
    pub first_broken_link: Option<(u64, BrokenLink)>,
    /// Why reading stopped before the end, if it did.
    pub stopped: Option<Failure>,
    /// Whether the end of the bundle was reached.
    pub complete: bool,
}

impl Summary {
    /// How many verified records reach a level and no higher one.
    pub fn at(&self, level: Level) -> u64 {
        let place = Level::ALL.iter().position(|other| *other == level);
        place
            .and_then(|place| self.by_level.get(place))
            .copied()
            .unwrap_or_default()
    }

    /// Whether the whole bundle was read, has a record, and every record verifies and is linked.
    pub const fn is_good(&self) -> bool {
        self.complete
            && self.stopped.is_none()
            && self.records > 0
            && self.failed == 0
            && self.broken_links == 0
    }

    /// Why the bundle is not good: what stopped the reading, else the first record that does not
    /// verify, else the first broken link. None while it is good so far.
    pub fn failure(&self) -> Option<Failure> {
        let of = |position: u64, failure: Failure| failure.at(&format!("record {position}"));
        if let Some(stopped) = &self.stopped {
            return Some(stopped.clone());
        }
        if let Some((position, failure)) = &self.first_failure {
            return Some(of(*position, failure.clone()));
        }
        self.first_broken_link
            .as_ref()
            .map(|(position, broken)| of(*position, broken.failure()))
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        self.records += 1;
        match (&entry.failure, entry.level) {
            (None, Some(level)) => {
                let place = Level::ALL.iter().position(|other| *other == level);
                if let Some(count) = place.and_then(|place| self.by_level.get_mut(place)) {
                    *count += 1;
                }
            }
            (failure, _) => {
                self.failed += 1;
                if let (None, Some(failure)) = (&self.first_failure, failure) {
                    self.first_failure = Some((entry.position, failure.clone()));
                }
            }
        }
        self.outside_bounds += u64::from(entry.time_within_bounds == Some(false));
        self.broken_links += entry.broken_links.len() as u64;
        if let (None, Some(broken)) = (&self.first_broken_link, entry.broken_links.first()) {
            self.first_broken_link = Some((entry.position, broken.clone()));
        }
    }
}
