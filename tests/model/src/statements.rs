//! What is signed, as far as the rules look at it. A signature is modelled by who may make it: only
//! the owner of a key adds to what the key has signed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One of the two operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// The one whose agents ask.
    Asking,
    /// The one whose tools are asked for.
    Asked,
}

impl Party {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Asking, Self::Asked];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Asking => Self::Asked,
            Self::Asked => Self::Asking,
        }
    }
}

/// One of the keys of an operator, in the order in which they come into use; also its stream.
pub type Key = u8;

/// How many keys an operator has in the model.
pub const KEYS: usize = 3;

/// Stands for a digest: 64 bits of a hash of what it is the digest of, as many as the checker keeps
/// of a state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u64);

impl Id {
    /// The id of something that nobody has signed.
    pub const NOTHING: Self = Self(0);

    /// The digest of something.
    #[must_use]
    pub fn of(content: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0 & 0xffff)
    }
}

/// That the records of one of the counterparty's streams are held, up to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acknowledgement {
    /// The stream.
    pub key: Key,
    /// The place in the channel.
    pub sequence: u8,
    /// The record there.
    pub id: Id,
}

/// Where a record stands in a channel (records §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// The place.
    pub sequence: u8,
    /// The record before.
    pub previous: Option<Id>,
    /// What its signer has of the counterparty.
    pub acknowledged: Option<Acknowledgement>,
}

/// The verdict of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// It may not.
    Deny,
}

/// What became of a call (records §3), as far as the rules tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// It was executed.
    Succeeded,
    /// Nobody knows.
    Unknown,
    /// The counterparty refused it.
    Refused,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Body {
    /// The stream begins; it may continue that of another key.
    Opened(Option<Key>),
    /// The enforcer started again.
    Started,
    /// A call is asked for, with these parameters.
    Request(u8),
    /// A call is decided: which request (a refusal of a repeat names none), with which parameters.
    Decision(Option<Id>, u8, Verdict),
    /// What became of a request or decision of the signer's, and which answer that follows from.
    Outcome(Id, Status, Option<Id>),
    /// A period is closed: what has been received of each of the counterparty's streams.
    Statement([Option<Acknowledgement>; KEYS]),
    /// That record is not ours.
    Denied(Id),
    /// The stream ends.
    Ended,
}

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// Whose it is.
    pub signer: Party,
    /// With which key, so in which stream.
    pub key: Key,
    /// The place in the stream.
    pub sequence: u8,
    /// The record before in the stream.
    pub previous: Option<Id>,
    /// The place in the channel to the other operator.
    pub link: Option<Link>,
    /// What it says.
    pub body: Body,
}

impl Record {
    /// All that it acknowledges, by its link and as a statement.
    pub fn acknowledged(&self) -> impl Iterator<Item = Acknowledgement> + '_ {
        let received = match &self.body {
            Body::Statement(received) => received.as_slice(),
            _ => &[],
        };
        let link = self.link.and_then(|link| link.acknowledged);
        link.into_iter().chain(received.iter().copied().flatten())
    }
}

/// A signed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signed {
    /// Its id, which does not cover the signature.
    pub id: Id,
    /// Its content.
    pub record: Record,
    /// Which of the signatures that the key can make over it: a signer that draws randomness makes
    /// several.
    pub signature: u8,
}

impl Hash for Signed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The id stands for the content.
        self.id.hash(state);
        self.signature.hash(state);
    }
}

impl Signed {
    /// Signs it.
    #[must_use]
    pub fn new(record: Record) -> Self {
        Self {
            id: Id::of(&record),
            record,
            signature: 0,
        }
    }

    /// The place in the channel, of a record that has one.
    #[must_use]
    pub fn place(&self) -> Option<u8> {
        self.record.link.map(|link| link.sequence)
    }

    /// The leaf of its bytes in a batch, signature included.
    #[must_use]
    pub const fn leaf(&self) -> (Id, u8) {
        (self.id, self.signature)
    }
}

/// The signed root of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commitment {
    /// Whose it is.
    pub signer: Party,
    /// Of which stream.
    pub key: Key,
    /// The place among the batches of the stream.
    pub number: u8,
    /// The first record's place in the stream.
    pub first: u8,
    /// The digest of the commitment before.
    pub previous: Option<Id>,
    /// The leaves, of which the root is a digest.
    pub leaves: Vec<(Id, u8)>,
}

impl Commitment {
    /// Its digest.
    #[must_use]
    pub fn id(&self) -> Id {
        Id::of(self)
    }

    /// The place in the stream after its last record.
    #[must_use]
    pub fn end(&self) -> u8 {
        let count = u8::try_from(self.leaves.len()).unwrap_or(u8::MAX);
        self.first.saturating_add(count)
    }

    /// What it holds at a place of the stream.
    #[must_use]
    pub fn at(&self, sequence: u8) -> Option<(Id, u8)> {
        let index = sequence.checked_sub(self.first)?;
        self.leaves.get(usize::from(index)).copied()
    }
}

/// A version of an operator's list of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Manifest {
    /// Which version.
    pub version: u8,
    /// Its content: a key is drawn for each, so that two are never alike.
    pub newest: Key,
}
