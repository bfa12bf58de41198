//! A call that was allowed and sent, until it is answered.

use std::borrow::Cow;

use bytes::Bytes;
use counterfoil_enforcer::call::{AnswerCheck, Envelope};
use counterfoil_enforcer::{Completion, EnforcerError, PendingOutcome, Permit};
use counterfoil_protocol::attestation::Attestation;
use counterfoil_protocol::record::OutcomeStatus;

use super::Direction;
use super::answer::{Asked, with_evidence};
use super::order::fill;
use crate::evidence;
use crate::exchange::Errands;
use crate::message::json::Kind;
use crate::message::refusal::REFUSAL_KEY;
use crate::message::splice::SpliceError;
use crate::message::{Body, Dialect, Id, Message, attestations};

/// An allowed call. Whatever happens to it leaves an outcome: also when it is dropped.
#[derive(Debug)]
#[must_use = "dropping a call that was sent records that nobody knows what became of it"]
pub struct OpenCall {
    permit: Option<Permit>,
    asked: Asked,
    direction: Direction,
    errands: Option<Errands>,
    sent: bool,
}

/// Another operator's answer, and what it carried.
struct Taken {
    clean: Message,
    envelope: Option<Envelope>,
}

impl Taken {
    fn of(dialect: Dialect, message: Message) -> Result<Self, SpliceError> {
        let taken = dialect.take(message)?;
        let envelope = taken
            .evidence
            .map(|value| evidence::decode(&value).unwrap_or_default());
        Ok(Self {
            clean: taken.message,
            envelope,
        })
    }
}

/// What a stream has brought before its last message: the values of `result` or `error`, as they
/// came.
#[derive(Debug, Default)]
pub(crate) struct Streamed {
    /// A JSON list that is not closed yet; empty where the answer is no stream.
    list: Option<Vec<u8>>,
}

impl Streamed {
    /// Of a stream that has brought nothing yet.
    pub(crate) fn begin() -> Self {
        Self {
            list: Some(b"[".to_vec()),
        }
    }

    /// How many bytes it has brought.
    pub(crate) fn len(&self) -> usize {
        self.list.as_ref().map_or(0, Vec::len)
    }

    /// It has brought one more.
    pub(crate) fn push(&mut self, result: &[u8]) {
        if let Some(list) = &mut self.list {
            if list.len() > 1 {
                list.push(b',');
            }
            list.extend_from_slice(result);
        }
    }

    /// What the outcome commits to, once the last one has come. Spec: a2a §5.
    fn and<'r>(&self, last: &'r [u8]) -> Cow<'r, [u8]> {
        let Some(list) = &self.list else {
            return Cow::Borrowed(last);
        };
        let mut whole = Vec::with_capacity(list.len() + last.len() + 2);
        whole.extend_from_slice(list);
        if list.len() > 1 {
            whole.push(b',');
        }
        whole.extend_from_slice(last);
        whole.push(b']');
        Cow::Owned(whole)
    }
}

/// Whether a call that got no answer was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It never left the gateway.
    No,
    /// It may have been.
    Maybe,
}

/// The answer to a call whose outcome is on its way to the disk.
#[derive(Debug)]
#[must_use = "the answer must be delivered"]
pub struct Answering {
    asked: Asked,
    direction: Direction,
    outcome: Result<PendingOutcome, EnforcerError>,
    /// The answer, to which evidence is added where another operator asked.
    answer: Bytes,
}

impl OpenCall {
    pub(super) const fn new(
        permit: Permit,
        asked: Asked,
        direction: Direction,
        errands: Option<Errands>,
    ) -> Self {
        Self {
            permit: Some(permit),
            asked,
            direction,
            errands,
            sent: false,
        }
    }

    /// The id of the request.
    pub const fn id(&self) -> &Id {
        &self.asked.id
    }

    /// Notes that the request is about to be sent: from here on it may be executed.
    pub const fn sent(&mut self) {
        self.sent = true;
    }

    /// The server has answered.
    pub fn answered(self, message: Message) -> Answering {
        let before = Streamed::default();
        match self.direction {
            Direction::Local | Direction::Incoming => self.answered_by_tool(&before, message),
            Direction::Outgoing(_) => {
                let taken = Taken::of(self.asked.dialect, message);
                self.answered_by_operator(&before, taken)
            }
        }
    }

    /// As [`OpenCall::answered`], for answers that may come from another operator: waits for a
    /// while for records that belong before those of the answer.
    pub async fn answered_in_order(self, message: Message) -> Answering {
        self.answered_in_order_after(&Streamed::default(), message)
            .await
    }

    /// As [`OpenCall::answered_in_order`], where the server has answered in several messages, of
    /// which this is the last; those before it have been delivered. All of them together are the
    /// result.
    pub(crate) async fn answered_in_order_after(
        self,
        before: &Streamed,
        message: Message,
    ) -> Answering {
        if !matches!(self.direction, Direction::Outgoing(_)) {
            return self.answered_by_tool(before, message);
        }
        let taken = Taken::of(self.asked.dialect, message);
        if let Ok(Taken {
            envelope: Some(envelope),
            ..
        }) = &taken
            && let Some(permit) = &self.permit
            && let Some(held) = permit.hold(envelope)
        {
            fill(held, self.errands.as_ref()).await;
        }
        self.answered_by_operator(before, taken)
    }

    /// There is no answer: the agent gets this error instead.
    pub fn failed(self, executed: Executed, code: &str, reason: &str) -> Answering {
        self.failed_after(&Streamed::default(), executed, code, reason)
    }

    /// As [`OpenCall::failed`], after messages that have been delivered.
    pub(crate) fn failed_after(
        self,
        before: &Streamed,
        executed: Executed,
        code: &str,
        reason: &str,
    ) -> Answering {
        let answer = self.asked.error(code, reason);
        let status = match executed {
            Executed::No => OutcomeStatus::NotExecuted,
            Executed::Maybe => OutcomeStatus::Unknown,
        };
        self.complete(before, status, answer)
    }

    fn complete(mut self, before: &Streamed, status: OutcomeStatus, answer: Bytes) -> Answering {
        // An answer of our own is attested like any other.
        let own = Message::from_bytes(answer.clone(), answer.len()).ok();
        let result = own.as_ref().and_then(Message::result_bytes);
        let result = result.map(|last| before.and(last));
        let outcome = self.settle(Completion {
            status,
            result: result.as_deref(),
        });
        self.answering(outcome, answer)
    }

    fn answered_by_tool(mut self, before: &Streamed, message: Message) -> Answering {
        let room = self.asked.dialect.check_room(&message);
        let carries = self.direction == Direction::Incoming;
        if let Err(error) = room
            && (carries || error == SpliceError::Present)
        {
            // What cannot carry evidence, or forges it, does not pass. It was executed.
            let reason = format!("the server's answer is withheld: {error}");
            let answer = self.asked.error(error.code(), &reason);
            return self.complete(before, OutcomeStatus::Failed, answer);
        }
        match attestations::of_result(&message) {
            Ok(attestations) => self.refer_to(attestations),
            Err(error) => {
                let reason = format!("the server's answer is withheld: {error}");
                let answer = self.asked.error(error.code(), &reason);
                return self.complete(before, OutcomeStatus::Failed, answer);
            }
        }
        let outcome = self.settle(Completion {
            status: reported(&message),
            result: message
                .result_bytes()
                .map(|last| before.and(last))
                .as_deref(),
        });
        self.answering(outcome, message.bytes().clone())
    }

    fn answered_by_operator(
        mut self,
        before: &Streamed,
        taken: Result<Taken, SpliceError>,
    ) -> Answering {
        let Taken { clean, envelope } = match taken {
            Ok(taken) => taken,
            Err(error) => {
                let reason = format!("the answer is not attested and is withheld: {error}");
                let answer = self.asked.withheld(error.code(), &reason);
                return self.complete(before, OutcomeStatus::EvidenceInvalid, answer);
            }
        };
        match attestations::of_result(&clean) {
            Ok(attestations) => self.refer_to(attestations),
            Err(error) => {
                let reason = format!("the answer is withheld: {error}");
                let answer = self.asked.withheld(error.code(), &reason);
                return self.complete(before, OutcomeStatus::EvidenceInvalid, answer);
            }
        }
        let result = before.and(clean.result_bytes().unwrap_or_default());
        let Some(permit) = self.permit.take() else {
            return self.gone();
        };
        match permit.complete_with_answer(envelope.as_ref(), &result) {
            Ok((check, pending)) => {
                if let AnswerCheck::Invalid { .. } = &check {
                    self.look_after(OutcomeStatus::EvidenceInvalid);
                }
                let answer = self.deliverable(&check, &clean);
                self.answering(Ok(pending), answer)
            }
            Err(error) => self.answering(Err(error), Bytes::new()),
        }
    }

    /// What the agent gets of another operator's answer.
    fn deliverable(&self, check: &AnswerCheck, clean: &Message) -> Bytes {
        match check {
            AnswerCheck::Attested { .. } => clean.bytes().clone(),
            AnswerCheck::Refused { .. } if reported(clean) == OutcomeStatus::Failed => {
                clean.bytes().clone()
            }
            AnswerCheck::Refused { .. } => self.asked.withheld(
                "answer_contradicts_decision",
                "the other operator denied the call and answered it all the same; the answer is \
                 withheld",
            ),
            AnswerCheck::Invalid {
                reason,
                explanation,
            } => {
                let mut text = format!("the answer is not attested and is withheld: {explanation}");
                if let Some(code) = stated_code(clean) {
                    text.push_str(&format!(
                        " (the other side says, without signing it: `{code}`)"
                    ));
                }
                self.asked.withheld(reason.as_str(), &text)
            }
        }
    }

    fn refer_to(&mut self, attestations: Vec<Attestation>) {
        self.permit = self
            .permit
            .take()
            .map(|permit| permit.referring_to(attestations));
    }

    fn settle(&mut self, completion: Completion<'_>) -> Result<PendingOutcome, EnforcerError> {
        match self.permit.take() {
            Some(permit) => {
                let outcome = permit.complete(completion);
                self.look_after(completion.status);
                outcome
            }
            None => Err(EnforcerError::NotFound("the call is over".to_owned())),
        }
    }

    /// What became of a call that went unanswered, or badly answered, is asked for later.
    fn look_after(&self, status: OutcomeStatus) {
        if matches!(
            status,
            OutcomeStatus::Unknown | OutcomeStatus::EvidenceInvalid
        ) && let (Some(errands), Direction::Outgoing(operator)) =
            (&self.errands, &self.direction)
        {
            errands.resolve(operator);
        }
    }

    fn answering(self, outcome: Result<PendingOutcome, EnforcerError>, answer: Bytes) -> Answering {
        Answering {
            asked: self.asked.clone(),
            direction: self.direction.clone(),
            outcome,
            answer,
        }
    }

    fn gone(self) -> Answering {
        let error = EnforcerError::NotFound("the call is over".to_owned());
        self.answering(Err(error), Bytes::new())
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        if !self.sent {
            // The permit itself records that the call was not executed.
            return;
        }
        let unknown = Completion {
            status: OutcomeStatus::Unknown,
            result: None,
        };
        if let Err(error) = permit.complete(unknown) {
            tracing::warn!(%error, "the outcome of an abandoned call could not be recorded");
        }
        self.look_after(OutcomeStatus::Unknown);
    }
}

impl Answering {
    /// The bytes to deliver, as soon as they may be: at once where nothing leaves the operator,
    /// else when the outcome is durable. Blocks the thread.
    pub fn wait(self) -> Bytes {
        let durable = match self.outcome {
            Ok(_) if self.direction == Direction::Local => return self.answer,
            Ok(pending) => pending.wait(),
            Err(error) => Err(error),
        };
        finish(&self.asked, self.answer, durable)
    }

    /// As [`Answering::wait`], without blocking.
    pub async fn durable(self) -> Bytes {
        let durable = match self.outcome {
            Ok(_) if self.direction == Direction::Local => return self.answer,
            Ok(pending) => pending.durable().await,
            Err(error) => Err(error),
        };
        finish(&self.asked, self.answer, durable)
    }
}

fn finish(asked: &Asked, answer: Bytes, durable: Result<Option<Envelope>, EnforcerError>) -> Bytes {
    match durable {
        Ok(None) => answer,
        Ok(Some(envelope)) => with_evidence(asked.dialect, answer, &envelope),
        Err(error) => {
            tracing::error!(code = error.code(), %error, "an outcome could not be recorded");
            let reason = format!("the outcome could not be recorded and is withheld: {error}");
            asked.withheld(error.code(), &reason)
        }
    }
}

/// What a server's answer says of itself.
fn reported(message: &Message) -> OutcomeStatus {
    let is_error = || {
        message.at(&["result", "isError"]).is_some_and(|value| {
            value.kind == Kind::Boolean && value.span.of(message.bytes()) == b"true"
        })
    };
    match message.body() {
        Body::Result { .. } if !is_error() => OutcomeStatus::Succeeded,
        _ => OutcomeStatus::Failed,
    }
}

/// The code of a refusal that came without evidence.
fn stated_code(message: &Message) -> Option<String> {
    let value = message
        .at(&["result", "_meta", REFUSAL_KEY])
        .or_else(|| message.at(&["error", "data", REFUSAL_KEY]))?;
    let refusal: StatedRefusal = serde_json::from_slice(value.span.of(message.bytes())).ok()?;
    let fits = refusal.code.len() <= 64
        && refusal
            .code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    fits.then_some(refusal.code)
}

#[derive(serde::Deserialize)]
struct StatedRefusal {
    code: String,
}
