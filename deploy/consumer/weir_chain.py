"""The rules of Weir's records (docs/records.md) for readers that get them late, twice and out of order.

Standard library only. What this finds: lines that are not records, records whose hash is wrong, two records in one place,
records that are not linked to their neighbours, and records that do not come. What it does not check: the signatures of
checkpoints, which is what `weir audit verify` is for.
"""

import collections
import dataclasses
import hashlib
import json
import re
import time

LINE = re.compile(
    rb'\{"log":"([a-z0-9-]{1,64})","epoch":([1-9][0-9]*),"seq":([1-9][0-9]*),'
    rb'"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})","event":(\{.*\})\}\n',
    re.DOTALL,
)


class NotARecord(Exception):
    """Bytes that Weir would not have written."""


@dataclasses.dataclass(frozen=True)
class Record:
    log: str
    epoch: int
    seq: int
    prev: str
    hash: str
    event: bytes

    @classmethod
    def parse(cls, line):
        """Reads one line, its newline included, and checks its hash."""
        match = LINE.fullmatch(line)
        if not match:
            raise NotARecord("not in the line format")
        log, epoch, seq, prev, digest, event = match.groups()
        text = b"weir-record-v1\n" + log + b"\n" + epoch + b"\n" + seq + b"\n" + bytes.fromhex(prev.decode()) + event
        if hashlib.sha256(text).hexdigest() != digest.decode():
            raise NotARecord(f"altered: log {log.decode()}, seq {int(seq)}")
        try:
            json.loads(event)
        except ValueError as error:
            raise NotARecord(f"its event is not JSON: {error}") from error
        return cls(log.decode(), int(epoch), int(seq), prev.decode(), digest.decode(), event)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that an auditor must hear of."""

    kind: str  # not_a_record, forked, not_linked, missing, unreadable, silent
    log: str | None
    first: int | None
    last: int | None
    why: str


def split(data):
    """The lines of a Kinesis record or of a file: each record of Weir ends with a newline."""
    return [line for line in data.splitlines(keepends=True) if line != b"\n"]


class Chain:
    """What is known of one log. Memory is bounded by `window`, and by how many gaps are open."""

    def __init__(self, log, window=65_536):
        self.log = log
        self.window = window
        self.lowest = self.highest = None
        self.holes = []  # [first, last, since when]: not seen yet, between the lowest and the highest
        self.reported = []  # [first, last]: told to be missing
        self.recent = collections.OrderedDict()  # seq -> (epoch, prev, hash)

    def add(self, record, now):
        """Takes one record, and returns what it gives away."""
        seq, mine = record.seq, (record.epoch, record.prev, record.hash)
        known = self.recent.get(seq)
        if known is not None:
            return [] if known == mine else [self._finding("forked", seq, seq, "two different records")]
        found = [
            self._finding("not_linked", seq, seq, "not the successor of the record before it")
            for before, after in ((self.recent.get(seq - 1), mine), (mine, self.recent.get(seq + 1)))
            if before and after and (after[1] != before[2] or after[0] - before[0] not in (0, 1))
        ]
        self._place(seq, now)
        self.recent[seq] = mine
        if len(self.recent) > self.window:
            self.recent.popitem(last=False)
        return found

    def _place(self, seq, now):
        if self.lowest is None:
            self.lowest = self.highest = seq
        elif seq > self.highest:
            if seq > self.highest + 1:
                self.holes.append([self.highest + 1, seq - 1, now])
            self.highest = seq
        elif seq < self.lowest:
            if seq < self.lowest - 1:
                self.holes.append([seq + 1, self.lowest - 1, now])
            self.lowest = seq
        else:
            self.holes = [part for hole in self.holes for part in without(hole, seq)]

    def overdue(self, before):
        """What has been missed since before this time; told once."""
        late = [hole for hole in self.holes if hole[2] < before]
        self.holes = [hole for hole in self.holes if hole[2] >= before]
        self.reported += [hole[:2] for hole in late]
        return [self._finding("missing", first, last, "did not come") for first, last, _ in late]

    def _finding(self, kind, first, last, why):
        return Finding(kind, self.log, first, last, why)

    def saved(self):
        """As JSON values; of the recent records, the newest."""
        newest = self.recent.get(self.highest)
        return {"lowest": self.lowest, "highest": self.highest, "holes": self.holes, "reported": self.reported, "newest": newest}

    @classmethod
    def restored(cls, log, saved):
        chain = cls(log)
        chain.lowest, chain.highest = saved["lowest"], saved["highest"]
        chain.holes, chain.reported = saved["holes"], saved["reported"]
        if saved["newest"]:
            chain.recent[chain.highest] = tuple(saved["newest"])
        return chain


def without(hole, seq):
    first, last, since = hole
    if not first <= seq <= last:
        return [hole]
    return [part for part in ([first, seq - 1, since], [seq + 1, last, since]) if part[0] <= part[1]]


class Verifier:
    """All logs of a stream."""

    def __init__(self, saved=None):
        self.chains = {log: Chain.restored(log, chain) for log, chain in (saved or {}).items()}

    def read(self, data, now=None):
        """Takes the data of a Kinesis record or a file, and returns its records and what they give away."""
        now = time.time() if now is None else now
        records, findings = [], []
        for line in split(data):
            try:
                record = Record.parse(line)
            except NotARecord as error:
                findings.append(Finding("not_a_record", None, None, None, str(error)))
                continue
            chain = self.chains.setdefault(record.log, Chain(record.log))
            findings += chain.add(record, now)
            records.append(record)
        return records, findings

    def overdue(self, grace, now=None):
        """What has been missed for longer than `grace` seconds."""
        now = time.time() if now is None else now
        return [finding for chain in self.chains.values() for finding in chain.overdue(now - grace)]

    def saved(self):
        return {log: chain.saved() for log, chain in self.chains.items()}
