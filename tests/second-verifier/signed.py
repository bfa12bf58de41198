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
RFC9162_SHA256 = 1
RECORD, COMMITMENT, MANIFEST, PRESENTATION = "record", "commitment", "manifest", "presentation"


def thumbprint(key):
    """RFC 9679."""
    return hashlib.sha256(b"\xa3\x01\x01\x20\x06\x21\x58\x20" + key).digest()


def sign1(data, size, items, depth=cbor.DEPTH):
    """The four parts of a tagged COSE_Sign1, whatever they are."""
    envelope = cbor.decode(data, size, items, depth, tag=18)
    demand(type(envelope) is Tagged, "cose_structure")
    parts = envelope.content
    demand(type(parts) is list and len(parts) == 4, "cose_structure")
    return parts


def is_signature(part):
    return type(part) is bytes and len(part) == 64


def to_be_signed(protected, payload):
    """The `Sig_structure`, with empty external data."""
    parts = protected, b"", payload
    return b"\x84\x6aSignature1" + b"".join(cbor.byte_string(part) for part in parts)


class Labels:
    """A header or the claims in it, read in ascending order, each label once, until `end`."""

    def __init__(self, value):
        demand(type(value) is Map, "cose_header")
        self.pairs = iter(value.pairs)

    def take(self, label, of=None):
        """Its value, of that type; without one it is looked at later."""
        key, value = next(self.pairs, (None, None))
        demand(key == cbor.integer(label), "cose_header")
        demand(of in (None, type(value)), "cose_header")
        return value

    def take_kid(self):
        kid = self.take(4, bytes)
        demand(len(kid) == 32, "cose_header")
        return kid

    def take_vds(self):
        demand(self.take(395, int) == RFC9162_SHA256, "cose_header")

    def end(self):
        demand(next(self.pairs, None) is None, "cose_header")


class Header:
    """The protected header of a signed object. The batch header in it is not looked at, and None in
    other objects than commitments."""

    def __init__(self, value, kind, algorithms=(ALGORITHM,)):
        labels = Labels(value)
        demand(labels.take(1, int) in algorithms, "cose_algorithm")
        self.kid = labels.take_kid()
        claims = labels.take(15)
        typ = labels.take(16, str)
        demand(typ == f"application/counterfoil-{kind}+cose", "cose_type")
        self.batch = None
        if kind == COMMITMENT:
            labels.take_vds()
            self.batch = labels.take(-65537)
        labels.end()
        claims = Labels(claims)
        self.iss, subject, self.iat = claims.take(1, str), claims.take(2, str), claims.take(6, int)
        demand(self.iat >= 0, "cose_header")
        claims.end()
        demand(subject == kind, "cose_type")
        demand(is_operator(self.iss), "name_invalid")

    def check_time(self, milliseconds):
        demand(self.iat == milliseconds // 1000, "record_time_mismatch")


class Signed:
    """A COSE_Sign1 whose signature nobody has looked at yet."""

    def __init__(self, data, kind):
        self.bytes = data
        protected, unprotected, self.payload, self.signature = sign1(data, MOST, 16, 4)
        demand(type(protected) is bytes, "cose_structure")
        demand(type(unprotected) is Map and not unprotected.pairs, "cose_header")
        demand(type(self.payload) is bytes, "cose_structure")
        demand(is_signature(self.signature), "cose_structure")
        self.header = Header(cbor.decode(protected, MOST), kind)
        self.kid, self.iss = self.header.kid, self.header.iss
        self.message = to_be_signed(protected, self.payload)
        self.id = hashlib.sha256(self.message).digest()
        self.digest = hashlib.sha256(data).digest()

    def verify(self, key):
        check_signature(key, self.kid, self.signature, self.message)


def check_signature(key, kid, signature, message):
    demand(thumbprint(key) == kid, "key_unknown")
    ed25519.check(key, signature, message)


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
    """The batch header in the header of a commitment."""

    def __init__(self, header):
        fields = Fields(header.batch)
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
        header.check_time(self.sealed)

    @property
    def end(self):
        return self.first + self.count


class Commitment(Signed):
    def __init__(self, data):
        super().__init__(data, COMMITMENT)
        self.root = digest(self.payload)
        self.batch = Batch(self.header)


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
        self.header.check_time(self.time)
