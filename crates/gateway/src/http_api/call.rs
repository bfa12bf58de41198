//! A request that was allowed, until it is answered.

use axum::http::Method;
use axum::response::Response;
use counterfoil_enforcer::call::{AnswerCheck, Envelope};
use counterfoil_enforcer::{Completion, Enforcer, EnforcerError, PendingOutcome, Permit};
use counterfoil_protocol::names::OperatorName;
use counterfoil_protocol::record::OutcomeStatus;

use super::evidence_header::{EVIDENCE, Evidence};
use super::problem::Problem;
use super::reply::Reply;
use super::upstream::NoReply;
use crate::exchange::{self, Errands, PUSH_FROM};
use crate::proxy::{Direction, Executed, fill};

/// An allowed call. Whatever happens to it leaves an outcome: also when it is dropped.
#[derive(Debug)]
#[must_use = "dropping a call that was sent records that nobody knows what became of it"]
pub(super) struct OpenCall {
    permit: Option<Permit>,
    method: Method,
    direction: Direction,
    enforcer: Enforcer,
    errands: Option<Errands>,
    sent: bool,
}

impl OpenCall {
    pub(super) const fn new(
        permit: Permit,
        method: Method,
        direction: Direction,
        enforcer: Enforcer,
        errands: Option<Errands>,
    ) -> Self {
        Self {
            permit: Some(permit),
            method,
            direction,
            enforcer,
            errands,
            sent: false,
        }
    }

    /// The evidence that goes along to the other operator; none for a call that stays here. What
    /// does not fit into the header has been pushed when this returns.
    pub(super) async fn evidence(&self) -> Result<Option<Evidence>, String> {
        let (Some(permit), Direction::Outgoing(operator)) = (&self.permit, &self.direction) else {
            return Ok(None);
        };
        let Some(mut envelope) = permit.request_envelope() else {
            return Ok(None);
        };
        let evidence = Evidence::Records(envelope.clone());
        if evidence.encode().is_some() {
            return Ok(Some(evidence));
        }
        if envelope.receipt.is_none() || envelope.records.len() > PUSH_FROM {
            exchange::push(&self.enforcer, operator)
                .await
                .map_err(|error| error.to_string())?;
            // What has been pushed need not travel again, but for the request itself.
            envelope = permit.request_envelope().unwrap_or_default();
            let evidence = Evidence::Records(envelope.clone());
            if evidence.encode().is_some() {
                return Ok(Some(evidence));
            }
        }
        let pushed = Envelope {
            records: envelope.records.clone(),
            receipt: envelope.receipt.clone(),
            ..Envelope::default()
        };
        let reference = Evidence::by_reference(permit.record(), envelope);
        if reference.encode().is_none() {
            return Err("its disclosures do not fit into a header".to_owned());
        }
        exchange::push_request(&self.enforcer, operator, &pushed)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Some(reference))
    }

    /// Notes that the request is about to be sent: from here on it may be executed.
    pub(super) const fn sent(&mut self) {
        self.sent = true;
    }

    /// The server has answered.
    pub(super) async fn answered(self, reply: Reply) -> Response {
        match self.direction.clone() {
            Direction::Local | Direction::Incoming => self.answered_by_api(reply).await,
            Direction::Outgoing(operator) => self.answered_by_operator(&operator, reply).await,
        }
    }

    /// There is no answer: the caller gets this problem instead.
    pub(super) async fn failed(self, lost: &NoReply) -> Response {
        let status = match lost.executed {
            Executed::No => OutcomeStatus::NotExecuted,
            Executed::Maybe => OutcomeStatus::Unknown,
        };
        let problem = Problem::new(lost.status, lost.code, &lost.reason);
        self.complete(status, problem.reply()).await
    }

    async fn answered_by_api(self, reply: Reply) -> Response {
        if reply.headers.contains_key(EVIDENCE) {
            // What forges evidence does not pass. It was executed.
            let code = "evidence_header_present";
            let reason = "the server's answer is withheld: only a gateway may write \
                          `Counterfoil-Evidence`";
            let reply = Problem::withheld(code, reason).reply();
            return self.complete(OutcomeStatus::Failed, reply).await;
        }
        if let Err(error) = reply.result() {
            let reason = format!("the server's answer is withheld: {error}");
            let reply = Problem::withheld(error.code(), &reason).reply();
            return self.complete(OutcomeStatus::Failed, reply).await;
        }
        let status = if reply.is_success() {
            OutcomeStatus::Succeeded
        } else {
            OutcomeStatus::Failed
        };
        self.complete(status, reply).await
    }

    /// Records what became of the call and answers with `reply`, which is attested as it is.
    async fn complete(mut self, status: OutcomeStatus, reply: Reply) -> Response {
        let reply = reply.to(&self.method);
        // Our own replies have no header twice.
        let result = reply.result().ok();
        let completion = Completion {
            status,
            result: result.as_deref(),
        };
        let outcome = match self.permit.take() {
            Some(permit) => permit.complete(completion),
            None => Err(gone()),
        };
        self.look_after(status);
        self.finish(outcome, reply).await
    }

    /// What became of a call that went unanswered, or badly answered, is asked for later.
    fn look_after(&self, status: OutcomeStatus) {
        let open = matches!(
            status,
            OutcomeStatus::Unknown | OutcomeStatus::EvidenceInvalid
        );
        if let (true, Some(errands), Direction::Outgoing(operator)) =
            (open, &self.errands, &self.direction)
        {
            errands.resolve(operator);
        }
    }

    async fn answered_by_operator(mut self, operator: &OperatorName, reply: Reply) -> Response {
        let envelope = match Evidence::of(&reply.headers) {
            Ok(None) => None,
            Ok(Some(Evidence::Records(envelope))) => Some(envelope),
            Ok(Some(Evidence::Reference(_, envelope))) => {
                // Its records are fetched; what is missing after that is found by the check.
                if let Err(error) = exchange::fetch(&self.enforcer, operator).await {
                    tracing::warn!(%error, "the records of an answer could not be fetched");
                }
                Some(envelope)
            }
            Err(error) => {
                let reason = format!("the answer is not attested and is withheld: {error}");
                let problem = Problem::withheld("evidence_malformed", &reason);
                return self
                    .complete(OutcomeStatus::EvidenceInvalid, problem.reply())
                    .await;
            }
        };
        let result = match reply.result() {
            Ok(result) => result,
            Err(error) => {
                let reason = format!("the answer is withheld: {error}");
                let problem = Problem::withheld(error.code(), &reason);
                return self
                    .complete(OutcomeStatus::EvidenceInvalid, problem.reply())
                    .await;
            }
        };
        // An answer may overtake those before it.
        if let (Some(permit), Some(envelope)) = (&self.permit, &envelope)
            && let Some(held) = permit.hold(envelope)
        {
            fill(held, self.errands.as_ref()).await;
        }
        let checked = match self.permit.take() {
            Some(permit) => permit.complete_with_answer(envelope.as_ref(), &result),
            None => Err(gone()),
        };
        match checked {
            Ok((check, pending)) => {
                if let AnswerCheck::Invalid { .. } = &check {
                    self.look_after(OutcomeStatus::EvidenceInvalid);
                }
                let reply = self.deliverable(&check, reply);
                self.finish(Ok(pending), reply).await
            }
            Err(error) => {
                let nothing = Problem::new(502, error.code(), "");
                self.finish(Err(error), nothing.reply()).await
            }
        }
    }

    /// What the agent gets of another operator's answer.
    fn deliverable(&self, check: &AnswerCheck, reply: Reply) -> Reply {
        match check {
            AnswerCheck::Attested { .. } => reply,
            AnswerCheck::Refused { .. } if !reply.is_success() => reply,
            AnswerCheck::Refused { .. } => Problem::withheld(
                "answer_contradicts_decision",
                "the other operator denied the call and answered it all the same; the answer is \
                 withheld",
            )
            .reply(),
            AnswerCheck::Invalid {
                reason,
                explanation,
            } => {
                let mut text = format!("the answer is not attested and is withheld: {explanation}");
                if let Some(code) = stated_code(&reply.body) {
                    text.push_str(&format!(
                        " (the other side says, without signing it: `{code}`)"
                    ));
                }
                Problem::withheld(reason.as_str(), &text).reply()
            }
        }
    }

    /// Answers once the outcome is durable.
    async fn finish(
        &self,
        outcome: Result<PendingOutcome, EnforcerError>,
        reply: Reply,
    ) -> Response {
        let durable = match outcome {
            Ok(pending) => {
                let record = pending.record;
                pending.durable().await.map(|envelope| (record, envelope))
            }
            Err(error) => Err(error),
        };
        match durable {
            Ok((_, None)) => reply.respond(None),
            Ok((record, Some(envelope))) => {
                let evidence = Evidence::Records(envelope.clone());
                if evidence.encode().is_some() {
                    return reply.respond(Some(&evidence));
                }
                reply.respond(Some(&Evidence::by_reference(record, envelope)))
            }
            Err(error) => {
                tracing::error!(code = error.code(), %error, "an outcome could not be recorded");
                let reason = format!("the outcome could not be recorded and is withheld: {error}");
                let problem = Problem::withheld(error.code(), &reason);
                problem.reply().to(&self.method).respond(None)
            }
        }
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

fn gone() -> EnforcerError {
    EnforcerError::NotFound("the call is over".to_owned())
}

/// The code of a problem that came without evidence.
fn stated_code(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Stated {
        code: String,
    }
    let stated: Stated = serde_json::from_slice(body).ok()?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (stated.code.len() <= 64 && stated.code.bytes().all(plain)).then_some(stated.code)
}
