"""A server that takes nothing but requests signed with SigV4, which botocore verifies. Runs with WEIR_AWS.

An MCP server of the Python SDK 1.x at /mcp; any other path answers each JSON-RPC request with an empty result. `--keys` is a
file of lines `{"id", "secret", "token", "until"}`; `--clock` one with the seconds by which this server's clock is off. Requests are
logged before they are verified, with the verdict. Also speaks HTTP/2, and asks for a client certificate with `--client-ca`.
"""

import argparse
import asyncio
import datetime
import email.utils
import json
import os
import re
import ssl
import urllib.parse

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypercorn.asyncio import serve
from hypercorn.config import Config
from mcp.server.fastmcp import FastMCP
from mcp.server.transport_security import TransportSecuritySettings

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)
PATIENCE = 300


class Refused(Exception):
    pass


def keys(path):
    with open(path, encoding="utf-8") as file:
        return {key["id"]: key for key in map(json.loads, file)}


def now(clock):
    try:
        with open(clock, encoding="utf-8") as file:
            off = int(file.read())
    except (OSError, ValueError, TypeError):
        off = 0
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=off)


def verify(scope, headers, body, known, time):
    """Signs the request again, as botocore would, and compares."""
    values = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    for name in ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"):
        if len(values.get(name, [])) > 1:
            raise Refused(f"{name} twice")
    said = AUTHORIZATION.fullmatch(values.get("authorization", [""])[0])
    if not said:
        raise Refused("not signed")
    key_id, date, region, service, signed, signature = said.groups()
    key = known.get(key_id)
    if key is None:
        raise Refused("the key is not known")
    if values.get("x-amz-security-token", [None])[0] != key.get("token"):
        raise Refused("the session token is not the key's")
    if key.get("until") and key["until"] < time.timestamp():
        raise Refused("ExpiredToken")
    timestamp = values["x-amz-date"][0]
    at = datetime.datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    if not timestamp.startswith(date):
        raise Refused("the dates differ")
    if abs((at - time).total_seconds()) > PATIENCE:
        raise Refused(f"Signature expired: {timestamp} is not within 5 minutes of {time:%Y%m%dT%H%M%SZ}")
    names = signed.split(";")
    if "host" not in names or [n for n in values if n.startswith("x-amz-") and n not in names]:
        raise Refused("what must be signed is not")
    target = scope["raw_path"].decode("latin-1")
    host = values["host"][0]
    query = scope["query_string"].decode("latin-1")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    request = AWSRequest(
        method=scope["method"],
        url=f"https://{host}{target}",
        data=body,
        params=[(urllib.parse.unquote(name), urllib.parse.unquote(value)) for name, _, value in pairs],
    )
    for name in names:
        request.headers[name] = ",".join(" ".join(value.split()) for value in values[name])
    request.context["timestamp"] = timestamp
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    signer = kind(Credentials(key_id, key["secret"], key.get("token")), service, region)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    if expected != signature:
        raise Refused(f"SignatureDoesNotMatch: {canonical!r}")
    return {"key": key_id, "service": service, "region": region, "signed": names}


class Verified:
    """ASGI middleware: refuses what is not signed, and logs everything."""

    def __init__(self, app, args):
        self.app = app
        self.args = args
        self.log = os.open(args.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = [(name.decode("latin-1").lower(), value.decode("utf-8", "replace")) for name, value in scope["headers"]]
        time = now(self.args.clock)
        seen = {
            "peer": scope["client"][0],
            "port": scope["client"][1],
            "http": scope["http_version"],
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "headers": dict(headers),
            "body": body[:4096].decode("utf-8", "replace"),
            "length": len(body),
            "verified": None,
            "refused": None,
        }
        try:
            if self.args.keys:
                seen["verified"] = verify(scope, headers, body, keys(self.args.keys), time)
            elif self.args.bearer and dict(headers).get("authorization") != open(self.args.bearer).read().strip():
                raise Refused("another token")
        except Refused as refused:
            seen["refused"] = str(refused)
        os.write(self.log, json.dumps(seen).encode() + b"\n")
        if seen["refused"]:
            reason = {"message": seen["refused"].split(":")[0]}
            if self.args.keys:
                await answer(send, 403, reason, time)
            else:
                await answer(send, 401, reason, time, of_stated_length=False)
        elif scope["path"] == self.args.moved:
            await answer(send, 307, {}, time, [(b"location", self.args.moved_to.encode())])
        elif (seen["verified"] or {}).get("service") == "s3":
            # What is no XML its clients take for a failure.
            await answer(send, 200, None, time)
        elif scope["path"] in ("/mcp", "/mcp/"):
            await self.pass_on(scope, receive, send, body)
        else:
            await answer(send, *result(body), time)

    async def pass_on(self, scope, receive, send, body):
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay():
            return pending.pop(0) if pending else await receive()

        await self.app(scope, replay, send)


def result(body):
    try:
        message = json.loads(body)
    except ValueError:
        return 200, {"length": len(body)}
    if "id" not in message:
        return 202, None
    return 200, {"jsonrpc": "2.0", "id": message["id"], "result": {}}


async def answer(send, status, content, time, more=(), of_stated_length=True):
    body = b"" if content is None else json.dumps(content).encode()
    date = email.utils.format_datetime(time, usegmt=True).encode()
    headers = [(b"content-type", b"application/json"), (b"date", date), *more]
    if of_stated_length:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def build():
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    server = FastMCP("aws", transport_security=security)

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @server.tool()
    def transfer(account: str, amount: int, note: str) -> str:
        """Moves money."""
        return f"moved {amount} to {account}: {note}"

    @server.tool()
    async def climb(gates: str, steps: int) -> str:
        """Waits until its gates are open."""
        for step in range(1, steps + 1):
            while not os.path.exists(f"{gates}/{step}"):
                await asyncio.sleep(0.01)
        return f"climbed {steps}"

    return server.streamable_http_app()


def main():
    parser = argparse.ArgumentParser()
    for option in ("--cert", "--key", "--log", "--keys", "--clock", "--bearer", "--client-ca", "--moved", "--moved-to"):
        parser.add_argument(option)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    config = Config()
    config.bind = [f"0.0.0.0:{args.port}"]
    config.certfile, config.keyfile = args.cert, args.key
    config.include_date_header = config.include_server_header = False
    config.h2_max_inbound_frame_size = 1 << 16
    config.errorlog = "-"
    if args.client_ca:
        config.ca_certs = args.client_ca
        config.verify_mode = ssl.CERT_REQUIRED

    async def run():
        # Says so once it has bound: hypercorn waits for this to end it, and begins to wait when it listens.
        async def never():
            print("ready", flush=True)
            await asyncio.Event().wait()

        await serve(Verified(build(), args), config, shutdown_trigger=never)

    asyncio.run(run())


main()
