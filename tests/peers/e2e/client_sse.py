"""A client of the Python SDK 1.x over HTTP+SSE. Runs with WEIR_PY1.

usage: client_sse.py <url> <steps>
"""

import sys

from mcp import ClientSession
from mcp.client.sse import sse_client

import told


async def perform(session, number, step):
    match step["do"]:
        case "list":
            told.told_tools(number, await session.list_tools())
        case "call":
            result = await session.call_tool(
                step["name"], step.get("arguments"), progress_callback=told.on_progress(number)
            )
            told.told_result(number, result)
        case "wait":
            await told.exists(step["once"])


async def main():
    async with sse_client(sys.argv[1]) as streams, ClientSession(*streams) as session:
        hello = await session.initialize()
        told.tell("connected", protocol=hello.protocolVersion)
        for number, step in told.steps():
            try:
                await perform(session, number, step)
            except Exception as error:  # noqa: BLE001
                told.told_error(number, error)
    told.tell("closed")


told.run(main)
