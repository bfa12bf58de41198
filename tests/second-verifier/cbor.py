"""Deterministic CBOR: spec/1-records.md, section 1. Checked and decoded in one pass over the bytes.

Integers, byte strings, text, false, true and null are what Python has for them; an array is a
list, a map a `Map`, a tagged item a `Tagged`.
"""

from failures import Failure, demand

ITEMS, DEPTH = 8192, 8
RESERVED = (28, 29, 30)


class Map:
    """A map: the pairs of encoded key and value, in their order."""

    def __init__(self, pairs):
        self.pairs = pairs


class Tagged:
    def __init__(self, number, content):
        self.number = number
        self.content = content


def decode(data, size, items=ITEMS, depth=DEPTH, tag=None):
    """The one item that `data` is. `tag` is the only tag allowed."""
    demand(len(data) <= size, "cbor_too_large")
    value, end = decode_at(data, 0, items, depth, tag, None)
    demand(end == len(data), "cbor_trailing_bytes")
    return value


def decode_at(data, start, most_items, most_depth, tag, size):
    """The item that begins at `start`, and where it ends. No string reaches past `size` bytes."""
    whole, count = len(data), 0

    def item(at, depth):
        nonlocal count
        if depth > most_depth:
            raise Failure("cbor_too_deep")
        count += 1
        if count > most_items:
            raise Failure("cbor_too_large")
        if at >= whole:
            raise Failure("cbor_truncated")
        first = data[at]
        at += 1
        major, info = first >> 5, first & 31
        if major == 7:
            return simple(info, at)
        if info < 24:
            value = info
        elif info < 28:
            width = 1 << info - 24
            if at + width > whole:
                raise Failure("cbor_truncated")
            value = int.from_bytes(data[at : at + width], "big")
            if value < 24 if width == 1 else value >> 4 * width == 0:
                raise Failure("cbor_not_shortest")
            at += width
        elif info in RESERVED:
            raise Failure("cbor_simple_value")
        else:
            raise Failure("cbor_indefinite_length")

        if major == 0:
            return value, at
        if major == 1:
            return -1 - value, at
        if major in (2, 3):
            end = at + value
            if size is not None and end - start > size:
                raise Failure("cbor_too_large")
            if end > whole:
                raise Failure("cbor_truncated")
            content = data[at:end]
            if major == 3:
                try:
                    content = content.decode("utf-8")
                except UnicodeDecodeError:
                    raise Failure("cbor_invalid_text") from None
            return content, end
        if major == 4:
            content = []
            for _ in range(value):
                element, at = item(at, depth + 1)
                content.append(element)
            return content, at
        if major == 5:
            return pairs(value, at, depth)
        if value != tag:
            raise Failure("cbor_tag")
        content, at = item(at, depth + 1)
        return Tagged(value, content), at

    def pairs(length, at, depth):
        content, before = [], b""
        for _ in range(length):
            begin = at
            _, at = item(at, depth + 1)
            key = data[begin:at]
            if key <= before:
                raise Failure("cbor_duplicate_key" if key == before else "cbor_unsorted_keys")
            before = key
            value, at = item(at, depth + 1)
            content.append((key, value))
        return Map(content), at

    def simple(info, at):
        if info in (20, 21, 22):
            return (False, True, None)[info - 20], at
        if info in (25, 26, 27):
            raise Failure("cbor_float")
        if info == 31:
            raise Failure("cbor_indefinite_length")
        raise Failure("cbor_simple_value")

    return item(start, 1)


def head(major, argument):
    """The first bytes of an item."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * width:
            return bytes([major << 5 | info]) + argument.to_bytes(width, "big")
    raise ValueError(argument)


def byte_string(content):
    return head(2, len(content)) + content


def integer(value):
    return head(0, value) if value >= 0 else head(1, -1 - value)
