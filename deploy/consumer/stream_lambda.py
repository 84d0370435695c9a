"""A Lambda function behind the Kinesis stream: reports at once what one batch gives away.

A batch shows altered lines, forks, and broken links between neighbours; what did not come shows in `verify_lambda.py`.
Findings go to EventBridge. A finding is told, not retried: it would be found again. What is retried, from that record on, is
a record whose findings could not be told (`ReportBatchItemFailures`).
"""

import base64
import dataclasses
import json
import os

import boto3

from weir_chain import Verifier

SOURCE = "weir.audit"


def tell(findings, client=None):
    """Puts findings on the bus, ten to a request, as many as EventBridge takes."""
    client = client or boto3.client("events")
    for start in range(0, len(findings), 10):
        entries = [
            {
                "Source": SOURCE,
                "DetailType": "Verification failed",
                "Detail": json.dumps(dataclasses.asdict(finding)),
                "EventBusName": os.environ.get("EVENT_BUS", "default"),
            }
            for finding in findings[start : start + 10]
        ]
        answer = client.put_events(Entries=entries)
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"{answer['FailedEntryCount']} findings could not be told")


def handler(event, _context):
    verifier = Verifier()
    for record in event["Records"]:
        _, findings = verifier.read(base64.b64decode(record["kinesis"]["data"]))
        try:
            tell(findings)
        except Exception as error:  # whatever it was: this record is to be given again
            print(f"retrying from {record['kinesis']['sequenceNumber']}: {error}")
            return {"batchItemFailures": [{"itemIdentifier": record["kinesis"]["sequenceNumber"]}]}
    return {"batchItemFailures": []}
