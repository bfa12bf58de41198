"""Verifies a file: verify.py FILE TRUST [LEVEL]

The kind of file is told by its name: .receipt, .contract, .evidence, .fault; anything else is taken
for a receipt. Prints what was found as JSON; exits with 1 if it is not verified.
"""

import json
import sys

import bundles
import contracts
import faults
import receipts
from transparency import parse_trust


def main(path, trust, level="witnessed"):
    with open(path, "rb") as file:
        data = file.read()
    with open(trust, "rb") as file:
        trust = parse_trust(file.read())
    levels = {name: number for number, name in receipts.LEVELS.items()}
    found = read(path, data, trust, levels[level])
    print(json.dumps(found))
    return 1 if found["failure"] else 0


def read(path, data, trust, level):
    if path.endswith(".contract"):
        contract = contracts.verify(data, trust, level)
        state = None if contract.failure else contract.state
        return {"failure": contract.failure, "step": contract.step, "state": state}
    if path.endswith(".evidence"):
        bundle = bundles.verify(data, trust, level)
        return {"failure": bundle.failure, "records": bundle.records}
    if path.endswith(".fault"):
        proof = faults.verify(data, trust)
        known = proof.keys_known_to
        return {"failure": proof.failure, "step": proof.step, "keys_known_to": known}
    report = receipts.verify(data, trust, level)
    found = {"failure": report.failure, "step": report.step}
    if not report.failure:
        found |= {
            "operator": report.record.iss,
            "sequence": report.record.sequence,
            "level": receipts.LEVELS[report.level],
            "not_before": report.not_before,
            "not_after": report.not_after,
            "keys_known_to": report.keys_known_to,
        }
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
