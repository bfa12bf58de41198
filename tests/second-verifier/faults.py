"""Fault proofs: spec/8-faults.md."""

import hashlib

import cbor
import contracts
import merkle
import receipts
from failures import Failure, demand
from fields import Fields, array, binary, binary_or_null, digest, is_operator, row, text, uint
from manifests import parse_manifest, verify_chain
from receipts import Receipt, bound_before, chain, check_proofs, parse_commitment
from records import (
    ALLOW,
    CLOSED,
    CONTROL,
    DECISION,
    DENIED,
    OUTCOME,
    REQUEST,
    parse_record,
)
from signed import listed_key
from transparency import checkpoint_seen, is_key_name, logged

SIZE = 96 * 1024 * 1024
FORMAT = "counterfoil/fault/v1"
LOG_FAULTS, MANIFEST_FORK = (14, 15), 13


class RecordStatement:
    """A record of the accused; steps 2 and 4 to 9 of a receipt."""

    def __init__(self, data):
        self.receipt = Receipt(data)
        demand(not self.receipt.manifests, "structure_out_of_range")
        bare = self.receipt.beacon is None and self.receipt.presentation is None
        demand(bare, "structure_unknown_field")
        self.level, self.manifests = 0, None
        self.commitment = self.logged = None

    def check(self, proof):
        receipts.read_record(self)
        demand(self.record.iss == proof.accused, "fault_accused_mismatch")
        self.manifests = proof.manifests
        receipts.find_key(self)
        receipts.check_record_signature(self)
        receipts.check_disclosures(self)
        receipts.check_commitment(self)
        receipts.check_batch_path(self)
        receipts.check_log_inclusion(self, None, proof.trust)
        self.kid = self.record.kid

    @property
    def parameters(self):
        """What the record's parameters were, if that is disclosed."""
        found = [it.content for it in self.receipt.disclosures if it.field == 9]
        return found[0] if found else None


class CommitmentStatement:
    def __init__(self, data):
        commitment, proof = row(cbor.decode(data, SIZE), 2)
        self.data, self.proof = binary(commitment), binary_or_null(proof)
        self.logged = None

    def check(self, proof):
        self.commitment = parse_commitment(self.data)
        demand(self.commitment.iss == proof.accused, "fault_accused_mismatch")
        self.commitment.verify(listed_key(proof.manifests, self.commitment.kid))
        if self.proof is not None:
            self.logged = logged(self.proof, self.data, proof.trust)
        self.kid, self.id, self.batch = self.commitment.kid, self.commitment.id, self.commitment.batch


class LeafStatement:
    kid = None

    def __init__(self, data):
        hash, path = row(cbor.decode(data, SIZE), 2)
        self.hash = digest(hash)
        self.path = [digest(it) for it in array(path, 0, 16)]

    def check(self, _):
        pass


class Whole:
    """A statement that is not looked into before it is its turn."""

    kid = None

    def __init__(self, data):
        self.data = data


class RequestStatement(Whole):
    def check(self, _):
        self.record = parse_record(self.data)


class ManifestStatement(Whole):
    def check(self, proof):
        manifest = parse_manifest(self.data)
        demand(manifest.iss == proof.accused, "fault_accused_mismatch")
        if proof.manifests:
            manifest.verify_after(proof.manifests[-1])
        else:
            manifest.verify_first(proof.trust.operators[proof.accused])
        self.id = manifest.id


class CheckpointStatement(Whole):
    def check(self, proof):
        self.seen = checkpoint_seen(self.data, proof.trust)
        if proof.of_a_log:
            demand(self.seen.origin == proof.accused, "fault_accused_mismatch")
        self.id = self.seen.checkpoint.root


class EntryStatement:
    kid = None

    def __init__(self, data):
        entry, proof = row(cbor.decode(data, SIZE), 2)
        self.entry, self.proof = binary(entry), binary(proof)

    def check(self, proof):
        self.logged = logged(self.proof, self.entry, proof.trust)
        demand(self.logged.origin == proof.accused, "fault_accused_mismatch")
        self.id = self.logged.leaf


class ReceiptStatement(Whole):
    def check(self, proof):
        self.report = receipts.verify(self.data, proof.trust, receipts.WITNESSED)
        if self.report.failure:
            raise Failure(self.report.failure)


class ContractStatement(Whole):
    def check(self, proof):
        self.contract = contracts.verify(self.data, proof.trust, receipts.SIGNED)
        if self.contract.failure:
            raise Failure(self.contract.failure)


class Proof:
    """A fault proof; `step` is where it is or where it failed."""

    def __init__(self, trust):
        self.trust = trust
        self.step = self.failure = self.keys_known_to = None

    def read(self, data):
        fields = Fields(cbor.decode(data, SIZE))
        demand(text(fields.take(1)) == FORMAT, "structure_out_of_range")
        number = uint(fields.take(2))
        demand(number in KINDS, "structure_out_of_range")
        self.number, self.kind = number, KINDS[number][0]
        forms, self.shows = KINDS[number][1:]
        self.of_a_log = number in LOG_FAULTS
        self.accused = text(fields.take(3))
        proper = is_key_name if self.of_a_log else is_operator
        demand(proper(self.accused), "name_invalid")
        self.chain = chain(fields.take(4))
        statements = [binary(it) for it in array(fields.take(5), 1, 8)]
        fields.end()
        demand(not (self.of_a_log and self.chain), "structure_out_of_range")
        demand(len(statements) == len(forms), "structure_out_of_range")
        self.statements = [form(it) for form, it in zip(forms, statements)]

    def check_manifests(self):
        if self.of_a_log:
            return
        if self.number == MANIFEST_FORK and not self.chain:
            demand(self.accused in self.trust.operators, "operator_unknown")
            self.manifests = []
            return
        self.manifests = verify_chain(self.chain, self.accused, self.trust)
        newest = check_proofs(self.chain, self.trust)
        self.keys_known_to = newest and newest.index + 1

    def check_keys(self):
        if self.of_a_log or self.number == MANIFEST_FORK:
            return
        for statement in self.statements:
            for (data, proof), manifest in zip(self.chain, self.manifests):
                if statement.kid in manifest.revoked:
                    self.check_before(statement, data, proof)
                    break

    def check_before(self, statement, manifest, proof):
        """The statement was logged before the manifest that revokes its key."""
        demand(proof is not None and statement.logged, "key_revoked")
        revoked = logged(proof, manifest, self.trust)
        earlier = statement.logged.index < revoked.index
        demand(statement.logged.origin == revoked.origin and earlier, "key_revoked")
        met = revoked.quorum_met and statement.logged.quorum_met
        demand(self.trust.quorum is None or met, "quorum_not_met")


def verify(data, trust):
    """Section 5."""
    proof = Proof(trust)
    try:
        proof.step = "proof"
        proof.read(data)
        proof.step = "manifests"
        proof.check_manifests()
        proof.step = "statement"
        for statement in proof.statements:
            statement.check(proof)
        proof.step = "keys"
        proof.check_keys()
        proof.step = "fault"
        demand(proof.shows(*proof.statements), "fault_not_shown")
    except Failure as failure:
        proof.failure = failure.code
    return proof


def one_stream(a, b):
    return a.kid == b.kid


def one_channel(a, b):
    return (
        a.kid == b.kid
        and a.record.channel is not None
        and b.record.channel is not None
        and a.record.channel.counterparty == b.record.channel.counterparty
    )


def by_id(a, b):
    return a.record.id < b.record.id


def are(kind, *statements):
    return all(it.record.kind == kind for it in statements)


def stream_fork(a, b):
    return one_stream(a, b) and by_id(a, b) and a.record.sequence == b.record.sequence


def channel_fork(a, b):
    same = one_channel(a, b) and by_id(a, b)
    return same and a.record.channel.sequence == b.record.channel.sequence


def stream_link(a, b):
    follows = one_stream(a, b) and b.record.sequence == a.record.sequence + 1
    return follows and b.record.previous != a.record.id


def channel_link(a, b):
    if not one_channel(a, b):
        return False
    apart = b.record.channel.sequence - a.record.channel.sequence
    unlinked = apart == 1 and b.record.channel.previous != a.record.id
    return apart > 0 and (unlinked or b.record.sequence < a.record.sequence + apart)


def commitment_fork(a, b):
    return one_stream(a, b) and a.id < b.id and a.batch.number == b.batch.number


def commitment_link(a, b):
    if not one_stream(a, b):
        return False
    apart = b.batch.number - a.batch.number
    if apart == 1:
        return b.batch.first != a.batch.end or b.batch.previous != a.commitment.digest
    return apart > 1 and b.batch.first < a.batch.end + apart - 1


def record_replaced(record, commitment, leaf):
    batch, sequence = commitment.batch, record.record.sequence
    if not one_stream(record, commitment) or not batch.first <= sequence < batch.end:
        return False
    root = merkle.root_of(leaf.hash, sequence - batch.first, batch.count, leaf.path)
    demand(root == commitment.commitment.root, "batch_path_invalid")
    return leaf.hash != merkle.leaf(record.receipt.record)


def decided_twice(a, b):
    same = one_stream(a, b) and are(DECISION, a, b) and by_id(a, b)
    return same and a.record.request is not None and a.record.request == b.record.request


def settled_twice(a, b):
    same = one_stream(a, b) and are(OUTCOME, a, b) and by_id(a, b)
    return same and a.record.decision == b.record.decision


def own_record_denied(a, b):
    denies = are(CONTROL, b) and b.record.event.kind == DENIED
    return denies and b.record.event.record == a.record.id


def acknowledgement_reversed(a, b):
    if not one_channel(a, b) or b.record.sequence <= a.record.sequence:
        return False
    for stream, sequence, id in a.record.acknowledged:
        for later, lower, other in b.record.acknowledged:
            if later == stream and (lower < sequence or lower == sequence and other != id):
                return True
    return False


def executed_unallowed(decision, outcome):
    denied = are(DECISION, decision) and decision.record.verdict != ALLOW
    settled = are(OUTCOME, outcome) and outcome.record.decision == decision.record.id
    return denied and settled and outcome.record.status in (1, 2)


def manifest_fork(a, b):
    return a.id < b.id


def log_fork(a, b):
    same = a.seen.signed_by & b.seen.signed_by
    return same and a.id < b.id and a.seen.checkpoint.size == b.seen.checkpoint.size


def log_rewritten(a, b):
    same = a.logged.seen.signed_by & b.logged.seen.signed_by
    return same and a.id < b.id and a.logged.index == b.logged.index


def allowed_otherwise(request, decision):
    asked, made = request.record, decision.record
    if not are(REQUEST, request) or not are(DECISION, decision):
        return False
    if made.verdict != ALLOW or made.request != asked.id:
        return False
    return (
        asked.channel.counterparty != made.iss
        or asked.actor != made.actor
        or asked.action != made.action
        or any(asked.digests.get(field) != made.digests.get(field) for field in (9, 21, 22))
    )


def stream_continued(a, b):
    ended = one_stream(a, b) and are(CONTROL, a) and a.record.event.kind == CLOSED
    return ended and b.record.sequence > a.record.sequence


def agreed(record, contract):
    """The contract was accepted, and the record holds its digest."""
    accepted = "acceptance" in contract.contract.records
    return accepted and record.record.contract == contract.contract.digest


def parties(record):
    """Who asks whom in a request or decision."""
    if record.kind == REQUEST:
        return record.iss, record.channel.counterparty
    return record.actor[0], record.iss


def outside_contract(statement, contract):
    record, terms = statement.record, contract.contract.terms
    if not agreed(statement, contract):
        return False
    if record.kind != REQUEST and not (record.kind == DECISION and record.verdict == ALLOW):
        return False
    end = contract.contract.records.get("end")
    if end is not None and end.kid == record.kid and end.sequence < record.sequence:
        if record.time >= end.time + terms.notice:
            return True
    try:
        terms.judge(*parties(record), record.action, record.time, statement.parameters)
    except Failure as refusal:
        return refusal.code != "contract_undecided"
    return False


def evidence_too_low(statement, contract):
    record, terms = statement.record, contract.contract.terms
    if not agreed(statement, contract) or record.kind != DECISION:
        return False
    if record.verdict != ALLOW or record.request is None:
        return False
    try:
        call = (*parties(record), record.action, record.time, statement.parameters)
        needed = terms.levels[terms.judge(*call).tier]
    except Failure as refusal:
        if refusal.code != "contract_undecided":
            return False
        needed = terms.least_level(record.action)
    return record.evidence < needed


def published_late(statement, other, commitment, checkpoint, contract):
    record, naming = statement.record, other.report.record
    if not agreed(statement, contract) or not one_stream(statement, commitment):
        return False
    if not commitment.batch.first <= record.sequence < commitment.batch.end:
        return False
    named = naming.request if naming.kind == DECISION else naming.answer
    acknowledged = [id for _, _, id in naming.acknowledged]
    if record.id not in (named, *acknowledged):
        return False
    beacon = commitment.batch.beacon
    if beacon is None or beacon.digest != hashlib.sha256(checkpoint.data).digest():
        return False
    if beacon.size != checkpoint.seen.checkpoint.size:
        return False
    known, closed = other.report.not_after, checkpoint.seen.not_before
    if known is None or closed is None:
        return False
    return closed * 1000 > known * 1000 + contract.contract.terms.delay


TWO_RECORDS = (RecordStatement, RecordStatement)
TWO_COMMITMENTS = (CommitmentStatement, CommitmentStatement)
#: number -> name, the forms of the statements, what they must show
KINDS = {
    1: ("stream_fork", TWO_RECORDS, stream_fork),
    2: ("channel_fork", TWO_RECORDS, channel_fork),
    3: ("stream_link", TWO_RECORDS, stream_link),
    4: ("channel_link", TWO_RECORDS, channel_link),
    5: ("commitment_fork", TWO_COMMITMENTS, commitment_fork),
    6: ("commitment_link", TWO_COMMITMENTS, commitment_link),
    7: ("record_replaced", (RecordStatement, CommitmentStatement, LeafStatement), record_replaced),
    8: ("decided_twice", TWO_RECORDS, decided_twice),
    9: ("settled_twice", TWO_RECORDS, settled_twice),
    10: ("own_record_denied", TWO_RECORDS, own_record_denied),
    11: ("acknowledgement_reversed", TWO_RECORDS, acknowledgement_reversed),
    12: ("executed_unallowed", TWO_RECORDS, executed_unallowed),
    13: ("manifest_fork", (ManifestStatement, ManifestStatement), manifest_fork),
    14: ("log_fork", (CheckpointStatement, CheckpointStatement), log_fork),
    15: ("log_rewritten", (EntryStatement, EntryStatement), log_rewritten),
    16: ("allowed_otherwise", (RequestStatement, RecordStatement), allowed_otherwise),
    17: ("stream_continued", TWO_RECORDS, stream_continued),
    20: ("outside_contract", (RecordStatement, ContractStatement), outside_contract),
    21: ("evidence_too_low", (RecordStatement, ContractStatement), evidence_too_low),
    22: (
        "published_late",
        (
            RecordStatement,
            ReceiptStatement,
            CommitmentStatement,
            CheckpointStatement,
            ContractStatement,
        ),
        published_late,
    ),
}
