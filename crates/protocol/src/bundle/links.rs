//! Whether what stands one after the other in a stream or channel is linked.
//!
//! A broken link does not make a record invalid: both records are what the operator signed. It is
//! two signed statements that contradict each other, and is reported as that.

use core::fmt;
use std::collections::BTreeMap;

use crate::commitment::VerifiedCommitment;
use crate::digest::{CommitmentDigest, KeyThumbprint, RecordId};
use crate::failure::{Failure, FailureCode};
use crate::names::OperatorName;
use crate::numbers::{BatchNumber, ChannelSequence, Sequence};
use crate::record::VerifiedRecord;

/// Which kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// From a record to the one before it in the stream.
    Stream,
    /// From a record to the one before it in the channel.
    Channel,
    /// From a commitment to the one before it.
    Commitment,
}

impl Link {
    /// The kind's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Channel => "channel",
            Self::Commitment => "commitment",
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Two statements that follow each other, of which the later does not name the earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLink {
    /// What does not hold.
    pub link: Link,
    /// What was expected and what is there, for people.
    pub detail: String,
}

impl BrokenLink {
    /// The broken link as a refusal, for whoever accepts nothing else than unbroken evidence.
    pub fn failure(&self) -> Failure {
        Failure::new(FailureCode::LinkBroken, self.detail.clone())
    }
}

/// The ends of all streams and channels so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    streams: BTreeMap<KeyThumbprint, Stream>,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    // Up to which sequence records have come, whether or not they verified.
    seen: Option<Sequence>,
    last: Option<(Sequence, RecordId)>,
    commitment: Option<Batch>,
    channels: BTreeMap<OperatorName, (ChannelSequence, RecordId)>,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    number: BatchNumber,
    digest: CommitmentDigest,
    // The first sequence after it.
    end: u64,
}

impl Links {
    /// Takes the sequences of a part's records, which ascend.
    ///
    /// # Errors
    /// [`FailureCode::BundleOrder`] when they do not come after those of the stream so far.
    pub(super) fn continues(
        &mut self,
        kid: KeyThumbprint,
        first: Sequence,
        last: Sequence,
    ) -> Result<(), Failure> {
        let stream = self.streams.entry(kid).or_default();
        if let Some(seen) = stream.seen
            && first <= seen
        {
            return Err(Failure::new(
                FailureCode::BundleOrder,
                format!("record {first} of stream {kid} after record {seen}"),
            ));
        }
        stream.seen = Some(last);
        Ok(())
    }

    /// Checks a commitment against the one before it, if that is there.
    pub(super) fn commitment(&mut self, commitment: &VerifiedCommitment) -> Option<BrokenLink> {
        let stream = self.streams.entry(commitment.kid()).or_default();
        let content = commitment.commitment();
        let first = content.first.get();
        let this = Batch {
            number: content.number,
            digest: commitment.digest(),
            end: first.saturating_add(content.count),
        };
        let before = stream.commitment.replace(this)?;
        let broken = |detail| {
            Some(BrokenLink {
                link: Link::Commitment,
                detail,
            })
        };
        if content.number == before.number {
            // A batch may be spread over several parts.
            if this.digest == before.digest {
                return None;
            }
            return broken(format!("two commitments are number {}", content.number));
        }
        if content.number < before.number || first < before.end {
            return broken(format!(
                "commitment {} from record {first} after commitment {} up to record {}",
                content.number,
                before.number,
                before.end.saturating_sub(1)
            ));
        }
        let next = before.number.next() == Some(content.number);
        if next && (content.previous != Some(before.digest) || first != before.end) {
            return broken(format!(
                "commitment {} does not continue commitment {}, {}",
                content.number, before.number, before.digest
            ));
        }
        None
    }

    /// Checks a record against the one before it in its stream and in its channel, if they are
    /// there.
    pub(super) fn record(&mut self, record: &VerifiedRecord) -> Vec<BrokenLink> {
        let stream = self.streams.entry(record.kid()).or_default();
        let (id, content) = (record.id(), record.record());
        let mut broken = Vec::new();
        if let Some((sequence, before)) = stream.last.replace((content.sequence, id))
            && sequence.next() == Some(content.sequence)
            && content.previous != Some(before)
        {
            broken.push(BrokenLink {
                link: Link::Stream,
                detail: format!(
                    "record {} does not name record {sequence}, {before}",
                    content.sequence
                ),
            });
        }
        let Some(link) = content.channel() else {
            return broken;
        };
        let here = (link.sequence, id);
        let before = match stream.channels.get_mut(&link.counterparty) {
            Some(end) => Some(core::mem::replace(end, here)),
            None => stream.channels.insert(link.counterparty.clone(), here),
        };
        if let Some((sequence, before)) = before {
            let name = &link.counterparty;
            if link.sequence <= sequence {
                broken.push(BrokenLink {
                    link: Link::Channel,
                    detail: format!(
                        "record {} of the channel to {name} after its record {sequence}",
                        link.sequence
                    ),
                });
            } else if sequence.next() == Some(link.sequence) && link.previous != Some(before) {
                broken.push(BrokenLink {
                    link: Link::Channel,
                    detail: format!(
                        "record {} of the channel to {name} does not name its record {sequence}, \
                         {before}",
                        link.sequence
                    ),
                });
            }
        }
        broken
    }
}
