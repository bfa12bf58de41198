//! Verifies a bundle while its bytes are coming, and hands out its records one by one.

use super::entry::{Entry, Summary};
use super::item::Header;
use super::links::Links;
use super::log_cache::LogCache;
use super::parse::{Item, Parser};
use super::part::OpenPart;
use super::shared::Operator;
use crate::commitment::VerifiedCommitment;
use crate::disclosure::Disclosure;
use crate::failure::{Failure, FailureCode};
use crate::level::Level;
use crate::receipt::Receipt;
use crate::trust::Trust;
use crate::verify::checks::manifest_chain;

/// Verifies a bundle. Push bytes, take entries until there are none, and finish.
///
/// It holds one part at a time, and of what came before only the ends of streams and channels.
///
/// ```no_run
/// # use counterfoil_protocol::{Failure, bundle::Verifier, level::Level, trust::Trust};
/// # fn run(chunks: Vec<Vec<u8>>, trust: &Trust) -> Result<(), Failure> {
/// let mut verifier = Verifier::new(trust, Level::Witnessed);
/// for chunk in chunks {
///     verifier.push(&chunk);
///     while let Some(entry) = verifier.next_entry()? {
///         // Use the record, and show how far it is: `verifier.summary()`.
///     }
/// }
/// verifier.finish()?;
/// assert!(verifier.summary().is_good());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Verifier<'t> {
    required: Level,
    parser: Parser,
    operator: Option<Operator>,
    part: Option<OpenPart>,
    links: Links,
    log: LogCache<'t>,
    summary: Summary,
}

impl<'t> Verifier<'t> {
    /// A verifier that believes `trust` and asks for a level.
    pub fn new(trust: &'t Trust, required: Level) -> Self {
        Self {
            required,
            parser: Parser::default(),
            operator: None,
            part: None,
            links: Links::default(),
            log: LogCache::new(trust),
            summary: Summary::default(),
        }
    }

    /// Takes more bytes of the bundle. Take the entries out before pushing much more: what has been
    /// pushed is held until then.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.summary.stopped.is_none() {
            self.summary.bytes = self.summary.bytes.saturating_add(bytes.len() as u64);
            self.parser.push(bytes);
        }
    }

    /// The next record; none if more bytes are needed. A record that does not verify is handed out
    /// with its failure, and others may follow.
    ///
    /// # Errors
    /// When nothing after this can be relied on: an item that cannot be read, or manifests that are
    /// no chain from a trusted root key.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        if let Some(stopped) = &self.summary.stopped {
            return Err(stopped.clone());
        }
        loop {
            if let Some(part) = &mut self.part {
                let position = self.summary.records;
                let entry =
                    part.next_entry(position, self.required, &mut self.links, &mut self.log);
                if let Some(entry) = entry {
                    self.summary.count(&entry);
                    return Ok(Some(entry));
                }
            }
            match self.next_part() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(failure) => {
                    self.part = None;
                    self.summary.stopped = Some(failure.clone());
                    return Err(failure);
                }
            }
        }
    }

    /// Says that no more bytes come, after the last entry has been taken.
    ///
    /// # Errors
    /// As [`Parser::finish`].
    pub fn finish(&mut self) -> Result<(), Failure> {
        match self.parser.finish() {
            Ok(()) => {
                let taken = self.part.as_ref().is_some_and(OpenPart::is_done);
                self.summary.complete = taken && self.summary.stopped.is_none();
                Ok(())
            }
            Err(failure) => {
                self.summary.stopped.get_or_insert_with(|| failure.clone());
                Err(failure)
            }
        }
    }

    /// Verifies a whole bundle that comes in pieces, showing each record and the sum so far.
    pub fn run<B: AsRef<[u8]>>(
        mut self,
        pieces: impl IntoIterator<Item = B>,
        mut each: impl FnMut(Entry, &Self),
    ) -> Summary {
        for piece in pieces {
            self.push(piece.as_ref());
            while let Ok(Some(entry)) = self.next_entry() {
                each(entry, &self);
            }
            if self.summary.stopped.is_some() {
                return self.summary;
            }
        }
        // A refusal stands in the summary.
        let _ = self.finish();
        self.summary
    }

    /// The sum over the records so far.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The header, once it has been read and its manifests verified.
    pub fn header(&self) -> Option<&Header> {
        self.operator.as_ref().map(|operator| &operator.header)
    }

    /// The bytes of the record that was handed out last.
    pub fn record_bytes(&self) -> Option<&[u8]> {
        self.part.as_ref()?.bytes()
    }

    /// The commitment to the batch of the record that was handed out last, if its part is sealed
    /// and what the part shares holds.
    pub fn commitment(&self) -> Option<&VerifiedCommitment> {
        self.part.as_ref()?.commitment()
    }

    /// What the bundle discloses of the record that was handed out last. It has been checked if
    /// the record is verified.
    pub fn disclosures(&self) -> impl Iterator<Item = &Disclosure> {
        self.part.iter().flat_map(OpenPart::disclosures)
    }

    /// The receipt of the record that was handed out last: it stands alone and verifies as the
    /// record did. None if what the record shares with others does not hold.
    pub fn receipt(&self) -> Option<Receipt> {
        self.part.as_ref()?.receipt(self.header()?)
    }

    /// Opens the next part. The answer is false if more bytes are needed.
    fn next_part(&mut self) -> Result<bool, Failure> {
        let Some(item) = self.parser.next_item()? else {
            return Ok(false);
        };
        match (item, &mut self.operator) {
            (Item::Header(header), operator) => {
                let trust = self.log.trust();
                let manifests = manifest_chain(&header.manifests, &header.operator, trust)?;
                *operator = Some(Operator {
                    places: vec![None; manifests.len()],
                    manifests,
                    header,
                });
            }
            (Item::Part(part), Some(operator)) => {
                self.summary.parts += 1;
                let (links, log) = (&mut self.links, &mut self.log);
                self.part = Some(OpenPart::open(part, operator, links, log));
            }
            (Item::Part(_), None) => {
                return Err(Failure::new(
                    FailureCode::CborTruncated,
                    "the bundle has no header",
                ));
            }
        }
        Ok(true)
    }
}
