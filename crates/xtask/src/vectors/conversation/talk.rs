//! Drives two real enforcers step by step and writes down what they do.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use anyhow::{Context as _, Result, bail, ensure};
use counterfoil_enforcer::call::{AnswerCheck, Call, Denial, Envelope, Party};
use counterfoil_enforcer::operators::Operators;
use counterfoil_enforcer::{Completion, Decided, EnforcerError, GAP_WINDOW_MILLIS, Permit};
use counterfoil_protocol::digest::{RecordId, Salt};
use counterfoil_protocol::names::AgentName;
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{OutcomeStatus, UnverifiedRecord};
use counterfoil_protocol::trust::Trust;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::side::{Side, Waiting};
use super::transcript::{Asked, Event, Member, Message, State, Step, Transcript, Word};

/// What the gateway of the asked side answers for a call that it denies.
const DENIAL: &[u8] = br#"{"code":-31403,"message":"denied"}"#;

/// The reasons that say which record is expected.
const OUT_OF_PLACE: [&str; 3] = ["channel_fork", "channel_gap", "acknowledgement_invalid"];

/// A conversation that goes on.
pub(super) struct Talk {
    transcript: Transcript,
    places: HashMap<Vec<u8>, u64>,
    /// What was asked for, by the request.
    calls: BTreeMap<RecordId, Asked>,
    sides: Vec<Side>,
    runtime: Runtime,
    _folder: TempDir,
}

/// What comes of a call or an answer that has been judged.
#[derive(Default)]
struct Judged {
    refused: Option<(Word, String)>,
    sends: Option<Message>,
    /// The records of `sends`, until they have their places.
    records: Vec<Vec<u8>>,
}

impl Talk {
    /// Two sides that know each other, and whoever else is in the trust file. The first two talk.
    pub(super) fn new(trust: Vec<u8>, parties: Vec<Member>) -> Result<Self> {
        let [one, other, ..] = parties.as_slice() else {
            bail!("it takes two");
        };
        let folder = tempfile::tempdir()?;
        let parsed = Trust::parse(&trust)?;
        let operators = Arc::new(Operators::default());
        for party in &parties {
            let manifests = party.manifests.iter().map(|manifest| LoggedManifest {
                manifest: manifest.clone(),
                log_proof: None,
            });
            operators.add(manifests.collect(), &parsed, true)?;
        }
        let side = |own: &Member, other: &Member| {
            let operators = Arc::clone(&operators);
            let (name, of) = (&own.operator, &other.operator);
            Side::new(folder.path(), name, of, own.freshness, operators)
        };
        Ok(Self {
            sides: vec![side(one, other)?, side(other, one)?],
            transcript: Transcript {
                trust,
                parties,
                ..Transcript::default()
            },
            places: HashMap::new(),
            calls: BTreeMap::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?,
            _folder: folder,
        })
    }

    pub(super) fn finish(self) -> Transcript {
        self.transcript
    }

    /// The place of a record in the transcript.
    pub(super) fn place(&mut self, record: &[u8]) -> u64 {
        if let Some(place) = self.places.get(record) {
            return *place;
        }
        let place = self.transcript.records.len() as u64;
        self.places.insert(record.to_vec(), place);
        self.transcript.records.push(record.to_vec());
        place
    }

    /// The place of a message in the transcript.
    pub(super) fn keep(&mut self, message: Message) -> u64 {
        let messages = &mut self.transcript.messages;
        let found = messages.iter().position(|known| *known == message);
        let place = found.unwrap_or(messages.len());
        if found.is_none() {
            messages.push(message);
        }
        place as u64
    }

    pub(super) fn message(&self, place: u64) -> Result<&Message> {
        let messages = &self.transcript.messages;
        messages
            .get(usize::try_from(place)?)
            .with_context(|| format!("no message {place}"))
    }

    pub(super) fn record(&self, place: u64) -> Result<&[u8]> {
        let record = self.transcript.records.get(usize::try_from(place)?);
        Ok(record.with_context(|| format!("no record {place}"))?)
    }

    fn side(&mut self, side: usize) -> Result<&mut Side> {
        self.sides.get_mut(side).context("no such side")
    }

    /// What a message carries, as a gateway hands it to its enforcer.
    fn envelope(&self, message: &Message) -> Result<Option<Envelope>> {
        let Some(records) = &message.records else {
            return Ok(None);
        };
        let records = records.iter();
        Ok(Some(Envelope {
            records: records
                .map(|place| Ok(self.record(*place)?.into()))
                .collect::<Result<_>>()?,
            salt: message.salt.map(Salt::from_bytes),
            ..Envelope::default()
        }))
    }

    /// Does what a step says, and writes down what comes of it. What stands in it of results is not
    /// looked at.
    pub(super) fn step(&mut self, asked: &Step) -> Result<Step> {
        let mut step = Step {
            request: asked.request,
            message: asked.message,
            call: asked.call.clone(),
            status: asked.status,
            result: asked.result.clone(),
            there: asked.there,
            ..Step::new(asked.time, asked.side, asked.event)
        };
        let side = self.side(step.side)?;
        side.set_time(step.time);
        let before = side.states.clone();
        let judged = match step.event {
            Event::Starts => side.start().map(|()| Judged::default()),
            Event::Asks => self.ask(&mut step),
            Event::Sends => self.send(&step),
            Event::KeepsBack => self.end(&step, OutcomeStatus::NotExecuted),
            Event::GivesUp => self.end(&step, OutcomeStatus::Unknown),
            Event::Hears | Event::IsAnswered => self.arrive(&mut step),
            Event::Settles => self.settle(&step),
            Event::Offers => self.offer(step.side),
            Event::TakesIn => self.take_in(&step),
            Event::IsTold => self.be_told(&step),
            Event::States => self.state(&step),
            Event::Waits => Ok(Judged::default()),
            Event::Judges => bail!("nobody asks for that: it happens"),
        };
        let place = self.transcript.steps.len();
        let judged = judged.with_context(|| format!("step {place}, {}", step.event.as_str()))?;
        let done = self.write_down(step, judged, &before)?;
        self.judge_what_waited(asked.time, asked.side)?;
        Ok(done)
    }

    fn write_down(
        &mut self,
        mut step: Step,
        judged: Judged,
        before: &BTreeMap<RecordId, State>,
    ) -> Result<Step> {
        if let Some((word, reason)) = judged.refused {
            step.word = word;
            step.reason = Some(reason);
        }
        let named = step.reason.as_deref();
        let out_of_place = step.word == Word::Held
            || (step.word == Word::Refused && named.is_some_and(|it| OUT_OF_PLACE.contains(&it)));
        if let Some(message) = step.message.filter(|_| out_of_place) {
            let last = self.last_of(message)?;
            let stream = UnverifiedRecord::parse(&last)?.kid();
            step.expected = Some(self.side(step.side)?.expected(stream)?);
        }
        let news = self.side(step.side)?.news(before)?;
        step.signed = news
            .signed
            .iter()
            .map(|record| self.place(record))
            .collect();
        step.kept = news.kept.iter().map(|record| self.place(record)).collect();
        step.states = news.states;
        if let Some(mut message) = judged.sends {
            let records = judged.records.iter().map(|record| self.place(record));
            message.records = Some(records.collect());
            step.sends = Some(self.keep(message));
        }
        self.transcript.steps.push(step.clone());
        Ok(step)
    }

    fn last_of(&self, message: u64) -> Result<Vec<u8>> {
        let records = self.message(message)?.records.as_ref();
        let last = *records.and_then(|all| all.last()).context("no record")?;
        Ok(self.record(last)?.to_vec())
    }

    fn ask(&mut self, step: &mut Step) -> Result<Judged> {
        let asked = step.call.clone().context("what call")?;
        let side = self.side(step.side)?;
        let counterparty = side.other.clone();
        let party = Party::Outgoing {
            agent: AgentName::literal("bot"),
            counterparty: &counterparty,
        };
        let decided = side.enforcer()?.authorize(&call(&asked)?, &party)?.wait()?;
        match decided {
            Decided::Allowed(permit) => {
                step.request = Some(permit.record());
                let id = permit.record();
                side.permits.insert(id, permit);
                self.calls.insert(id, asked);
                Ok(Judged::default())
            }
            Decided::Denied(denial) => self.denied(step.side, &denial, None),
        }
    }

    /// What a denial comes to. One that the policy was asked about is a denial of the policy's.
    fn denied(&mut self, side: usize, denial: &Denial, sends: Option<Message>) -> Result<Judged> {
        let reason = denial.reason.as_str();
        let by_policy = reason != "channel_unacknowledged"
            && self.side(side)?.asked_the_policy(denial.record)?;
        let word = if by_policy {
            Word::Denied
        } else {
            Word::Refused
        };
        let envelope = denial.envelope.as_ref();
        Ok(Judged {
            refused: Some((word, denial.reason.to_string())),
            sends: envelope.and(sends),
            records: envelope.map(records_of).unwrap_or_default(),
        })
    }

    fn permit(&mut self, step: &Step) -> Result<Permit> {
        let request = step.request.context("which request")?;
        let permits = &mut self.side(step.side)?.permits;
        permits.remove(&request).context("no such call is open")
    }

    fn send(&mut self, step: &Step) -> Result<Judged> {
        let permit = self.permit(step)?;
        let asked = self.calls.get(&permit.record()).cloned();
        let envelope = permit.request_envelope().context("it does not leave")?;
        let side = self.side(step.side)?;
        side.states.insert(permit.record(), State::Sent);
        side.permits.insert(permit.record(), permit);
        Ok(sending(
            &envelope,
            Message {
                call: asked,
                ..Message::default()
            },
        ))
    }

    fn end(&mut self, step: &Step, status: OutcomeStatus) -> Result<Judged> {
        let completion = Completion {
            status,
            result: None,
        };
        self.permit(step)?.complete(completion)?.wait()?;
        Ok(Judged::default())
    }

    fn settle(&mut self, step: &Step) -> Result<Judged> {
        let status = match step.status {
            Some(1) => OutcomeStatus::Succeeded,
            Some(2) => OutcomeStatus::Failed,
            Some(3) => OutcomeStatus::NotExecuted,
            Some(4) => OutcomeStatus::Unknown,
            other => bail!("{other:?} is no status of a tool"),
        };
        let result = step.result.clone().context("what result")?;
        let completion = Completion {
            status,
            result: Some(&result),
        };
        let envelope = self.permit(step)?.complete(completion)?.wait()?;
        let failed = status != OutcomeStatus::Succeeded;
        let envelope = envelope.context("nobody asked")?;
        Ok(sending(
            &envelope,
            Message {
                answer: Some((result, failed)),
                ..Message::default()
            },
        ))
    }

    /// A message arrives: it is judged, unless it has to wait.
    fn arrive(&mut self, step: &mut Step) -> Result<Judged> {
        let message = step.message.context("which message")?;
        let envelope = self.envelope(self.message(message)?)?;
        let side = self.side(step.side)?;
        let held = match &envelope {
            Some(envelope) => side.enforcer()?.hold(envelope),
            None => None,
        };
        let Some(held) = held else {
            return self.judge(step.side, message, step.request);
        };
        if step.event == Event::Hears {
            let id = UnverifiedRecord::parse(&self.last_of(message)?)?.id();
            self.side(step.side)?
                .states
                .entry(id)
                .or_insert(State::Held);
        }
        let mut waiting = Waiting {
            message,
            request: step.request,
            deadline: step.time + GAP_WINDOW_MILLIS,
            filled: Box::pin(held.filled()),
        };
        ensure!(!self.is_over(&mut waiting, step.time), "it need not wait");
        self.side(step.side)?.held.push(waiting);
        step.word = Word::Held;
        Ok(Judged::default())
    }

    /// Whether what a message waited for has come, or its window is over.
    fn is_over(&self, waiting: &mut Waiting, now: u64) -> bool {
        let filled = &mut waiting.filled;
        if now >= waiting.deadline {
            self.runtime.block_on(filled);
            return true;
        }
        let once = poll_fn(|context| Poll::Ready(filled.as_mut().poll(context).is_ready()));
        self.runtime.block_on(once)
    }

    fn judge_what_waited(&mut self, time: u64, side: usize) -> Result<()> {
        loop {
            let mut held = std::mem::take(&mut self.side(side)?.held);
            let over = held
                .iter_mut()
                .position(|waiting| self.is_over(waiting, time));
            let done = over.map(|place| held.remove(place));
            self.side(side)?.held = held;
            let Some(Waiting {
                message, request, ..
            }) = done
            else {
                return Ok(());
            };
            let mut step = Step::new(time, side, Event::Judges);
            step.message = Some(message);
            step.request = request;
            let before = self.side(side)?.states.clone();
            let judged = self.judge(side, message, request)?;
            self.write_down(step, judged, &before)?;
        }
    }

    fn judge(&mut self, side: usize, place: u64, request: Option<RecordId>) -> Result<Judged> {
        let message = self.message(place)?.clone();
        let envelope = self.envelope(&message)?;
        match request {
            Some(request) => self.judge_answer(side, &message, envelope.as_ref(), request),
            None => self.judge_call(side, &message, envelope.as_ref(), place),
        }
    }

    fn judge_call(
        &mut self,
        side: usize,
        message: &Message,
        envelope: Option<&Envelope>,
        place: u64,
    ) -> Result<Judged> {
        let asked = message.call.as_ref().context("not a call")?;
        let party = Party::Incoming { envelope };
        let enforcer = self.side(side)?.enforcer()?.clone();
        let pending = match enforcer.authorize(&call(asked)?, &party) {
            Err(EnforcerError::TooManyRefusals) => {
                return Ok(Judged {
                    refused: Some((Word::Refused, "too_many_refusals".to_owned())),
                    ..Judged::default()
                });
            }
            other => other?,
        };
        match pending.wait()? {
            Decided::Allowed(permit) => {
                let id = UnverifiedRecord::parse(&self.last_of(place)?)?.id();
                self.side(side)?.permits.insert(id, permit);
                Ok(Judged::default())
            }
            Decided::Denied(denial) => {
                let answer = Message {
                    answer: Some((DENIAL.to_vec(), true)),
                    ..Message::default()
                };
                self.denied(side, &denial, Some(answer))
            }
        }
    }

    fn judge_answer(
        &mut self,
        side: usize,
        message: &Message,
        envelope: Option<&Envelope>,
        request: RecordId,
    ) -> Result<Judged> {
        let (result, failed) = message.answer.as_ref().context("not an answer")?;
        let permits = &mut self.side(side)?.permits;
        let permit = permits.remove(&request).context("no such call is open")?;
        let (check, pending) = permit.complete_with_answer(envelope, result)?;
        pending.wait()?;
        let withheld = match check {
            AnswerCheck::Attested { .. } => None,
            AnswerCheck::Refused { .. } if *failed => None,
            // The gateway looks at this one: a denial is an error, and nothing else.
            AnswerCheck::Refused { .. } => Some("answer_contradicts_decision".to_owned()),
            AnswerCheck::Invalid { reason, .. } => Some(reason.to_string()),
        };
        Ok(Judged {
            refused: withheld.map(|reason| (Word::Refused, reason)),
            ..Judged::default()
        })
    }

    fn offer(&mut self, side: usize) -> Result<Judged> {
        let side = self.side(side)?;
        let envelope = side.enforcer()?.unacknowledged(&side.other)?;
        Ok(sending(&envelope, Message::default()))
    }

    fn take_in(&mut self, step: &Step) -> Result<Judged> {
        let message = step.message.context("which message")?;
        let envelope = self.envelope(self.message(message)?)?;
        let envelope = envelope.context("no records")?;
        match self.side(step.side)?.enforcer()?.ingest(&envelope) {
            Ok(_) => Ok(Judged::default()),
            Err(EnforcerError::Refused { reason, .. }) => Ok(Judged {
                refused: Some((Word::Refused, reason.to_string())),
                ..Judged::default()
            }),
            Err(other) => Err(other.into()),
        }
    }

    fn be_told(&mut self, step: &Step) -> Result<Judged> {
        let side = self.side(step.side)?;
        let there = step.there.map(ChannelSequence::new);
        side.enforcer()?.note_held(&side.other, there);
        Ok(Judged::default())
    }

    fn state(&mut self, step: &Step) -> Result<Judged> {
        let side = self.side(step.side)?;
        side.enforcer()?.state(&side.other)?;
        Ok(Judged::default())
    }
}

fn records_of(envelope: &Envelope) -> Vec<Vec<u8>> {
    envelope.records.iter().map(|one| one.to_vec()).collect()
}

fn sending(envelope: &Envelope, message: Message) -> Judged {
    Judged {
        refused: None,
        sends: Some(Message {
            salt: envelope.salt.map(|salt| *salt.as_bytes()),
            ..message
        }),
        records: records_of(envelope),
    }
}

fn call(asked: &Asked) -> Result<Call<'_>> {
    Ok(Call {
        on_behalf_of: None,
        session: None,
        server: asked.server.parse()?,
        verb: asked.verb.parse()?,
        tool: asked.tool.parse()?,
        arguments: b"{}",
        parameters: &asked.parameters,
        attestations: &[],
    })
}
