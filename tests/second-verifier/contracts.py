"""Terms, the calls that they permit, and contract files: spec/7-contracts.md."""

import cbor
import parameters
import receipts
from failures import Failure, demand, remembered
from fields import (
    ABSENT,
    Fields,
    array,
    ascending,
    binary,
    identifier,
    name,
    named,
    operator,
    plain,
    row,
    text,
    uint,
    unit,
    verb,
    within,
)
from records import ACCEPTED, CONTROL, DISCLOSABLE, ENDED, PROPOSED, Disclosure
from transparency import parse_trust

TERMS_SIZE, FILE_SIZE = 256 * 1024, 16 * 1024 * 1024
TERMS_FORMAT, FILE_FORMAT = "counterfoil/contract/v1", "counterfoil/contract-file/v1"
ASKING, ASKED = 1, 2

pattern = plain(1024)


def pointer(value):
    return named(plain(1024)(value), parameters.is_pointer)


class Permission:
    def __init__(self, value):
        fields = Fields(value)
        self.server = name(fields.take(1))
        self.verb = verb(fields.take(2))
        self.tool = pattern(fields.take(3))
        targets = fields.find(4)
        self.targets = []
        if targets is not ABSENT:
            pairs = (row(it, 2) for it in array(targets, 1, 16))
            self.targets = [(pointer(where), pattern(what)) for where, what in pairs]
        self.tier = identifier(fields.take(5))
        uint(fields.take(6))
        fields.end()

    def names(self, action):
        server, verb, tool = action
        return (
            self.server == server and self.verb == verb and parameters.matches(self.tool, tool)
        )


def levels(value):
    found = [(identifier(tier), within(level, 1, 4)) for tier, level in rows(value, 256, 2)]
    ascending([tier.encode() for tier, _ in found])
    return dict(found)


def rows(value, most, size):
    return (row(it, size) for it in array(value, 0, most))


def disclosed(value):
    def field(number):
        demand(uint(number) in DISCLOSABLE, "structure_out_of_range")
        return number

    return ascending([(within(party, 1, 2), field(it)) for party, it in rows(value, 10, 2)])


def budgets(value):
    found = [(unit(of), uint(amount), uint(period)) for of, amount, period in rows(value, 16, 3)]
    ascending([(of.encode(), period) for of, _, period in found])
    return found


def contacts(value):
    found = [(within(party, 1, 2), plain(256)(contact)) for party, contact in rows(value, 64, 2)]
    ascending([(party, contact.encode()) for party, contact in found])


class Terms:
    def __init__(self, data):
        fields = Fields(cbor.decode(data, TERMS_SIZE))
        demand(text(fields.take(1)) == TERMS_FORMAT, "structure_out_of_range")
        self.asking = operator(fields.take(2))
        self.asked = operator(fields.take(3))
        self.begins = uint(fields.take(4))
        self.expires = uint(fields.take(5))
        self.permissions = [Permission(it) for it in array(fields.take(6), 0, 256)]
        self.levels = levels(fields.take(7))
        self.delay = uint(fields.take(8))
        policy = text(fields.take(9))
        opened = disclosed(fields.take(10))
        admission = fields.find(11)
        if admission is not ABSENT:
            text(admission)
        periods = [period for _, _, period in budgets(fields.take(12))]
        contacts(fields.take(13))
        self.notice = uint(fields.take(14))
        fields.end()

        demand(self.asking != self.asked, "structure_out_of_range")
        demand(self.begins < self.expires, "structure_out_of_range")
        demand(self.permissions, "structure_out_of_range")
        for permission in self.permissions:
            demand(permission.tier in self.levels, "structure_out_of_range")
        demand(self.delay > 0, "structure_out_of_range")
        trust = parse_trust(policy.encode())
        demand(not trust.operators, "trust_malformed")
        highest = max(self.levels.values(), default=0)
        demand(highest < receipts.WITNESSED or trust.quorum is not None, "structure_out_of_range")
        demand(highest < receipts.LOGGED or trust.logs, "structure_out_of_range")
        demand(all(field != 19 for _, field in opened), "structure_out_of_range")
        demand(admission != "", "structure_out_of_range")
        demand(all(period > 0 for period in periods), "structure_out_of_range")

    def judge(self, asking, asked, action, time, text):
        """Section 2: the permission that a call falls under; the reason of a refusal is raised.
        `text`: the parameters, or None if they are not disclosed."""
        demand(asking == self.asking and asked == self.asked, "contract_parties")
        demand(time >= self.begins, "contract_not_begun")
        demand(time < self.expires, "contract_expired")
        naming = [it for it in self.permissions if it.names(action)]
        demand(naming, "contract_action")
        read = None
        for permission in naming:
            if not permission.targets:
                return permission
            if text is None:
                raise Failure("contract_undecided")
            if read is None:
                read = parameters.read(text)
            found = [(parameters.lead(read, to), what) for to, what in permission.targets]
            if all(parameters.matches(what, it) for it, what in found):
                return permission
        raise Failure("contract_target")

    def least_level(self, action):
        """The lowest level of the permissions that may decide, if nobody can read the targets."""
        found = []
        for permission in self.permissions:
            if permission.names(action):
                found.append(self.levels[permission.tier])
                if not permission.targets:
                    break
        return min(found, default=0)


parse_terms = remembered(2_000)(Terms)


class File:
    def __init__(self, data):
        fields = Fields(cbor.decode(data, FILE_SIZE))
        demand(text(fields.take(1)) == FILE_FORMAT, "structure_out_of_range")
        self.terms = Disclosure(binary(fields.take(2)))
        demand(self.terms.field == 19, "structure_out_of_range")
        self.receipts = {"proposal": binary(fields.take(3))}
        for key, step in ((4, "acceptance"), (5, "end")):
            value = fields.find(key)
            if value is not ABSENT:
                self.receipts[step] = binary(value)
        fields.end()


class Contract:
    """A contract file as far as it verified."""

    def __init__(self):
        self.step = self.failure = None
        self.records = {}

    @property
    def state(self):
        for step, state in (("end", "ended"), ("acceptance", "accepted")):
            if step in self.records:
                return state
        return "proposed"


def verify(data, trust, level, audience=receipts.NOBODY):
    """Section 6."""
    contract = Contract()
    try:
        contract.step = "file"
        file = File(data)
        contract.digest = file.terms.digest
        contract.step = "terms"
        contract.terms = parse_terms(file.terms.content)
        for step, check in (("proposal", is_proposal), ("acceptance", accepts), ("end", ends)):
            if step in file.receipts:
                contract.step = step
                report = receipts.verify(file.receipts[step], trust, level, audience)
                if report.failure:
                    raise Failure(report.failure)
                record = about(contract, report.record)
                demand(check(record, contract.records), "contract_mismatch")
                contract.records[step] = record
    except Failure as failure:
        contract.failure = failure.code
    return contract


def about(contract, record):
    parties = {contract.terms.asking, contract.terms.asked}
    between = (
        record.kind == CONTROL
        and record.channel is not None
        and {record.iss, record.channel.counterparty} == parties
    )
    demand(between and record.event.contract is not None, "contract_mismatch")
    demand(record.event.contract == contract.digest, "disclosure_mismatch")
    return record


def is_proposal(record, _):
    return record.event.kind == PROPOSED


def accepts(record, before):
    proposal = before["proposal"]
    return (
        record.event.kind == ACCEPTED
        and record.event.record == proposal.id
        and record.iss != proposal.iss
    )


def ends(record, before):
    if record.event.kind != ENDED:
        return False
    if any(it.kid == record.kid and it.sequence >= record.sequence for it in before.values()):
        return False
    if "acceptance" in before and before["acceptance"].channel.acknowledged:
        stream, sequence, _ = before["acceptance"].channel.acknowledged
        return stream != record.kid or sequence < record.channel.sequence
    return True
