//! What we say to a counterparty outside of calls: a statement that closes a period, and that a
//! record which is said to be ours is not.

use counterfoil_protocol::digest::{KeyThumbprint, RecordId};
use counterfoil_protocol::manifest::UnverifiedManifest;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{ChannelSequence, Sequence};
use counterfoil_protocol::receipt::LoggedManifest;
use counterfoil_protocol::record::{
    Body, ChannelControl, ChannelEvent, MAX_RECEIVED, Statement, UnverifiedRecord,
};

use crate::channel::{Channel, MAX_UNACKNOWLEDGED};
use crate::enforcer::Enforcer;
use crate::error::EnforcerError;
use crate::journal::JournalReader;

/// A statement that has been made, durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Its record.
    pub record: RecordId,
    /// Its place in our channel. The period ends with the record before it.
    pub sequence: ChannelSequence,
    /// What it says.
    pub statement: Statement,
}

impl Enforcer {
    /// Closes a period of the channel to `counterparty`: says what we have sent and received, and
    /// what is open.
    ///
    /// # Errors
    /// [`EnforcerError::Refused`] when nothing has passed since the last statement; when the record
    /// cannot be made.
    pub fn state(&self, counterparty: &OperatorName) -> Result<Stated, EnforcerError> {
        let refused = |reason: &'static str, explanation: String| {
            Err(EnforcerError::Refused {
                reason: ReasonCode::literal(reason),
                explanation,
            })
        };
        let said = self.say(counterparty, |channel| {
            if channel.is_quiet() {
                return refused(
                    "nothing_to_state",
                    format!(
                        "nothing has passed between us and {counterparty} since the last statement"
                    ),
                );
            }
            let received = channel.all_received();
            if received.len() > MAX_RECEIVED {
                return refused(
                    "too_many_streams",
                    format!(
                        "{counterparty} has {} streams, a statement names at most {MAX_RECEIVED}",
                        received.len()
                    ),
                );
            }
            let statement = Statement {
                from: channel.stated(),
                received,
                open: channel.asked() as u64,
            };
            Ok((ChannelEvent::Statement(statement.clone()), statement))
        });
        let (record, sequence, statement) = said?;
        Ok(Stated {
            record,
            sequence,
            statement,
        })
    }

    /// Denies that a record, which `counterparty` says is ours, is ours. `manifests` holds all of our
    /// own manifests.
    ///
    /// Only what cannot be ours is denied: it names no key of ours, or our journal holds another
    /// record in its place. Whoever denies its own record convicts itself. Spec: faults §1, rule 6.
    ///
    /// # Errors
    /// [`EnforcerError::Refused`] when the record may be ours; when ours cannot be made.
    pub fn deny(
        &self,
        counterparty: &OperatorName,
        record: &[u8],
        reason: ReasonCode,
        manifests: &[LoggedManifest],
    ) -> Result<RecordId, EnforcerError> {
        let refused = |reason: &'static str, explanation: String| {
            Err(EnforcerError::Refused {
                reason: ReasonCode::literal(reason),
                explanation,
            })
        };
        let denied = UnverifiedRecord::parse(record)?;
        let id = denied.id();
        let own = &self.core.identity;
        if denied.issuer() != &own.operator {
            return refused(
                "not_said_to_be_ours",
                format!("record {id} is said to be of {}, not ours", denied.issuer()),
            );
        }
        if denied.kid() == own.kid {
            let sequence = denied.unverified_content().sequence;
            match self.own_record(sequence)? {
                Some(held) if held == id => {
                    return refused(
                        "record_is_ours",
                        format!("record {id} is in our journal, at {sequence}"),
                    );
                }
                Some(_) => {}
                None => {
                    return refused(
                        "record_may_be_ours",
                        format!(
                            "our journal holds nothing at {sequence}, where record {id} says it \
                             is: a lost part of it may have"
                        ),
                    );
                }
            }
        } else if lists(manifests, denied.kid())? {
            return refused(
                "record_may_be_ours",
                format!(
                    "record {id} names another key of ours, {}, whose journal is not this one",
                    denied.kid()
                ),
            );
        }
        let event = ChannelEvent::RecordDenied { record: id, reason };
        let (record, _, ()) = self.say(counterparty, |_| Ok((event, ())))?;
        Ok(record)
    }

    /// The id of our record at a place of the stream, durable.
    fn own_record(&self, sequence: Sequence) -> Result<Option<RecordId>, EnforcerError> {
        self.core.flush()?;
        let reader = JournalReader::open(&self.core.journal)?;
        match reader.record(sequence) {
            Ok((bytes, _)) => Ok(Some(UnverifiedRecord::parse(&bytes)?.id())),
            Err(EnforcerError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a control record in the channel to `counterparty`, and waits until it is durable.
    fn say<T>(
        &self,
        counterparty: &OperatorName,
        event: impl FnOnce(&Channel) -> Result<(ChannelEvent, T), EnforcerError>,
    ) -> Result<(RecordId, ChannelSequence, T), EnforcerError> {
        let core = &self.core;
        let mut stream = core.stream();
        core.check_open(&stream)?;
        let known = stream.channels.contains_key(counterparty)
            || (*counterparty != core.identity.operator
                && core.operators.names().contains(counterparty));
        if !known {
            return Err(EnforcerError::NotFound(format!(
                "no operator `{counterparty}` is known here"
            )));
        }
        let channel = stream.channel(counterparty);
        check_room(channel, counterparty)?;
        let link = channel.link(counterparty, None);
        let sequence = link.sequence;
        let (event, value) = event(channel)?;
        let body = Body::Channel(ChannelControl {
            channel: link,
            event,
        });
        let appended = core.append(&mut stream, body, Vec::new())?;
        drop(stream);
        let written = appended.sign(&core.identity)?;
        written.ticket.wait()?;
        Ok((written.id, sequence, value))
    }
}

/// Whether one more record of our own accord may go into a channel.
pub(crate) fn check_room(
    channel: &Channel,
    counterparty: &OperatorName,
) -> Result<(), EnforcerError> {
    let waiting = channel.waiting();
    if waiting <= MAX_UNACKNOWLEDGED {
        return Ok(());
    }
    Err(EnforcerError::Refused {
        reason: ReasonCode::literal("channel_unacknowledged"),
        explanation: format!("{waiting} records wait for {counterparty} to acknowledge them"),
    })
}

/// Whether any of the manifests lists an enforcer key.
fn lists(manifests: &[LoggedManifest], kid: KeyThumbprint) -> Result<bool, EnforcerError> {
    for logged in manifests {
        if UnverifiedManifest::parse(&logged.manifest)?
            .lists(kid)
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
