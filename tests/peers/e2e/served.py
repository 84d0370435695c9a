"""What the Python servers share: the log of what reached them, and how they listen."""

import asyncio
import gzip
import json
import os
import socket

import uvicorn


class SeenLog:
    """ASGI middleware: writes each HTTP request to a file before the application sees it, one JSON object a line.

    Also undoes `Content-Encoding: gzip`, which the SDKs' servers leave to whoever stands in front of them.
    """

    def __init__(self, app, path):
        self.app = app
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, disconnected = b"", False
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                disconnected = True
                break
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        seen = {
            "peer": scope["client"][0].removeprefix("::ffff:"),
            "port": scope["client"][1],
            "http": scope["http_version"],
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),
            "headers": headers,
            "raw_length": len(body),
        }
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
            kept = [pair for pair in scope["headers"] if pair[0] not in (b"content-encoding", b"content-length")]
            scope = {**scope, "headers": [*kept, (b"content-length", str(len(body)).encode())]}
        seen["body"] = body.decode("utf-8", "replace")
        os.write(self.file, json.dumps(seen).encode() + b"\n")

        pending = [{"type": "http.request", "body": body, "more_body": False}]
        if disconnected:
            pending.append({"type": "http.disconnect"})

        async def replay():
            return pending.pop(0) if pending else await receive()

        await self.app(scope, replay, send)


async def opened(path):
    """Returns once a file exists: how a test lets a tool go on."""
    while not os.path.exists(path):
        await asyncio.sleep(0.01)


def listen(app, args):
    """Serves on both address families, over TLS where a certificate is given; says `ready` once connections queue."""
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", args.port))
    listener.listen(128)
    print("ready", flush=True)
    config = uvicorn.Config(
        app,
        ssl_certfile=args.cert,
        ssl_keyfile=args.key,
        log_level="warning",
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])


def arguments(parser):
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--log", required=True)
    return parser.parse_args()
