"""Verifies a receipt with nothing of ours: the standard library, and `cryptography` for Ed25519.

    verify_receipt.py RECEIPT TRUST

Written from the specification. It checks the manifest chain of one version, the record's
signature, both Merkle paths, the log's signature, the quorum of witnesses and the beacon, and prints
what it found as JSON; it fails with an assertion at the first thing that does not hold.
"""

import base64
import hashlib
import json
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def cbor(data, at=0):
    """One item of deterministic CBOR: its value, and where the next one begins."""
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        value = info
    else:
        length = {24: 1, 25: 2, 26: 4, 27: 8}[info]
        value = int.from_bytes(data[at : at + length], "big")
        at += length
    if major == 0:
        return value, at
    if major == 1:
        return -1 - value, at
    if major in (2, 3):
        content = data[at : at + value]
        assert len(content) == value
        return (content if major == 2 else content.decode()), at + value
    if major == 4:
        items = []
        for _ in range(value):
            item, at = cbor(data, at)
            items.append(item)
        return items, at
    if major == 5:
        items = {}
        for _ in range(value):
            key, at = cbor(data, at)
            items[key], at = cbor(data, at)
        return items, at
    if major == 6:
        item, at = cbor(data, at)
        return ("tag", value, item), at
    return {20: False, 21: True, 22: None}[value], at


def whole(data):
    value, end = cbor(data)
    assert end == len(data), "bytes behind the item"
    return value


def head(major, length):
    if length < 24:
        return bytes([major << 5 | length])
    for info, size in ((24, 1), (25, 2), (26, 4)):
        if length < 1 << 8 * size:
            return bytes([major << 5 | info]) + length.to_bytes(size, "big")
    raise ValueError(length)


def thumbprint(key):
    """RFC 9679: the thumbprint of the COSE key."""
    return hashlib.sha256(b"\xa3\x01\x01\x20\x06\x21\x58\x20" + key).digest()


class Signed:
    """A COSE_Sign1."""

    def __init__(self, data):
        tag, number, (protected, unprotected, payload, signature) = whole(data)
        assert (tag, number, unprotected) == ("tag", 18, {})
        self.header = whole(protected)
        assert self.header[1] == -19
        self.kid, self.issuer = self.header[4], self.header[15][1]
        self.payload, self.signature = payload, signature
        self.to_be_signed = (
            head(4, 4)
            + head(3, 10)
            + b"Signature1"
            + head(2, len(protected))
            + protected
            + head(2, 0)
            + head(2, len(payload))
            + payload
        )

    def verify(self, key):
        assert thumbprint(key) == self.kid, "another key"
        Ed25519PublicKey.from_public_bytes(key).verify(self.signature, self.to_be_signed)


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


class Trust:
    """Logs, witnesses and operators; of groups, only the one that everybody here uses."""

    def __init__(self, text):
        self.logs, self.witnesses, self.operators, self.quorum = {}, {}, {}, 0
        for line in text.splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "log":
                self.add(self.logs, words[1], 1)
            elif words[0] == "witness":
                self.add(self.witnesses, words[2], 4)
            elif words[0] == "operator":
                self.add(self.operators, words[1], 1)
            elif words[0] == "group":
                count = len(words) - 3
                self.quorum = {"all": count, "any": 1}.get(words[2]) or int(words[2])

    @staticmethod
    def add(keys, vkey, kind):
        name, key_id, encoded = vkey.split("+", 2)
        key = base64.b64decode(encoded, validate=True)
        assert key[0] == kind
        assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id
        keys[name] = (bytes.fromhex(key_id), key[1:])


def check_log(proof, entry, trust):
    """A tlog-proof: the index of the entry, and the timestamps of its cosignatures."""
    top, note = proof.decode().split("\n\n", 1)
    first, index, *path = top.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    index = int(index.removeprefix("index "))
    text, signatures = note.split("\n\n", 1)
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    hashes = [base64.b64decode(line, validate=True) for line in path]
    computed = root_of(entry, index, int(size), hashes)
    assert computed == base64.b64decode(root), "not the log's root"
    signed, times = False, []
    for line in signatures.splitlines():
        dash, name, encoded = line.split(" ")
        assert dash == "\u2014"
        signature = base64.b64decode(encoded, validate=True)
        key_id, signature = signature[:4], signature[4:]
        if trust.logs.get(name, (None,))[0] == key_id and name == origin:
            key = Ed25519PublicKey.from_public_bytes(trust.logs[name][1])
            key.verify(signature, text.encode())
            signed = True
        elif trust.witnesses.get(name, (None,))[0] == key_id:
            (time,) = struct.unpack(">Q", signature[:8])
            key = Ed25519PublicKey.from_public_bytes(trust.witnesses[name][1])
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
            key.verify(signature[8:], message)
            times.append(time)
    assert signed, "the log has not signed"
    assert len(times) >= trust.quorum > 0, "too few witnesses"
    return index, sorted(times)[trust.quorum - 1]


def main(receipt, trust):
    trust = Trust(open(trust, encoding="utf-8").read())
    receipt = whole(open(receipt, "rb").read())
    assert receipt[1] == "counterfoil/receipt/v1"
    record = Signed(receipt[2])

    ((manifest_bytes, manifest_proof),) = receipt[3]
    manifest = Signed(manifest_bytes)
    listed = whole(manifest.payload)
    assert manifest.issuer == record.issuer and listed[1] == 1
    root = trust.operators[record.issuer][1]
    assert root in listed[4]
    manifest.verify(root)
    (key,) = [key for key in listed[5] if thumbprint(key) == record.kid]
    record.verify(key)

    commitment = Signed(receipt[5])
    commitment.verify(key)
    batch = commitment.header[-65537]
    sequence = whole(record.payload)[2]
    computed = root_of(receipt[2], sequence - batch[2], batch[3], receipt[4])
    assert computed == commitment.payload, "not the batch's root"

    index, not_after = check_log(receipt[6], receipt[5], trust)
    content = whole(record.payload)
    if 7 in receipt:
        # Whoever names a checkpoint with its cosignatures has seen it.
        assert hashlib.sha256(receipt[7]).digest() == content[5][2], "another beacon"

    manifest_index, _ = check_log(manifest_proof, manifest_bytes, trust)
    assert manifest_index < index, "the key was listed too late"
    found = {"operator": record.issuer, "sequence": sequence, "index": index, "not_after": not_after}
    print(json.dumps(found))


main(*sys.argv[1:])
