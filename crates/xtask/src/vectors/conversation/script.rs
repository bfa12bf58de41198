//! What the scripts of the conversations are written in: steps on a clock, and what must come of
//! them.

use anyhow::{Context as _, Result, ensure};
use counterfoil_protocol::digest::{ManifestDigest, RecordId};
use counterfoil_protocol::manifest::Manifest;
use counterfoil_protocol::numbers::{ManifestVersion, UnixMillis};
use counterfoil_protocol::trust::operator_vkey;

use super::talk::Talk;
use super::transcript::{Asked, Event, Member, Message, State, Step, Transcript, Word};
use crate::world::START;
use crate::world::keys::Operator;

/// The side that asks in most conversations.
pub(super) const ACME: usize = 0;
/// The side that is asked in most conversations.
pub(super) const GLOBEX: usize = 1;

/// How far a request's time may be from the asked side's, in milliseconds.
pub(super) const FRESHNESS: u64 = 60_000;

/// Between two steps, unless a script says otherwise.
const PAUSE: u64 = 40;

pub(super) const PARAMETERS: &[u8] = br#"{"name":"refund","arguments":{"ticket":"T-1001"}}"#;
pub(super) const RESULT: &[u8] = br#"{"content":[{"type":"text","text":"refunded"}]}"#;
pub(super) const FAILURE: &[u8] = br#"{"content":[],"isError":true}"#;

pub(super) const SUCCEEDED: u64 = 1;
pub(super) const FAILED: u64 = 2;
pub(super) const NOT_EXECUTED: u64 = 3;
pub(super) const UNKNOWN: u64 = 4;

/// A conversation being made.
pub(super) struct Script {
    pub(super) talk: Talk,
    now: u64,
}

/// Whom the conversations are between, and a third whose records may turn up.
pub(super) struct Parties {
    pub(super) acme: Operator,
    pub(super) globex: Operator,
    pub(super) initech: Operator,
}

impl Parties {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            acme: Operator::new("acme.example")?,
            globex: Operator::new("globex.example")?,
            initech: Operator::new("initech.example")?,
        })
    }

    fn all(&self) -> [&Operator; 3] {
        [&self.acme, &self.globex, &self.initech]
    }
}

/// The first manifest of an operator, and the one that revokes its previous enforcer key.
fn manifests(operator: &Operator, revoking: bool) -> Vec<Vec<u8>> {
    let mut enforcers = vec![
        operator.previous_enforcer.public().clone(),
        operator.enforcer.public().clone(),
    ];
    enforcers.sort_by_key(|key| *key.as_bytes());
    let first = Manifest {
        operator: operator.name.clone(),
        version: ManifestVersion::new(1),
        previous: None,
        time: UnixMillis::new((START - 3600) * 1000),
        roots: vec![operator.root.public().clone()],
        enforcers,
        exchange: None,
        revoked: Vec::new(),
    };
    let bytes = first.sign(&operator.root);
    if !revoking {
        return vec![bytes];
    }
    let second = Manifest {
        version: ManifestVersion::new(2),
        previous: Some(ManifestDigest::of(&bytes)),
        time: UnixMillis::new((START - 1800) * 1000),
        enforcers: vec![operator.enforcer.public().clone()],
        revoked: vec![operator.previous_enforcer.public().thumbprint()],
        ..first
    };
    vec![bytes, second.sign(&operator.root)]
}

impl Script {
    /// Both sides, started. Acme has revoked its previous key if `revoking`.
    pub(super) fn started(parties: &Parties, revoking: bool) -> Result<Self> {
        let mut trust = String::from("quorum none\n");
        let mut members = Vec::new();
        for operator in parties.all() {
            let vkey = operator_vkey(&operator.name, operator.root.public())?;
            trust.push_str(&format!("operator {vkey}\n"));
            members.push(Member {
                operator: operator.name.to_string(),
                kid: operator.enforcer.public().thumbprint(),
                manifests: manifests(operator, revoking && operator.name == parties.acme.name),
                freshness: FRESHNESS,
            });
        }
        let mut script = Self {
            talk: Talk::new(trust.into_bytes(), members)?,
            now: START * 1000,
        };
        script.start(ACME)?;
        script.start(GLOBEX)?;
        Ok(script)
    }

    pub(super) fn finish(self) -> Transcript {
        self.talk.finish()
    }

    /// Lets so many milliseconds pass before the next step.
    pub(super) const fn pause(&mut self, millis: u64) {
        self.now += millis;
    }

    /// Sets the time of the next step.
    pub(super) const fn stand_still(&mut self, at: u64) {
        self.now = at;
    }

    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    fn run(&mut self, step: Step) -> Result<Step> {
        let done = self.talk.step(&step)?;
        self.now += PAUSE;
        Ok(done)
    }

    fn step(&self, side: usize, event: Event) -> Step {
        Step::new(self.now, side, event)
    }

    pub(super) fn start(&mut self, side: usize) -> Result<()> {
        let step = self.step(side, Event::Starts);
        self.run(step).map(drop)
    }

    /// An agent's call, with what comes of it.
    pub(super) fn try_to_ask(&mut self, side: usize, tool: &str) -> Result<Step> {
        let step = Step {
            call: Some(Asked {
                server: "desk".to_owned(),
                verb: "tools/call".to_owned(),
                tool: tool.to_owned(),
                parameters: PARAMETERS.to_vec(),
            }),
            ..self.step(side, Event::Asks)
        };
        self.run(step)
    }

    pub(super) fn ask_for(&mut self, side: usize, tool: &str) -> Result<RecordId> {
        self.try_to_ask(side, tool)?.request.context("it is denied")
    }

    pub(super) fn ask(&mut self, side: usize) -> Result<RecordId> {
        self.ask_for(side, "refund")
    }

    fn about(&mut self, side: usize, event: Event, request: RecordId) -> Result<Step> {
        let step = Step {
            request: Some(request),
            ..self.step(side, event)
        };
        self.run(step)
    }

    /// The call's message.
    pub(super) fn send(&mut self, side: usize, request: RecordId) -> Result<u64> {
        let step = self.about(side, Event::Sends, request)?;
        step.sends.context("nothing leaves")
    }

    /// A call that is asked for and sent: the request, and the message.
    pub(super) fn call(&mut self, side: usize) -> Result<(RecordId, u64)> {
        let request = self.ask(side)?;
        Ok((request, self.send(side, request)?))
    }

    pub(super) fn keep_back(&mut self, side: usize, request: RecordId) -> Result<()> {
        self.about(side, Event::KeepsBack, request).map(drop)
    }

    pub(super) fn give_up(&mut self, side: usize, request: RecordId) -> Result<()> {
        self.about(side, Event::GivesUp, request).map(drop)
    }

    fn arrives(
        &mut self,
        side: usize,
        event: Event,
        message: u64,
        request: Option<RecordId>,
    ) -> Result<Step> {
        let step = Step {
            message: Some(message),
            request,
            ..self.step(side, event)
        };
        self.run(step)
    }

    /// A call arrives.
    pub(super) fn hear(&mut self, side: usize, message: u64) -> Result<Step> {
        self.arrives(side, Event::Hears, message, None)
    }

    /// A call arrives and is allowed.
    pub(super) fn execute(&mut self, side: usize, message: u64) -> Result<()> {
        let step = self.hear(side, message)?;
        came_to(&step, Word::Done, None)
    }

    /// A call arrives and is refused; the answer's message, if it carries a decision.
    pub(super) fn refuse(&mut self, side: usize, message: u64, reason: &str) -> Result<Step> {
        let step = self.hear(side, message)?;
        came_to(&step, Word::Refused, Some(reason))?;
        Ok(step)
    }

    /// The tool is done: the answer's message.
    pub(super) fn settle(&mut self, side: usize, request: RecordId, status: u64) -> Result<u64> {
        let result = if status == SUCCEEDED { RESULT } else { FAILURE };
        let step = Step {
            request: Some(request),
            status: Some(status),
            result: Some(result.to_vec()),
            ..self.step(side, Event::Settles)
        };
        self.run(step)?.sends.context("nothing goes back")
    }

    /// An answer arrives.
    pub(super) fn answer(&mut self, side: usize, request: RecordId, message: u64) -> Result<Step> {
        self.arrives(side, Event::IsAnswered, message, Some(request))
    }

    /// An answer arrives, and is delivered.
    pub(super) fn deliver(&mut self, side: usize, request: RecordId, message: u64) -> Result<()> {
        let step = self.answer(side, request, message)?;
        came_to(&step, Word::Done, None)
    }

    /// An answer arrives, and is withheld.
    pub(super) fn withhold(
        &mut self,
        side: usize,
        request: RecordId,
        message: u64,
        reason: &str,
    ) -> Result<()> {
        let step = self.answer(side, request, message)?;
        came_to(&step, Word::Refused, Some(reason))
    }

    /// One whole call, from the agent's to its answer.
    pub(super) fn whole_call(&mut self, asking: usize, asked: usize) -> Result<RecordId> {
        let (request, call) = self.call(asking)?;
        self.execute(asked, call)?;
        let answer = self.settle(asked, request, SUCCEEDED)?;
        self.deliver(asking, request, answer)?;
        Ok(request)
    }

    /// What one side offers outside of calls.
    pub(super) fn offer(&mut self, side: usize) -> Result<u64> {
        let step = self.step(side, Event::Offers);
        self.run(step)?.sends.context("nothing is offered")
    }

    /// Records arrive outside of calls.
    pub(super) fn take_in(&mut self, side: usize, message: u64) -> Result<Step> {
        self.arrives(side, Event::TakesIn, message, None)
    }

    /// Records arrive outside of calls and are taken in.
    pub(super) fn exchange(&mut self, from: usize, to: usize) -> Result<()> {
        let message = self.offer(from)?;
        let step = self.take_in(to, message)?;
        came_to(&step, Word::Done, None)
    }

    /// Records arrive outside of calls and are refused.
    pub(super) fn take_in_refusing(
        &mut self,
        side: usize,
        message: u64,
        reason: &str,
    ) -> Result<()> {
        let step = self.take_in(side, message)?;
        came_to(&step, Word::Refused, Some(reason))
    }

    /// The other side says that it holds our records up to this one.
    pub(super) fn tell(&mut self, side: usize, there: u64) -> Result<Step> {
        let step = Step {
            there: Some(there),
            ..self.step(side, Event::IsTold)
        };
        self.run(step)
    }

    pub(super) fn wait(&mut self, side: usize) -> Result<Step> {
        let step = self.step(side, Event::Waits);
        self.run(step)
    }

    pub(super) fn state(&mut self, side: usize) -> Result<()> {
        let step = self.step(side, Event::States);
        self.run(step).map(drop)
    }

    /// The message with only the last `count` of its records.
    pub(super) fn cut(&mut self, message: u64, count: usize) -> Result<u64> {
        self.changed(message, |message| {
            if let Some(records) = &mut message.records {
                records.drain(..records.len().saturating_sub(count));
            }
        })
    }

    /// The message, changed on its way.
    pub(super) fn changed(
        &mut self,
        message: u64,
        change: impl FnOnce(&mut Message),
    ) -> Result<u64> {
        let mut message = self.talk.message(message)?.clone();
        change(&mut message);
        Ok(self.talk.keep(message))
    }

    /// The message with another last record.
    pub(super) fn ending_in(&mut self, message: u64, record: &[u8]) -> Result<u64> {
        let place = self.talk.place(record);
        self.changed(message, |message| {
            if let Some(last) = message.records.as_mut().and_then(|all| all.last_mut()) {
                *last = place;
            }
        })
    }

    /// A message outside of calls with these records.
    pub(super) fn carrying(&mut self, records: &[&[u8]]) -> u64 {
        let places = records.iter().map(|record| self.talk.place(record));
        let records = Some(places.collect());
        self.talk.keep(Message {
            records,
            ..Message::default()
        })
    }

    /// The last record of a message.
    pub(super) fn last(&self, message: u64) -> Result<Vec<u8>> {
        let records = self.talk.message(message)?.records.as_ref();
        let place = *records.and_then(|all| all.last()).context("no records")?;
        Ok(self.talk.record(place)?.to_vec())
    }
}

/// Fails unless a step came to this.
pub(super) fn came_to(step: &Step, word: Word, reason: Option<&str>) -> Result<()> {
    let found = (step.word, step.reason.as_deref());
    ensure!(
        found == (word, reason),
        "`{}` came to {found:?}, not to {word:?} {reason:?}",
        step.event.as_str()
    );
    Ok(())
}

/// Fails unless a step moved a request there.
pub(super) fn moved(step: &Step, request: RecordId, state: State) -> Result<()> {
    ensure!(
        step.states.contains(&(request, state)),
        "{request} did not become {}: {:?}",
        state.as_str(),
        step.states
    );
    Ok(())
}
