"""Drives `mcp-proxy-for-aws` as an MCP client over stdio would. Runs with WEIR_AWS.

usage: client_aws.py <url> <gate> <argument of mcp-proxy-for-aws …>

Says `connected` and `result`, then waits until the file `gate` exists, so that both processes can be looked at.
"""

import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

import told

URL, GATE = sys.argv[1:3]
PROXY = os.path.join(os.path.dirname(sys.executable), "mcp-proxy-for-aws")


async def main():
    server = StdioServerParameters(command=PROXY, args=[URL, *sys.argv[3:]], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        told.told_tools(0, await session.list_tools())
        told.told_result(1, await session.call_tool("add", {"a": 19, "b": 23}))
        await told.exists(GATE)
    told.tell("closed")


told.run(main)
