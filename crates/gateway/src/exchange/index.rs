//! Where in the stream the records of each channel are.
//!
//! The journal is keyed by stream sequence. The index follows it in memory: each time it is
//! asked, it reads what has been added since.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use counterfoil_enforcer::EnforcerError;
use counterfoil_enforcer::journal::JournalReader;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::UnverifiedRecord;

/// How many rows are read at a time.
const PAGE: u64 = 4096;

/// The index.
#[derive(Debug)]
pub(super) struct ChannelIndex {
    journal: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reader: Option<JournalReader>,
    next: Sequence,
    /// By counterparty: the n-th entry is where channel record n is.
    channels: HashMap<OperatorName, Vec<Sequence>>,
}

/// The journal, and by counterparty where the records to it are.
type Followed<'a> = (&'a JournalReader, &'a HashMap<OperatorName, Vec<Sequence>>);

impl ChannelIndex {
    pub(super) fn new(journal: &Path) -> Self {
        Self {
            journal: journal.to_owned(),
            state: Mutex::new(State {
                reader: None,
                next: Sequence::new(0),
                channels: HashMap::new(),
            }),
        }
    }

    /// The journal that it follows.
    pub(super) fn journal(&self) -> &Path {
        &self.journal
    }

    /// Up to `limit` records of the channel to `counterparty`, from channel sequence `from`: their
    /// places in the stream and their bytes.
    pub(super) fn records(
        &self,
        counterparty: &OperatorName,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(Sequence, Vec<u8>)>, EnforcerError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (reader, channels) = self.follow(&mut state)?;
        let Some(channel) = channels.get(counterparty) else {
            return Ok(Vec::new());
        };
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        channel
            .iter()
            .skip(start)
            .take(limit)
            .map(|sequence| Ok((*sequence, reader.record(*sequence)?.0)))
            .collect()
    }

    /// Whether a record of the channel to `counterparty` has this id and is in no sealed batch.
    pub(super) fn is_unsealed(
        &self,
        counterparty: &OperatorName,
        id: RecordId,
    ) -> Result<bool, EnforcerError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (reader, channels) = self.follow(&mut state)?;
        let sealed = match reader.last_batch()? {
            Some(batch) => batch.first.get().saturating_add(batch.count),
            None => 0,
        };
        let channel = channels.get(counterparty).into_iter().flatten().rev();
        for sequence in channel.take_while(|sequence| sequence.get() >= sealed) {
            let (bytes, _) = reader.record(*sequence)?;
            if UnverifiedRecord::parse(&bytes)?.id() == id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads what has been added to the journal.
    fn follow<'a>(&self, state: &'a mut State) -> Result<Followed<'a>, EnforcerError> {
        let reader = match &mut state.reader {
            Some(reader) => reader,
            none => none.insert(JournalReader::open(&self.journal)?),
        };
        loop {
            let page = reader.records(state.next, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            state.next = last.next().ok_or(EnforcerError::Exhausted)?;
            for (sequence, bytes) in &page {
                let record = UnverifiedRecord::parse(bytes)?;
                if let Some(link) = record.unverified_content().channel() {
                    let name = link.counterparty.clone();
                    state.channels.entry(name).or_default().push(*sequence);
                }
            }
        }
        Ok((reader, &state.channels))
    }
}
