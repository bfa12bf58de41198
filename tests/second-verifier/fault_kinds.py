"""What the statements of each kind of fault have to show: spec/8-faults.md, sections 3 and 4.

Each function is given the statements, which are genuine by then, and says whether they show it.
"""

import hashlib

import merkle
from failures import Failure, demand
from records import ALLOW, CLOSED, CONTROL, DECISION, DENIED, OUTCOME, REQUEST
from statements import (
    CheckpointStatement,
    CommitmentStatement,
    ContractStatement,
    EntryStatement,
    LeafStatement,
    ManifestStatement,
    ReceiptStatement,
    RecordStatement,
    RequestStatement,
)


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
