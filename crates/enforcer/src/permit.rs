//! A permit: the right to execute one allowed call, once, and the duty to say what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use counterfoil_durable::committer::Ticket;
use counterfoil_protocol::attestation::Attestation;
use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure, salted_digest};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::{
    Body, Decision, Outcome, OutcomeStatus, Reservation, UnverifiedRecord, Verdict,
};

use crate::call::{AnswerCheck, Envelope};
use crate::channel::Answer;
use crate::contract::evidence::NotAttested;
use crate::contract::hold::Under;
use crate::enforcer::Enforcer;
use crate::error::EnforcerError;
use crate::hold::Held;
use crate::incoming;
use crate::journal::{Item, Opening};

/// An allowed call. Complete it; dropping it records that the call was not executed, or that
/// nobody knows, once its envelope has been handed out.
#[derive(Debug)]
#[must_use = "dropping a permit records that the call was not executed"]
pub struct Permit {
    enforcer: Enforcer,
    record: RecordId,
    bytes: Arc<[u8]>,
    sequence: Sequence,
    counterparty: Option<OperatorName>,
    /// The counterparty's stream that asked.
    asked_by: Option<KeyThumbprint>,
    outgoing: bool,
    salt: Salt,
    reservations: Vec<Reservation>,
    /// The contract that the call is made under.
    under: Option<Under>,
    /// What travels with the request because the contract says so.
    disclosures: Vec<Disclosure>,
    /// The receipt of the request, once it has been obtained.
    receipt: Option<Vec<u8>>,
    /// Whether what travels with the call has been handed out: then it may have been executed.
    handed_out: AtomicBool,
    /// The evidence from elsewhere that the result refers to.
    attestations: Vec<Attestation>,
    settled: bool,
}

/// What became of an allowed call.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// What happened.
    pub status: OutcomeStatus,
    /// The result or error, as the bytes that came back.
    pub result: Option<&'a [u8]>,
}

/// An outcome on its way to the disk.
#[derive(Debug)]
#[must_use = "an outcome counts only once it is durable"]
pub struct PendingOutcome {
    ticket: Ticket,
    /// The outcome's record.
    pub record: RecordId,
    /// What goes back to the other operator, when it asked. It must not be sent before the record
    /// is durable.
    envelope: Option<Envelope>,
}

impl PendingOutcome {
    /// Waits until the record is durable; what goes back to the other operator, when it asked.
    ///
    /// # Errors
    /// [`EnforcerError::Commit`] when it could not be written.
    pub async fn durable(self) -> Result<Option<Envelope>, EnforcerError> {
        self.ticket.await?;
        Ok(self.envelope)
    }

    /// As [`PendingOutcome::durable`], blocking the thread.
    ///
    /// # Errors
    /// [`EnforcerError::Commit`] when it could not be written.
    pub fn wait(self) -> Result<Option<Envelope>, EnforcerError> {
        self.ticket.wait()?;
        Ok(self.envelope)
    }
}

impl Permit {
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one permit, used once"
    )]
    pub(crate) const fn new(
        enforcer: Enforcer,
        record: RecordId,
        bytes: Arc<[u8]>,
        sequence: Sequence,
        counterparty: Option<OperatorName>,
        asked_by: Option<KeyThumbprint>,
        outgoing: bool,
        salt: Salt,
        reservations: Vec<Reservation>,
        under: Option<Under>,
        disclosures: Vec<Disclosure>,
    ) -> Self {
        Self {
            enforcer,
            record,
            bytes,
            sequence,
            counterparty,
            asked_by,
            outgoing,
            salt,
            reservations,
            under,
            disclosures,
            receipt: None,
            handed_out: AtomicBool::new(false),
            attestations: Vec::new(),
            settled: false,
        }
    }

    /// The record that allows the call.
    pub const fn record(&self) -> RecordId {
        self.record
    }

    /// Its place in the stream.
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The contract that the call is made under.
    pub fn contract(&self) -> Option<ContentDigest> {
        Some(self.under.as_ref()?.contract)
    }

    /// Whether the contract asks for more than a signature before the call is executed: then
    /// [`Permit::attest`] comes before [`Permit::request_envelope`].
    pub fn needs_receipt(&self) -> bool {
        let needed = self.under.as_ref().map(|under| under.permitted.level);
        self.outgoing
            && self.receipt.is_none()
            && needed.is_some_and(|needed| needed > Level::Signed)
    }

    /// Obtains the receipt of the request at the level that the contract asks for: closes the
    /// batch, and waits for the log and the witnesses, for at most `limit`.
    ///
    /// # Errors
    /// Why there is none. The call must not be sent then.
    pub async fn attest(&mut self, limit: Duration) -> Result<(), NotAttested> {
        if !self.needs_receipt() {
            return Ok(());
        }
        if let Some(under) = &self.under {
            let receipt = self
                .enforcer
                .attest(under, self.record, self.sequence, limit)
                .await?;
            self.receipt = Some(receipt);
        }
        Ok(())
    }

    /// What travels with the call to the other operator; none for a call that stays here. The
    /// request is always the last record, even when it has been acknowledged: it may have arrived
    /// with another call, and still this call is the one to be decided.
    pub fn request_envelope(&self) -> Option<Envelope> {
        let counterparty = self.counterparty.as_ref().filter(|_| self.outgoing)?;
        self.handed_out.store(true, Ordering::Relaxed);
        let core = &self.enforcer.core;
        let mut envelope = core.envelope(counterparty, &[self.record], Some(self.salt));
        if envelope.records.is_empty() {
            envelope.records.push(Arc::clone(&self.bytes));
        }
        envelope.disclosures.clone_from(&self.disclosures);
        envelope.receipt.clone_from(&self.receipt);
        Some(envelope)
    }

    /// Whether the answer to the call should wait for records that belong before its own: see
    /// [`Enforcer::hold`].
    pub fn hold(&self, answer: &Envelope) -> Option<Held> {
        self.enforcer.hold(answer)
    }

    /// The same permit, whose outcome refers to evidence from elsewhere, as the result does.
    pub fn referring_to(mut self, attestations: Vec<Attestation>) -> Self {
        self.attestations = attestations;
        self
    }

    /// Records what became of the call.
    ///
    /// # Errors
    /// When the outcome cannot be recorded. The next start records it as unknown.
    pub fn complete(mut self, completion: Completion<'_>) -> Result<PendingOutcome, EnforcerError> {
        self.settle(completion, None)
    }

    /// Checks the other operator's answer to an outgoing call and records what became of it.
    ///
    /// `result` is what came back, without the evidence. When nothing came back at all, use
    /// [`Permit::complete`] with [`OutcomeStatus::Unknown`].
    ///
    /// # Errors
    /// When the outcome cannot be recorded.
    pub fn complete_with_answer(
        mut self,
        answer: Option<&Envelope>,
        result: &[u8],
    ) -> Result<(AnswerCheck, PendingOutcome), EnforcerError> {
        let check = self.check_answer(answer, result)?;
        let (status, answered) = match &check {
            AnswerCheck::Attested {
                outcome,
                succeeded: true,
            } => (OutcomeStatus::Succeeded, Some(*outcome)),
            AnswerCheck::Attested {
                outcome,
                succeeded: false,
            } => (OutcomeStatus::Failed, Some(*outcome)),
            AnswerCheck::Refused { decision } => {
                (OutcomeStatus::RefusedByCounterparty, Some(*decision))
            }
            AnswerCheck::Invalid { .. } => (OutcomeStatus::EvidenceInvalid, None),
        };
        if !matches!(check, AnswerCheck::Attested { .. }) {
            // What nobody signed for refers to nothing.
            self.attestations.clear();
        }
        let completion = Completion {
            status,
            result: Some(result),
        };
        let pending = self.settle(completion, answered)?;
        Ok((check, pending))
    }

    /// Leaves the call open, to be resolved at the next start: for when the journal has failed.
    pub(crate) fn forget(mut self) {
        self.settled = true;
    }

    fn check_answer(
        &self,
        answer: Option<&Envelope>,
        result: &[u8],
    ) -> Result<AnswerCheck, EnforcerError> {
        let invalid = |reason: ReasonCode, explanation: String| {
            Ok(AnswerCheck::Invalid {
                reason,
                explanation,
            })
        };
        let core = &self.enforcer.core;
        let Some(counterparty) = &self.counterparty else {
            return invalid(
                ReasonCode::literal("evidence_missing"),
                "the call concerned no other operator".to_owned(),
            );
        };
        let salt = answer.and_then(|answer| answer.salt);
        let disclosed = answer.map_or(&[][..], |answer| answer.disclosures.as_slice());
        match answer {
            None => {
                return invalid(
                    ReasonCode::literal("evidence_missing"),
                    format!("{counterparty} sent no evidence with its answer"),
                );
            }
            // Everything was acknowledged before: the records have come with other answers.
            Some(answer) if answer.records.is_empty() => {}
            Some(answer) => match incoming::join_answer(core, counterparty, answer)? {
                Ok(()) => {}
                Err(refusal) => return invalid(refusal.reason, refusal.explanation),
            },
        }
        let mut stream = core.stream();
        let Some(answer) = stream.channel(counterparty).answer(self.record).cloned() else {
            return invalid(
                ReasonCode::literal("answer_missing"),
                format!("{counterparty} sent no decision on this request"),
            );
        };
        drop(stream);
        self.keep_disclosed(&answer, disclosed)?;
        // A denial names the request; why it was denied may be that the call was another.
        if answer.verdict() == Verdict::Allow && !self.is_about_this(&answer.decision)? {
            return invalid(
                ReasonCode::literal("answer_mismatch"),
                format!("{counterparty} decided something else than was asked"),
            );
        }
        match (answer.verdict(), answer.outcome) {
            (Verdict::Deny, _) => Ok(AnswerCheck::Refused {
                decision: answer.id,
            }),
            (Verdict::Allow, None) => invalid(
                ReasonCode::literal("outcome_missing"),
                format!("{counterparty} allowed the call and sent no outcome"),
            ),
            (Verdict::Allow, Some((id, outcome))) => match outcome.status {
                OutcomeStatus::Succeeded | OutcomeStatus::Failed => {
                    let attested =
                        salt.map(|salt| salted_digest(&salt, DisclosedField::Result, result));
                    if attested.is_none() || outcome.result != attested {
                        return invalid(
                            ReasonCode::literal("result_mismatch"),
                            "the result is not the one that was signed for".to_owned(),
                        );
                    }
                    let succeeded = outcome.status == OutcomeStatus::Succeeded;
                    Ok(AnswerCheck::Attested {
                        outcome: id,
                        succeeded,
                    })
                }
                OutcomeStatus::NotExecuted => Ok(AnswerCheck::Refused { decision: id }),
                OutcomeStatus::Unknown
                | OutcomeStatus::RefusedByCounterparty
                | OutcomeStatus::EvidenceInvalid => invalid(
                    ReasonCode::literal("outcome_unknown"),
                    format!("{counterparty} does not say what became of the call"),
                ),
            },
        }
    }

    /// Keeps what the counterparty disclosed of its decision.
    fn keep_disclosed(
        &self,
        answer: &Answer,
        disclosures: &[Disclosure],
    ) -> Result<(), EnforcerError> {
        let core = &self.enforcer.core;
        let input = answer.decision.evaluation.input;
        let openings: Vec<Opening> = disclosures
            .iter()
            .filter(|disclosure| {
                disclosure.field == DisclosedField::EvaluationInput
                    && Some(disclosure.digest()) == input
            })
            .take(1)
            .map(|disclosure| Opening::of(disclosure, core.keep_clear_text))
            .collect();
        if !openings.is_empty() {
            drop(core.committer.submit_soon(Item::Disclosed {
                record: answer.id,
                openings,
            })?);
        }
        Ok(())
    }

    /// Whether the counterparty's decision is about what our request asked for.
    fn is_about_this(&self, decision: &Decision) -> Result<bool, EnforcerError> {
        let request = UnverifiedRecord::parse(&self.bytes)?;
        let Body::Request(request) = &request.unverified_content().body else {
            return Ok(false);
        };
        // The tier is each side's own judgement.
        Ok(decision.actor == request.actor
            && decision.action.server == request.action.server
            && decision.action.verb == request.action.verb
            && decision.action.tool == request.action.tool
            && decision.contract == request.contract
            && decision.parameters == request.parameters)
    }

    fn settle(
        &mut self,
        completion: Completion<'_>,
        answer: Option<RecordId>,
    ) -> Result<PendingOutcome, EnforcerError> {
        // Whatever happens now, dropping the permit must not write a second outcome.
        self.settled = true;
        let core = &self.enforcer.core;
        let salt = core.environment.salt()?;
        let (result, openings): (Option<ContentDigest>, Vec<Opening>) = match completion.result {
            Some(bytes) => {
                let (digest, opening) =
                    Opening::seal(DisclosedField::Result, salt, bytes, core.keep_clear_text);
                (Some(digest), vec![opening])
            }
            None => (None, Vec::new()),
        };
        // Only what was certainly not executed gives its reservation back.
        let used = !matches!(
            completion.status,
            OutcomeStatus::NotExecuted | OutcomeStatus::RefusedByCounterparty
        );
        let mut stream = core.stream();
        let settlements = stream.ledger.settlements(&self.reservations, used);
        let channel = self
            .counterparty
            .as_ref()
            .map(|name| stream.channel(name).link(name, self.asked_by));
        let body = Body::Outcome(Outcome {
            channel,
            decision: self.record,
            answer,
            status: completion.status,
            result,
            settlements,
            attestations: core::mem::take(&mut self.attestations),
        });
        let appended = core.append(&mut stream, body, openings)?;
        drop(stream);
        let written = appended.sign(&core.identity)?;
        let envelope = self
            .counterparty
            .as_ref()
            .filter(|_| !self.outgoing)
            .map(|counterparty| Envelope {
                disclosures: self.disclosures.clone(),
                ..core.envelope(counterparty, &[self.record, written.id], Some(salt))
            });
        Ok(PendingOutcome {
            ticket: written.ticket,
            record: written.id,
            envelope,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            let status = if *self.handed_out.get_mut() {
                OutcomeStatus::Unknown
            } else {
                OutcomeStatus::NotExecuted
            };
            let completion = Completion {
                status,
                result: None,
            };
            // A journal that cannot be written to has stopped everything already.
            let _ = self.settle(completion, None);
        }
    }
}
