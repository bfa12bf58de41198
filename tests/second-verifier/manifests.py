"""Manifests and the keys that they list: spec/5-manifests.md."""

import re

import cbor
import ed25519
from failures import demand, remembered
from fields import ABSENT, Fields, array, ascending, digest, digest_or_null, text, uint, within
from signed import LARGEST, MANIFEST, MOST, Signed, thumbprint

ADDRESS = re.compile("https?://[!-~]*")


class Manifest(Signed):
    def __init__(self, data):
        super().__init__(data, MANIFEST)
        fields = Fields(cbor.decode(self.payload, MOST))
        self.version = within(fields.take(1), 1, LARGEST)
        self.previous = digest_or_null(fields.take(2))
        self.time = uint(fields.take(3))
        self.roots = self.keys(fields.take(4), 1)
        self.enforcers = {thumbprint(key): key for key in self.keys(fields.take(5), 0)}
        exchange = fields.find(6)
        if exchange is not ABSENT:
            fits = ADDRESS.fullmatch(text(exchange)) and len(exchange) <= 2048
            demand(fits, "structure_out_of_range")
        self.revoked = ascending([digest(it) for it in array(fields.take(7), 0, 256)])
        fields.end()
        demand((self.version == 1) == (self.previous is None), "manifest_chain_broken")
        self.header.check_time(self.time)

    @staticmethod
    def keys(value, least):
        keys = []
        for key in array(value, least, 256):
            ed25519.check_key(digest(key))
            keys.append(key)
        return ascending(keys)

    def signed_by_one_of(self, keys):
        for key in keys:
            if thumbprint(key) == self.kid:
                return self.verify(key)
        return demand(False, "manifest_chain_broken")

    def verify_first(self, trusted):
        """`trusted`: the root keys of the operator in the trust file."""
        demand(self.version == 1, "manifest_chain_broken")
        self.signed_by_one_of([key for key in self.roots if key in trusted])

    def verify_after(self, before):
        follows = (
            self.iss == before.iss
            and self.version == before.version + 1
            and self.previous == before.digest
            and set(before.revoked) <= set(self.revoked)
        )
        demand(follows, "manifest_chain_broken")
        able = [key for key in before.roots if thumbprint(key) not in before.revoked]
        self.signed_by_one_of(able)


parse_manifest = remembered(20_000)(Manifest)


def verify_chain(chain, operator, trust):
    """spec/4-verification.md, section 2, step 3: pairs of manifest and log proof."""
    trusted = trust.operators.get(operator)
    demand(trusted, "operator_unknown")
    demand(chain, "manifest_chain_broken")
    manifests = [parse_manifest(data) for data, _ in chain]
    for manifest in manifests:
        demand(manifest.iss == operator, "manifest_chain_broken")
    manifests[0].verify_first(trusted)
    for before, manifest in zip(manifests, manifests[1:]):
        manifest.verify_after(before)
    return manifests
