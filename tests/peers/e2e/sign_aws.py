"""Does things with AWS credentials that botocore finds for itself, one a line of its standard input. Runs with WEIR_AWS.

Each line is `{"do": …}`; each answer is one line:
  keys                                       what was found: `{"id", "token", "secret", "method"}`
  call <url> [how]                           a signed JSON-RPC ping, sent as it is, or `altered`, `presigned` or `unsigned-payload`:
                                             `{"status", "body"}`
  client <service> <operation> [arguments]   an operation of a client of botocore: `{"answer"}` or `{"error"}`
`"keys"` of a line are used in the place of those that are found.
"""

import io
import json
import ssl
import sys
import urllib.error
import urllib.request

import botocore.session
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

MESSAGE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
session = botocore.session.get_session()


def credentials(line):
    given = line.get("keys")
    return Credentials(given["id"], given["secret"], given["token"]) if given else session.get_credentials()


def keys(line):
    found = credentials(line)
    frozen = found.get_frozen_credentials()
    return {"id": frozen.access_key, "secret": frozen.secret_key, "token": frozen.token, "method": found.method}


def call(line):
    how = line.get("how")
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    # Presigning would put the body into the URL.
    data = None if how == "presigned" else MESSAGE
    request = AWSRequest("POST", line["url"], data=data, headers=headers)
    if how == "unsigned-payload":
        request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    signer = SigV4QueryAuth if how == "presigned" else SigV4Auth
    signer(credentials(line), "bedrock-agentcore", "us-east-1").add_auth(request)
    body = MESSAGE.replace("1", "2") if how == "altered" else MESSAGE
    prepared = request.prepare()
    headers = {name: value for name, value in prepared.headers.items() if name.lower() != "content-length"}
    sent = urllib.request.Request(prepared.url, body.encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(sent, context=ssl.create_default_context()) as answer:
            return {"status": answer.status, "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}


def client(line):
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path", "us_east_1_regional_endpoint": "regional"})
    found = credentials(line).get_frozen_credentials()
    made = session.create_client(
        line["service"],
        "us-east-1",
        config=config,
        aws_access_key_id=found.access_key,
        aws_secret_access_key=found.secret_key,
        aws_session_token=found.token,
    )
    arguments = line.get("arguments", {})
    if "Body" in arguments:
        arguments["Body"] = io.BytesIO(b"x" * arguments["Body"])
    try:
        answer = made._make_api_call(line["operation"], arguments)
    except ClientError as error:
        return {"error": str(error), "status": error.response["ResponseMetadata"]["HTTPStatusCode"]}
    except ResponseParserError as error:
        # Quotes what it could not read: a refusal is JSON, and some services' clients read XML.
        return {"error": str(error)}
    return {"answer": answer["ResponseMetadata"]["HTTPStatusCode"]}


for text in sys.stdin:
    line = json.loads(text)
    print(json.dumps({"keys": keys, "call": call, "client": client}[line["do"]](line)), flush=True)
