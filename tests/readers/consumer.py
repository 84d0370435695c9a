#!/usr/bin/env python3
"""Runs deploy/consumer against moto's Kinesis, S3 and EventBridge, with the records of a log.

Usage: consumer.py LOG_DIR CONSUMER_DIR WORK_DIR. Prints one JSON object with what each part found. Needs `moto` and `boto3`.
"""

import base64
import contextlib
import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import time

LOG, CONSUMER, WORK = map(pathlib.Path, sys.argv[1:])
sys.path.insert(0, str(CONSUMER))
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
    "EVIDENCE_BUCKET": "evidence", "STATE_BUCKET": "tables", "GRACE": "60", "SILENCE": "7200",
}

import boto3  # noqa: E402
from moto import mock_aws  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402


def lines_of(log):
    return [line for path in sorted(log.glob("segment-*.ndjson")) for line in path.read_bytes().splitlines(keepends=True)]


def altered(line):
    return line.replace(b'"class_uid"', b'"class_uld"', 1)


def packed(lines, chance):
    """Several lines to a record, out of order, some twice."""
    records = [b"".join(lines[start : start + 2]) for start in range(0, len(lines), 2)]
    records += chance.sample(records, 3)
    chance.shuffle(records)
    return records


def put(client, stream, records):
    for start in range(0, len(records), 100):
        entries = [{"Data": data, "PartitionKey": f"{number:x}"} for number, data in enumerate(records[start : start + 100])]
        assert client.put_records(StreamName=stream, Records=entries)["FailedRecordCount"] == 0


def consume(endpoint, stream):
    command = [sys.executable, str(CONSUMER / "consume.py"), "--stream", stream, "--endpoint-url", endpoint, "--once"]
    command += ["--state", str(WORK / f"{stream}.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [json.loads(line)["finding"] for line in done.stdout.splitlines()]
    return {"exit": done.returncode, "findings": found, "said": done.stderr}


def through_kinesis(lines, chance):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("kinesis", endpoint_url=endpoint)
    middle = len(lines) // 2
    cases = {
        "whole": [lines],
        # A consumer that was stopped goes on where it was.
        "resumed": [lines[:middle], lines[middle:]],
        "deleted": [lines[: middle - 2] + lines[middle:]],
        "altered": [lines[:middle] + [altered(lines[middle])] + lines[middle + 1 :]],
    }
    answers = {}
    for name, parts in cases.items():
        client.create_stream(StreamName=name, ShardCount=3)
        for part in parts:
            put(client, name, packed(part, chance))
            answers[name] = consume(endpoint, name)
    server.stop()
    return answers


def kinesis_event(records):
    return {"Records": [
        {"kinesis": {"data": base64.b64encode(data).decode(), "sequenceNumber": str(number)}} for number, data in enumerate(records)
    ]}


@mock_aws
def in_lambda(lines):
    import stream_lambda

    good = stream_lambda.handler(kinesis_event(lines), None)
    # The bus says no for the second finding: from its record on, the batch is given again.
    told = []

    class Bus:
        def put_events(self, Entries):
            told.extend(Entries)
            return {"FailedEntryCount": 1 if len(told) == 2 else 0}

    client, stream_lambda.boto3.client = stream_lambda.boto3.client, lambda _name: Bus()
    bad = stream_lambda.handler(kinesis_event([altered(lines[0]), lines[1], altered(lines[2]), lines[3]]), None)
    stream_lambda.boto3.client = client
    return {"good": good, "bad": bad, "told": [json.loads(entry["Detail"])["kind"] for entry in told]}


class NoTime:
    """The context of a run whose time is nearly up."""

    def get_remaining_time_in_millis(self):
        return 1000


def with_a_backlog(s3, verify_lambda, lines, deliver, key, now):
    """Objects of days on which no run came to its end, one of them damaged, from another log."""
    s3.delete_object(Bucket="tables", Key=verify_lambda.STATE)
    for name in ("1", "2"):
        s3.delete_object(Bucket="evidence", Key=key(name))
    days, third = [now + day * 86_400 for day in range(4)], len(lines) // 3
    deliver("3", lines[:third], days[0])
    verify_lambda.handler({}, None, days[0])
    damaged = gzip.compress(b"".join(lines[third : 2 * third]))
    s3.put_object(Bucket="evidence", Key=key("4", days[1]), Body=damaged[: len(damaged) // 2])
    deliver("5", lines[2 * third :], days[3])
    runs = [verify_lambda.handler({}, NoTime(), days[3] + number) for number in range(3)]
    # What could not be read is delivered again.
    deliver("6", lines[third : 2 * third], days[3])
    runs.append(verify_lambda.handler({}, None, days[3] + 100))
    return {"backlog": runs}


@mock_aws
def on_a_schedule(lines, chance):
    import verify_lambda

    s3 = boto3.client("s3")
    for bucket in ("evidence", "tables"):
        s3.create_bucket(Bucket=bucket)
    now = time.time()

    def key(name, when=now):
        return f"raw/day={time.strftime('%Y-%m-%d', time.gmtime(when))}/{name}.gz"

    def deliver(name, part, when=now):
        members = [gzip.compress(record) for record in packed(part, chance)]
        s3.put_object(Bucket="evidence", Key=key(name, when), Body=b"".join(members))

    middle = len(lines) // 2
    answers = {}
    deliver("1", lines[: middle - 3])
    answers["first"] = verify_lambda.handler({}, None, now)["findings"]
    deliver("2", lines[middle:])
    answers["early"] = verify_lambda.handler({}, None, now + 1)["findings"]
    answers["late"] = verify_lambda.handler({}, None, now + 100)["findings"]
    answers["again"] = verify_lambda.handler({}, None, now + 200)["findings"]
    answers["silent"] = verify_lambda.handler({}, None, now + 7300)["findings"]
    answers["still"] = verify_lambda.handler({}, None, now + 7400)["findings"]
    answers |= with_a_backlog(s3, verify_lambda, lines, deliver, key, now)
    return answers


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    lines = lines_of(LOG)
    with contextlib.redirect_stdout(sys.stderr):  # where emulators and functions say what they do
        answers = {"records": len(lines), "kinesis": through_kinesis(lines, chance)}
        answers |= {"lambda": in_lambda(lines), "schedule": on_a_schedule(lines, chance)}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
