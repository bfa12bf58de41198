"""Records and disclosures: spec/1-records.md, sections 3 to 7."""

import blake3
import cbor
from failures import Failure, demand, remembered
from fields import (
    ABSENT,
    Fields,
    array,
    ascending,
    binary,
    digest,
    digest_or_null,
    identifier,
    name,
    operator,
    printable,
    row,
    scope,
    tool,
    uint,
    unit,
    verb,
    within,
)
from signed import MOST, RECORD, Signed, beacon

REQUEST, DECISION, OUTCOME, CONTROL = 1, 2, 3, 4
ALLOW, DENY = 1, 3
OPENED, PROPOSED, ACCEPTED, ENDED, STATEMENT, DENIED, CLOSED = 1, 4, 5, 6, 7, 8, 9
DISCLOSABLE = (9, 10, 15, 19, 21, 22)
DISCLOSURE = 16 * 1024 * 1024 + 64
ALGORITHMS = {-16: 32, -43: 48, -44: 64}


def acknowledgement(value):
    """[stream, sequence, id]"""
    stream, sequence, id = row(value, 3)
    return digest(stream), uint(sequence), digest(id)


def received(value):
    found = [acknowledgement(it) for it in array(value, 0, 64)]
    ascending([stream for stream, _, _ in found])
    return found


class Channel:
    def __init__(self, value):
        fields = Fields(value)
        self.counterparty = operator(fields.take(1))
        self.sequence = uint(fields.take(2))
        self.previous = digest_or_null(fields.take(3))
        acknowledged = fields.take(4)
        self.acknowledged = None if acknowledged is None else acknowledgement(acknowledged)
        fields.end()
        demand((self.sequence == 0) == (self.previous is None), "record_chain_start")


class Event:
    #: field number -> how it is read
    READ = {
        2: digest,
        3: uint,
        4: identifier,
        5: digest,
        6: digest,
        7: digest,
        8: uint,
        9: received,
        10: uint,
    }
    #: event -> its fields; a negative number is an optional one
    FIELDS = {
        1: (-7,),
        2: (2, 3),
        3: (4,),
        4: (5,),
        5: (5, 6),
        6: (4, 5),
        7: (8, 9, 10),
        8: (4, 6),
        9: (-7,),
    }
    WITH_CHANNEL = (PROPOSED, ACCEPTED, ENDED, STATEMENT, DENIED)

    def __init__(self, value, channel):
        fields = Fields(value)
        self.kind = within(fields.take(1), 1, 9)
        expected = self.kind in self.WITH_CHANNEL
        demand(channel or not expected, "structure_missing_field")
        demand(expected or not channel, "structure_unknown_field")
        self.values = {}
        for key in self.FIELDS[self.kind]:
            found = fields.find(-key) if key < 0 else fields.take(key)
            if found is not ABSENT:
                self.values[abs(key)] = self.READ[abs(key)](found)
        fields.end()

    @property
    def contract(self):
        return self.values.get(5)

    @property
    def record(self):
        return self.values.get(6)

    @property
    def received(self):
        return self.values.get(9, [])


class Record(Signed):
    def __init__(self, data):
        super().__init__(data, RECORD)
        fields = Fields(cbor.decode(self.payload, MOST))
        self.digests = {}
        self.channel = self.event = self.request = self.answer = None
        self.kind = within(fields.take(1), 1, 4)
        self.sequence = uint(fields.take(2))
        self.previous = digest_or_null(fields.take(3))
        self.time = uint(fields.take(4))
        self.beacon = beacon(fields, 5)
        self.read_channel(fields)
        if self.kind in (REQUEST, DECISION):
            self.read_call(fields)
        elif self.kind == OUTCOME:
            self.read_outcome(fields)
        else:
            self.event = Event(fields.take(18), self.channel)
        if self.kind in (REQUEST, DECISION):
            self.read_digest(fields, 19, 19)
        if self.kind != CONTROL:
            self.read_attestations(fields)
        fields.end()
        if self.kind == REQUEST:
            demand(self.verdict == ALLOW, "structure_out_of_range")
        self.header.check_time(self.time)
        opens = self.kind == CONTROL and self.event.kind == OPENED
        first = self.sequence == 0
        demand(first == (self.previous is None) == opens, "record_chain_start")

    def read_channel(self, fields):
        value = fields.take(6) if self.kind == REQUEST else fields.find(6)
        self.channel = None if value is ABSENT else Channel(value)

    def read_digest(self, fields, key, field):
        value = fields.find(key)
        if value is not ABSENT:
            self.digests[field] = digest(value)

    def read_call(self, fields):
        actor = Fields(fields.take(7))
        self.actor = [operator(actor.take(1)), name(actor.take(2))]
        self.read_digest(actor, 3, 21)
        self.read_digest(actor, 4, 22)
        actor.end()
        action = Fields(fields.take(8))
        self.action = (name(action.take(1)), verb(action.take(2)), tool(action.take(3)))
        tier = action.find(4)
        if tier is not ABSENT:
            identifier(tier)
        action.end()
        self.digests[9] = digest(fields.take(9))
        self.read_evaluation(Fields(fields.take(10)))
        ledger(fields.take(11))
        if self.kind == DECISION:
            value = fields.find(12)
            if value is not ABSENT:
                request, evidence = row(value, 2)
                self.request = digest(request)
                self.evidence = within(evidence, 1, 4)

    def read_evaluation(self, fields):
        self.verdict = uint(fields.take(1))
        demand(self.verdict in (ALLOW, DENY), "structure_out_of_range")
        identifier(fields.take(2))
        for policy in array(fields.take(3), 0, 64):
            name(policy)
        digest(fields.take(4))
        self.read_digest(fields, 5, 10)
        fields.end()

    def read_outcome(self, fields):
        self.decision = digest(fields.take(13))
        self.status = within(fields.take(14), 1, 6)
        self.read_digest(fields, 15, 15)
        answer = fields.find(16)
        if answer is not ABSENT:
            self.answer = digest(answer)
        ledger(fields.take(17))

    def read_attestations(self, fields):
        value = fields.find(20)
        if value is ABSENT:
            return
        for attestation in array(value, 1, 16):
            inner = Fields(attestation)
            printable(256)(inner.take(1))
            algorithm, hash = row(inner.take(2), 2)
            demand(type(algorithm) is int, "structure_wrong_type")
            demand(algorithm in ALGORITHMS, "structure_out_of_range")
            binary(hash, ALGORITHMS[algorithm])
            location = inner.find(3)
            if location is not ABSENT:
                printable(2048)(location)
            inner.end()

    @property
    def contract(self):
        """The digest of the terms that a request or decision is made under."""
        return self.digests.get(19)

    @property
    def acknowledged(self):
        """All that the record says we have of the counterparty's streams."""
        found = list(self.event.received) if self.event else []
        if self.channel and self.channel.acknowledged:
            found.append(self.channel.acknowledged)
        return found


def ledger(value):
    for line in array(value, 0, 16):
        where, of, amount, remaining = row(line, 4)
        scope(where), unit(of), uint(amount), uint(remaining)


class Disclosure:
    """[salt, content, field], encoded."""

    def __init__(self, data):
        self.bytes = data
        value = cbor.decode(data, DISCLOSURE)
        salt, content, field = row(value, 3)
        binary(salt, 16)
        self.content = binary(content)
        self.field = uint(field)
        demand(self.field in DISCLOSABLE, "structure_out_of_range")

    @property
    def digest(self):
        return hashed(self.bytes)

    def check(self, record):
        demand(record.digests.get(self.field) == self.digest, "disclosure_mismatch")
        if self.field in (21, 22):
            try:
                content = self.content.decode("utf-8")
            except UnicodeDecodeError:
                raise Failure("name_invalid") from None
            name(content)


@remembered(10_000)
def hashed(data):
    return blake3.hash(data)


parse_record = remembered(20_000)(Record)
parse_disclosure = remembered(20_000)(Disclosure)
