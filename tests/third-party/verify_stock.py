"""Verifies what `receipt export` writes with nothing of ours: scitt-cose and python-cwt.

    verify_stock.py rfc9942|scitt FOLDER

Receipts of algorithm -8 are verified by scitt-cose. Those of -19, which it does not know, and the
statements, which are always -19, by python-cwt, which knows no trees: the few lines of RFC 9162 that
it needs are here. Then one bit of every byte is flipped, and every one must be noticed. It prints
what it found as JSON and fails with an assertion otherwise.
"""

import base64
import hashlib
import json
import pathlib
import sys

import cbor2
import scitt_cose
from cwt import COSE, COSEKey

LEVELS = {"record": "enforcer.pem", "commitment": "log.pem"}


def verifies_sign1(message, pem, payload=None):
    """python-cwt: the signature of a COSE_Sign1, its payload attached or given."""
    try:
        # Chosen by its name, which is signed like the rest.
        named = cbor2.loads(cbor2.loads(message).value[0]).get(4)
        key = COSEKey.from_pem(pem, alg="EdDSA", kid=named)
        COSE.new(verify_kid=False).decode(message, key, detached_payload=payload)
    except Exception:
        return False
    return True


def root_of(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    assert index < size
    node, at, last = hashlib.sha256(b"\x00" + leaf).digest(), index, size - 1
    for sibling in path:
        assert last > 0, "the path is too long"
        if at & 1 or at == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        at, last = at >> 1, last >> 1
    assert last == 0, "the path is too short"
    return node


def proof_of(receipt):
    _, unprotected, _, _ = cbor2.loads(receipt).value
    (proof,) = unprotected[396][-1]
    return cbor2.loads(proof)


def verifies_receipt(receipt, leaf, pem):
    try:
        protected, _, payload, _ = cbor2.loads(receipt).value
        algorithm = cbor2.loads(protected)[1]
    except Exception:
        return False
    if algorithm == -8:
        found = scitt_cose.verify_receipt(
            receipt, leaf_entry_hex=leaf.hex(), log_public_key_pem=pem
        )
        return found.ok
    try:
        size, index, path = proof_of(receipt)
        root = root_of(leaf, index, size, path)
    except Exception:
        return False
    return payload is None and verifies_sign1(receipt, pem, root)


def opened(form, folder, name):
    """A statement as it is a leaf, and its receipt."""
    statement = (folder / f"{name}.cose").read_bytes()
    if form == "rfc9942":
        return statement, (folder / f"{name}.receipt.cose").read_bytes()
    (receipt,) = scitt_cose.extract_receipts(statement)
    protected, _, payload, signature = cbor2.loads(statement).value
    # RFC 9943: the statement is included with an empty unprotected header.
    leaf = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))
    return leaf, receipt


def flipped(data):
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        yield bytes(changed)


def size_alone(receipt, other):
    """Whether only what RFC 9942 leaves unsigned differs: another size with the same path."""
    (a, b), (one, two) = ((cbor2.loads(it).value for it in (receipt, other)), map(proof_of, (receipt, other)))
    return (a[0], a[2], a[3], one[1:]) == (b[0], b[2], b[3], two[1:])


def level(form, folder, name, enforcer):
    leaf, receipt = opened(form, folder, name)
    pem = (folder / LEVELS[name]).read_text()
    assert verifies_sign1(leaf, enforcer), f"the statement: {name}"
    assert verifies_receipt(receipt, leaf, pem), f"the receipt: {name}"

    noticed = 0
    for other in flipped(receipt):
        if verifies_receipt(other, leaf, pem):
            assert size_alone(receipt, other), f"a flipped bit in the receipt of {name}"
        else:
            noticed += 1
    for other in flipped(leaf):
        assert not verifies_receipt(receipt, other, pem), f"a flipped bit in {name}"
        assert not verifies_sign1(other, enforcer), f"a flipped bit in {name}"
        noticed += 2

    size, index, path = proof_of(receipt)
    protected = cbor2.loads(cbor2.loads(receipt).value[0])
    return {
        "statement": name,
        "issuer": protected[15][1],
        "algorithm": protected[1],
        "index": index,
        "size": size,
        "root": base64.b64encode(root_of(leaf, index, size, path)).decode(),
        "noticed": noticed,
    }


def main(form, folder):
    folder = pathlib.Path(folder)
    enforcer = (folder / "enforcer.pem").read_text()
    levels = [
        level(form, folder, name, enforcer)
        for name in LEVELS
        if (folder / f"{name}.cose").exists()
    ]
    if len(levels) == 2:
        # The chain: the root of the batch is what the commitment, the leaf of the log, holds.
        commitment, _ = opened(form, folder, "commitment")
        root = cbor2.loads(commitment).value[2]
        assert base64.b64encode(root).decode() == levels[0]["root"]
    print(json.dumps(levels))


main(*sys.argv[1:])
