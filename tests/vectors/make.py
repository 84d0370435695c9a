#!/usr/bin/env python3
"""Writes the test vectors beside it: small logs, right and wrong, and `expect.json` with what every reader must say of them.

The hashes are computed here and not by the agent, so the vectors bind it. Run it after a change of the format only.
"""

import base64
import hashlib
import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.append(os.path.join(HERE, "../readers"))
import ed25519

SEEDS = [bytes([number]) * 32 for number in (1, 2, 3)]
LOG = "00112233445566778899aabbccddeeff"
EPOCHS = [1, 1, 1, 1, 2, 2, 2]
EVENTS = [
    '{"class_uid":6002,"message":"weir started"}',
    '{"class_uid":6003,"mcp":{"params":{"city":"Zürich","emoji":"🜁","jp":"水"}}}',
    r'{"escapes":"\" \\ \/ \b \f \n \r \t \u00e9 \ud83d\ude00 \ud800","nul":"\u0000"}',
    '{"numbers":[0,-0,1.0,1e400,123456789012345678901234567890,0.1000]}',
    '{"class_uid":6002,"message":"weir started again"}',
    '{"brace":"}\\n{\\"log\\":\\"","deep":[[[[[[[[{"a":{}}]]]]]]]]}',
    '{}',
]


def line(log, epoch, seq, prev, event):
    digest = hashlib.sha256(
        b"weir-record-v1\n" + f"{log}\n{epoch}\n{seq}\n".encode() + prev + event.encode()
    ).digest()
    text = (
        f'{{"log":"{log}","epoch":{epoch},"seq":{seq},"prev":"{prev.hex()}","hash":"{digest.hex()}","event":{event}}}\n'
    )
    return text.encode(), digest


def chain(epochs=EPOCHS, events=EVENTS, log=LOG, prev=bytes(32), first=1):
    lines = []
    for offset, (epoch, event) in enumerate(zip(epochs, events)):
        text, prev = line(log, epoch, first + offset, prev, event)
        lines.append(text)
    return lines, prev


def head(seq, digest, epoch=2, log=LOG):
    stated = {"log": log, "epoch": epoch, "seq": seq, "hash": digest.hex(), "synced": seq, "settled": seq + 1, "boot": "b"}
    return json.dumps(stated, separators=(",", ":")).ljust(383).encode() + b"\n"


def spki(seed):
    return bytes.fromhex("302a300506032b6570032100") + ed25519.public(seed)


def key_id(seed):
    return hashlib.sha256(spki(seed)).hexdigest()


class Signed:
    """A log that signs its head; `lines` are its records."""

    def __init__(self, seed=SEEDS[0], log=LOG):
        self.log, self.seed, self.events, self.previous = log, seed, [], {"seq": 0, "hash": "0" * 64}
        self.append('{"class_uid":6002,"lifecycle":{"kind":"started"}}')
        self.change(seed, None)

    def append(self, event):
        self.events.append(event)

    def chain(self):
        return chain([1] * len(self.events), self.events, self.log)

    def statement(self, name, domain, stated, seed):
        text = json.dumps(stated, separators=(",", ":"))
        signature = ""
        if seed:
            message = domain + b"\n" + hashlib.sha256(text.encode()).digest()
            value = base64.b64encode(ed25519.sign(seed, message)).decode()
            signature = f',"signature":{{"key_id":"{key_id(seed)}","value":"{value}"}}'
        self.append(f'{{"class_uid":6002,"time":1785000000000,"{name}":{{"statement":{text}{signature}}}}}')
        return hashlib.sha256(text.encode()).hexdigest()

    def checkpoint(self, **other):
        head = {"seq": len(self.events), "hash": self.chain()[1].hex()}
        stated = {
            "log": self.log, "epoch": 1, "head": head, "previous": self.previous,
            "interval": {"records": 10000, "seconds": 60}, "time": 1785000000000, "since_boot_ns": 7, "boot_id": "b",
            "host": {"id": "h", "name": "host"}, "key": base64.b64encode(spki(self.seed)).decode(),
        }
        digest = self.statement("checkpoint", b"weir-checkpoint-v1", stated | other, self.seed)
        self.previous = {"seq": len(self.events), "hash": digest}

    def change(self, seed, voucher, **other):
        stated = {"log": self.log, "epoch": 1, "key": base64.b64encode(spki(seed)).decode(), "time": 1785000000000}
        if self.events[1:]:
            stated["replaces"] = key_id(self.seed)
        self.statement("signing_key", b"weir-key-v1", stated | other, voucher)
        self.seed = seed


def signed_log(then=lambda log: None):
    """Two calls, a checkpoint, `then`, two calls, a checkpoint."""
    log = Signed()
    for _ in range(2):
        log.append('{"class_uid":6003}')
        log.append('{"class_uid":6003,"note":"\\"checkpoint\\":{\\"statement\\":{}}"}')
        log.checkpoint()
        then(log)
        then = lambda log: None
    return log


def relinked(seq, event):
    """The chain with one event replaced and everything after it computed anew, as a forger would."""
    events = list(EVENTS)
    events[seq - 1] = event
    return chain(events=events)[0]


def main():
    good, last = chain()
    seven = head(7, last)
    text = b"".join(good).decode()
    vectors, expect = {}, {}

    def vector(name, segments, head_bytes=seven, **outcome):
        vectors[name] = dict(segments, head=head_bytes)
        expect[name] = outcome

    def bad(name, lines, seq, head_bytes=seven):
        vector(name, {1: b"".join(lines)}, head_bytes, ok=False, first_bad_seq=seq)

    def ok(name, segments, head_bytes=seven, records=7, digest=last):
        vector(name, segments, head_bytes, ok=True, records=records, last_hash=digest.hex())

    ok("two-epochs", {1: b"".join(good)})
    ok("two-segments", {1: b"".join(good[:3]), 4: b"".join(good[3:])})
    ok("empty-last-segment", {1: b"".join(good), 8: b""})
    ok("behind-head", {1: b"".join(good)}, head(5, chain(EPOCHS[:5])[1]))
    ok("torn-tail", {1: b"".join(good) + good[0][:40]})
    ok("no-records", {}, head(0, bytes(32), 0), 0, bytes(32))

    def edited(seq, old, new):
        assert old in good[seq - 1], (seq, old)
        return [*good[: seq - 1], good[seq - 1].replace(old, new, 1), *good[seq:]]

    bad("event-altered", edited(2, b"Z", b"z"), 2)
    bad("number-rewritten", edited(4, b"1.0", b"1"), 4)
    bad("escape-rewritten", edited(3, rb"\u00e9", "é".encode()), 3)
    bad("hash-altered", edited(6, b'"hash":"', b'"hash":"0')[:6] + good[6:], 6)
    bad("upper-case-hash", [*good[:2], upper(good[2]), *good[3:]], 3)
    bad("leading-zero", edited(5, b'"seq":5', b'"seq":05'), 5)
    bad("white-space", edited(1, b'"epoch":1', b'"epoch": 1'), 1)
    bad("key-order", edited(1, b'"epoch":1,"seq":1', b'"seq":1,"epoch":1'), 1)
    bad("carriage-return", edited(7, b"\n", b"\r\n"), 7)
    bad("trailing-bytes", edited(7, b"\n", b" \n"), 7)
    bad("extra-key", edited(2, b',"event":', b',"x":1,"event":'), 2)
    bad("empty-line", [*good[:3], b"\n", *good[3:]], 4)
    bad("removed", good[:3] + good[4:], 4)
    bad("swapped", [*good[:3], good[4], good[3], *good[5:]], 4)
    bad("repeated", [*good[:4], good[3], *good[4:]], 5)
    bad("cut", good[:6], 7)
    bad("cut-inside-a-line", [*good[:6], good[6][:-9]], 7)
    bad("epoch-backwards", chain([1, 1, 1, 2, 1, 2, 2])[0], 5)
    bad("epoch-jumps", chain([1, 1, 1, 3, 3, 3, 3])[0], 4)
    bad("first-epoch-not-one", chain([2] * 7)[0], 1)
    bad("first-prev-not-zero", chain(prev=b"\x01" * 32)[0], 1)
    bad("rewritten-to-the-end", relinked(4, '{"forged":true}'), 7)
    bad("rewritten-alone", [*good[:3], relinked(4, '{"forged":true}')[3], *good[4:]], 5)
    bad("other-log", chain(log="f" * 32)[0], 1)
    bad("event-not-an-object", line_with(good, 3, "[]"), 3)
    bad("event-not-json", line_with(good, 3, '{"a":01}'), 3)
    bad("not-utf-8", line_with_bytes(good, 2, b'{"a":"\xff"}'), 2)
    vector("segment-misnamed", {1: b"".join(good[:3]), 5: b"".join(good[3:])}, ok=False, first_bad_seq=4)
    vector("segment-missing", {4: b"".join(good[3:])}, ok=False, first_bad_seq=1)
    assert text.count("\n") == 7

    def signed(name, log, seq=None):
        lines, end = log.chain()
        stated = head(len(lines), end, 1)
        outcome = {"ok": False, "first_bad_seq": seq} if seq else {"ok": True, "records": len(lines), "last_hash": end.hex()}
        vector(name, {1: b"".join(lines)}, stated, **outcome)

    def forged(edit):
        log = signed_log()
        edit(log.events)
        return log

    def in_statement(position, old, new):
        def edit(events):
            assert old in events[position - 1]
            events[position - 1] = events[position - 1].replace(old, new, 1)
        return forged(edit)

    signed("checkpoints", signed_log())
    signed("key-changed", signed_log(lambda log: log.change(SEEDS[1], SEEDS[0])))
    signed("key-not-signed", signed_log(lambda log: log.change(SEEDS[1], None)), 6)
    signed("key-signed-by-itself", signed_log(lambda log: log.change(SEEDS[1], SEEDS[1])), 6)
    signed("checkpoint-altered", in_statement(8, '"records":10000', '"records":99999'), 8)
    signed("checkpoint-not-signed", forged(lambda events: events.__setitem__(7, unsigned(events[7]))), 8)
    signed("checkpoint-of-another-log", signed_log(lambda log: log.checkpoint(log="f" * 32)), 6)
    signed("checkpoint-removed", forged(lambda events: events.pop(4)), 7)
    signed("checkpoint-out-of-reach", signed_log(lambda log: log.checkpoint(head={"seq": 6, "hash": "0" * 64})), 6)
    signed("rewritten-under-a-checkpoint", in_statement(4, "note", "nope"), 4)
    signed("signed-by-the-old-key", signed_log(back_to_the_old_key), 7)

    for kept in os.listdir(HERE):
        if os.path.isdir(os.path.join(HERE, kept)):
            shutil.rmtree(os.path.join(HERE, kept))
    for name, files in vectors.items():
        directory = os.path.join(HERE, name)
        os.mkdir(directory)
        for first, content in files.items():
            filename = first if first == "head" else f"segment-{first:020}.ndjson"
            with open(os.path.join(directory, filename), "wb") as file:
                file.write(content)
    with open(os.path.join(HERE, "expect.json"), "w", encoding="utf-8") as file:
        json.dump(expect, file, indent=1)
        file.write("\n")


def unsigned(event):
    return event[: event.index(',"signature":')] + "}}"


def back_to_the_old_key(log):
    log.change(SEEDS[1], SEEDS[0])
    log.seed = SEEDS[0]
    log.checkpoint()


def upper(line_bytes):
    at = line_bytes.index(b'"hash":"') + 8
    return line_bytes[:at] + line_bytes[at : at + 64].upper() + line_bytes[at + 64 :]


def line_with(good, seq, event):
    return line_with_bytes(good, seq, event.encode())


def line_with_bytes(good, seq, event):
    """A record whose hash is right and whose event is not."""
    prev = bytes(32) if seq == 1 else bytes.fromhex(json.loads(good[seq - 2])["hash"])
    digest = hashlib.sha256(b"weir-record-v1\n" + f"{LOG}\n{EPOCHS[seq - 1]}\n{seq}\n".encode() + prev + event).hexdigest()
    start = f'{{"log":"{LOG}","epoch":{EPOCHS[seq - 1]},"seq":{seq},"prev":"{prev.hex()}","hash":"{digest}","event":'
    return [*good[: seq - 1], start.encode() + event + b"}\n", *good[seq:]]


if __name__ == "__main__":
    main()
