"""What this verifier answers to a case: a test vector, or a mutation of one in the same form."""

import base64
import os

import bundles
import cbor
import contracts
import conversations
import faults
import merkle
import receipts
import stock
import transparency
from failures import Failure, demand
from manifests import parse_manifest
from receipts import parse_commitment
from records import parse_record
from transparency import Checkpoint, Note, Proof, Trust, Vkey, checkpoint_seen, parse_trust

LEVELS = {name: level for level, name in receipts.LEVELS.items()}


class Case:
    def __init__(self, data):
        top, _, self.body = data.partition(b"\n\n")
        self.lines = dict(line.split(": ", 1) for line in top.decode().split("\n"))

    def key(self):
        return bytes.fromhex(self.lines["key"])


class Vectors:
    """The folder of the vectors, since cases refer to each other."""

    def __init__(self, folder):
        self.folder = folder
        self.known = {}

    def names(self):
        for object in sorted(os.listdir(self.folder)):
            if os.path.isdir(os.path.join(self.folder, object)):
                for name in sorted(os.listdir(os.path.join(self.folder, object))):
                    yield f"{object}/{name.removesuffix('.vector')}"

    def case(self, name):
        if name not in self.known:
            with open(os.path.join(self.folder, name + ".vector"), "rb") as file:
                self.known[name] = Case(file.read())
        return self.known[name]

    def body(self, name):
        return self.case(name).body

    def trust(self, case):
        return parse_trust(self.body(case.lines["trust"]))

    def answer(self, case):
        """`success` or `failure`, and more `name=value`, in the order of INDEX.md."""
        try:
            found = ANSWERS[case.lines["object"]](self, case)
        except Failure as failure:
            found = {"code": failure.code}
        words = [f"{name}={value}" for name, value in found.items() if value is not None]
        return " ".join(["failure" if "code" in found else "success", *words])


def check_cbor(_, case):
    cbor.decode(case.body, 65_535, tag=18)
    return {}


def check_record(_, case):
    record = parse_record(case.body)
    record.verify(case.key())
    return {"id": record.id.hex()}


def check_commitment(_, case):
    commitment = parse_commitment(case.body)
    commitment.verify(case.key())
    return {"digest": commitment.digest.hex()}


def check_manifest(vectors, case):
    manifest = parse_manifest(case.body)
    if "trusted" in case.lines:
        manifest.verify_first([bytes.fromhex(case.lines["trusted"])])
    else:
        manifest.verify_after(parse_manifest(vectors.body(case.lines["before"])))
    return {"digest": manifest.digest.hex()}


def check_trust(_, case):
    Trust(case.body)
    return {}


def check_receipt(vectors, case):
    name, presented = case.lines.get("audience"), case.lines.get("presented")
    audience = receipts.Audience(name, presented == "required")
    level = LEVELS[case.lines["require"]]
    report = receipts.verify(case.body, vectors.trust(case), level, audience)
    if report.failure:
        return {"code": report.failure, "step": report.step}
    within = report.time_within_bounds
    return {
        "level": receipts.LEVELS[report.level],
        "not-before": report.not_before,
        "not-after": report.not_after,
        "keys-known-to": report.keys_known_to,
        "time-within-bounds": None if within is None else str(within).lower(),
    }


def check_contract(vectors, case):
    level = LEVELS[case.lines["require"]]
    contract = contracts.verify(case.body, vectors.trust(case), level)
    if contract.failure:
        return {"code": contract.failure, "step": contract.step}
    return {"digest": contract.digest.hex(), "state": contract.state}


def check_fault(vectors, case):
    proof = faults.verify(case.body, vectors.trust(case))
    if proof.failure:
        return {"code": proof.failure, "step": proof.step}
    return {"kind": proof.kind, "accused": proof.accused}


def check_bundle(vectors, case):
    level = LEVELS[case.lines["require"]]
    bundle = bundles.verify(case.body, vectors.trust(case), level)
    if bundle.failure:
        return {"code": bundle.failure}
    return {"records": bundle.records}


def check_cose_receipt(vectors, case):
    receipt = stock.CoseReceipt(case.body, vectors.body(case.lines["entry"]))
    receipt.verify(case.key())
    return {"root": base64.b64encode(receipt.root).decode()}


def check_transparent_statement(_, case):
    transparent = stock.TransparentStatement(case.body)
    leaf = base64.b64encode(merkle.leaf(transparent.statement)).decode()
    return {"receipts": len(transparent.receipts), "leaf": leaf}


def check_note(_, case):
    note = Note(case.body)
    log = Vkey(case.lines["key"].encode(), transparency.LOG)
    witness = Vkey(case.lines["witness-key"].encode(), transparency.WITNESS)
    known = False
    for name, id, signature in note.signatures:
        for vkey, check in ((log, note.by_log), (witness, note.by_witness)):
            if (name, id) == (vkey.name, vkey.id):
                demand(check(signature, vkey.key), "note_bad_signature")
                known = True
    demand(known, "note_no_known_signature")
    return {}


def check_checkpoint(_, case):
    Checkpoint(case.body)
    return {}


def check_tlog_proof(vectors, case):
    proof, trust = Proof(case.body), vectors.trust(case)
    # The form of the note and of the checkpoint first: they have codes of their own here.
    Checkpoint(Note(proof.note).text)
    names = {
        "log_unknown": "unknown_origin",
        "checkpoint_signature_invalid": "note_bad_signature",
        "cosignature_invalid": "note_bad_signature",
    }
    try:
        seen = checkpoint_seen(proof.note, trust)
    except Failure as failure:
        keys = {(log.name, log.id) for log in trust.logs}
        signers = {(name, id) for name, id, _ in Note(proof.note).signatures}
        if failure.code == "checkpoint_signature_invalid" and not keys & signers:
            raise Failure("no_log_signature") from None
        raise Failure(names[failure.code]) from None
    size = seen.checkpoint.size
    demand(proof.index < size, "index_out_of_range")
    leaf = merkle.leaf(vectors.body(case.lines["entry"]))
    root = merkle.root_of(leaf, proof.index, size, proof.path)
    demand(root is not None, "proof_wrong_length")
    demand(root == seen.checkpoint.root, "root_mismatch")
    demand(trust.quorum is None or seen.quorum_met, "quorum_not_met")
    return {}


def check_add_checkpoint(_, case):
    top, separator, note = case.body.partition(b"\n\n")
    old, *lines = top.split(b"\n")
    demand(separator and transparency.is_text(top), "request_form")
    demand(old.startswith(b"old "), "request_old_size")
    transparency.number(old[4:], "request_old_size")
    transparency.hashes(lines, "request_proof_hash", "request_proof_too_long")
    Checkpoint(Note(note).text)
    return {}


def check_tile_path(_, case):
    found = transparency.TILE.fullmatch(case.body)
    demand(found, "tile_path")
    level, groups, _, width = found.groups()
    demand(level == b"entries" or int(level) <= 63, "tile_path")
    demand(not groups.startswith(b"x000/"), "tile_path")
    demand(width is None or int(width) <= 255, "tile_path")
    return {}


ANSWERS = {
    "cbor": check_cbor,
    "record": check_record,
    "commitment": check_commitment,
    "manifest": check_manifest,
    "trust": check_trust,
    "receipt": check_receipt,
    "contract": check_contract,
    "bundle": check_bundle,
    "fault": check_fault,
    "cose-receipt": check_cose_receipt,
    "transparent-statement": check_transparent_statement,
    "conversation": lambda _, case: conversations.answer(case.body),
    "note": check_note,
    "checkpoint": check_checkpoint,
    "tlog-proof": check_tlog_proof,
    "add-checkpoint": check_add_checkpoint,
    "tile-path": check_tile_path,
}
