"""A client of fastmcp. Runs with the Python that has it.

usage: client_fastmcp.py <url> <steps>
"""

import sys

from fastmcp import Client

import told


async def perform(client, number, step):
    match step["do"]:
        case "list":
            told.tell("tools", step=number, names=sorted(tool.name for tool in await client.list_tools()))
        case "call":
            result = await client.call_tool(step["name"], step.get("arguments"))
            told.told_result(number, result)
        case "wait":
            await told.exists(step["once"])


async def main():
    async with Client(sys.argv[1]) as client:
        told.tell("connected")
        for number, step in told.steps():
            try:
                await perform(client, number, step)
            except Exception as error:  # noqa: BLE001
                told.told_error(number, error)
    told.tell("closed")


told.run(main)
