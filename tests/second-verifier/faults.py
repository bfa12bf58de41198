"""Fault proofs: spec/8-faults.md, sections 2 and 5."""

import cbor
from failures import Failure, demand
from fault_kinds import KINDS
from fields import Fields, array, binary, is_operator, text, uint
from manifests import verify_chain
from receipts import chain, check_proofs
from statements import SIZE
from transparency import is_key_name, logged

FORMAT = "counterfoil/fault/v1"
LOG_FAULTS, MANIFEST_FORK = (14, 15), 13


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
