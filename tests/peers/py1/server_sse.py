"""A real MCP server of the first era: the Python SDK, 1.x, over HTTP+SSE (2024-11-05).

Prints `listening on <url>` once it accepts connections.
"""

import argparse
import asyncio
import socket

import anyio
import uvicorn
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.transport_security import TransportSecuritySettings

mcp = FastMCP(
    "weir-peer-sse",
    log_level="WARNING",
    transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
)


@mcp.tool()
def echo(text: str) -> str:
    """Return the text."""
    return text


@mcp.tool()
def add(a: int, b: int) -> int:
    """Return the sum of two numbers."""
    return a + b


@mcp.tool()
async def slow(steps: int, delay: float, ctx: Context) -> str:
    """Report progress after each step; a step takes `delay` seconds."""
    for step in range(1, steps + 1):
        await anyio.sleep(delay)
        await ctx.report_progress(step, steps, f"step {step}")
    return f"{steps} steps"


@mcp.tool()
def fail(reason: str) -> str:
    """Fail with the reason."""
    raise ValueError(reason)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--name", default="localhost", help="the host name that clients use")
    parser.add_argument("--cert", help="PEM chain; without it the server speaks plain HTTP")
    parser.add_argument("--key", help="PEM key")
    args = parser.parse_args()

    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    listener = socket.create_server((args.host, args.port), family=family)
    scheme = "https" if args.cert else "http"
    print(f"listening on {scheme}://{args.name}:{listener.getsockname()[1]}/sse", flush=True)
    config = uvicorn.Config(mcp.sse_app(), ssl_certfile=args.cert, ssl_keyfile=args.key, log_level="warning")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
