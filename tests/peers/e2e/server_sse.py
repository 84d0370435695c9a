"""An MCP server of the Python SDK 1.x: the HTTP+SSE transport of 2024-11-05 at /sse. Runs with WEIR_PY1."""

import argparse

from mcp.server.fastmcp import Context, FastMCP
from mcp.server.transport_security import TransportSecuritySettings

import served

server = FastMCP(
    "stage", transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
)


@server.tool()
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ValueError("the tool failed as asked")


@server.tool()
async def climb(gates: str, steps: int, ctx: Context) -> str:
    """Reports a step, then waits until its gate is open."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await served.opened(f"{gates}/{step}")
    return f"climbed {steps}"


args = served.arguments(argparse.ArgumentParser())
served.listen(served.SeenLog(server.sse_app(), args.log), args)
