"""Answers cases that come one after the other: serve.py FOLDER

A case is a file of the form of the test vectors. Cases and answers begin with their length in four
bytes, most significant first. It ends when its input ends.
"""

import sys

from answers import Case, Vectors


def main(folder):
    vectors = Vectors(folder)
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    while length := incoming.read(4):
        case = Case(incoming.read(int.from_bytes(length, "big")))
        try:
            answer = vectors.answer(case).encode()
        except Exception as error:  # Whoever asked shows the case.
            answer = f"crash {error!r}".encode()
        outgoing.write(len(answer).to_bytes(4, "big") + answer)
        outgoing.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
