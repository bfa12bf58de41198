"""Strict Ed25519: spec/5-manifests.md, section 2, and spec/1-records.md, section 2.

The equation is left to `cryptography`, which computes R again and compares its encoding, so
without a cofactor. What it is lax about is checked here.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from failures import Failure, demand, remembered

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def decompress(encoded):
    """The point of a canonical encoding, in extended coordinates, or None."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    if v * x * x % P == P - u and u:
        x = x * ROOT_OF_MINUS_ONE % P
    if v * x * x % P != u:
        return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * D * a[3] * b[3] % P
    h = 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(point, factor):
    result = (0, 1, 1, 0)
    for bit in bin(factor)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def is_identity(point):
    return point[0] == 0 and point[1] == point[2]


@remembered(10_000)
def check_key(key):
    """A canonical encoding, not of small order, in the subgroup of prime order."""
    point = decompress(key)
    demand(point is not None, "key_invalid")
    demand(not is_identity(multiply(point, 8)), "key_invalid")
    demand(is_identity(multiply(point, L)), "key_invalid")
    return Ed25519PublicKey.from_public_bytes(key)


def small_order():
    """The canonical encodings of the eight points of small order."""
    found, y = {(0, 1): None}, 2
    while len(found) < 8:
        point = decompress(y.to_bytes(32, "little"))
        if point is not None:
            torsion = multiply(point, L)
            for times in range(8):
                x, now, z, _ = multiply(torsion, times)
                found[x * pow(z, -1, P) % P, now * pow(z, -1, P) % P] = None
        y += 1
    return {(y | (x & 1) << 255).to_bytes(32, "little") for x, y in found}


SMALL_ORDER = small_order()


@remembered(50_000)
def holds(key, signature, message):
    """Whether a signature by a key that was checked verifies."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= L:
        return False
    if signature[:32] in SMALL_ORDER:
        return False
    try:
        check_key(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def check(key, signature, message):
    if not holds(key, signature, message):
        raise Failure("signature_invalid")
