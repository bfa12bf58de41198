"""Bundles: spec/9-bundles.md."""

import cbor
import merkle
import receipts
from failures import Failure, demand
from fields import ABSENT, Fields, array, ascending, binary, binary_or_null, digest, operator
from fields import row, text, uint
from manifests import verify_chain
from merkle import sha256
from receipts import COMMITTED, LOGGED, SIGNED, WITNESSED, bound_before, parse_commitment
from records import parse_disclosure, parse_record
from signed import listed_key
from transparency import logged

ITEM, ITEMS = 64 * 1024 * 1024, 262_144
FORMAT = "counterfoil/bundle/v1"
MANY = 65_536


def items(data):
    at = 0
    while at < len(data):
        value, at = cbor.decode_at(data, at, ITEMS, cbor.DEPTH, None, ITEM)
        yield value


class Header:
    def __init__(self, value):
        fields = Fields(value)
        demand(text(fields.take(1)) == FORMAT, "structure_out_of_range")
        self.operator = operator(fields.take(2))
        counterparty = fields.find(3)
        self.counterparty = None if counterparty is ABSENT else operator(counterparty)
        self.chain = receipts.chain(fields.take(4))
        fields.end()


class Part:
    def __init__(self, value):
        fields = Fields(value)
        self.commitment = self.proof = None
        commitment = fields.find(1)
        self.sealed = commitment is not ABSENT
        if self.sealed:
            self.commitment = binary(commitment)
            self.proof = binary_or_null(fields.take(2))
            self.records = self.many(fields.take(3))
            self.multiproof = [digest(it) for it in array(fields.take(4), 0, MANY)]
        disclosures, beacons = fields.find(5), fields.find(6)
        self.disclosures = [] if disclosures is ABSENT else self.opened(disclosures)
        self.beacons = {}
        if beacons is not ABSENT:
            notes = [binary(it) for it in array(beacons, 1, MANY)]
            self.beacons = {sha256(it): it for it in notes}
            ascending([sha256(it) for it in notes])
        if not self.sealed:
            self.records = self.many(fields.take(7))
        fields.end()
        for index, _ in self.disclosures:
            demand(index < len(self.records), "structure_out_of_range")

    @staticmethod
    def many(value):
        return [binary(it) for it in array(value, 1, MANY)]

    @staticmethod
    def opened(value):
        found = []
        for pair in array(value, 1, len(receipts.STEPS) * MANY):
            index, disclosure = row(pair, 2)
            found.append((uint(index), parse_disclosure(binary(disclosure))))
        ascending([(index, disclosure.field) for index, disclosure in found])
        return found


class Bundle:
    """What was found, in order."""

    def __init__(self):
        self.records, self.stopped, self.first, self.broken = 0, None, None, False
        self.sequences = {}
        self.channels, self.streams, self.commitments = {}, {}, {}

    @property
    def failure(self):
        return self.stopped or self.first or ("link_broken" if self.broken else None)

    def failed(self, code):
        self.first = self.first or code


def verify(data, trust, level):
    """Section 4."""
    bundle = Bundle()
    try:
        found = items(data)
        value = next(found, None)
        demand(value is not None or data[:1] == b"\xf6", "cbor_truncated")
        header = Header(value)
        header.manifests = verify_chain(header.chain, header.operator, trust)
        unsealed = False
        for value in found:
            part = Part(value)
            demand(not (part.sealed and unsealed), "bundle_order")
            unsealed = not part.sealed
            bundle.records += len(part.records)
            check_part(bundle, header, part, trust, level)
        demand(bundle.records > 0, "bundle_empty")
    except Failure as failure:
        bundle.stopped = failure.code
    return bundle


def check_part(bundle, header, part, trust, level):
    try:
        records, reached, where = check_together(bundle, header, part, trust)
    except Failure as failure:
        bundle.failed(failure.code)
        return
    disclosed = {}
    for index, disclosure in part.disclosures:
        disclosed.setdefault(index, []).append(disclosure)
    for index, record in enumerate(records):
        try:
            record.verify(part.key)
            link_record(bundle, record)
            check_record(record, part, disclosed.get(index, []), reached, where, trust, level)
        except Failure as failure:
            bundle.failed(failure.code)


def check_together(bundle, header, part, trust):
    """Rules 1 to 8: what concerns all records of a part."""
    commitment = None
    if part.sealed:
        commitment = parse_commitment(part.commitment)
        demand(commitment.iss == header.operator, "bundle_mismatch")
        commitment.verify(listed_key(header.manifests, commitment.kid))
        link_commitment(bundle, commitment)
    records = []
    for data in part.records:
        record = parse_record(data)
        demand(not records or records[-1].sequence < record.sequence, "bundle_order")
        records.append(record)
    one = commitment or records[0]
    wrong = "commitment_stream_mismatch" if commitment else "bundle_mismatch"
    for record in records:
        same = record.kid == one.kid and record.iss == header.operator
        demand(same, wrong)
    if header.counterparty is not None:
        for record in records:
            channel = record.channel
            fits = channel is not None and channel.counterparty == header.counterparty
            demand(fits, "bundle_mismatch")
    part.key = listed_key(header.manifests, one.kid)
    named = {record.beacon.digest for record in records if record.beacon}
    demand(set(part.beacons) <= named, "beacon_mismatch")
    reached, where = SIGNED, None
    if commitment:
        check_tree(commitment, records, part)
        reached = COMMITTED
        if part.proof is not None:
            where = logged(part.proof, part.commitment, trust)
            reached = WITNESSED if where.quorum_met else LOGGED
    receipts.check_keys(header.chain, header.manifests, one.kid, where, trust)
    demand(records[0].sequence > bundle.sequences.get(one.kid, -1), "bundle_order")
    bundle.sequences[one.kid] = records[-1].sequence
    return records, reached, where


def check_tree(commitment, records, part):
    batch = commitment.batch
    for record in records:
        demand(batch.first <= record.sequence < batch.end, "commitment_range_mismatch")
    leaves = [(it.sequence - batch.first, merkle.leaf(it.bytes)) for it in records]
    root = merkle.root_of_many(leaves, batch.count, part.multiproof)
    demand(root == commitment.root, "batch_path_invalid")


def check_record(record, part, disclosures, reached, where, trust, level):
    """Rules 10 to 12."""
    for disclosure in disclosures:
        disclosure.check(record)
    note = part.beacons.get(record.beacon.digest) if record.beacon else None
    before = None if note is None else bound_before(record, note, trust)
    after = where.seen.not_after if where else None
    if before is not None and after is not None:
        demand(before <= after, "time_bounds_contradict")
    if reached < level:
        raise Failure("quorum_not_met" if reached == LOGGED else "level_not_reached")


def link_record(bundle, record):
    before = bundle.streams.get(record.kid)
    if before is not None and record.sequence == before.sequence + 1:
        bundle.broken |= record.previous != before.id
    bundle.streams[record.kid] = record
    if record.channel is None:
        return
    place = record.kid, record.channel.counterparty
    before = bundle.channels.get(place)
    if before is not None:
        number = before.channel.sequence
        bundle.broken |= record.channel.sequence <= number
        if record.channel.sequence == number + 1:
            bundle.broken |= record.channel.previous != before.id
    bundle.channels[place] = record


def link_commitment(bundle, commitment):
    before, batch = bundle.commitments.get(commitment.kid), commitment.batch
    if before is not None and before.digest != commitment.digest:
        bundle.broken |= batch.number <= before.batch.number or batch.first < before.batch.end
        if batch.number == before.batch.number + 1:
            bundle.broken |= batch.previous != before.digest or batch.first != before.batch.end
    bundle.commitments[commitment.kid] = commitment
