//! Records that were pushed a moment ago, by their ids: a call over HTTP may name the record that it
//! came with, instead of carrying it. Spec: http §6.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_protocol::digest::RecordId;

/// The most bytes that are kept.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The newest records that came in pushes, with their receipts. They are not verified here: whoever
/// decides a call does that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pushed {
    kept: Arc<Mutex<Kept>>,
}

/// A record that was pushed, and the receipt that came with it.
#[derive(Clone, Debug)]
pub(crate) struct PushedRecord {
    pub(crate) record: Arc<[u8]>,
    pub(crate) receipt: Option<Arc<[u8]>>,
}

#[derive(Debug, Default)]
struct Kept {
    records: HashMap<RecordId, PushedRecord>,
    /// From the oldest to the newest.
    order: VecDeque<RecordId>,
    bytes: usize,
}

impl PushedRecord {
    fn bytes(&self) -> usize {
        self.record.len() + self.receipt.as_ref().map_or(0, |receipt| receipt.len())
    }
}

impl Pushed {
    /// Keeps a record, and forgets the oldest ones when there are too many. Of receipts of one
    /// record the newest counts.
    pub(crate) fn keep(&self, id: RecordId, record: &Arc<[u8]>, receipt: Option<&[u8]>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        match kept.records.get_mut(&id) {
            Some(known) => {
                if let Some(receipt) = receipt {
                    kept.bytes -= known.bytes();
                    known.receipt = Some(receipt.into());
                    kept.bytes += known.bytes();
                    // Its call comes now, however long ago the record did.
                    kept.order.retain(|other| *other != id);
                    kept.order.push_back(id);
                }
            }
            None => {
                let pushed = PushedRecord {
                    record: Arc::clone(record),
                    receipt: receipt.map(Into::into),
                };
                kept.bytes += pushed.bytes();
                kept.order.push_back(id);
                kept.records.insert(id, pushed);
            }
        }
        while kept.bytes > MAX_BYTES
            && let Some(oldest) = kept.order.pop_front()
        {
            let forgotten = kept.records.remove(&oldest);
            kept.bytes -= forgotten.map_or(0, |forgotten| forgotten.bytes());
        }
    }

    /// The record with this id, if it came in a push not long ago.
    pub(crate) fn get(&self, id: RecordId) -> Option<PushedRecord> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> RecordId {
        RecordId::from_bytes([number; 32])
    }

    #[test]
    fn the_newest_are_kept_within_a_bound() {
        let pushed = Pushed::default();
        let record: Arc<[u8]> = vec![0; MAX_BYTES / 4].into();
        for number in 0..6 {
            pushed.keep(id(number), &record, None);
            pushed.keep(id(number), &record, None);
        }
        for (number, there) in [(0, false), (1, false), (2, true), (5, true)] {
            assert_eq!(pushed.get(id(number)).is_some(), there, "{number}");
        }
    }

    #[test]
    fn receipts_count_towards_the_bound_and_the_newest_counts() {
        let pushed = Pushed::default();
        let record: Arc<[u8]> = vec![0; 8].into();
        let receipt = |number| vec![number; MAX_BYTES / 2 - 8];
        let kept = |number| pushed.get(id(number)).and_then(|pushed| pushed.receipt);
        pushed.keep(id(0), &record, None);
        for number in 0..2 {
            pushed.keep(id(number), &record, Some(&receipt(number)));
            pushed.keep(id(number), &record, Some(&receipt(number + 10)));
            // One that comes again without its receipt keeps it.
            pushed.keep(id(number), &record, None);
        }
        assert_eq!(kept(0).as_deref(), Some(receipt(10).as_slice()));
        assert_eq!(kept(1).as_deref(), Some(receipt(11).as_slice()));
        pushed.keep(id(2), &record, None);
        assert!(pushed.get(id(0)).is_none());
        assert!(kept(1).is_some());
        // What a receipt has come for is among the newest.
        pushed.keep(id(1), &record, Some(&receipt(1)));
        pushed.keep(id(3), &vec![0; MAX_BYTES / 2].into(), None);
        assert!(pushed.get(id(2)).is_none());
        assert!(kept(1).is_some());
    }
}
