"""Receipts: spec/3-receipts.md and the steps of spec/4-verification.md."""

import hashlib

import cbor
import merkle
from failures import Failure, demand, remembered
from fields import (
    ABSENT,
    Fields,
    array,
    ascending,
    binary,
    binary_or_null,
    digest,
    row,
    text,
)
from manifests import verify_chain
from records import parse_disclosure, parse_record
from signed import Commitment, Presentation, listed_key
from transparency import checkpoint_seen, logged

SIZE = 48 * 1024 * 1024
FORMAT = "counterfoil/receipt/v1"
SIGNED, COMMITTED, LOGGED, WITNESSED = 1, 2, 3, 4
LEVELS = {SIGNED: "signed", COMMITTED: "committed", LOGGED: "logged", WITNESSED: "witnessed"}

parse_commitment = remembered(20_000)(Commitment)
parse_presentation = remembered(5_000)(Presentation)


def chain(value):
    """[* [manifest, log proof or null]]"""
    pairs = [row(it, 2) for it in array(value, 0, 256)]
    return [(binary(manifest), binary_or_null(proof)) for manifest, proof in pairs]


class Receipt:
    def __init__(self, data):
        fields = Fields(cbor.decode(data, SIZE))
        demand(text(fields.take(1)) == FORMAT, "structure_out_of_range")
        self.record = binary(fields.take(2))
        self.manifests = chain(fields.take(3))
        path = fields.find(4)
        self.path = None
        if path is not ABSENT:
            self.path = [digest(it) for it in array(path, 0, 16)]
        self.commitment = self.optional(fields, 5)
        self.proof = self.optional(fields, 6)
        self.beacon = self.optional(fields, 7)
        disclosures = fields.find(8)
        self.disclosures = []
        if disclosures is not ABSENT:
            self.disclosures = [parse_disclosure(binary(it)) for it in array(disclosures, 1, 6)]
            ascending([it.field for it in self.disclosures])
        presented = fields.find(9)
        self.presentation = None
        if presented is not ABSENT:
            presentation, manifests = row(presented, 2)
            self.presentation = binary(presentation), chain(manifests)
            # The same map with one entry less; the last field has a key of one byte.
            entry = b"\x09" + encoded(presented)
            self.without = bytes([data[0] - 1]) + data[1 : -len(entry)]
        fields.end()
        demand((self.path is None) == (self.commitment is None), "receipt_incomplete")
        demand(self.proof is None or self.commitment is not None, "receipt_incomplete")

    @staticmethod
    def optional(fields, key):
        value = fields.find(key)
        return None if value is ABSENT else binary(value)


def encoded(value):
    """The one encoding of an array of byte strings, arrays and nulls."""
    if value is None:
        return b"\xf6"
    if type(value) is bytes:
        return cbor.byte_string(value)
    return cbor.head(4, len(value)) + b"".join(encoded(it) for it in value)


class Audience:
    """Whom a receipt is verified for, and whether it must have been presented."""

    def __init__(self, name=None, required=False):
        self.name = name
        self.required = required


NOBODY = Audience()


class Report:
    def __init__(self):
        self.step = self.failure = None
        self.level = 0
        self.not_before = self.not_after = self.keys_known_to = None
        self.record = self.commitment = self.logged = None

    @property
    def time_within_bounds(self):
        if self.not_before is None and self.not_after is None:
            return None
        low = 0 if self.not_before is None else self.not_before
        second = self.record.time // 1000
        return low <= second and (self.not_after is None or second <= self.not_after)


def verify(data, trust, level, audience=NOBODY):
    """Runs the steps of spec/4-verification.md, section 2, up to the first failure."""
    report = Report()
    try:
        for step, check in STEPS:
            report.step = step
            check(report, data, trust, level, audience)
    except Failure as failure:
        report.failure = failure.code
    return report


def read_receipt(report, data, *_):
    report.receipt = Receipt(data)


def read_record(report, *_):
    report.record = parse_record(report.receipt.record)


def check_manifests(report, _, trust, *__):
    report.manifests = verify_chain(report.receipt.manifests, report.record.iss, trust)


def find_key(report, *_):
    report.key = listed_key(report.manifests, report.record.kid)


def check_record_signature(report, *_):
    report.record.verify(report.key)


def check_disclosures(report, *_):
    for disclosure in report.receipt.disclosures:
        disclosure.check(report.record)
    report.level = SIGNED


def check_commitment(report, *_):
    if report.receipt.commitment is None:
        return
    commitment, record = parse_commitment(report.receipt.commitment), report.record
    same = commitment.kid == record.kid and commitment.iss == record.iss
    demand(same, "commitment_stream_mismatch")
    commitment.verify(report.key)
    batch = commitment.batch
    demand(batch.first <= record.sequence < batch.end, "commitment_range_mismatch")
    report.commitment = commitment


def check_batch_path(report, *_):
    if report.commitment is None:
        return
    batch, receipt = report.commitment.batch, report.receipt
    index = report.record.sequence - batch.first
    root = merkle.root_of(merkle.leaf(receipt.record), index, batch.count, receipt.path)
    demand(root == report.commitment.root, "batch_path_invalid")
    report.level = COMMITTED


def check_log_inclusion(report, _, trust, *__):
    receipt = report.receipt
    if receipt.proof is not None:
        report.logged = logged(receipt.proof, receipt.commitment, trust)


def check_witnesses(report, *_):
    if report.logged is not None:
        report.not_after = report.logged.seen.not_after


def check_manifest_log(report, _, trust, *__):
    receipt = report.receipt
    known = check_keys(receipt.manifests, report.manifests, report.record.kid, report.logged, trust)
    report.keys_known_to = known
    if report.logged is not None:
        report.level = WITNESSED if report.logged.quorum_met else LOGGED


def check_keys(chain, manifests, kid, where, trust):
    """Section 3: up to which size the keys are known. `where`: the logged commitment, or None."""
    if where is None:
        demand(kid not in manifests[-1].revoked, "key_revoked")
        return None
    last, listed = -1, False
    for (data, proof), manifest in zip(chain, manifests):
        demand(proof is not None, "manifest_not_logged")
        entry = logged(proof, data, trust)
        demand(entry.origin == where.origin, "manifest_not_logged")
        demand(entry.quorum_met or not where.quorum_met, "quorum_not_met")
        demand(entry.index > last, "manifest_not_logged")
        last = entry.index
        if last < where.index:
            demand(kid not in manifest.revoked, "key_revoked")
            listed = listed or kid in manifest.enforcers
    demand(listed, "manifest_not_logged")
    return last + 1


def check_time_bounds(report, _, trust, *__):
    if report.receipt.beacon is not None:
        report.not_before = bound_before(report.record, report.receipt.beacon, trust)
    if report.not_before is not None and report.not_after is not None:
        demand(report.not_before <= report.not_after, "time_bounds_contradict")


def bound_before(record, note, trust):
    """Section 4."""
    named = record.beacon is not None and record.beacon.digest == hashlib.sha256(note).digest()
    demand(named, "beacon_mismatch")
    seen = checkpoint_seen(note, trust)
    demand(seen.checkpoint.size == record.beacon.size, "beacon_mismatch")
    return seen.not_before


def check_presentation(report, _, trust, __, audience):
    """Section 6."""
    receipt = report.receipt
    if receipt.presentation is None:
        demand(not audience.required, "audience_mismatch")
        return
    data, chain = receipt.presentation
    presentation = parse_presentation(data)
    demand(presentation.audience == audience.name, "audience_mismatch")
    fits = presentation.receipt == hashlib.sha256(receipt.without).digest()
    demand(fits, "presentation_mismatch")
    if presentation.iss == report.record.iss:
        demand(not chain, "structure_out_of_range")
        manifests = report.manifests
    else:
        manifests = verify_chain(chain, presentation.iss, trust)
        check_proofs(chain, trust)
    newest = manifests[-1]
    demand(presentation.kid not in newest.revoked, "key_revoked")
    presentation.verify(listed_key([newest], presentation.kid))


def check_proofs(chain, trust):
    """Those log proofs of manifests that are there; the last one, if there is one."""
    entry = None
    for data, proof in chain:
        entry = None if proof is None else logged(proof, data, trust)
    return entry


def check_level(report, _, __, level, ___):
    if report.level < level:
        logged = report.level == LOGGED
        raise Failure("quorum_not_met" if logged else "level_not_reached")


STEPS = (
    ("receipt", read_receipt),
    ("record", read_record),
    ("manifests", check_manifests),
    ("key", find_key),
    ("record_signature", check_record_signature),
    ("disclosures", check_disclosures),
    ("commitment", check_commitment),
    ("batch_path", check_batch_path),
    ("log_inclusion", check_log_inclusion),
    ("witnesses", check_witnesses),
    ("manifest_log", check_manifest_log),
    ("time_bounds", check_time_bounds),
    ("presentation", check_presentation),
    ("level", check_level),
)
