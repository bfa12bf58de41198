"""Runs the test vectors: vectors.py [FOLDER]"""

import base64
import os
import sys

import merkle
from answers import Vectors

#: What is compared beside `success` or `failure`, where the vector has such a line.
COMPARED = (
    "code", "step", "id", "digest", "level", "not-before", "not-after", "keys-known-to",
    "time-within-bounds", "state", "records", "kind", "accused", "root", "receipts", "leaf", "refused-at", "steps",
)  # fmt: skip
#: Lines whose absence says that there is no such value.
MEANT = ("not-before", "not-after", "keys-known-to")


def expectations(vectors, case):
    """The lines of a vector. The one that names the leaf of a transparent statement becomes its
    hash."""
    lines = dict(case.lines)
    if "statement" in lines:
        lines["leaf"] = base64.b64encode(merkle.leaf(vectors.body(lines["statement"]))).decode()
    return lines


def differences(lines, answer):
    word, *pairs = answer.split(" ")
    found = dict(pair.split("=", 1) for pair in pairs)
    wrong = [] if word == lines["expect"] else [f"{word}, not {lines['expect']}"]
    for name in COMPARED:
        expected = lines.get(name)
        if name in lines or (name in MEANT and word == "success"):
            if found.get(name) != expected:
                wrong.append(f"{name} {found.get(name)}, not {expected}")
    return wrong


def main(folder=os.path.join(os.path.dirname(__file__), "..", "..", "test-vectors")):
    vectors, count, failed = Vectors(folder), 0, 0
    for name in vectors.names():
        case = vectors.case(name)
        count += 1
        wrong = differences(expectations(vectors, case), vectors.answer(case))
        if wrong:
            failed += 1
            print(f"{name}: {'; '.join(wrong)}")
    print(f"{count} vectors, {failed} not as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
