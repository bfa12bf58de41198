"""Reading JSON that every parser reads alike, and patterns: spec/7-contracts.md, section 2."""

import re

from failures import Failure, demand

DEEPEST = 127
SPACE = re.compile("[ \t\n\r]*")
NUMBER = re.compile("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
PLAIN = re.compile('[^"\\\\\x00-\x1f]*')
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
HEX = re.compile("[0-9a-fA-F]{4}")
LITERALS = {"true": True, "false": False, "null": None}
POINTER = re.compile("(/([^/~]|~[01])*)+")
INDEX = re.compile("0|[1-9][0-9]*")
#: Letters that some parsers take for ASCII ones.
FOLDED = {ord("\u017f"): "s", ord("\u212a"): "k"}
UNREADABLE = "contract_target_unreadable"


class Number:
    """A number, whatever its value: no pointer may lead to it."""


def is_pointer(value):
    return POINTER.fullmatch(value) is not None


def matches(pattern, value):
    """`*` stands for any run of characters, everything else for itself."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == value
    if not value.startswith(first):
        return False
    at, last = len(first), rest.pop()
    for piece in rest:
        found = value.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return value.endswith(last) and len(value) - len(last) >= at


def read(content):
    """The value of a JSON text."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Failure(UNREADABLE) from None
    value, end = item(text, skip(text, 0), 0)
    demand(skip(text, end) == len(text), UNREADABLE)
    return value


def skip(text, at):
    return SPACE.match(text, at).end()


def item(text, at, depth):
    first = text[at : at + 1]
    if first == '"':
        return string(text, at + 1)
    if first and first in "{[":
        demand(depth < DEEPEST, UNREADABLE)
        return (members if first == "{" else elements)(text, skip(text, at + 1), depth + 1)
    number = NUMBER.match(text, at)
    if number:
        return Number(), number.end()
    for word, value in LITERALS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    raise Failure(UNREADABLE)


def elements(text, at, depth):
    found = []
    if text.startswith("]", at):
        return found, at + 1
    while True:
        value, at = item(text, skip(text, at), depth)
        found.append(value)
        at = skip(text, at)
        if text.startswith("]", at):
            return found, at + 1
        demand(text.startswith(",", at), UNREADABLE)
        at += 1


def members(text, at, depth):
    found = {}
    if text.startswith("}", at):
        return found, at + 1
    while True:
        at = skip(text, at)
        demand(text.startswith('"', at), UNREADABLE)
        key, at = string(text, at + 1)
        demand(key not in found, UNREADABLE)
        at = skip(text, at)
        demand(text.startswith(":", at), UNREADABLE)
        found[key], at = item(text, skip(text, at + 1), depth)
        at = skip(text, at)
        if text.startswith("}", at):
            return found, at + 1
        demand(text.startswith(",", at), UNREADABLE)
        at += 1


def string(text, at):
    pieces = []
    while True:
        plain = PLAIN.match(text, at)
        pieces.append(plain.group())
        at = plain.end()
        if text.startswith('"', at):
            return "".join(pieces), at + 1
        demand(text.startswith("\\", at), UNREADABLE)
        escape = text[at + 1 : at + 2]
        at += 2
        if escape == "u":
            unit, at = four(text, at)
            if 0xD800 <= unit < 0xE000:
                demand(unit < 0xDC00 and text.startswith("\\u", at), UNREADABLE)
                low, at = four(text, at + 2)
                demand(0xDC00 <= low < 0xE000, UNREADABLE)
                unit = 0x10000 + (unit - 0xD800 << 10) + (low - 0xDC00)
            pieces.append(chr(unit))
        else:
            demand(escape in ESCAPES, UNREADABLE)
            pieces.append(ESCAPES[escape])


def four(text, at):
    digits = HEX.match(text, at)
    demand(digits, UNREADABLE)
    return int(digits.group(), 16), at + 4


def fold(name):
    return "".join(
        chr(ord(it) + 32) if "A" <= it <= "Z" else it for it in name.translate(FOLDED)
    )


def lead(value, pointer):
    """The text that a pointer leads to."""
    for step in pointer[1:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if type(value) is dict:
            alike = [name for name in value if fold(name) == fold(step)]
            demand(alike == [step], UNREADABLE)
            value = value[step]
        else:
            demand(type(value) is list and INDEX.fullmatch(step), UNREADABLE)
            demand(len(step) < 20 and int(step) < len(value), UNREADABLE)
            value = value[int(step)]
    demand(type(value) is str, UNREADABLE)
    return value
