#!/usr/bin/env python3
"""Reads a Kinesis stream of Weir's records and verifies as it reads: a consumer to start from.

    consume.py --stream weir-audit --state /var/lib/weir-reader/state.json

Prints one JSON object a line for each finding, and with --print each record as well. Goes on until interrupted; with --once,
ends when it has caught up, exit 1 if anything was found. Needs boto3 and the rights of `policies/consumer.json`.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time

import boto3

from weir_chain import Verifier


class Stream:
    """The shards of a stream, each from where it was left."""

    def __init__(self, client, name, start, positions):
        self.client, self.name, self.start = client, name, start
        self.positions = positions  # shard -> the last sequence number that was read
        self.iterators = {}

    def open_shards(self):
        """Shards that appeared, by resharding too: order does not matter to a reader that has seq."""
        for page in self.client.get_paginator("list_shards").paginate(StreamName=self.name):
            for shard in page["Shards"]:
                if shard["ShardId"] not in self.iterators:
                    self.iterators[shard["ShardId"]] = self.iterator(shard["ShardId"])

    def iterator(self, shard):
        where = {"ShardIteratorType": self.start}
        if shard in self.positions:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self.positions[shard]}
        return self.client.get_shard_iterator(StreamName=self.name, ShardId=shard, **where)["ShardIterator"]

    def read(self):
        """One reading of each shard: the data of its records, and whether all have been read to their end."""
        data, caught_up = [], True
        for shard, iterator in self.iterators.items():
            if iterator is None:
                continue  # closed by resharding, and read to its end
            try:
                answer = self.client.get_records(ShardIterator=iterator, Limit=1000)
            except self.client.exceptions.ExpiredIteratorException:
                self.iterators[shard], caught_up = self.iterator(shard), False
                continue
            except self.client.exceptions.ProvisionedThroughputExceededException:
                caught_up = False
                continue
            for record in answer["Records"]:
                data.append(record["Data"])
                self.positions[shard] = record["SequenceNumber"]
            self.iterators[shard] = answer.get("NextShardIterator")
            caught_up &= self.iterators[shard] is None or answer.get("MillisBehindLatest", 0) == 0
        return data, caught_up


def load(path):
    return json.loads(path.read_text()) if path and path.exists() else {"positions": {}, "logs": {}}


def save(path, stream, verifier):
    """In place of the old one at once: a crash leaves one or the other."""
    if path is None:
        return
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"positions": stream.positions, "logs": verifier.saved()}))
    os.replace(new, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stream", required=True)
    parser.add_argument("--region")
    parser.add_argument("--endpoint-url", help="another endpoint than AWS's, such as an emulator's")
    parser.add_argument("--from", dest="start", choices=["TRIM_HORIZON", "LATEST"], default="TRIM_HORIZON")
    parser.add_argument("--state", type=pathlib.Path, help="where it left off; without it, from the start every time")
    parser.add_argument("--grace", type=float, default=300, help="seconds until a record that did not come is missing")
    parser.add_argument("--print", dest="show", action="store_true", help="print each record")
    parser.add_argument("--once", action="store_true", help="end when caught up")
    args = parser.parse_args()

    client = boto3.client("kinesis", region_name=args.region, endpoint_url=args.endpoint_url)
    state = load(args.state)
    verifier = Verifier(state["logs"])
    stream = Stream(client, args.stream, args.start, state["positions"])
    total = 0
    while True:
        stream.open_shards()
        data, caught_up = stream.read()
        findings = []
        for record in data:
            records, found = verifier.read(record)
            findings += found
            if args.show:
                for one in records:
                    print(json.dumps({"log": one.log, "seq": one.seq, "event": json.loads(one.event)}))
        done = args.once and caught_up
        findings += verifier.overdue(0 if done else args.grace, now=time.time() + 1 if done else None)
        for finding in findings:
            print(json.dumps({"finding": dataclasses.asdict(finding)}), flush=True)
        total += len(findings)
        save(args.state, stream, verifier)
        if done:
            for log, chain in sorted(verifier.chains.items()):
                print(f"log {log}: records {chain.lowest} to {chain.highest} read", file=sys.stderr)
            sys.exit(1 if total else 0)
        if caught_up:
            time.sleep(1)


if __name__ == "__main__":
    main()
