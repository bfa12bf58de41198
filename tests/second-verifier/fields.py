"""Closed maps and the types of their values: spec/1-records.md, sections 1 and 4."""

import re

import cbor
from failures import Failure, demand

ABSENT = object()
LARGEST = (1 << 64) - 1

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
LABEL = re.compile("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IDENTIFIER = re.compile("[a-z0-9_]{1,64}")
UNIT = re.compile("[A-Z0-9_]{1,32}")
PRINTABLE = re.compile("[!-~]+")


class Fields:
    """A map whose fields are read in ascending order, each once, until `end`."""

    ENCODED = {}

    def __init__(self, value):
        demand(type(value) is cbor.Map, "structure_wrong_type")
        self.pairs = value.pairs
        self.at = 0

    def find(self, key):
        """The value of a field that may be absent."""
        encoded = self.ENCODED.get(key)
        if encoded is None:
            encoded = self.ENCODED[key] = cbor.integer(key)
        if self.at < len(self.pairs):
            found, value = self.pairs[self.at]
            if found == encoded:
                self.at += 1
                return value
            if found < encoded:
                raise Failure("structure_unknown_field")
        return ABSENT

    def take(self, key):
        value = self.find(key)
        demand(value is not ABSENT, "structure_missing_field")
        return value

    def end(self):
        demand(self.at == len(self.pairs), "structure_unknown_field")


def uint(value):
    demand(type(value) is int and value >= 0, "structure_wrong_type")
    return value


def within(value, low, high):
    demand(low <= uint(value) <= high, "structure_out_of_range")
    return value


def text(value):
    demand(type(value) is str, "structure_wrong_type")
    return value


def binary(value, size=None):
    demand(type(value) is bytes and size in (None, len(value)), "structure_wrong_type")
    return value


def digest(value):
    return binary(value, 32)


def digest_or_null(value):
    return None if value is None else digest(value)


def binary_or_null(value):
    return None if value is None else binary(value)


def array(value, low, high):
    """An array of so many elements."""
    demand(type(value) is list, "structure_wrong_type")
    demand(low <= len(value) <= high, "structure_out_of_range")
    return value


def row(value, size):
    """An array that always has so many elements."""
    demand(type(value) is list and len(value) == size, "structure_wrong_type")
    return value


def ascending(values):
    demand(all(a < b for a, b in zip(values, values[1:])), "structure_out_of_range")
    return values


def named(value, holds):
    demand(holds(text(value)), "name_invalid")
    return value


def plain(most):
    """Text of 1 to so many bytes without control characters."""

    def read(value):
        return named(value, lambda it: 1 <= len(it.encode()) <= most and not CONTROL.search(it))

    return read


def is_operator(name):
    return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))


def operator(value):
    return named(value, is_operator)


def identifier(value):
    return named(value, IDENTIFIER.fullmatch)


def unit(value):
    return named(value, UNIT.fullmatch)


def printable(most):
    return lambda value: named(value, lambda it: len(it) <= most and PRINTABLE.fullmatch(it))


name, verb, tool, scope = plain(256), plain(128), plain(1024), plain(1100)
