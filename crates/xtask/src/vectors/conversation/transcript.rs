//! What a conversation vector holds, and its bytes. Spec: conversations §2.

use anyhow::{Context as _, Result, bail, ensure};
use ciborium::Value;
use counterfoil_protocol::cbor::{Encoder, Fields, Limits, check};
use counterfoil_protocol::digest::{KeyThumbprint, RecordId};

pub(super) const FORMAT: &str = "counterfoil/conversation/v1";

/// The largest transcript.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How many items it has at most.
const MAX_ITEMS: usize = 262_144;

/// A conversation: who talks, what travels, and step by step what is done and what comes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The trust file.
    pub(super) trust: Vec<u8>,
    pub(super) parties: Vec<Member>,
    /// Every record that is signed or travels, once, in the order in which it first appears.
    pub(super) records: Vec<Vec<u8>>,
    pub(super) messages: Vec<Message>,
    pub(super) steps: Vec<Step>,
}

/// Who talks, or is talked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) operator: String,
    /// The key of the enforcer that talks.
    pub(super) kid: KeyThumbprint,
    pub(super) manifests: Vec<Vec<u8>>,
    /// How far a request's time may be from its own, in milliseconds.
    pub(super) freshness: u64,
}

/// What travels. Records are named by their place in the transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// None when the message carries no evidence at all.
    pub(super) records: Option<Vec<u64>>,
    pub(super) salt: Option<[u8; 16]>,
    /// The call, in calls.
    pub(super) call: Option<Asked>,
    /// What came back, in answers, and whether it is an error or says that the tool failed.
    pub(super) answer: Option<(Vec<u8>, bool)>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) server: String,
    pub(super) verb: String,
    pub(super) tool: String,
    pub(super) parameters: Vec<u8>,
}

macro_rules! words {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $word:ident = $text:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name {
            $($(#[doc = $doc])+ $word,)+
        }

        impl $name {
            pub(super) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)+
                }
            }

            fn parse(text: &str) -> Result<Self> {
                match text {
                    $($text => Ok(Self::$word),)+
                    other => bail!("`{other}` is no {}", stringify!($name)),
                }
            }
        }
    };
}

words! {
    /// What is done.
    Event {
        /// The enforcer starts, again if it ran before: then it had crashed.
        Starts = "starts",
        /// An agent asks for a call to the other operator.
        Asks = "asks",
        /// The call leaves.
        Sends = "sends",
        /// The call never left.
        KeepsBack = "keeps back",
        /// A call arrives.
        Hears = "hears",
        /// The tool is done, or nobody knows.
        Settles = "settles",
        /// The answer to a call arrives.
        IsAnswered = "is answered",
        /// The call's time is out, or its connection broke.
        GivesUp = "gives up",
        /// What has not been acknowledged is offered outside of calls.
        Offers = "offers",
        /// Records arrive outside of calls.
        TakesIn = "takes in",
        /// The other side says what it holds.
        IsTold = "is told",
        /// Time passes.
        Waits = "waits",
        /// A message that waited is judged.
        Judges = "judges",
        /// A period is closed.
        States = "states",
    }
}

words! {
    /// What comes of it.
    Word {
        /// It is done.
        Done = "done",
        /// The message waits for records before its own.
        Held = "held",
        /// The policy denies the call.
        Denied = "denied",
        /// A check refuses it.
        Refused = "refused",
    }
}

words! {
    /// Where a request is.
    State {
        /// It is recorded.
        Prepared = "prepared",
        /// It never left.
        NotSent = "not sent",
        /// It has left.
        Sent = "sent",
        /// On the asking side: it is allowed. On the asked side: it is denied.
        Decided = "decided",
        /// An authentic outcome has come.
        Answered = "answered",
        /// An authentic denial has come.
        Refused = "refused",
        /// Nobody here knows what became of it.
        Unknown = "unknown",
        /// The other side's records say so.
        Resolved = "resolved",
        /// Its record waits for those before it.
        Held = "held",
        /// It is in the channel.
        Received = "received",
        /// It is allowed and the tool has it.
        Executing = "executing",
        /// The tool is done.
        Settled = "settled",
        /// Its outcome came before its call.
        Withdrawn = "withdrawn",
    }
}

/// The record that must come next in a stream, and which one it must link to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) stream: KeyThumbprint,
    pub(super) sequence: u64,
    pub(super) previous: Option<RecordId>,
}

/// One step: what is done, and after [`Step::word`] what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) time: u64,
    pub(super) side: usize,
    pub(super) event: Event,
    pub(super) request: Option<RecordId>,
    pub(super) message: Option<u64>,
    pub(super) call: Option<Asked>,
    pub(super) status: Option<u64>,
    pub(super) result: Option<Vec<u8>>,
    pub(super) there: Option<u64>,
    pub(super) word: Word,
    pub(super) reason: Option<String>,
    pub(super) expected: Option<Expected>,
    /// The message that goes out.
    pub(super) sends: Option<u64>,
    /// What the side signs.
    pub(super) signed: Vec<u64>,
    /// The requests that are somewhere else now.
    pub(super) states: Vec<(RecordId, State)>,
    /// What the side keeps as evidence of a fault.
    pub(super) kept: Vec<u64>,
}

impl Step {
    pub(super) const fn new(time: u64, side: usize, event: Event) -> Self {
        Self {
            time,
            side,
            event,
            request: None,
            message: None,
            call: None,
            status: None,
            result: None,
            there: None,
            word: Word::Done,
            reason: None,
            expected: None,
            sends: None,
            signed: Vec::new(),
            states: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl Transcript {
    /// The first refusal: at which step, and why.
    pub(super) fn refusal(&self) -> Option<(usize, &str)> {
        let steps = self.steps.iter().enumerate();
        steps
            .filter(|(_, step)| step.word == Word::Refused)
            .find_map(|(index, step)| Some((index, step.reason.as_deref()?)))
    }

    /// The first step at which the two differ.
    pub(super) fn differs_from(&self, other: &Self) -> Option<usize> {
        let longest = self.steps.len().max(other.steps.len());
        let step = (0..longest).find(|step| self.steps.get(*step) != other.steps.get(*step));
        // What no step names may differ too, and then the last one is as good as any.
        step.or_else(|| (self != other).then_some(longest))
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.map(|map| {
            map.key(1).text(FORMAT);
            map.key(2).bytes(&self.trust);
            let parties = map.key(3).array(self.parties.len());
            self.parties.iter().for_each(|party| party.write(parties));
            let records = map.key(4).array(self.records.len());
            for record in &self.records {
                records.bytes(record);
            }
            let messages = map.key(5).array(self.messages.len());
            self.messages.iter().for_each(|sent| sent.write(messages));
            let steps = map.key(6).array(self.steps.len());
            self.steps.iter().for_each(|step| step.write(steps));
        });
        out.into_bytes()
    }

    /// Reads what [`Transcript::encode`] writes.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let limits = Limits {
            max_items: MAX_ITEMS,
            ..Limits::untagged(MAX_BYTES)
        };
        check(bytes, &limits)?;
        let mut fields = Fields::of(super::super::edit::decode(bytes)?, "the conversation")?;
        ensure!(text(fields.required(1)?)? == FORMAT, "another format");
        let found = Self {
            trust: binary(fields.required(2)?)?,
            parties: all(fields.required(3)?, Member::read)?,
            records: all(fields.required(4)?, binary)?,
            messages: all(fields.required(5)?, Message::read)?,
            steps: all(fields.required(6)?, Step::read)?,
        };
        fields.finish()?;
        let parties = found.parties.len();
        ensure!((2..=16).contains(&parties), "{parties} parties");
        Ok(found)
    }
}

impl Member {
    fn write(&self, out: &mut Encoder) {
        out.map(|map| {
            map.key(1).text(&self.operator);
            map.key(2).bytes(self.kid.as_bytes());
            let manifests = map.key(3).array(self.manifests.len());
            for manifest in &self.manifests {
                manifests.bytes(manifest);
            }
            map.key(4).unsigned(self.freshness);
        });
    }

    fn read(value: Value) -> Result<Self> {
        let mut fields = Fields::of(value, "a party")?;
        let found = Self {
            operator: text(fields.required(1)?)?,
            kid: KeyThumbprint::from_bytes(fixed(fields.required(2)?)?),
            manifests: all(fields.required(3)?, binary)?,
            freshness: number(fields.required(4)?)?,
        };
        fields.finish()?;
        Ok(found)
    }
}

impl Message {
    fn write(&self, out: &mut Encoder) {
        out.map(|map| {
            map.optional(1, self.records.as_ref(), |out, records| {
                numbers(out, records);
            });
            map.optional(2, self.salt, |out, salt| {
                out.bytes(&salt);
            });
            map.optional(3, self.call.as_ref(), |out, call| call.write(out));
            map.optional(4, self.answer.as_ref(), |out, (result, failed)| {
                out.array(2).bytes(result);
                out.unsigned(u64::from(*failed));
            });
        });
    }

    fn read(value: Value) -> Result<Self> {
        let mut fields = Fields::of(value, "a message")?;
        let found = Self {
            records: fields
                .optional(1)
                .map(|value| all(value, number))
                .transpose()?,
            salt: fields.optional(2).map(fixed).transpose()?,
            call: fields.optional(3).map(Asked::read).transpose()?,
            answer: fields.optional(4).map(answer).transpose()?,
        };
        fields.finish()?;
        Ok(found)
    }
}

fn answer(value: Value) -> Result<(Vec<u8>, bool)> {
    let [result, failed] = row(value)?;
    Ok((binary(result)?, number(failed)? == 1))
}

impl Asked {
    fn write(&self, out: &mut Encoder) {
        out.map(|map| {
            map.key(1).text(&self.server);
            map.key(2).text(&self.verb);
            map.key(3).text(&self.tool);
            map.key(4).bytes(&self.parameters);
        });
    }

    fn read(value: Value) -> Result<Self> {
        let mut fields = Fields::of(value, "a call")?;
        let found = Self {
            server: text(fields.required(1)?)?,
            verb: text(fields.required(2)?)?,
            tool: text(fields.required(3)?)?,
            parameters: binary(fields.required(4)?)?,
        };
        fields.finish()?;
        Ok(found)
    }
}

impl Step {
    fn write(&self, out: &mut Encoder) {
        out.map(|map| {
            map.key(1).unsigned(self.time);
            map.key(2).unsigned(self.side as u64);
            map.key(3).text(self.event.as_str());
            map.optional(4, self.request, |out, id| {
                out.bytes(id.as_bytes());
            });
            map.optional(5, self.message, |out, message| {
                out.unsigned(message);
            });
            map.optional(6, self.call.as_ref(), |out, call| call.write(out));
            map.optional(7, self.status, |out, status| {
                out.unsigned(status);
            });
            map.optional(8, self.result.as_ref(), |out, result| {
                out.bytes(result);
            });
            map.optional(9, self.there, |out, there| {
                out.unsigned(there);
            });
            map.key(10).text(self.word.as_str());
            map.optional(11, self.reason.as_ref(), |out, reason| {
                out.text(reason);
            });
            map.optional(12, self.expected, |out, expected| {
                out.array(3).bytes(expected.stream.as_bytes());
                out.unsigned(expected.sequence);
                match expected.previous {
                    Some(previous) => out.bytes(previous.as_bytes()),
                    None => out.null(),
                };
            });
            map.optional(13, self.sends, |out, message| {
                out.unsigned(message);
            });
            numbers(map.key(14), &self.signed);
            let states = map.key(15).array(self.states.len());
            for (id, state) in &self.states {
                states.array(2).bytes(id.as_bytes());
                states.text(state.as_str());
            }
            numbers(map.key(16), &self.kept);
        });
    }

    fn read(value: Value) -> Result<Self> {
        let mut fields = Fields::of(value, "a step")?;
        let found = Self {
            time: number(fields.required(1)?)?,
            side: usize::try_from(number(fields.required(2)?)?)?,
            event: Event::parse(&text(fields.required(3)?)?)?,
            request: fields.optional(4).map(id).transpose()?,
            message: fields.optional(5).map(number).transpose()?,
            call: fields.optional(6).map(Asked::read).transpose()?,
            status: fields.optional(7).map(number).transpose()?,
            result: fields.optional(8).map(binary).transpose()?,
            there: fields.optional(9).map(number).transpose()?,
            word: Word::parse(&text(fields.required(10)?)?)?,
            reason: fields.optional(11).map(text).transpose()?,
            expected: fields.optional(12).map(expected).transpose()?,
            sends: fields.optional(13).map(number).transpose()?,
            signed: all(fields.required(14)?, number)?,
            states: all(fields.required(15)?, |value| {
                let [request, state] = row(value)?;
                Ok((id(request)?, State::parse(&text(state)?)?))
            })?,
            kept: all(fields.required(16)?, number)?,
        };
        fields.finish()?;
        Ok(found)
    }
}

fn expected(value: Value) -> Result<Expected> {
    let [stream, sequence, previous] = row(value)?;
    Ok(Expected {
        stream: KeyThumbprint::from_bytes(fixed(stream)?),
        sequence: number(sequence)?,
        previous: match previous {
            Value::Null => None,
            other => Some(id(other)?),
        },
    })
}

fn numbers(out: &mut Encoder, numbers: &[u64]) {
    out.array(numbers.len());
    for number in numbers {
        out.unsigned(*number);
    }
}

fn all<T>(value: Value, read: impl Fn(Value) -> Result<T>) -> Result<Vec<T>> {
    let Value::Array(values) = value else {
        bail!("not an array");
    };
    values.into_iter().map(read).collect()
}

fn row<const N: usize>(value: Value) -> Result<[Value; N]> {
    let values = all(value, Ok)?;
    values.try_into().ok().context("not so many elements")
}

fn binary(value: Value) -> Result<Vec<u8>> {
    value.into_bytes().ok().context("not a byte string")
}

fn fixed<const N: usize>(value: Value) -> Result<[u8; N]> {
    binary(value)?.try_into().ok().context("not of this size")
}

fn id(value: Value) -> Result<RecordId> {
    Ok(RecordId::from_bytes(fixed(value)?))
}

fn text(value: Value) -> Result<String> {
    value.into_text().ok().context("not text")
}

fn number(value: Value) -> Result<u64> {
    let number = value.into_integer().ok().context("not an integer")?;
    Ok(u64::try_from(number)?)
}
