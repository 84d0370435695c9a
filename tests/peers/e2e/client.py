"""A client of the Python SDK 2.x. Runs with WEIR_PY.

usage: client.py <url> <steps> [auto|legacy|2026-07-28] [header=value …]
"""

import asyncio
import sys

import anyio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import told

URL = sys.argv[1]
MODE = sys.argv[3] if len(sys.argv) > 3 else "auto"
HEADERS = dict(pair.split("=", 1) for pair in sys.argv[4:])


async def perform(client, number, step):
    match step["do"]:
        case "list":
            told.told_tools(number, await client.list_tools(cache_mode="bypass"))
        case "call":
            result = await client.call_tool(
                step["name"], step.get("arguments"), progress_callback=told.on_progress(number)
            )
            told.told_result(number, result)
        case "abandon":  # starts a call and cancels it once a file exists
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, step["name"], step.get("arguments"))
                await told.exists(step["once"])
                group.cancel_scope.cancel()
            told.tell("abandoned", step=number)
        case "wait":
            await told.exists(step["once"])


async def attempt(client, number, step):
    try:
        await perform(client, number, step)
    except Exception as error:  # noqa: BLE001
        told.told_error(number, error)


async def load(until, prefix):
    """Calls without end, reconnecting whenever something breaks, until a file exists."""
    number = 0
    while not told.os.path.exists(until):
        try:
            async with connected() as client:
                while not told.os.path.exists(until):
                    number += 1
                    with anyio.fail_after(10):
                        result = await client.call_tool("echo", {"text": f"{prefix}-{number}"})
                    told.tell("answered", text=result.content[0].text)
        except Exception as error:  # noqa: BLE001
            told.tell("interrupted", kind=type(told.innermost(error)).__name__)
            await asyncio.sleep(0.02)


def connected():
    transport = streamable_http_client(URL, http_client=create_mcp_http_client(headers=HEADERS))
    return Client(transport, mode=MODE)


async def main():
    script = told.steps()
    if script and script[0][1]["do"] == "load":
        await load(script[0][1]["until"], script[0][1]["prefix"])
        return
    async with connected() as client:
        told.tell("connected", protocol=client.protocol_version)
        for number, step in script:
            await attempt(client, number, step)
    told.tell("closed")


told.run(main)
