"""Conversations: spec/17-conversations.md, with the channels of spec/6-mcp.md, sections 4 to 6.

They are replayed as a witness: what a side signs is taken for its own, and everything else that comes
of a step is worked out here and compared. Who wrote this had seen the Rust crates.
"""

import cbor
import records as kinds
from failures import Failure, demand
from fields import ABSENT, Fields, array, binary, digest, digest_or_null, operator, row, text, uint, within
from manifests import verify_chain
from records import parse_record
from transparency import parse_trust

FORMAT = "counterfoil/conversation/v1"
SIZE, ITEMS = 4 * 1024 * 1024, 262_144
WINDOW, RECORDS_AHEAD = 2_000, 512
UNACKNOWLEDGED = 384
ENVELOPE = 512
BURST, REFUSALS_A_SECOND = 256, 32
SUCCEEDED, FAILED, NOT_EXECUTED, UNKNOWN, REFUSED, INVALID = 1, 2, 3, 4, 5, 6
OUT_OF_PLACE = ("channel_fork", "channel_gap", "acknowledgement_invalid")
DONE, HELD, DENIED = ("done", None), ("held", None), "denied"
ENDS = {
    SUCCEEDED: "answered",
    FAILED: "answered",
    NOT_EXECUTED: "not sent",
    UNKNOWN: "unknown",
    REFUSED: "refused",
    INVALID: "unknown",
}


class Differs(Exception):
    """Something that comes of a step is not as it must be."""


def must(holds, what):
    if not holds:
        raise Differs(what)


def maybe(fields, key, read):
    value = fields.find(key)
    return None if value is ABSENT else read(value)


def numbers(value):
    demand(type(value) is list, "structure_wrong_type")
    return [uint(it) for it in value]


def call(value):
    fields = Fields(value)
    found = tuple(text(fields.take(key)) for key in (1, 2, 3)), binary(fields.take(4))
    fields.end()
    return found


def expected(value):
    stream, sequence, previous = row(value, 3)
    return digest(stream), uint(sequence), digest_or_null(previous)


class Message:
    def __init__(self, value):
        fields = Fields(value)
        self.records = maybe(fields, 1, numbers)
        self.salt = maybe(fields, 2, lambda it: binary(it, 16))
        self.call = maybe(fields, 3, call)
        answer = maybe(fields, 4, lambda it: row(it, 2))
        self.result = None if answer is None else binary(answer[0])
        self.failed = answer is not None and within(answer[1], 0, 1) == 1
        fields.end()


class Step:
    def __init__(self, value):
        fields = Fields(value)
        self.time, self.side = uint(fields.take(1)), within(fields.take(2), 0, 1)
        self.event = text(fields.take(3))
        self.request = maybe(fields, 4, digest)
        self.message = maybe(fields, 5, uint)
        self.call = maybe(fields, 6, call)
        self.status = maybe(fields, 7, lambda it: within(it, 1, 4))
        self.result = maybe(fields, 8, binary)
        self.there = maybe(fields, 9, uint)
        self.word, self.reason = text(fields.take(10)), maybe(fields, 11, text)
        self.expected = maybe(fields, 12, expected)
        self.sends = maybe(fields, 13, uint)
        self.signed = numbers(fields.take(14))
        self.states = []
        for moved in array(fields.take(15), 0, ITEMS):
            request, state = row(moved, 2)
            self.states.append((digest(request), text(state)))
        self.kept = numbers(fields.take(16))
        fields.end()


class Party:
    def __init__(self, value, trust):
        fields = Fields(value)
        self.name, self.kid = operator(fields.take(1)), digest(fields.take(2))
        chain = [(binary(it), None) for it in array(fields.take(3), 1, 256)]
        self.freshness = uint(fields.take(4))
        fields.end()
        self.manifests = verify_chain(chain, self.name, trust)

    def key(self, kid, asks):
        """The key, if what it signed counts now; a request counts only with one that is in use."""
        newest = self.manifests[-1]
        demand(kid not in newest.revoked, "key_revoked")
        for manifest in [newest] if asks else self.manifests:
            if kid in manifest.enforcers:
                return manifest.enforcers[kid]
        raise Failure("key_unknown")


def salted(salt, content, field):
    encoded = cbor.byte_string(salt) + cbor.byte_string(content) + cbor.integer(field)
    return kinds.hashed(cbor.head(4, 3) + encoded)


def member(map, key):
    return next((value for found, value in map.pairs if found == cbor.integer(key)), None)


def reason_of(record):
    """The reason of a decision's evaluation, and whether the policy was asked."""
    payload = cbor.decode(record.payload, 65_535)
    return member(member(payload, 10), 2), 10 in record.digests


class Answer:
    """What the other side has said to a request of ours that has no outcome yet."""

    def __init__(self, decision):
        self.decision, self.outcome = decision, None


class Unresolved:
    """A request of ours that ended without its word."""

    def __init__(self, answer, ended):
        self.denied = answer is not None and answer.decision.verdict != kinds.ALLOW
        self.decided = answer is not None
        self.said = answer is not None and answer.outcome is not None
        self.ended = ended


class Side:
    """mcp, section 4: one side's stream, its channel, and those of the other to it."""

    def __init__(self, party, other, parties):
        self.party, self.other, self.parties = party, other, parties
        self.started = False
        self.last = None  # our last record
        self.sent = []  # our records in the channel
        self.acknowledged = {}  # by the stream of the other side that did: how many of ours
        self.received = {}  # by stream: ids
        self.heard_last = None
        self.kept = set()
        self.states = {}
        self.undecided, self.decided = set(), set()
        self.asked, self.answers, self.about = {}, {}, {}
        self.unresolved = {}
        self.open = {}  # decisions without outcome: request, stream that asked, salt of the call
        self.stated = (0, None)
        self.restart()

    def restart(self):
        self.ahead, self.held, self.there = {}, [], None
        self.allowance, self.filled = BURST * 1000, 0

    # What has come: section 4.1.

    def expected(self, stream):
        ids = self.received.get(stream, [])
        return stream, len(ids), ids[-1] if ids else None

    def head(self, stream):
        ids = self.received.get(stream)
        return (stream, len(ids) - 1, ids[-1]) if ids else None

    def read(self, data, index, last, first):
        """One record of an envelope: parsed and verified, or None if it is known."""
        record = parse_record(data)
        link = record.channel
        demand(link is not None and link.counterparty == self.party.name, "channel_mismatch")
        ids = self.received.get(record.kid, [])
        if index != last and link.sequence < len(ids) and ids[link.sequence] == record.id:
            if record.iss == self.other.name:
                return None
        demand(first is None or first == record.iss, "evidence_malformed")
        known = next((it for it in self.parties if it.name == record.iss), None)
        demand(known is not None, "operator_unknown")
        asks = record.kind == kinds.REQUEST and index == last
        record.verify(known.key(record.kid, asks))
        return record

    def verified(self, envelope):
        """The records of an envelope that are to be taken in, and whose they are."""
        demand(envelope is not None, "evidence_missing")
        demand(1 <= len(envelope) <= ENVELOPE, "evidence_malformed")
        found = []
        for index, data in enumerate(envelope):
            first = found[0].iss if found else None
            record = self.read(data, index, len(envelope) - 1, first)
            if record is not None:
                found.append(record)
        return found

    def keep(self, record, news):
        if record.id not in self.kept:
            self.kept.add(record.id)
            news.append(record.bytes)

    def receive(self, record):
        """Takes a record in. Says whether it is new; None if it is out of order."""
        link, (_, sequence, previous) = record.channel, self.expected(record.kid)
        if link.sequence < sequence:
            same = self.received[record.kid][link.sequence] == record.id
            demand(same, "channel_fork")
            return False
        if link.sequence > sequence:
            return None
        demand(link.previous == previous, "channel_fork")
        self.check_acknowledged(record)
        self.received.setdefault(record.kid, []).append(record.id)
        self.heard_last = record.kid
        self.note_theirs(record)
        return True

    def check_acknowledged(self, record):
        before = self.acknowledged.get(record.kid, 0)
        stated = record.event.received if record.event else []
        link = [record.channel.acknowledged] if record.channel.acknowledged else []
        for stream, sequence, id in link + list(stated):
            if stream != self.party.kid:
                continue
            made = sequence < len(self.sent) and self.sent[sequence].id == id
            demand(made and sequence + 1 >= before, "acknowledgement_invalid")
            before = sequence + 1
        if before:
            self.acknowledged[record.kid] = before

    def wait(self, record, news):
        """Lets a record wait for those before it. Says whether it does."""
        ahead, sequence = self.ahead.setdefault(record.kid, {}), record.channel.sequence
        there = ahead.get(sequence)
        if there is not None:
            if there.id != record.id:
                self.keep(record, news)
                self.keep(there, news)
                raise Failure("channel_fork")
            return True
        within_reach = sequence - self.expected(record.kid)[1] <= RECORDS_AHEAD
        if not within_reach or sum(map(len, self.ahead.values())) >= RECORDS_AHEAD:
            return False
        ahead[sequence] = record
        return True

    def link_up(self, stream, news):
        ahead = self.ahead.get(stream, {})
        while True:
            sequence = self.expected(stream)[1]
            for passed in [it for it in ahead if it < sequence]:
                del ahead[passed]
            record = ahead.pop(sequence, None)
            if record is None:
                return
            try:
                self.receive(record)
            except Failure:
                self.keep(record, news)
                return

    def join(self, found, news):
        """Takes records in, in order; raises the reason if one does not continue the channel."""
        for record in found:
            try:
                new = self.receive(record)
            except Failure:
                self.keep(record, news)
                raise
            if new:
                self.link_up(record.kid, news)
            elif new is None and not self.wait(record, news):
                raise Failure("channel_gap")
        last = found[-1]
        demand(last.channel.sequence < self.expected(last.kid)[1], "channel_gap")

    def waits(self, record):
        there = self.ahead.get(record.kid, {}).get(record.channel.sequence)
        return there is not None and there.id == record.id

    def note_theirs(self, record):
        """Section 4.2 and 4.3: what a record that was taken in says."""
        id = record.id
        if record.kind == kinds.REQUEST:
            if id not in self.decided:
                self.undecided.add(id)
                self.states[id] = "received"
        elif record.kind == kinds.DECISION and record.request is not None:
            request = record.request
            if request in self.unresolved:
                open = self.unresolved[request]
                if not open.decided:
                    open.decided, open.denied = True, record.verdict != kinds.ALLOW
                    self.about[id] = request
            elif request in self.asked and request not in self.answers:
                self.answers[request], self.about[id] = Answer(record), request
                if record.verdict == kinds.ALLOW and self.states[request] == "sent":
                    self.states[request] = "decided"
        elif record.kind == kinds.OUTCOME:
            if record.decision in self.undecided:
                self.undecided.discard(record.decision)
                self.states[record.decision] = "withdrawn"
            request = self.about.get(record.decision)
            answer, open = self.answers.get(request), self.unresolved.get(request)
            if answer is not None and answer.outcome is None:
                answer.outcome = record
            elif open is not None:
                open.said = True

    def resolve(self):
        there = max([0, *self.acknowledged.values()])
        if self.there is not None:
            there = max(there, self.there + 1)
        for request, open in self.unresolved.items():
            silent = not open.decided and there > open.ended
            if open.denied or open.said or silent:
                self.states[request] = "resolved"

    # What goes out.

    def unacknowledged(self):
        return self.sent[max([0, *self.acknowledged.values()]) :]

    def to_send(self):
        held = 0 if self.there is None else self.there + 1
        return sum(it.channel.sequence >= held for it in self.unacknowledged())

    def outgoing(self, ids):
        waiting = self.unacknowledged()
        last = max((at for at, it in enumerate(waiting) if it.id in ids), default=-1)
        held = 0 if self.there is None else self.there + 1
        waiting = waiting[: last + 1]
        return [it.bytes for it in waiting if it.channel.sequence >= held or it.id in ids]

    def sign(self, record, time, answers=None):
        """Takes a record that we are said to have signed for ours, if it may be."""
        key = self.party.key(self.party.kid, True)
        must(record.iss == self.party.name and record.kid == self.party.kid, "another signer")
        record.verify(key)
        before = self.last
        must(record.sequence == (before.sequence + 1 if before else 0), "its sequence")
        must(record.previous == (before.id if before else None), "its predecessor")
        must(record.time == max(time, before.time if before else 0), "its time")
        self.last = record
        link = record.channel
        if link is None:
            return
        must(link.counterparty == self.other.name, "its counterparty")
        must(link.sequence == len(self.sent), "its place in the channel")
        must(link.previous == (self.sent[-1].id if self.sent else None), "its link")
        stream = answers or self.heard_last
        must(link.acknowledged == (self.head(stream) if stream else None), "its acknowledgement")
        self.sent.append(record)

    def end(self, record):
        """Our outcome of a call."""
        decision = record.decision
        if decision in self.asked:
            del self.asked[decision]
            answer = self.answers.pop(decision, None)
            if record.status in (UNKNOWN, INVALID):
                self.unresolved[decision] = Unresolved(answer, record.channel.sequence)
            elif answer is not None:
                self.about.pop(answer.decision.id, None)
            self.states[decision] = ENDS[record.status]
        else:
            request, _, _ = self.open.pop(decision)
            self.states[request] = "settled"


class Conversation:
    def __init__(self, data):
        fields = Fields(cbor.decode(data, SIZE, items=ITEMS))
        demand(text(fields.take(1)) == FORMAT, "structure_out_of_range")
        trust = parse_trust(binary(fields.take(2)))
        self.parties = [Party(it, trust) for it in array(fields.take(3), 2, 16)]
        self.records = [binary(it) for it in array(fields.take(4), 0, ITEMS)]
        self.messages = [Message(it) for it in array(fields.take(5), 0, ITEMS)]
        self.steps = [Step(it) for it in array(fields.take(6), 0, ITEMS)]
        fields.end()
        one, other = self.parties[:2]
        self.sides = [Side(one, other, self.parties), Side(other, one, self.parties)]

    def envelope(self, message):
        if message.records is None:
            return None
        must(all(it < len(self.records) for it in message.records), "no such record")
        return [self.records[it] for it in message.records]

    def replay(self):
        """The first refusal; raises the step that is not as it must be."""
        refusal, time = None, 0
        for number, step in enumerate(self.steps):
            try:
                must(step.time >= time, "time goes back")
                time = step.time
                self.take(step, self.overdue)
            except (Differs, Failure, LookupError, TypeError) as wrong:
                # The last two: the step lacks what it should name.
                raise Differs(f"{number}: {step.event}: {wrong}") from wrong
            if step.word == "refused" and refusal is None:
                refusal = (step.reason, number)
        must(self.overdue is None, "a message is not judged")
        return refusal

    #: The message that must be judged next: side, held message, time.
    overdue = None

    def take(self, step, overdue):
        side = self.sides[step.side]
        before, self.news = dict(side.states), []
        must((step.event == "judges") == (overdue is not None), "judged at the wrong time")
        must(side.started or step.event == "starts", "it has not started")
        # What it signs is checked when what has come before it has been taken in.
        self.signed = [parse_record(self.records[it]) for it in step.signed]
        self.out = None
        came = self.DO[step.event](self, side, step)
        must((step.word, step.reason) == came, f"{step.word} {step.reason}, not {came}")
        must(not self.signed, "it signs too much")
        side.resolve()
        self.check_expected(side, step)
        moved = sorted((id, it) for id, it in side.states.items() if before.get(id) != it)
        must(step.states == moved, f"states {step.states}, not {moved}")
        must([self.records[it] for it in step.kept] == self.news, "what is kept")
        if self.out is None:
            must(step.sends is None, "nothing goes out")
        else:
            sent = self.messages[step.sends]
            found = self.envelope(sent), sent.salt, sent.call, sent.result, sent.failed
            must(found == self.out, "what goes out")
        self.overdue = self.next_judged(step)

    def next_judged(self, step):
        side = self.sides[step.side]
        for held in side.held:
            if not side.waits(held[1]) or step.time >= held[2]:
                return step.side, held, step.time
        return None

    def check_expected(self, side, step):
        placed = step.word == "refused" and step.reason in OUT_OF_PLACE
        wanted = None
        if step.message is not None and (placed or step.word == "held"):
            last = parse_record(self.envelope(self.messages[step.message])[-1])
            wanted = side.expected(last.kid)
        must(step.expected == wanted, f"expected {step.expected}, not {wanted}")

    def next_signed(self, side, time, answers=None):
        must(self.signed, "it signs too little")
        record = self.signed.pop(0)
        side.sign(record, time, answers)
        return record

    def starts(self, side, step):
        if side.started:
            side.restart()
            left = [(id, None) for id in side.asked] + [(id, it[1]) for id, it in side.open.items()]
            for _ in left:
                # In whatever order they come.
                decision = self.signed[0].decision if self.signed else None
                must(decision in dict(left), "another outcome")
                record = self.next_signed(side, step.time, dict(left)[decision])
                must(record.kind == kinds.OUTCOME and record.status == UNKNOWN, "its status")
                must(record.answer is None, "its answer")
                side.end(record)
        else:
            opened = self.next_signed(side, step.time)
            must(opened.event and opened.event.kind == 1, "the stream does not open")
            side.started, left = True, []
        started = self.next_signed(side, step.time)
        must(started.event and started.event.kind == 2, "it does not start")
        must(started.event.values[3] == len(left), "the number of unresolved calls")
        return DONE

    def asks(self, side, step):
        crowded = side.to_send() > UNACKNOWLEDGED
        record = self.next_signed(side, step.time)
        named, salt_of = step.call
        must(record.action == named, "its action")
        must(record.actor[0] == side.party.name, "its actor")
        reason, asked = reason_of(record)
        if record.kind == kinds.REQUEST:
            must(not crowded and asked and step.request == record.id, "a request")
            side.asked[record.id] = step.call
            side.states[record.id] = "prepared"
            return DONE
        must(record.kind == kinds.DECISION and record.verdict != kinds.ALLOW, "a denial")
        must(record.channel is None and record.request is None, "in a channel")
        if crowded:
            must(reason == "channel_unacknowledged", "its reason")
            return "refused", reason
        return DENIED, reason

    def sends(self, side, step):
        must(side.states.get(step.request) == "prepared", "it is not prepared")
        side.states[step.request] = "sent"
        request = next(it for it in side.sent if it.id == step.request)
        envelope = side.outgoing([request.id]) or [request.bytes]
        asked = side.asked[request.id]
        salt = self.messages[step.sends].salt
        must(salt is not None, "no salt")
        must(request.digests[9] == salted(salt, asked[1], 9), "the salt opens nothing")
        self.out = envelope, salt, asked, None, False
        return DONE

    def ends(self, side, step):
        state = "prepared" if step.event == "keeps back" else None
        must(step.request in side.asked, "no such call is open")
        must(state is None or side.states[step.request] == state, "its state")
        record = self.next_signed(side, step.time)
        status = NOT_EXECUTED if state else UNKNOWN
        self.is_outcome(record, step.request, status)
        side.end(record)
        return DONE

    def is_outcome(self, record, decision, status, answer=None):
        must(record.kind == kinds.OUTCOME and record.channel is not None, "no outcome")
        must(record.decision == decision, "of another call")
        must(record.status == status, f"status {record.status}, not {status}")
        must(record.answer == answer, "it follows from something else")

    def settles(self, side, step):
        opened = [(id, it) for id, it in side.open.items() if it[0] == step.request]
        must(len(opened) == 1, "no such call is open")
        decision, (_, asked_by, _) = opened[0]
        record = self.next_signed(side, step.time, asked_by)
        self.is_outcome(record, decision, step.status)
        salt = self.messages[step.sends].salt
        must(salt is not None, "no salt")
        must(record.digests[15] == salted(salt, step.result, 15), "its result")
        envelope = side.outgoing([decision, record.id])
        self.out = envelope, salt, None, step.result, step.status != SUCCEEDED
        side.end(record)
        return DONE

    def arrives(self, side, step):
        """A message: judged, unless it has to wait."""
        message = self.messages[step.message]
        answers = step.event == "is answered"
        if answers:
            must(step.request in side.asked, "no such call is open")
        envelope = self.envelope(message)
        if answers and envelope == []:
            return self.judge(side, step, None, [])
        found, gap = [], None
        try:
            found = side.verified(envelope)
            if answers:
                demand(found[-1].iss == side.other.name, "evidence_malformed")
            side.join(found, self.news)
        except Failure as failure:
            gap = failure.code
        if gap == "channel_gap" and side.waits(found[-1]):
            last = found[-1]
            side.held.append((step.message, last, step.time + WINDOW, step.request))
            if not answers:
                side.states.setdefault(last.id, "held")
            return HELD
        return self.judge(side, step, gap, found)

    def judges(self, side, step):
        where, held, time = self.overdue
        message, last, _, request = held
        must((step.side, step.time) == (where, time), "not when it must be judged")
        must((step.message, step.request) == (message, request), "another one comes first")
        side.held.remove(held)
        gap, found = None, side.verified(self.envelope(self.messages[message]))
        try:
            side.join(found, self.news)
        except Failure as failure:
            gap = failure.code
        return self.judge(side, step, gap, found)

    def judge(self, side, step, refused, found):
        """`refused`: why the records are; `found`: those that verify, empty if one does not."""
        message = self.messages[step.message]
        if refused == "channel_gap":
            side.keep(found[-1], self.news)
        if step.event == "is answered" or step.request is not None:
            return self.judge_answer(side, step, message, refused)
        return self.judge_call(side, step, message, refused, found)

    def judge_call(self, side, step, message, refused, found):
        """Section 5."""
        if not found and not self.allowed_to_refuse(side, step.time):
            return "refused", "too_many_refusals"
        request = found[-1] if found and found[-1].kind == kinds.REQUEST else None
        stream = found[-1].kid if found else None
        first = request is not None and request.id not in side.decided
        if request is not None and first and request.id not in side.undecided:
            ids = side.received.get(request.kid, [])
            sequence = request.channel.sequence
            first = not (sequence < len(ids) and ids[sequence] == request.id)
        reason = refused or self.wrong(side, step, message, request, first)
        crowded = bool(found) and side.to_send() > UNACKNOWLEDGED
        if crowded:
            reason = "channel_unacknowledged"
        record = self.next_signed(side, step.time, stream)
        must(record.kind == kinds.DECISION, "no decision")
        said, asked = reason_of(record)
        must((record.channel is not None) == (bool(found) and not crowded), "its channel")
        must(record.request == (request.id if first else None), "the request it names")
        must(record.request is None or record.evidence == 1, "the evidence it names")
        must(record.action == message.call[0], "its action")
        if reason is None:
            must(asked, "the policy was not asked")
            came = DONE if record.verdict == kinds.ALLOW else (DENIED, said)
        else:
            must(record.verdict != kinds.ALLOW and said == reason, f"{said}, not {reason}")
            must(crowded or not asked, "the policy was asked")
            came = "refused", reason
        if request is not None and first:
            side.undecided.discard(request.id)
            side.decided.add(request.id)
            side.states[request.id] = "executing" if came == DONE else "decided"
            must(came != DONE or record.digests[9] == request.digests[9], "its parameters")
            must(came != DONE or record.actor == request.actor, "its actor")
            if came == DONE:
                side.open[record.id] = request.id, stream, message.salt
        if came != DONE and record.channel is not None:
            answer = self.messages[step.sends] if step.sends is not None else None
            must(answer is not None and answer.failed, "no denial goes back")
            self.out = side.outgoing([record.id]), None, None, answer.result, True
        return came

    def allowed_to_refuse(self, side, time):
        passed = max(0, time - side.filled)
        most = BURST * 1000
        side.allowance = min(most, side.allowance + passed * REFUSALS_A_SECOND)
        side.filled = time
        if side.allowance < 1000:
            return False
        side.allowance -= 1000
        return True

    def wrong(self, side, step, message, request, first):
        if request is None:
            return "evidence_malformed"
        if not first:
            return "request_replayed"
        if request.actor[0] != request.iss:
            return "actor_mismatch"
        named, parameters = message.call
        if request.action != named:
            return "action_mismatch"
        salt = message.salt
        if salt is None or request.digests[9] != salted(salt, parameters, 9):
            return "parameters_mismatch"
        if abs(request.time - step.time) > side.party.freshness:
            return "request_stale"
        return None

    def judge_answer(self, side, step, message, refused):
        """Section 6."""
        status, answer, reason = self.told(side, step.request, message, refused)
        record = self.next_signed(side, step.time)
        self.is_outcome(record, step.request, status, answer)
        must(15 in record.digests, "no result")
        side.end(record)
        return ("refused", reason) if reason else DONE

    def told(self, side, request, message, refused):
        """The status of our outcome, what it follows from, and why the answer is withheld."""
        if refused:
            return INVALID, None, refused
        known = side.answers.get(request)
        if known is None:
            return INVALID, None, "answer_missing"
        decision, outcome = known.decision, known.outcome
        if decision.verdict != kinds.ALLOW:
            reason = None if message.failed else "answer_contradicts_decision"
            return REFUSED, decision.id, reason
        asked = next(it for it in side.sent if it.id == request)
        same = asked.actor == decision.actor and asked.action == decision.action
        fields = (9, 19, 21, 22)
        if not same or any(asked.digests.get(it) != decision.digests.get(it) for it in fields):
            return INVALID, None, "answer_mismatch"
        if outcome is None:
            return INVALID, None, "outcome_missing"
        if outcome.status == NOT_EXECUTED:
            reason = None if message.failed else "answer_contradicts_decision"
            return REFUSED, outcome.id, reason
        if outcome.status not in (SUCCEEDED, FAILED):
            return INVALID, None, "outcome_unknown"
        salt = message.salt
        opened = None if salt is None else salted(salt, message.result, 15)
        if opened is None or outcome.digests.get(15) != opened:
            return INVALID, None, "result_mismatch"
        return outcome.status, outcome.id, None

    def offers(self, side, step):
        self.out = [it.bytes for it in side.unacknowledged()], None, None, None, False
        return DONE

    def takes_in(self, side, step):
        try:
            side.join(side.verified(self.envelope(self.messages[step.message])), self.news)
        except Failure as failure:
            return "refused", failure.code
        return DONE

    def is_told(self, side, step):
        side.there = step.there
        return DONE

    def waits(self, side, step):
        return DONE

    def closes(self, side, step):
        record = self.next_signed(side, step.time)
        event = record.event
        must(event is not None and event.kind == kinds.STATEMENT, "no statement")
        must(event.values[8] == side.stated[0], "where its period begins")
        heads = [side.head(stream) for stream in sorted(side.received)]
        must(event.received == heads, "what it has received")
        must(event.values[10] == len(side.asked), "what is open")
        side.stated = record.channel.sequence, heads
        return DONE

    DO = {
        "starts": starts,
        "asks": asks,
        "sends": sends,
        "keeps back": ends,
        "gives up": ends,
        "hears": arrives,
        "is answered": arrives,
        "judges": judges,
        "settles": settles,
        "offers": offers,
        "takes in": takes_in,
        "is told": is_told,
        "waits": waits,
        "states": closes,
    }


def answer(data):
    """The first refusal, or the first step that is not as it must be."""
    conversation = Conversation(data)
    try:
        refusal = conversation.replay()
    except Differs as differs:
        return {"code": "step_differs", "step": str(differs).partition(":")[0]}
    found = {} if refusal is None else {"code": refusal[0], "refused-at": refusal[1]}
    return found | {"steps": len(conversation.steps)}
