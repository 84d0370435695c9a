"""A real MCP server: the Python SDK, 2.x, which serves every era on one endpoint over Streamable HTTP.

Prints `listening on <url>` once it accepts connections. With --log it writes one JSON line for each HTTP request, before
the SDK sees it: what the server saw, to be compared with what Weir recorded.
"""

import argparse
import asyncio
import json
import os
import socket
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel

mcp = MCPServer("weir-peer", version="1.0.0", instructions="A peer for tests.", log_level="WARNING")


class Sum(BaseModel):
    """What `add` returns, as structured content."""

    sum: int


class Name(BaseModel):
    """What `ask` asks for."""

    name: str


@mcp.tool()
def echo(text: str) -> str:
    """Return the text."""
    return text


@mcp.tool()
def add(a: int, b: int) -> Sum:
    """Return the sum of two numbers."""
    return Sum(sum=a + b)


@mcp.tool()
async def slow(steps: int, delay: float, ctx: Context) -> str:
    """Report progress after each step; a step takes `delay` seconds."""
    for step in range(1, steps + 1):
        await anyio.sleep(delay)
        await ctx.report_progress(step, steps, f"step {step}")
    return f"{steps} steps"


@mcp.tool()
def large(size: int) -> str:
    """Return `size` characters."""
    return "x" * size


@mcp.tool()
def fail(reason: str) -> str:
    """Fail with the reason."""
    raise ToolError(reason)


async def ask_for_name(question: str) -> Elicit[Name]:
    return Elicit(question, Name)


@mcp.tool()
def ask(question: str, answer: Annotated[Name, Resolve(ask_for_name)]) -> str:
    """Ask the person behind the client for a name: by a server request or by `input_required`, as the era has it."""
    return f"hello {answer.name}"


@mcp.resource("weir://motto")
def motto() -> str:
    """A text resource."""
    return "nothing passes unseen"


@mcp.prompt()
def review(subject: str) -> str:
    """A prompt with one argument."""
    return f"Please review {subject}."


class RequestLog:
    """ASGI middleware: one JSON line per HTTP request, written when its body is complete."""

    def __init__(self, app, path):
        self.app = app
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = bytearray()
        logged = False

        async def receive_and_log():
            nonlocal logged
            message = await receive()
            if message["type"] == "http.request" and not logged:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    logged = True
                    self.write(scope, bytes(body))
            return message

        await self.app(scope, receive_and_log, send)
        if not logged:
            self.write(scope, bytes(body))

    def write(self, scope, body):
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        line = {
            "http_version": scope["http_version"],
            "method": scope["method"],
            "path": scope["path"],
            "peer": scope.get("client"),
            "headers": headers,
            "body": body.decode("utf-8", "backslashreplace"),
        }
        os.write(self.file, (json.dumps(line) + "\n").encode())


def listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    listener.set_inheritable(True)
    return listener


async def serve_http1(app, listener, args):
    import uvicorn

    config = uvicorn.Config(app, ssl_certfile=args.cert, ssl_keyfile=args.key, log_level="warning", lifespan="on")
    await uvicorn.Server(config).serve(sockets=[listener])


async def serve_http2(app, listener, args):
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.certfile, config.keyfile = args.cert, args.key
    config.alpn_protocols = ["h2", "http/1.1"]
    config.loglevel = "WARNING"
    await serve(app, config, mode="asgi")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--name", default="localhost", help="the host name that clients use")
    parser.add_argument("--cert", help="PEM chain; without it the server speaks plain HTTP")
    parser.add_argument("--key", help="PEM key")
    parser.add_argument("--h2", action="store_true", help="offer HTTP/2 besides HTTP/1.1")
    parser.add_argument("--json-response", action="store_true", help="answer with JSON where SSE is not needed")
    parser.add_argument("--stateless", action="store_true", help="no sessions in the session era")
    parser.add_argument("--log", help="append one JSON line per HTTP request to this file")
    args = parser.parse_args()

    app = mcp.streamable_http_app(
        json_response=args.json_response,
        stateless_http=args.stateless,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    if args.log:
        app = RequestLog(app, args.log)
    listener = listen(args.host, args.port)
    scheme = "https" if args.cert else "http"
    print(f"listening on {scheme}://{args.name}:{listener.getsockname()[1]}/mcp", flush=True)
    asyncio.run((serve_http2 if args.h2 else serve_http1)(app, listener, args))


if __name__ == "__main__":
    main()
