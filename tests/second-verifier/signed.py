"""Signed objects: spec/1-records.md, section 2, with the batch header of spec/2-batches.md."""

import hashlib

import cbor
import ed25519
from cbor import Map, Tagged
from failures import Failure, demand
from fields import (
    ABSENT,
    LARGEST,
    Fields,
    binary,
    digest,
    digest_or_null,
    is_operator,
    operator,
    uint,
    within,
)

MOST = 65_535
ALGORITHM = -19
RECORD, COMMITMENT, MANIFEST, PRESENTATION = "record", "commitment", "manifest", "presentation"


def thumbprint(key):
    """RFC 9679."""
    return hashlib.sha256(b"\xa3\x01\x01\x20\x06\x21\x58\x20" + key).digest()


class Signed:
    """A COSE_Sign1 whose signature nobody has looked at yet."""

    def __init__(self, data, kind):
        self.bytes = data
        envelope = cbor.decode(data, MOST, items=16, depth=4, tag=18)
        demand(type(envelope) is Tagged, "cose_structure")
        parts = envelope.content
        demand(type(parts) is list and len(parts) == 4, "cose_structure")
        protected, unprotected, self.payload, self.signature = parts
        demand(type(protected) is bytes, "cose_structure")
        demand(type(unprotected) is Map and not unprotected.pairs, "cose_header")
        demand(type(self.payload) is bytes, "cose_structure")
        demand(type(self.signature) is bytes and len(self.signature) == 64, "cose_structure")
        self.batch = self.read_header(cbor.decode(protected, MOST), kind)
        self.message = (
            b"\x84\x6aSignature1"
            + cbor.byte_string(protected)
            + cbor.byte_string(b"")
            + cbor.byte_string(self.payload)
        )
        self.id = hashlib.sha256(self.message).digest()
        self.digest = hashlib.sha256(data).digest()

    def read_header(self, header, kind):
        """The batch header, which is read after all else, or None."""
        demand(type(header) is Map, "cose_header")
        pairs = iter(header.pairs)

        def value(label):
            key, found = next(pairs, (None, None))
            demand(key == cbor.integer(label), "cose_header")
            return found

        algorithm = value(1)
        demand(type(algorithm) is int, "cose_header")
        demand(algorithm == ALGORITHM, "cose_algorithm")
        self.kid = value(4)
        demand(type(self.kid) is bytes and len(self.kid) == 32, "cose_header")
        claims, typ = value(15), value(16)
        demand(type(typ) is str, "cose_header")
        demand(typ == f"application/counterfoil-{kind}+cose", "cose_type")
        batch = None
        if kind == COMMITMENT:
            vds = value(395)
            demand(type(vds) is int and vds == 1, "cose_header")
            batch = value(-65537)
        demand(next(pairs, None) is None, "cose_header")
        self.read_claims(claims, kind)
        return batch

    def read_claims(self, claims, kind):
        demand(type(claims) is Map, "cose_header")
        demand([key for key, _ in claims.pairs] == [b"\1", b"\2", b"\6"], "cose_header")
        self.iss, subject, self.iat = [value for _, value in claims.pairs]
        demand(type(self.iss) is str and type(subject) is str, "cose_header")
        demand(type(self.iat) is int and self.iat >= 0, "cose_header")
        demand(subject == kind, "cose_type")
        demand(is_operator(self.iss), "name_invalid")

    def check_time(self, milliseconds):
        demand(self.iat == milliseconds // 1000, "record_time_mismatch")

    def verify(self, key):
        demand(thumbprint(key) == self.kid, "key_unknown")
        ed25519.check(key, self.signature, self.message)


class Beacon:
    def __init__(self, value):
        fields = Fields(value)
        self.size = uint(fields.take(1))
        self.digest = digest(fields.take(2))
        fields.end()


def beacon(fields, key):
    value = fields.find(key)
    return None if value is ABSENT else Beacon(value)


class Batch:
    """The batch header of a commitment."""

    def __init__(self, value):
        fields = Fields(value)
        self.number = uint(fields.take(1))
        self.first = uint(fields.take(2))
        self.count = within(fields.take(3), 1, 65_536)
        self.previous = digest_or_null(fields.take(4))
        self.opened = uint(fields.take(5))
        self.sealed = uint(fields.take(6))
        self.beacon = beacon(fields, 7)
        fields.end()
        demand(self.first + self.count <= LARGEST, "structure_out_of_range")
        demand(self.opened <= self.sealed, "structure_out_of_range")
        later = self.number > 0
        consistent = later == (self.previous is not None) == (self.first > 0)
        demand(consistent, "commitment_chain_start")

    @property
    def end(self):
        return self.first + self.count


class Commitment(Signed):
    def __init__(self, data):
        super().__init__(data, COMMITMENT)
        self.root = digest(self.payload)
        self.batch = Batch(self.batch)
        self.check_time(self.batch.sealed)


def listed_key(manifests, kid):
    """The enforcer key with that thumbprint that one of the manifests lists."""
    for manifest in manifests:
        if kid in manifest.enforcers:
            return manifest.enforcers[kid]
    raise Failure("key_unknown")


class Presentation(Signed):
    """spec/3-receipts.md, section 6."""

    def __init__(self, data):
        super().__init__(data, PRESENTATION)
        fields = Fields(cbor.decode(self.payload, MOST))
        self.audience = operator(fields.take(1))
        self.receipt = digest(fields.take(2))
        self.time = uint(fields.take(3))
        nonce = fields.find(4)
        self.nonce = None if nonce is ABSENT else binary(nonce, 16)
        fields.end()
        self.check_time(self.time)
