"""An unmodified MCP client of the first era: the Python SDK, 1.x, over HTTP+SSE; prints a canonical transcript.

Trust comes from the environment (SSL_CERT_FILE), as for any Python program.
"""

import argparse
import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client


def plain(result):
    """A result as the JSON it came from."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def scenario(session, steps, delay):
    yield "initialize", plain(await session.initialize())
    yield "tools", plain(await session.list_tools())
    yield "echo", plain(await session.call_tool("echo", {"text": "grüße, 世界 \u2028"}))
    yield "add", plain(await session.call_tool("add", {"a": 2, "b": 40}))
    progress = []

    async def on_progress(done, total, message):
        progress.append([done, total, message])

    slow = session.call_tool("slow", {"steps": steps, "delay": delay}, progress_callback=on_progress)
    yield "slow", plain(await slow)
    yield "slow_progress", progress
    yield "fail", plain(await session.call_tool("fail", {"reason": "on purpose"}))


async def run(args):
    async with sse_client(args.url) as (read, write), ClientSession(read, write) as session:
        transcript = {name: value async for name, value in scenario(session, args.steps, args.delay)}
    json.dump(transcript, sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--steps", type=int, default=3, help="steps of the slow call")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds per step")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
