//! What another operator sends: checked before anything else runs.
//!
//! Spec: mcp §5 (the checks, in order, and their reason codes).

use counterfoil_protocol::digest::{ContentDigest, KeyThumbprint, RecordId, Salt};
use counterfoil_protocol::disclosure::{DisclosedField, Disclosure};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, PrincipalName, ReasonCode, SessionName};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::record::{
    Acknowledgement, Body, DecidedRequest, Record, Request, UnverifiedRecord, VerifiedRecord,
};

use crate::call::{Call, Envelope, MAX_ENVELOPE_RECORDS};
use crate::channel::Discontinuity;
use crate::contract;
use crate::decide::People;
use crate::enforcer::{Core, Enforcer};
use crate::error::EnforcerError;
use crate::joining::{Gaps, join};

/// Records are missing.
const CHANNEL_GAP: &str = "channel_gap";

/// Why something that came from another operator is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: ReasonCode,
    pub(crate) explanation: String,
}

/// An envelope whose records have been parsed and whose signatures have been verified.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) counterparty: Option<OperatorName>,
    pub(crate) records: Vec<(VerifiedRecord, Vec<u8>)>,
    pub(crate) salt: Option<Salt>,
    disclosures: Vec<Disclosure>,
    receipt: Option<Vec<u8>>,
    refusal: Option<Refusal>,
}

/// An envelope that has been taken into its channel.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The operator, once its signature is beyond doubt.
    pub(crate) counterparty: Option<OperatorName>,
    /// The stream that the call came from.
    pub(crate) stream: Option<KeyThumbprint>,
    /// The request that is to be decided; none when it is not authentic or was decided before.
    pub(crate) request: Option<DecidedRequest>,
    pub(crate) refusal: Option<Refusal>,
    /// What came, when it is an authentic request.
    pub(crate) came: Option<Came>,
}

/// An authentic request, and what came with it.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) id: RecordId,
    pub(crate) record: Record,
    /// What opens digests of it.
    pub(crate) opened: Vec<Disclosure>,
    pub(crate) receipt: Option<Vec<u8>>,
}

impl Came {
    /// The contract that the request names.
    pub(crate) const fn contract(&self) -> Option<ContentDigest> {
        self.record.contract()
    }
}

/// Those of the disclosures that open digests of a record.
pub(crate) fn opened<'a>(
    record: &VerifiedRecord,
    disclosures: &'a [Disclosure],
) -> Vec<&'a Disclosure> {
    let held = |field| record.record().disclosable(field);
    let mut opened: Vec<&Disclosure> = disclosures
        .iter()
        .filter(|disclosure| held(disclosure.field) == Some(disclosure.digest()))
        .collect();
    opened.sort_by_key(|disclosure| disclosure.field);
    opened.dedup_by_key(|disclosure| disclosure.field);
    opened
}

/// What records come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The last of them asks for something to be done now.
    Call,
    /// To be known here; nothing is done because of them.
    Exchange,
}

/// Parses and verifies what came with a call. Takes no lock for long.
pub(crate) fn check(core: &Core, envelope: Option<&Envelope>, purpose: Purpose) -> Incoming {
    let mut incoming = Incoming::default();
    let Some(envelope) = envelope else {
        incoming.refuse(
            "evidence_missing",
            "the call came without a signed request".to_owned(),
        );
        return incoming;
    };
    incoming.salt = envelope.salt;
    incoming.disclosures.clone_from(&envelope.disclosures);
    incoming.receipt.clone_from(&envelope.receipt);
    if let Err(refusal) = incoming.verify(core, envelope, purpose) {
        incoming.refusal = Some(refusal);
    }
    incoming
}

impl Incoming {
    fn refuse(&mut self, reason: &'static str, explanation: String) {
        self.refusal = Some(Refusal::new(reason, explanation));
    }

    fn verify(
        &mut self,
        core: &Core,
        envelope: &Envelope,
        purpose: Purpose,
    ) -> Result<(), Refusal> {
        if envelope.records.is_empty() || envelope.records.len() > MAX_ENVELOPE_RECORDS {
            return Err(Refusal::new(
                "evidence_malformed",
                format!("{} records came with the call", envelope.records.len()),
            ));
        }
        let last = envelope.records.len() - 1;
        for (index, bytes) in envelope.records.iter().enumerate() {
            let record = UnverifiedRecord::parse(bytes)
                .map_err(|failure| Refusal::new(failure.code().as_str(), failure.to_string()))?;
            let Some(link) = record
                .unverified_content()
                .channel()
                .filter(|link| link.counterparty == core.identity.operator)
                .filter(|_| *record.issuer() != core.identity.operator)
            else {
                return Err(Refusal::new(
                    "channel_mismatch",
                    format!(
                        "a record that came is not meant for {}",
                        core.identity.operator
                    ),
                ));
            };
            // What is sent again has been verified before.
            let this = Acknowledgement {
                stream: record.kid(),
                sequence: link.sequence,
                id: record.id(),
            };
            let known = core
                .stream()
                .channels
                .get(record.issuer())
                .is_some_and(|channel| channel.has_received(this));
            if known && index != last {
                continue;
            }
            if self
                .counterparty
                .as_ref()
                .is_some_and(|first| first != record.issuer())
            {
                return Err(Refusal::new(
                    "evidence_malformed",
                    "records of two operators came with one call".to_owned(),
                ));
            }
            // A retired key's records may still be missing here; it asks for nothing any more.
            let asks = purpose == Purpose::Call
                && index == last
                && matches!(record.unverified_content().body, Body::Request(_));
            let key = if asks {
                core.operators.enforcer_key(record.issuer(), record.kid())
            } else {
                core.operators.unrevoked_key(record.issuer(), record.kid())
            }
            .map_err(|failure| Refusal::new(failure.code().as_str(), failure.to_string()))?;
            let verified = record
                .verify(&key)
                .map_err(|failure| Refusal::new(failure.code().as_str(), failure.to_string()))?;
            self.counterparty = Some(verified.issuer().clone());
            self.records.push((verified, bytes.to_vec()));
        }
        Ok(())
    }

    /// Whether every record that came has been verified: an operator stands behind the call.
    pub(crate) const fn is_signed(&self) -> bool {
        self.refusal.is_none() && self.counterparty.is_some()
    }

    /// Who acts according to the request, when it is authentic. Its people are known as far as
    /// they were disclosed to us.
    pub(crate) fn people(&self) -> Option<People> {
        let (record, request) = self.request()?;
        let name = |field| {
            let disclosure = self.disclosures.iter().find(|one| one.field == field)?;
            let held = record.record().disclosable(field);
            (held == Some(disclosure.digest()))
                .then(|| String::from_utf8(disclosure.content.clone()).ok())?
        };
        Some(People {
            actor: request.actor.clone(),
            on_behalf_of: name(DisclosedField::OnBehalfOf)
                .and_then(|name| PrincipalName::new(name).ok()),
            session: name(DisclosedField::Session).and_then(|name| SessionName::new(name).ok()),
        })
    }

    fn request(&self) -> Option<(&VerifiedRecord, &Request)> {
        match self.records.last() {
            Some((record, _)) if self.refusal.is_none() => match &record.record().body {
                Body::Request(request) => Some((record, request)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The request with what came along, once its signature is beyond doubt.
    fn came(self) -> Option<Came> {
        let opened = {
            let (record, _) = self.request()?;
            opened(record, &self.disclosures)
                .into_iter()
                .cloned()
                .collect()
        };
        let (record, _) = self.records.last()?;
        Some(Came {
            id: record.id(),
            record: record.record().clone(),
            opened,
            receipt: self.receipt,
        })
    }

    /// Takes the records into their channel and judges the call they came with.
    pub(crate) fn arrive(
        self,
        core: &Core,
        call: &Call<'_>,
        parameters: ContentDigest,
        now: UnixMillis,
    ) -> Result<Arrival, EnforcerError> {
        if let Some(refusal) = self.refusal {
            // A signature that failed names nobody; one that holds names its operator.
            return Ok(Arrival {
                counterparty: None,
                stream: None,
                request: None,
                refusal: Some(refusal),
                came: None,
            });
        }
        let Some(counterparty) = self.counterparty.clone() else {
            let refusal = Refusal::new("evidence_missing", "no record came".to_owned());
            return Ok(Arrival {
                counterparty: None,
                stream: None,
                request: None,
                refusal: Some(refusal),
                came: None,
            });
        };
        let stream = self.records.last().map(|(record, _)| record.kid());
        let request = self.request().map(|(record, request)| {
            let refusal = judge(record, request, &counterparty, call, parameters, now, core);
            let asked = Acknowledgement {
                stream: record.kid(),
                sequence: request.channel.sequence,
                id: record.id(),
            };
            (asked, refusal)
        });
        let joined = join(core, &counterparty, &self.records, Gaps::Refused)?;
        let Some((asked, refusal)) = request else {
            let refusal = joined.err().unwrap_or_else(|| {
                Refusal::new(
                    "evidence_malformed",
                    "the last record is not a request".to_owned(),
                )
            });
            return Ok(Arrival {
                counterparty: Some(counterparty),
                stream,
                request: None,
                refusal: Some(refusal),
                came: None,
            });
        };
        let first_time = core.stream().claim(&counterparty, asked);
        let refusal = match joined {
            Err(refusal) => Some(refusal),
            Ok(()) if !first_time => Some(Refusal::new(
                "request_replayed",
                format!("request {} has been decided already", asked.id),
            )),
            Ok(()) => refusal,
        };
        // Whoever decides one request twice contradicts itself: a repeat is refused as no request.
        let request = first_time.then_some(DecidedRequest {
            id: asked.id,
            evidence: Level::Signed,
        });
        Ok(Arrival {
            counterparty: Some(counterparty),
            stream,
            request,
            refusal,
            came: self.came(),
        })
    }
}

/// Checks the request itself against the call that it came with.
fn judge(
    record: &VerifiedRecord,
    request: &Request,
    counterparty: &OperatorName,
    call: &Call<'_>,
    parameters: ContentDigest,
    now: UnixMillis,
    core: &Core,
) -> Option<Refusal> {
    if request.actor.operator != *counterparty {
        return Some(Refusal::new(
            "actor_mismatch",
            format!(
                "{counterparty} asks for an agent of {}",
                request.actor.operator
            ),
        ));
    }
    if request.action.verb != call.verb
        || request.action.tool != call.tool
        || request.action.server != call.server
    {
        return Some(Refusal::new(
            "action_mismatch",
            format!(
                "the request is for {} {} of {}, the call for {} {} of {}",
                request.action.verb,
                request.action.tool,
                request.action.server,
                call.verb,
                call.tool,
                call.server
            ),
        ));
    }
    if request.parameters != parameters {
        return Some(Refusal::new(
            "parameters_mismatch",
            "the parameters are not those that were signed for".to_owned(),
        ));
    }
    let time = record.record().time;
    let distance = now.since(time).max(time.since(now));
    if distance > core.freshness_millis {
        return Some(Refusal::new(
            "request_stale",
            format!(
                "the request's time is {distance} ms from ours, at most {} are allowed",
                core.freshness_millis
            ),
        ));
    }
    None
}

/// Verifies what came with an answer of `counterparty` and takes it into the channel.
pub(crate) fn join_answer(
    core: &Core,
    counterparty: &OperatorName,
    envelope: &Envelope,
) -> Result<Result<(), Refusal>, EnforcerError> {
    let incoming = check(core, Some(envelope), Purpose::Exchange);
    if let Some(refusal) = incoming.refusal {
        return Ok(Err(refusal));
    }
    if incoming.counterparty.as_ref() != Some(counterparty) {
        return Ok(Err(Refusal::new(
            "evidence_malformed",
            format!("the answer's records are not of {counterparty}"),
        )));
    }
    join(core, counterparty, &incoming.records, Gaps::Refused)
}

impl Enforcer {
    /// Takes in records that came outside of a call: pushed or pulled through the exchange API.
    /// They are durable when this returns.
    ///
    /// # Errors
    /// [`EnforcerError::NotFound`] naming the reason when they are refused; an error of the
    /// journal when they cannot be written.
    pub fn ingest(&self, envelope: &Envelope) -> Result<OperatorName, EnforcerError> {
        let incoming = check(&self.core, Some(envelope), Purpose::Exchange);
        let refused = |refusal: Refusal| EnforcerError::Refused {
            reason: refusal.reason,
            explanation: refusal.explanation,
        };
        if let Some(refusal) = incoming.refusal {
            return Err(refused(refusal));
        }
        let counterparty = incoming.counterparty.ok_or(EnforcerError::Busy)?;
        join(&self.core, &counterparty, &incoming.records, Gaps::Wait)?.map_err(refused)?;
        if let Some((last, _)) = incoming.records.last() {
            contract::take_disclosures(&self.core, &counterparty, last, &incoming.disclosures)?;
        }
        self.core.flush()?;
        Ok(counterparty)
    }

    /// How many of our records of a channel the counterparty has not acknowledged.
    pub fn waiting(&self, counterparty: &OperatorName) -> usize {
        let stream = self.core.stream();
        stream
            .channels
            .get(counterparty)
            .map_or(0, crate::channel::Channel::waiting)
    }

    /// All our records of a channel that the counterparty has not acknowledged, durable.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn unacknowledged(&self, counterparty: &OperatorName) -> Result<Envelope, EnforcerError> {
        let sent = {
            let mut stream = self.core.stream();
            self.core.check_begun(&stream)?;
            stream.channel(counterparty).unacknowledged()
        };
        self.core.flush()?;
        let records = sent
            .iter()
            .filter_map(|sent| sent.bytes.wait().cloned())
            .collect();
        Ok(Envelope {
            records,
            ..Envelope::default()
        })
    }
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, explanation: String) -> Self {
        Self {
            reason: ReasonCode::literal(reason),
            explanation,
        }
    }

    pub(crate) fn discontinuity(discontinuity: Discontinuity) -> Self {
        match discontinuity {
            Discontinuity::Gap { expected } => Self::new(
                CHANNEL_GAP,
                format!("records are missing; the next one expected is {expected}"),
            ),
            Discontinuity::Fork { sequence, expected } => Self::new(
                "channel_fork",
                format!("record {sequence} of this channel is {expected}, and another one came"),
            ),
            Discontinuity::Link { sequence, expected } => Self::new(
                "channel_fork",
                match expected {
                    Some(expected) => format!(
                        "record {sequence} of this channel must follow {expected}, and does not"
                    ),
                    None => "the first record of a channel names one before it".to_owned(),
                },
            ),
            Discontinuity::AcknowledgedUnsent { last } => Self::new(
                "acknowledgement_invalid",
                match last {
                    Some(last) => format!(
                        "a record acknowledges one that was never sent; the last one sent is {last}"
                    ),
                    None => "a record acknowledges one, and none was ever sent".to_owned(),
                },
            ),
            Discontinuity::AcknowledgementReversed { before } => Self::new(
                "acknowledgement_invalid",
                format!("a record acknowledges less than {before}, which was acknowledged before"),
            ),
        }
    }

    /// Whether it is only that records are missing.
    pub(crate) fn is_gap(&self) -> bool {
        self.reason.as_str() == CHANNEL_GAP
    }
}
