//! Records that do not continue their channel: gaps, forks, wrong acknowledgements.

use anyhow::Result;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::numbers::ChannelSequence;
use counterfoil_protocol::record::{ChannelEvent, Statement};

use super::Scene;
use super::forging::{Said, forged, id, place};
use super::script::{ACME, GLOBEX, Parties, SUCCEEDED, Script, came_to, moved};
use super::transcript::{State, Word};

pub(super) const SCENES: &[Scene] = &[
    Scene::bad(
        "gap-outlives-the-window",
        "channel_gap",
        "the second call waits for the first until the window is over; then the first comes, the \
         channel heals, and the second stays refused",
        gap_outlives_the_window,
    ),
    Scene::bad(
        "gap-of-an-answer",
        "channel_gap",
        "an answer waits for the records before its own until the window is over, and is withheld",
        gap_of_an_answer,
    ),
    Scene::bad(
        "gap-in-the-exchange",
        "channel_gap",
        "records that are pushed leave a gap; they wait, and the missing ones are pushed next",
        gap_in_the_exchange,
    ),
    Scene::bad(
        "gap-beyond-the-window",
        "channel_gap",
        "a call is 513 records ahead of what is expected, and does not wait",
        gap_beyond_the_window,
    ),
    Scene::bad(
        "window-full",
        "channel_gap",
        "512 records wait, and one more of another stream of the same operator does not",
        window_full,
    ),
    Scene::bad(
        "fork-of-a-record",
        "channel_fork",
        "another record comes in the place of one that was taken in",
        fork_of_a_record,
    ),
    Scene::bad(
        "fork-of-the-link",
        "channel_fork",
        "the next record does not name the one before it",
        fork_of_the_link,
    ),
    Scene::bad(
        "fork-of-the-first",
        "channel_fork",
        "a call whose request stands in the place of one that was decided",
        fork_of_a_call,
    ),
    Scene::bad(
        "fork-while-waiting",
        "channel_gap",
        "two records wait for one place: both are refused as a fork",
        fork_while_waiting,
    ),
    Scene::bad(
        "fork-found-when-linked-up",
        "channel_gap",
        "a record that waited does not name the one that came before it",
        fork_found_when_linked_up,
    ),
    Scene::bad(
        "acknowledgement-of-nothing",
        "acknowledgement_invalid",
        "a record acknowledges one that was never made",
        acknowledgement_of_nothing,
    ),
    Scene::bad(
        "acknowledgement-goes-back",
        "acknowledgement_invalid",
        "a record acknowledges less than one before it",
        acknowledgement_goes_back,
    ),
    Scene::bad(
        "acknowledgement-in-a-statement",
        "acknowledgement_invalid",
        "a statement says that it has received a record that was never made",
        acknowledgement_in_a_statement,
    ),
    Scene::bad(
        "acknowledgement-of-another-record",
        "acknowledgement_invalid",
        "a call acknowledges another record than the one in that place",
        acknowledgement_of_another_record,
    ),
];

/// Acme doing as it likes, in the stream of its enforcer.
fn acme(parties: &Parties, at: u64, previous: Option<RecordId>, about: u8) -> Said<'_> {
    Said {
        issuer: &parties.acme.name,
        key: &parties.acme.enforcer,
        to: "globex.example",
        at,
        previous,
        acknowledged: None,
        about,
    }
}

fn gap_outlives_the_window(_: &Parties, script: &mut Script) -> Result<()> {
    let (first, one) = script.call(ACME)?;
    let (second, two) = script.call(ACME)?;
    let alone = script.cut(two, 1)?;
    let held = script.hear(GLOBEX, alone)?;
    came_to(&held, Word::Held, None)?;
    let began = held.time;
    script.stand_still(began + 1_999);
    script.wait(GLOBEX)?;
    script.stand_still(began + 2_000);
    script.wait(GLOBEX)?;
    script.execute(GLOBEX, one)?;
    script.refuse(GLOBEX, alone, "request_replayed")?;
    script.refuse(GLOBEX, two, "request_replayed")?;
    let answer = script.settle(GLOBEX, first, SUCCEEDED)?;
    script.deliver(ACME, first, answer)?;
    // The refusal came with that answer.
    script.give_up(ACME, second)?;
    script.whole_call(ACME, GLOBEX).map(drop)
}

fn gap_of_an_answer(_: &Parties, script: &mut Script) -> Result<()> {
    let (first, one) = script.call(ACME)?;
    let (second, two) = script.call(ACME)?;
    script.execute(GLOBEX, one)?;
    script.settle(GLOBEX, first, SUCCEEDED)?;
    script.execute(GLOBEX, two)?;
    let late = script.settle(GLOBEX, second, SUCCEEDED)?;
    let alone = script.cut(late, 1)?;
    let held = script.answer(ACME, second, alone)?;
    came_to(&held, Word::Held, None)?;
    script.pause(2_000);
    script.wait(ACME)?;
    script.give_up(ACME, first)?;
    // What waited is still there: with what was missing both are resolved.
    let offered = script.offer(GLOBEX)?;
    let step = script.take_in(ACME, offered)?;
    moved(&step, first, State::Resolved)?;
    moved(&step, second, State::Resolved)
}

fn gap_in_the_exchange(_: &Parties, script: &mut Script) -> Result<()> {
    let request = script.ask(ACME)?;
    script.keep_back(ACME, request)?;
    let offered = script.offer(ACME)?;
    let alone = script.cut(offered, 1)?;
    script.take_in_refusing(GLOBEX, alone, "channel_gap")?;
    let first = script.changed(offered, |message| {
        if let Some(records) = &mut message.records {
            records.truncate(1);
        }
    })?;
    let step = script.take_in(GLOBEX, first)?;
    came_to(&step, Word::Done, None)?;
    script.whole_call(ACME, GLOBEX).map(drop)
}

fn gap_beyond_the_window(parties: &Parties, script: &mut Script) -> Result<()> {
    let link = Some(RecordId::from_bytes([7; 32]));
    let last = acme(parties, 512, link, 1).sign()?;
    let message = script.carrying(&[&last]);
    // 512 ahead waits.
    script.take_in_refusing(GLOBEX, message, "channel_gap")?;
    let (_, call) = script.call(ACME)?;
    let request = script.last(call)?;
    let far = forged(&request, &parties.acme.enforcer, |record| {
        if let counterfoil_protocol::record::Body::Request(request) = &mut record.body {
            request.channel.sequence = ChannelSequence::new(513);
            request.channel.previous = link;
        }
    })?;
    let beyond = script.ending_in(call, &far)?;
    script.refuse(GLOBEX, beyond, "channel_gap")?;
    script.execute(GLOBEX, call)
}

fn window_full(parties: &Parties, script: &mut Script) -> Result<()> {
    let mut previous = Some(RecordId::from_bytes([7; 32]));
    let mut waiting = Vec::new();
    for at in 1..=512 {
        let record = acme(parties, at, previous, 1).sign()?;
        previous = Some(id(&record)?);
        waiting.push(record);
    }
    let records: Vec<&[u8]> = waiting.iter().map(Vec::as_slice).collect();
    let message = script.carrying(&records);
    script.take_in_refusing(GLOBEX, message, "channel_gap")?;
    let other_stream = Said {
        key: &parties.acme.previous_enforcer,
        ..acme(parties, 1, previous, 2)
    };
    let one_more = script.carrying(&[&other_stream.sign()?]);
    script.take_in_refusing(GLOBEX, one_more, "channel_gap")?;
    // It was not kept: the first of that stream is taken in, and nothing is linked up by it.
    let first = Said {
        key: &parties.acme.previous_enforcer,
        ..acme(parties, 0, None, 3)
    };
    let message = script.carrying(&[&first.sign()?]);
    let step = script.take_in(GLOBEX, message)?;
    came_to(&step, Word::Done, None)?;
    let step = script.take_in(GLOBEX, one_more)?;
    came_to(&step, Word::Refused, Some("channel_fork"))
}

fn fork_of_a_record(parties: &Parties, script: &mut Script) -> Result<()> {
    let first = acme(parties, 0, None, 1).sign()?;
    let other = acme(parties, 0, None, 2).sign()?;
    let message = script.carrying(&[&first]);
    let step = script.take_in(GLOBEX, message)?;
    came_to(&step, Word::Done, None)?;
    let message = script.carrying(&[&other]);
    script.take_in_refusing(GLOBEX, message, "channel_fork")?;
    // What continues the one that was taken in is no fork.
    let next = acme(parties, 1, Some(id(&first)?), 3).sign()?;
    let message = script.carrying(&[&next]);
    let step = script.take_in(GLOBEX, message)?;
    came_to(&step, Word::Done, None)
}

fn fork_of_the_link(parties: &Parties, script: &mut Script) -> Result<()> {
    let first = acme(parties, 0, None, 1).sign()?;
    let other = acme(parties, 0, None, 2).sign()?;
    let next = acme(parties, 1, Some(id(&other)?), 3).sign()?;
    let after = acme(parties, 2, Some(id(&next)?), 4).sign()?;
    let message = script.carrying(&[&first, &next]);
    script.take_in_refusing(GLOBEX, message, "channel_fork")?;
    // The channel does not go on: what comes after it leaves a gap.
    let message = script.carrying(&[&after]);
    script.take_in_refusing(GLOBEX, message, "channel_gap")
}

fn fork_of_a_call(parties: &Parties, script: &mut Script) -> Result<()> {
    let (request, call) = script.call(ACME)?;
    script.execute(GLOBEX, call)?;
    let honest = script.last(call)?;
    let other = forged(&honest, &parties.acme.enforcer, |record| {
        record.time = counterfoil_protocol::numbers::UnixMillis::new(record.time.get() + 1);
    })?;
    let forked = script.ending_in(call, &other)?;
    let refused = script.refuse(GLOBEX, forked, "channel_fork")?;
    moved(&refused, id(&other)?, State::Decided)?;
    let answer = script.settle(GLOBEX, request, SUCCEEDED)?;
    script.deliver(ACME, request, answer)
}

fn fork_while_waiting(parties: &Parties, script: &mut Script) -> Result<()> {
    let link = Some(RecordId::from_bytes([7; 32]));
    let waiting = acme(parties, 2, link, 1).sign()?;
    let beside = acme(parties, 2, link, 2).sign()?;
    let message = script.carrying(&[&waiting]);
    script.take_in_refusing(GLOBEX, message, "channel_gap")?;
    let message = script.carrying(&[&beside]);
    script.take_in_refusing(GLOBEX, message, "channel_fork")
}

fn fork_found_when_linked_up(parties: &Parties, script: &mut Script) -> Result<()> {
    let first = acme(parties, 0, None, 1).sign()?;
    let stray = acme(parties, 1, Some(RecordId::from_bytes([7; 32])), 2).sign()?;
    let message = script.carrying(&[&stray]);
    script.take_in_refusing(GLOBEX, message, "channel_gap")?;
    // The one before it is taken in; the one that waited is kept as evidence.
    let message = script.carrying(&[&first]);
    let step = script.take_in(GLOBEX, message)?;
    came_to(&step, Word::Done, None)?;
    let right = acme(parties, 1, Some(id(&first)?), 3).sign()?;
    let message = script.carrying(&[&right]);
    let step = script.take_in(GLOBEX, message)?;
    came_to(&step, Word::Done, None)
}

fn acknowledgement_of_nothing(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(GLOBEX)?;
    let mut never = place(&script.last(call)?)?;
    never.sequence = ChannelSequence::new(1);
    let lie = Said {
        acknowledged: Some(never),
        ..acme(parties, 0, None, 1)
    };
    let message = script.carrying(&[&lie.sign()?]);
    script.take_in_refusing(GLOBEX, message, "acknowledgement_invalid")
}

fn acknowledgement_goes_back(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, one) = script.call(GLOBEX)?;
    let (_, two) = script.call(GLOBEX)?;
    let (early, late) = (place(&script.last(one)?)?, place(&script.last(two)?)?);
    let first = Said {
        acknowledged: Some(late),
        ..acme(parties, 0, None, 1)
    }
    .sign()?;
    let message = script.carrying(&[&first]);
    let step = script.take_in(GLOBEX, message)?;
    came_to(&step, Word::Done, None)?;
    let back = Said {
        acknowledged: Some(early),
        ..acme(parties, 1, Some(id(&first)?), 2)
    };
    let message = script.carrying(&[&back.sign()?]);
    script.take_in_refusing(GLOBEX, message, "acknowledgement_invalid")
}

fn acknowledgement_in_a_statement(parties: &Parties, script: &mut Script) -> Result<()> {
    let (_, call) = script.call(GLOBEX)?;
    let mut never = place(&script.last(call)?)?;
    let honest = never;
    never.id = RecordId::from_bytes([9; 32]);
    let said = Said {
        acknowledged: Some(honest),
        ..acme(parties, 0, None, 1)
    };
    let lie = said.saying(ChannelEvent::Statement(Statement {
        from: ChannelSequence::new(0),
        received: vec![never],
        open: 0,
    }))?;
    let message = script.carrying(&[&lie]);
    script.take_in_refusing(GLOBEX, message, "acknowledgement_invalid")
}

fn acknowledgement_of_another_record(parties: &Parties, script: &mut Script) -> Result<()> {
    script.whole_call(ACME, GLOBEX)?;
    let (_, call) = script.call(ACME)?;
    let honest = script.last(call)?;
    let lying = forged(&honest, &parties.acme.enforcer, |record| {
        if let counterfoil_protocol::record::Body::Request(request) = &mut record.body
            && let Some(acknowledged) = &mut request.channel.acknowledged
        {
            acknowledged.id = RecordId::from_bytes([9; 32]);
        }
    })?;
    let message = script.ending_in(call, &lying)?;
    script.refuse(GLOBEX, message, "acknowledgement_invalid")?;
    // Nothing came of it: the honest one still continues the channel.
    script.execute(GLOBEX, call)
}
