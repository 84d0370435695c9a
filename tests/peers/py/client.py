"""An unmodified MCP client: the Python SDK, 2.x, runs a fixed scenario against `server.py` and prints its transcript.

The transcript is canonical JSON: the same server gives the same bytes, whatever is between. Trust comes from the
environment (SSL_CERT_FILE), as for any Python program.
"""

import argparse
import asyncio
import json
import sys

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult


def plain(result):
    """A result as the JSON it came from."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def attempt(call):
    """A result, or the error that the SDK shows."""
    try:
        return plain(await call)
    except MCPError as error:
        return {"error": error.error.code, "message": error.error.message}


async def answer(_context, params):
    """Answers an elicitation; the question is part of the answer, so that the transcript shows it."""
    return ElicitResult(action="accept", content={"name": f"Ada ({params.message})"})


async def scenario(client, steps, delay):
    yield "protocol_version", client.protocol_version
    yield "server_info", plain(client.server_info)
    yield "tools", [plain(tool) for tool in (await client.list_tools()).tools]
    yield "echo", await attempt(client.call_tool("echo", {"text": "grüße, 世界 \u2028"}))
    yield "add", await attempt(client.call_tool("add", {"a": 2, "b": 40}))
    progress = []

    async def on_progress(done, total, message):
        progress.append([done, total, message])

    slow = client.call_tool("slow", {"steps": steps, "delay": delay}, progress_callback=on_progress)
    yield "slow", await attempt(slow)
    yield "slow_progress", progress
    yield "fail", await attempt(client.call_tool("fail", {"reason": "on purpose"}))
    yield "ask", await attempt(client.call_tool("ask", {"question": "who are you?"}))
    yield "unknown_tool", await attempt(client.call_tool("no_such_tool", {}))
    yield "large", len(json.dumps(await attempt(client.call_tool("large", {"size": 200_000}))))
    yield "resources", plain(await client.list_resources())
    yield "resource", await attempt(client.read_resource("weir://motto"))
    yield "prompts", plain(await client.list_prompts())
    yield "prompt", await attempt(client.get_prompt("review", {"subject": "this"}))


async def run(args):
    async with httpx2.AsyncClient(http2=args.h2, timeout=httpx2.Timeout(30, read=300)) as http:
        # A URL is what most programs pass; only HTTP/2 needs a client of one's own.
        server = streamable_http_client(args.url, http_client=http) if args.h2 else args.url
        async with Client(server, mode=args.mode, elicitation_callback=answer) as client:
            transcript = {}
            for _ in range(args.repeat):
                transcript = {name: value async for name, value in scenario(client, args.steps, args.delay)}
    json.dump(transcript, sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--mode", default="auto", help="auto, legacy (the session era) or a protocol version")
    parser.add_argument("--h2", action="store_true", help="offer HTTP/2")
    parser.add_argument("--steps", type=int, default=3, help="steps of the slow call")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds per step")
    parser.add_argument("--repeat", type=int, default=1, help="run the scenario so often on one connection")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
