#!/usr/bin/env python3
"""Checks an audit log's directory, written from the record format's description alone (docs/records.md).

Usage: verify.py DIR... Prints one JSON object a line for each: {"ok": true, "records": N, "last_hash": "…"} or
{"ok": false, "first_bad_seq": N, "why": "…"}; exit 1 if one is not ok. Standard library only.
"""

import hashlib
import json
import os
import re
import sys

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


def lines(directory):
    names = sorted(name for name in os.listdir(directory) if re.fullmatch(r"segment-[0-9]{20}\.ndjson", name))
    for name in names:
        with open(os.path.join(directory, name), "rb") as segment:
            for number, line in enumerate(segment):
                yield int(name[8:28]) if number == 0 else None, line


def verify(directory):
    with open(os.path.join(directory, "head"), "rb") as file:
        head = json.loads(file.read())
    log, seq, epoch, prev = head["log"].encode(), 0, 0, bytes(32)
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
        except Bad as why:
            return {"ok": False, "first_bad_seq": seq + 1, "why": str(why)}
        seq, epoch, prev = found_seq, found_epoch, digest
    if seq < head["seq"]:
        return {"ok": False, "first_bad_seq": seq + 1, "why": "cut off"}
    return {"ok": True, "records": seq, "last_hash": prev.hex()}


if __name__ == "__main__":
    results = [verify(directory) for directory in sys.argv[1:]]
    for result in results:
        print(json.dumps(result))
    sys.exit(0 if all(result["ok"] for result in results) else 1)
