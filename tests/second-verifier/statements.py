"""What a fault proof is made of: the statements of spec/8-faults.md, sections 2 and 5.

A statement is made from its bytes and then checked by itself, against the proof that it stands in.
`kid` names the enforcer key that signed it, where step 4 has to ask about one.
"""

import cbor
import contracts
import receipts
from failures import Failure, demand
from fields import array, binary, binary_or_null, digest, row
from manifests import parse_manifest
from receipts import Receipt, parse_commitment
from records import parse_record
from signed import listed_key
from transparency import checkpoint_seen, logged

SIZE = 96 * 1024 * 1024


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
        self.kid, self.id = self.commitment.kid, self.commitment.id
        self.batch = self.commitment.batch


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
