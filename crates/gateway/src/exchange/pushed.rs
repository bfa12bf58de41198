//! Records that were pushed a moment ago, by their ids: a call over HTTP may name the record that it
//! came with, instead of carrying it. Spec: http §6.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_protocol::digest::RecordId;

/// The most bytes that are kept.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The newest records that came in pushes. They are not verified here: whoever decides a call does
/// that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pushed {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    records: HashMap<RecordId, Arc<[u8]>>,
    /// From the oldest to the newest.
    order: VecDeque<RecordId>,
    bytes: usize,
}

impl Pushed {
    /// Keeps a record, and forgets the oldest ones when there are too many.
    pub(crate) fn keep(&self, id: RecordId, record: &Arc<[u8]>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.records.insert(id, Arc::clone(record)).is_some() {
            return;
        }
        kept.order.push_back(id);
        kept.bytes += record.len();
        while kept.bytes > MAX_BYTES
            && let Some(oldest) = kept.order.pop_front()
        {
            let forgotten = kept.records.remove(&oldest);
            kept.bytes -= forgotten.map_or(0, |record| record.len());
        }
    }

    /// The record with this id, if it came in a push not long ago.
    pub(crate) fn get(&self, id: RecordId) -> Option<Arc<[u8]>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_within_a_bound() {
        let pushed = Pushed::default();
        let record: Arc<[u8]> = vec![0; MAX_BYTES / 4].into();
        let id = |number| RecordId::from_bytes([number; 32]);
        for number in 0..6 {
            pushed.keep(id(number), &record);
            pushed.keep(id(number), &record);
        }
        for (number, there) in [(0, false), (1, false), (2, true), (5, true)] {
            assert_eq!(pushed.get(id(number)).is_some(), there, "{number}");
        }
    }
}
