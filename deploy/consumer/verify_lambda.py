"""A Lambda function on a schedule: reads what Firehose delivered since the last time, and tells what is wrong or missing.

Keeps where it left off, log by log, in one object. A log from which nothing came for `SILENCE` seconds is told as silent, once
until it speaks again. Signatures are `weir audit verify`'s to check, on the same objects.
"""

import dataclasses
import gzip
import json
import os
import time

import boto3

from stream_lambda import tell
from weir_chain import Finding, Verifier

STATE = "verify/state.json"


def load(s3, bucket):
    try:
        return json.loads(s3.get_object(Bucket=bucket, Key=STATE)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return {"objects": {}, "logs": {}, "heard": {}, "silent": []}


def new_objects(s3, bucket, prefix, seen, now):
    """Objects of yesterday and today that were not read yet. Firehose names the day of arrival."""
    for day in (now - 86_400, now):
        name = time.strftime("%Y-%m-%d", time.gmtime(day))
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}day={name}/"):
            yield from (found["Key"] for found in page.get("Contents", []) if found["Key"] not in seen)


def handler(_event, _context, now=None):
    now = now or time.time()
    evidence, tables = os.environ["EVIDENCE_BUCKET"], os.environ["STATE_BUCKET"]
    grace, silence = float(os.environ.get("GRACE", 3600)), float(os.environ.get("SILENCE", 3600))
    s3 = boto3.client("s3")
    state = load(s3, tables)
    verifier, findings = Verifier(state["logs"]), []
    for key in new_objects(s3, evidence, "raw/", state["objects"], now):
        body = s3.get_object(Bucket=evidence, Key=key)["Body"].read()
        records, found = verifier.read(gzip.decompress(body), now)
        findings += found
        state["objects"][key] = now
        state["heard"].update({record.log: now for record in records})
    findings += verifier.overdue(grace, now)
    silent = [log for log, heard in state["heard"].items() if now - heard > silence]
    findings += [
        Finding("silent", log, None, None, f"nothing came for {silence:.0f} seconds") for log in silent if log not in state["silent"]
    ]
    tell(findings)
    # Told before it is remembered: what could not be told is told again.
    objects = {key: read for key, read in state["objects"].items() if now - read < 3 * 86_400}
    saved = {"objects": objects, "logs": verifier.saved(), "heard": state["heard"], "silent": silent}
    s3.put_object(Bucket=tables, Key=STATE, Body=json.dumps(saved).encode())
    return {"findings": [dataclasses.asdict(finding) for finding in findings], "logs": len(verifier.chains)}
