#!/usr/bin/env python3
"""Checks an audit log's directory, written from the record format's description alone (docs/records.md).

Usage: verify.py DIR... Prints one JSON object a line for each: {"ok": true, "records": N, "last_hash": "…"} or
{"ok": false, "first_bad_seq": N, "why": "…"}; exit 1 if one is not ok. Checkpoints are checked with the first key that
a log names (Ed25519 only). Standard library only.
"""

import base64
import hashlib
import json
import os
import re
import sys

sys.dont_write_bytecode = True
import ed25519

ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")
REACH = 1 << 17
STATEMENT = re.compile(rb'"(checkpoint|signing_key)":\{"statement":(?=\{)')
LINE = re.compile(
    rb'\{"log":"([a-z0-9-]{1,64})","epoch":([1-9][0-9]*),"seq":([1-9][0-9]*),'
    rb'"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})","event":(\{.*\})\}\n',
    re.DOTALL,
)


class Bad(Exception):
    pass


def parse(line):
    match = LINE.fullmatch(line)
    if not match:
        raise Bad("not in the line format")
    log, epoch, seq, prev, digest, event = match.groups()
    epoch, seq = int(epoch), int(seq)
    if max(epoch, seq) >= 1 << 64:
        raise Bad("a number is too large")
    try:
        if not isinstance(json.loads(event.decode("utf-8", "strict"), parse_constant=refuse), dict):
            raise Bad("the event is not an object")
    except ValueError as error:
        raise Bad(f"the event is not JSON: {error}")
    return log, epoch, seq, bytes.fromhex(prev.decode()), bytes.fromhex(digest.decode()), event


def refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def record_hash(log, epoch, seq, prev, event):
    return hashlib.sha256(b"weir-record-v1\n" + log + b"\n%d\n%d\n" % (epoch, seq) + prev + event).digest()


class Statements:
    """What the signed statements of one log say so far."""

    def __init__(self):
        self.keys, self.in_force, self.previous, self.hashes = {}, None, {"seq": 0, "hash": "0" * 64}, {}

    def see(self, log, epoch, seq, digest, event):
        self.hashes[seq] = digest.hex()
        self.hashes.pop(seq - REACH - 1, None)
        match = STATEMENT.search(event)
        if not match or json.loads(event).get("class_uid") != 6002:
            return
        kind, rest = match[1], event[match.end() :].decode()
        stated, end = json.JSONDecoder().raw_decode(rest)
        text, signature = rest[:end].encode(), json.loads(event)[kind.decode()].get("signature")
        if (stated["log"].encode(), stated["epoch"]) != (log, epoch):
            raise Bad("a statement of another log or epoch")
        spki = base64.b64decode(stated["key"], validate=True)
        key_id, raw = hashlib.sha256(spki).hexdigest(), spki.removeprefix(ED25519_PREFIX)
        if kind == b"checkpoint":
            self.checkpoint(seq, stated, text, signature, key_id, raw)
        else:
            self.change(stated, text, signature, key_id, raw)

    def signed(self, domain, text, signature):
        key = self.keys.get(signature["key_id"])
        message = domain + b"\n" + hashlib.sha256(text).digest()
        return key is not None and ed25519.verifies(key, message, base64.b64decode(signature["value"], validate=True))

    def checkpoint(self, seq, stated, text, signature, key_id, raw):
        if not self.keys:
            self.keys[key_id] = raw
        if self.in_force is None:
            self.in_force = key_id
        if not signature or signature["key_id"] != key_id or not self.signed(b"weir-checkpoint-v1", text, signature):
            raise Bad("the signature is missing or wrong")
        if key_id != self.in_force:
            raise Bad("signed by a key that was replaced")
        if stated["previous"] != self.previous:
            raise Bad("does not follow the checkpoint before it")
        self.previous = {"seq": seq, "hash": hashlib.sha256(text).hexdigest()}
        head = stated["head"]
        if not seq - REACH <= head["seq"] < seq:
            raise Bad("states a head out of reach")
        if self.hashes.get(head["seq"], head["hash"]) != head["hash"]:
            raise Bad("rewritten under a checkpoint", head["seq"])

    def change(self, stated, text, signature, key_id, raw):
        vouched = signature and signature["key_id"] == stated.get("replaces") == (self.in_force or stated.get("replaces"))
        if vouched and self.signed(b"weir-key-v1", text, signature):
            self.keys[key_id] = raw
        elif not self.keys and "replaces" not in stated:
            self.keys[key_id] = raw
        else:
            raise Bad("a key that the one before it did not sign")
        self.in_force = key_id


def lines(directory):
    names = sorted(name for name in os.listdir(directory) if re.fullmatch(r"segment-[0-9]{20}\.ndjson", name))
    for name in names:
        with open(os.path.join(directory, name), "rb") as segment:
            for number, line in enumerate(segment):
                yield int(name[8:28]) if number == 0 else None, line


def verify(directory):
    with open(os.path.join(directory, "head"), "rb") as file:
        head = json.loads(file.read())
    log, seq, epoch, prev, statements = head["log"].encode(), 0, 0, bytes(32), Statements()
    for named, line in lines(directory):
        if not line.endswith(b"\n") and seq >= head["seq"]:
            break  # torn after the last record that the head promises
        try:
            found_log, found_epoch, found_seq, found_prev, digest, event = parse(line)
            if record_hash(found_log, found_epoch, found_seq, found_prev, event) != digest:
                raise Bad("altered")
            if found_log != log:
                raise Bad("of another log")
            if found_seq != seq + 1:
                raise Bad(f"removed or moved: {found_seq} stands in its place")
            if found_epoch - epoch not in ((0, 1) if seq else (1,)):
                raise Bad(f"epoch {found_epoch} after {epoch}")
            if found_prev != prev:
                raise Bad("not linked")
            if named not in (None, found_seq):
                raise Bad(f"in the segment of {named}")
            if found_seq == head["seq"] and digest.hex() != head["hash"]:
                raise Bad("not what the head states")
            statements.see(log, found_epoch, found_seq, digest, event)
        except Bad as bad:
            why, *which = bad.args
            return {"ok": False, "first_bad_seq": which[0] if which else seq + 1, "why": why}
        seq, epoch, prev = found_seq, found_epoch, digest
    if seq < head["seq"]:
        return {"ok": False, "first_bad_seq": seq + 1, "why": "cut off"}
    return {"ok": True, "records": seq, "last_hash": prev.hex()}


if __name__ == "__main__":
    results = [verify(directory) for directory in sys.argv[1:]]
    for result in results:
        print(json.dumps(result))
    sys.exit(0 if all(result["ok"] for result in results) else 1)
