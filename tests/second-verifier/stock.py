"""COSE receipts and transparent statements: spec/13-stock-receipts.md."""

import cbor
import merkle
from cbor import Map
from failures import demand
from fields import array, binary, digest, row, uint
from manifests import parse_manifest
from receipts import parse_commitment
from records import parse_record
from signed import (
    ALGORITHM,
    COMMITMENT,
    MANIFEST,
    MOST,
    Batch,
    Header,
    Labels,
    check_signature,
    is_signature,
    sign1,
    to_be_signed,
)
from transparency import PATH, is_key_name

SIZE, ITEMS = 16_384, 32
RECEIPTS, PROOFS, INCLUSION, TREE_SIZE = 394, 396, -1, -65538
ALGORITHMS = (ALGORITHM, -8)
OF_A_LOG = "application/scitt-receipt+cose"
LOGGED = {COMMITMENT: parse_commitment, MANIFEST: parse_manifest}


class Inclusion:
    """The one inclusion proof in the unprotected header of a COSE receipt."""

    def __init__(self, unprotected):
        labels = Labels(unprotected)
        proofs = labels.take(PROOFS)
        labels.end()
        proofs = Labels(proofs)
        inclusions = proofs.take(INCLUSION)
        proofs.end()
        (proof,) = array(inclusions, 1, 1)
        size, index, path = row(cbor.decode(binary(proof), SIZE), 3)
        self.size, self.index = uint(size), uint(index)
        self.path = [digest(it) for it in array(path, 0, PATH)]

    def root(self, leaf, code):
        demand(self.index < self.size, code)
        root = merkle.root_of(leaf, self.index, self.size, self.path)
        demand(root is not None, code)
        return root


class CoseReceipt:
    """A COSE receipt for a statement: section 6, all steps but the last."""

    def __init__(self, data, statement):
        protected, unprotected, payload, self.signature = sign1(data, SIZE, ITEMS)
        demand(type(protected) is bytes and payload is None, "cose_structure")
        demand(is_signature(self.signature), "cose_structure")
        self.inclusion = Inclusion(unprotected)
        header = cbor.decode(protected, SIZE)
        check_algorithm(header)
        if label(header, 16) == OF_A_LOG:
            self.read_log(header, statement)
        else:
            self.read_operator(header, statement)
        self.message = to_be_signed(protected, self.root)

    def read_log(self, header, statement):
        labels = Labels(header)
        labels.take(1)
        self.kid = labels.take_kid()
        claims = labels.take(15)
        labels.take(16)
        labels.take_vds()
        size = labels.take(TREE_SIZE, int)
        demand(size >= 0, "cose_header")
        labels.end()
        claims = Labels(claims)
        origin, subject = claims.take(1, str), claims.take(2, str)
        claims.end()
        demand(subject in LOGGED, "cose_type")
        demand(is_key_name(origin), "name_invalid")
        LOGGED[subject](statement)
        demand(self.inclusion.size == size, "log_path_invalid")
        self.root = self.inclusion.root(merkle.leaf(statement), "log_path_invalid")

    def read_operator(self, header, statement):
        header = Header(header, COMMITMENT, ALGORITHMS)
        self.kid = header.kid
        record = parse_record(statement)
        same = record.kid == header.kid and record.iss == header.iss
        demand(same, "commitment_stream_mismatch")
        self.root = self.inclusion.root(merkle.leaf(statement), "batch_path_invalid")
        batch = Batch(header)
        place = batch.count, record.sequence - batch.first
        covered = batch.first <= record.sequence < batch.end
        fits = covered and (self.inclusion.size, self.inclusion.index) == place
        demand(fits, "commitment_range_mismatch")

    def verify(self, key):
        check_signature(key, self.kid, self.signature, self.message)


def label(header, number):
    """The value of a label, or None."""
    pairs = header.pairs if type(header) is Map else []
    return dict(pairs).get(cbor.integer(number))


def check_algorithm(header):
    algorithm = label(header, 1)
    demand(type(algorithm) is int, "cose_header")
    demand(algorithm in ALGORITHMS, "cose_algorithm")


class TransparentStatement:
    """Section 5: the statement as it stands in trees, and its receipts. None of it is verified."""

    def __init__(self, data):
        size = MOST + 16 * SIZE
        protected, unprotected, payload, signature = sign1(data, size, 64)
        attached = type(protected) is bytes and type(payload) is bytes
        demand(attached and is_signature(signature), "cose_structure")
        labels = Labels(unprotected)
        receipts = labels.take(RECEIPTS)
        labels.end()
        self.receipts = [binary(it) for it in array(receipts, 1, 16)]
        self.statement = (
            b"\xd2\x84"
            + cbor.byte_string(protected)
            + b"\xa0"
            + cbor.byte_string(payload)
            + cbor.byte_string(signature)
        )
