"""Notes, checkpoints, proofs and policies of C2SP, and the trust file: spec/3-receipts.md."""

import base64
import binascii
import hashlib
import re

import ed25519
import merkle
from failures import Failure, demand, remembered
from fields import LARGEST, is_operator

DECIMAL = re.compile(rb"0|[1-9][0-9]*")
TILE = re.compile(
    rb"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)
DASH = "\u2014 ".encode()
LOG, WITNESS = 1, 4
TRUST_SIZE, NOTE_SIZE, SIGNATURES, PATH = 1 << 20, 1 << 20, 100, 63
LATEST = (1 << 63) - 1


def number(line, code):
    demand(DECIMAL.fullmatch(line) and len(line) <= 20 and int(line) <= LARGEST, code)
    return int(line)


def decode64(line, code):
    """Standard base64, padded, in its one spelling."""
    try:
        content = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise Failure(code) from None
    demand(base64.b64encode(content) == line, code)
    return content


def is_key_name(name):
    fits = 0 < len(name.encode()) <= 255 and "+" not in name
    return fits and not any(letter.isspace() or letter < " " for letter in name)


class Vkey:
    """<name>+<id>+<base64 of type and key>"""

    def __init__(self, word, kind):
        parts = word.split(b"+", 2)
        demand(len(parts) == 3 and re.fullmatch(b"[0-9a-f]{8}", parts[1]), "trust_malformed")
        try:
            self.name = parts[0].decode("utf-8")
        except UnicodeDecodeError:
            raise Failure("trust_malformed") from None
        demand(is_key_name(self.name), "trust_malformed")
        material = decode64(parts[2], "trust_malformed")
        demand(len(material) == 33 and material[0] == kind, "trust_malformed")
        self.id = hashlib.sha256(parts[0] + b"\n" + material).digest()[:4]
        demand(self.id == bytes.fromhex(parts[1].decode()), "trust_malformed")
        self.key = material[1:]
        try:
            ed25519.check_key(self.key)
        except Failure:
            raise Failure("trust_malformed") from None


class Trust:
    """A quorum is a witness's number, a pair of threshold and members, or None."""

    def __init__(self, data):
        demand(len(data) <= TRUST_SIZE, "trust_malformed")
        self.logs, self.witnesses, self.operators = [], [], {}
        self.names, self.used, self.asked = {}, set(), False
        self.quorum = None
        demand(data.endswith(b"\n"), "trust_malformed")
        for line in data[:-1].split(b"\n"):
            demand(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line), "trust_malformed")
            words = re.findall(rb"[^ \t]+", line)
            if words and not words[0].startswith(b"#"):
                self.read(words)
        demand(self.asked, "trust_malformed")

    def read(self, words):
        keyword, count = words[0], len(words)
        if keyword == b"log" and count in (2, 3):
            vkey = Vkey(words[1], LOG)
            demand(vkey.key not in [log.key for log in self.logs], "trust_malformed")
            self.logs.append(vkey)
        elif keyword == b"witness" and count in (3, 4):
            vkey = Vkey(words[2], WITNESS)
            demand(vkey.key not in [it.key for it in self.witnesses], "trust_malformed")
            self.define(words[1], len(self.witnesses))
            self.witnesses.append(vkey)
        elif keyword == b"group" and count >= 4:
            members = words[3:]
            most = len(members)
            threshold = {b"all": most, b"any": 1}.get(words[2])
            if threshold is None:
                threshold = number(words[2], "trust_malformed")
            demand(1 <= threshold <= most, "trust_malformed")
            for member in members:
                demand(member in self.names and member not in self.used, "trust_malformed")
                self.used.add(member)
            self.define(words[1], (threshold, [self.names[member] for member in members]))
        elif keyword == b"quorum" and count == 2:
            demand(not self.asked, "trust_malformed")
            demand(words[1] == b"none" or words[1] in self.names, "trust_malformed")
            self.asked, self.quorum = True, self.names.get(words[1])
        elif keyword == b"operator" and count == 2:
            vkey = Vkey(words[1], LOG)
            demand(is_operator(vkey.name), "trust_malformed")
            keys = self.operators.setdefault(vkey.name, [])
            demand(vkey.key not in keys, "trust_malformed")
            keys.append(vkey.key)
        else:
            raise Failure("trust_malformed")

    def define(self, name, what):
        demand(name != b"none" and name not in self.names, "trust_malformed")
        self.names[name] = what

    def time(self, times, latest):
        """When the quorum was met, counted from the earliest cosignature on; with `latest` from the
        latest one back. None if it is not met, or nobody is asked."""

        def when(of):
            if type(of) is int:
                return (max if latest else min)(times[of]) if of in times else None
            threshold, members = of
            found = [at for at in map(when, members) if at is not None]
            found.sort(reverse=latest)
            return found[threshold - 1] if len(found) >= threshold else None

        return None if self.quorum is None else when(self.quorum)


parse_trust = remembered(1_000)(Trust)


class Note:
    def __init__(self, data):
        demand(len(data) <= NOTE_SIZE, "note_too_large")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Failure("note_not_utf8") from None
        demand(not re.search("[\0-\x09\x0b-\x1f]", whole), "note_control_character")
        text, separator, lines = data.rpartition(b"\n\n")
        demand(separator, "note_no_separator")
        demand(lines, "note_no_signatures")
        self.text, self.signatures = text + b"\n", []
        for line in lines.splitlines(keepends=True):
            demand(len(self.signatures) < SIGNATURES, "note_too_many_signatures")
            demand(line.endswith(b"\n"), "note_malformed_signature")
            self.signatures.append(self.signature(line[:-1]))

    @staticmethod
    def signature(line):
        demand(line.startswith(DASH), "note_malformed_signature")
        words = line[len(DASH) :].split(b" ")
        demand(len(words) == 2, "note_malformed_signature")
        name = words[0].decode("utf-8")
        demand(is_key_name(name), "note_malformed_signature")
        content = decode64(words[1], "note_malformed_signature")
        demand(len(content) > 4, "note_malformed_signature")
        return name, content[:4], content[4:]

    def by_log(self, signature, key):
        return ed25519.holds(key, signature, self.text)

    def by_witness(self, signature, key):
        """The time of a cosignature, or None if it does not verify."""
        time = int.from_bytes(signature[:8], "big")
        message = b"cosignature/v1\ntime %d\n" % time + self.text
        return time if 0 < time <= LATEST and ed25519.holds(key, signature[8:], message) else None


class Checkpoint:
    def __init__(self, text):
        lines = text.split(b"\n")
        demand(len(lines) >= 4 and not lines.pop(), "checkpoint_lines")
        try:
            self.origin = lines[0].decode("utf-8")
        except UnicodeDecodeError:
            raise Failure("checkpoint_origin") from None
        demand(is_key_name(self.origin), "checkpoint_origin")
        self.size = number(lines[1], "checkpoint_size")
        self.root = decode64(lines[2], "checkpoint_root")
        demand(len(self.root) == 32, "checkpoint_root")
        plain = all(line and not re.search(rb"[\x00-\x1f]", line) for line in lines[3:])
        demand(plain, "checkpoint_extension")


class Proof:
    """A tlog-proof: its form, not what it proves."""

    def __init__(self, data):
        top, separator, self.note = data.partition(b"\n\n")
        lines = top.split(b"\n")
        demand(separator and is_text(top), "tlog_proof_form")
        demand(lines[0] == b"c2sp.org/tlog-proof@v1", "tlog_proof_header")
        self.extra = len(lines) > 1 and lines[1].startswith(b"extra ")
        if self.extra:
            demand(decode64(lines[1][6:], "tlog_proof_extra"), "tlog_proof_extra")
        line, *path = lines[1 + self.extra :] or [b""]
        demand(line.startswith(b"index "), "tlog_proof_index")
        self.index = number(line[6:], "tlog_proof_index")
        self.path = hashes(path, "tlog_proof_path_hash", "tlog_proof_path_too_long")


def is_text(content):
    try:
        return content.decode("utf-8") is not None
    except UnicodeDecodeError:
        return False


def hashes(lines, malformed, too_long):
    found = []
    for line in lines:
        demand(len(found) < PATH, too_long)
        found.append(decode64(line, malformed))
        demand(len(found[-1]) == 32, malformed)
    return found


class Seen:
    """A checkpoint that verified: spec/4-verification.md, section 2, step 9 without the path."""

    def __init__(self, data, trust):
        try:
            self.note = Note(data)
            self.checkpoint = Checkpoint(self.note.text)
        except Failure:
            raise Failure("log_proof_malformed") from None
        self.origin = self.checkpoint.origin
        keys = {log.id: log.key for log in trust.logs if log.name == self.origin}
        demand(keys, "log_unknown")
        witnesses = {(it.name, it.id): at for at, it in enumerate(trust.witnesses)}
        self.signed_by, self.times = set(), {}
        for name, id, signature in self.note.signatures:
            if name == self.origin and id in keys:
                demand(self.note.by_log(signature, keys[id]), "checkpoint_signature_invalid")
                self.signed_by.add(id)
            witness = witnesses.get((name, id))
            if witness is not None:
                time = self.note.by_witness(signature, trust.witnesses[witness].key)
                demand(time is not None, "cosignature_invalid")
                self.times.setdefault(witness, []).append(time)
        demand(self.signed_by, "checkpoint_signature_invalid")
        self.not_after = trust.time(self.times, latest=False)
        self.not_before = trust.time(self.times, latest=True)
        self.quorum_met = self.not_after is not None


@remembered(5_000)
def checkpoint_seen(data, trust):
    return Seen(data, trust)


class Logged:
    """An entry that a log proof shows: step 9."""

    def __init__(self, data, entry, trust):
        try:
            proof = Proof(data)
        except Failure:
            raise Failure("log_proof_malformed") from None
        demand(not proof.extra, "log_proof_malformed")
        self.seen = checkpoint_seen(proof.note, trust)
        self.index, self.origin = proof.index, self.seen.origin
        self.quorum_met = self.seen.quorum_met
        self.leaf = merkle.leaf(entry)
        size = self.seen.checkpoint.size
        demand(self.index < size, "log_path_invalid")
        root = merkle.root_of(self.leaf, self.index, size, proof.path)
        demand(root == self.seen.checkpoint.root, "log_path_invalid")


@remembered(5_000)
def logged(data, entry, trust):
    return Logged(data, entry, trust)
