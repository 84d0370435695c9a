"""A server of the Python SDK 1.x, stateless, that tells what its tools are called with. Runs with WEIR_PY1."""

import argparse
import contextlib
import json
import os
import sys

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Mount

from canonical import told

sys.path.append(os.path.join(os.path.dirname(__file__), "../e2e"))
import served  # noqa: E402

args = served.arguments(argparse.ArgumentParser())
log = os.open(args.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
server = Server("reader")


async def call_tool(request):
    params = request.params
    os.write(log, json.dumps({"tool": told(params.name), "arguments": told(params.arguments)}).encode() + b"\n")
    return types.ServerResult(types.CallToolResult(content=[]))


server.request_handlers[types.CallToolRequest] = call_tool
manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)


@contextlib.asynccontextmanager
async def lifespan(_app):
    async with manager.run():
        yield


served.listen(Starlette(routes=[Mount("/", app=manager.handle_request)], lifespan=lifespan), args)
