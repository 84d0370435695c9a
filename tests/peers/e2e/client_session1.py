"""A client of the Python SDK 1.x over Streamable HTTP. Runs with WEIR_PY1.

usage: client_session1.py <url> <steps>
"""

import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

import told


async def perform(session, number, step):
    match step["do"]:
        case "list":
            told.told_tools(number, await session.list_tools())
        case "call":
            told.told_result(number, await session.call_tool(step["name"], step.get("arguments")))
        case "wait":
            await told.exists(step["once"])


async def main():
    async with streamablehttp_client(sys.argv[1]) as (read, write, _), ClientSession(read, write) as session:
        hello = await session.initialize()
        told.tell("connected", protocol=hello.protocolVersion)
        for number, step in told.steps():
            try:
                await perform(session, number, step)
            except Exception as error:  # noqa: BLE001
                told.told_error(number, error)
    told.tell("closed")


told.run(main)
