//! What records of one operator contradict each other in.

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::fault::{FaultKind, FaultProof, Statement};
use counterfoil_protocol::names::{ReasonCode, ToolName};
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::record::{
    Acknowledgement, Body, ChannelControl, ChannelEvent, ChannelLink, Event, Outcome, Record,
    Verdict,
};

use super::{Shown, against, changed, later, made, pair, statement};
use crate::world::{World, record};

pub(super) fn shown(world: &World) -> Result<Vec<Shown>> {
    Ok(vec![
        (
            "stream-fork",
            "two records with one number",
            stream_fork(world)?,
        ),
        (
            "channel-fork",
            "two records with one number of the channel",
            channel_fork(world)?,
        ),
        (
            "stream-link",
            "record 2 does not name record 1",
            stream_link(world)?,
        ),
        (
            "channel-link",
            "the second record of the channel does not name the first",
            channel_link(world)?,
        ),
        (
            "decided-twice",
            "two decisions about one request",
            decided_twice(world)?,
        ),
        (
            "settled-twice",
            "two outcomes of one decision",
            settled_twice(world)?,
        ),
        (
            "own-record-denied",
            "globex denies the decision that it signed",
            own_record_denied(world)?,
        ),
        (
            "acknowledgement-reversed",
            "the outcome acknowledges another record of acme's than the decision did",
            acknowledgement_reversed(world)?,
        ),
        (
            "executed-unallowed",
            "a denied call that succeeded",
            executed_unallowed(world)?,
        ),
        (
            "allowed-otherwise",
            "another tool is allowed than was asked for",
            allowed_otherwise(world)?,
        ),
        (
            "stream-continued",
            "record 1 ends the stream, and there is record 2",
            stream_continued(world)?,
        ),
    ])
}

pub(super) fn stream_fork(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let other = changed(stream, 1, later)?;
    let statements = pair(&made(stream, 1)?, &other);
    against(world, stream, FaultKind::StreamFork, statements)
}

fn channel_fork(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let other = changed(stream, 1, |record| record.sequence = Sequence::new(3))?;
    let statements = pair(&made(stream, 1)?, &other);
    against(world, stream, FaultKind::ChannelFork, statements)
}

fn stream_link(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let second = changed(stream, 2, |record| {
        record.previous = Some(RecordId::from_bytes([7; 32]));
    })?;
    let statements = vec![statement(&made(stream, 1)?.1), statement(&second.1)];
    against(world, stream, FaultKind::StreamLink, statements)
}

fn settled_twice(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let again = changed(stream, 2, |record| record.sequence = Sequence::new(3))?;
    let statements = pair(&made(stream, 2)?, &again);
    against(world, stream, FaultKind::SettledTwice, statements)
}

fn executed_unallowed(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let denied = changed(stream, 1, |record| {
        if let Body::Decision(decision) = &mut record.body {
            decision.evaluation.verdict = Verdict::Deny;
        }
    })?;
    let outcome = changed(stream, 2, |record| {
        if let Body::Outcome(Outcome { decision, .. }) = &mut record.body {
            *decision = denied.0;
        }
    })?;
    let statements = vec![statement(&denied.1), statement(&outcome.1)];
    against(world, stream, FaultKind::ExecutedUnallowed, statements)
}

/// The channel that a record belongs to.
fn channel(record: &mut Record) -> Option<&mut ChannelLink> {
    match &mut record.body {
        Body::Decision(decision) => decision.channel.as_mut(),
        Body::Outcome(outcome) => outcome.channel.as_mut(),
        _ => None,
    }
}

fn channel_link(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let second = changed(stream, 2, |record| {
        if let Some(link) = channel(record) {
            link.previous = Some(RecordId::from_bytes([7; 32]));
        }
    })?;
    let statements = vec![statement(&made(stream, 1)?.1), statement(&second.1)];
    against(world, stream, FaultKind::ChannelLink, statements)
}

fn decided_twice(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let again = changed(stream, 1, |record| record.sequence = Sequence::new(3))?;
    let statements = pair(&made(stream, 1)?, &again);
    against(world, stream, FaultKind::DecidedTwice, statements)
}

fn own_record_denied(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let first = made(stream, 1)?;
    let denial = denial(world, first.0)?;
    let statements = vec![statement(&first.1), statement(&denial)];
    against(world, stream, FaultKind::OwnRecordDenied, statements)
}

/// A record of globex's that denies another one.
pub(super) fn denial(world: &World, denied: RecordId) -> Result<Vec<u8>> {
    let reason = ReasonCode::new("never_signed")?;
    let (_, bytes) = changed(&world.globex_stream, 2, |record| {
        if let Some(link) = record.channel().cloned() {
            record.body = Body::Channel(ChannelControl {
                channel: link,
                event: ChannelEvent::RecordDenied {
                    record: denied,
                    reason,
                },
            });
        }
    })?;
    Ok(bytes)
}

fn acknowledgement_reversed(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let first = &record(stream, 1)?.record;
    let seen = first.channel().and_then(|link| link.acknowledged);
    let other = Acknowledgement {
        id: RecordId::from_bytes([7; 32]),
        ..seen.context("the decision acknowledges nothing")?
    };
    let second = changed(stream, 2, |record| {
        if let Some(link) = channel(record) {
            link.acknowledged = Some(other);
        }
    })?;
    let statements = vec![statement(&made(stream, 1)?.1), statement(&second.1)];
    against(
        world,
        stream,
        FaultKind::AcknowledgementReversed,
        statements,
    )
}

fn allowed_otherwise(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let tool = ToolName::new("delete")?;
    let decision = changed(stream, 1, |record| {
        if let Body::Decision(decision) = &mut record.body {
            decision.action.tool = tool;
        }
    })?;
    let request = made(&world.acme_stream, 2)?.1;
    let statements = vec![Statement::Request(request), statement(&decision.1)];
    against(world, stream, FaultKind::AllowedOtherwise, statements)
}

fn stream_continued(world: &World) -> Result<FaultProof> {
    let stream = &world.globex_stream;
    let end = changed(stream, 1, |record| {
        record.body = Body::Control(Event::StreamClosed { successor: None });
    })?;
    let statements = vec![statement(&end.1), statement(&made(stream, 2)?.1)];
    against(world, stream, FaultKind::StreamContinued, statements)
}
