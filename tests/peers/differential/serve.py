"""A server of the Python SDK 2.x, stateless, that tells what its tools are called with. Runs with WEIR_PY."""

import argparse
import json
import os
import sys

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings

from canonical import told

sys.path.append(os.path.join(os.path.dirname(__file__), "../e2e"))
import served  # noqa: E402

args = served.arguments(argparse.ArgumentParser())
log = os.open(args.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


async def call_tool(_context, params):
    os.write(log, json.dumps({"tool": told(params.name), "arguments": told(params.arguments)}).encode() + b"\n")
    return types.CallToolResult(content=[])


async def list_tools(_context, _params):
    return types.ListToolsResult(tools=[])


app = Server("reader", on_call_tool=call_tool, on_list_tools=list_tools).streamable_http_app(
    json_response=True,
    stateless_http=True,
    transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
)
served.listen(app, args)
