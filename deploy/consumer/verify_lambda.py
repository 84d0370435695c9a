"""A Lambda function on a schedule: reads what Firehose delivered since the last time, and tells what is wrong or missing.

Keeps where it left off, log by log, in one object, after every `BATCH` objects and before its time is up: a backlog is read by as
many runs as it takes, from the last day that was read whole. What is missing is told once the end is reached. An object that
cannot be read is a finding. A log from which nothing came for `SILENCE` seconds is told as silent, once until it speaks again.
Signatures are `weir audit verify`'s to check, on the same objects.
"""

import dataclasses
import gzip
import io
import json
import os
import time
import zlib

import boto3
import botocore.exceptions

from stream_lambda import tell
from weir_chain import Finding, Verifier

STATE = "verify/state.json"
DAY = 86_400
# A run ends while there is time to tell and to save.
SPARE_MS = 60_000


def load(s3, bucket):
    try:
        return json.loads(s3.get_object(Bucket=bucket, Key=STATE)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return {"since": None, "objects": [], "logs": {}, "heard": {}, "silent": []}


def day(moment):
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def days(since, now):
    """The names of the days from `since` to today; Firehose names the day of arrival."""
    names = [day(now)]
    while names[-1] > since:
        names.append(day(now - DAY * len(names)))
    return names[::-1]


def new_objects(s3, bucket, prefix, since, seen, now):
    """Objects of these days that were not read yet."""
    for name in days(since, now):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}day={name}/"):
            yield from (found["Key"] for found in page.get("Contents", []) if found["Key"] not in seen)


def whole_lines(body):
    """The lines of what can be decompressed, and why the rest cannot."""
    data, why = bytearray(), None
    try:
        with gzip.open(io.BytesIO(body)) as file:
            while part := file.read(1 << 20):
                data += part
    except (OSError, EOFError, zlib.error) as error:
        why = str(error)
    return bytes(data if why is None else data[: data.rfind(b"\n") + 1]), why


def fetch(s3, bucket, key):
    """An object's lines, and why some are missing. What may work the next time is raised."""
    try:
        return whole_lines(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except botocore.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise
        return b"", str(error)


class Run:
    """One run: what was found since it was last told, and what is remembered after that."""

    def __init__(self, s3, bucket, now):
        self.s3, self.bucket, self.now = s3, bucket, now
        state = load(s3, bucket)
        self.since = state.get("since") or day(now - DAY)
        self.objects, self.heard, self.silent = set(state["objects"]), state["heard"], state["silent"]
        self.verifier = Verifier(state["logs"])
        self.findings, self.told = [], []

    def read(self, key, data, why):
        if why is not None:
            self.findings.append(Finding("unreadable", None, None, None, f"{key}: {why}"))
        records, found = self.verifier.read(data, self.now)
        self.findings += found
        self.objects.add(key)
        self.heard.update({record.log: self.now for record in records})

    def at_the_end(self, grace, silence):
        """Everything that was delivered is read: what is not there is missing."""
        self.findings += self.verifier.overdue(grace, self.now)
        silent = [log for log, heard in self.heard.items() if self.now - heard > silence]
        why = f"nothing came for {silence:.0f} seconds"
        self.findings += [Finding("silent", log, None, None, why) for log in silent if log not in self.silent]
        self.silent = silent
        # Firehose may still write into yesterday.
        self.since = day(self.now - DAY)

    def save(self):
        """Told before it is remembered: what could not be told is told again."""
        tell(self.findings)
        self.told += self.findings
        self.findings = []
        self.objects = {key for key in self.objects if key.partition("day=")[2] >= self.since}
        saved = {"since": self.since, "objects": sorted(self.objects), "heard": self.heard, "silent": self.silent}
        body = json.dumps(saved | {"logs": self.verifier.saved()}).encode()
        self.s3.put_object(Bucket=self.bucket, Key=STATE, Body=body)


def handler(_event, context, now=None):
    now = now or time.time()
    evidence, tables = os.environ["EVIDENCE_BUCKET"], os.environ["STATE_BUCKET"]
    grace, silence = float(os.environ.get("GRACE", 3600)), float(os.environ.get("SILENCE", 3600))
    batch = int(os.environ.get("BATCH", 100))
    s3 = boto3.client("s3")
    run, complete = Run(s3, tables, now), True
    for count, key in enumerate(new_objects(s3, evidence, "raw/", run.since, frozenset(run.objects), now), 1):
        run.read(key, *fetch(s3, evidence, key))
        if context is not None and context.get_remaining_time_in_millis() < SPARE_MS:
            complete = False
            break
        if count % batch == 0:
            run.save()
    if complete:
        run.at_the_end(grace, silence)
    run.save()
    found = [dataclasses.asdict(finding) for finding in run.told]
    return {"findings": found, "logs": len(run.verifier.chains), "complete": complete}
