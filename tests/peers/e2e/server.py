"""An MCP server of the Python SDK 2.x: both eras of Streamable HTTP at /mcp. Runs with WEIR_PY."""

import argparse

import anyio
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import SamplingMessage, TextContent
from pydantic import BaseModel
from starlette.middleware.gzip import GZipMiddleware

import served

TOKEN = "opensesame"


class OneToken:
    async def verify_token(self, token):
        return AccessToken(token=token, client_id="app", scopes=["mcp"]) if token == TOKEN else None


class Confirmation(BaseModel):
    agreed: bool


def build(options):
    server = MCPServer("stage", **options)

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @server.tool()
    def echo(text: str) -> str:
        """Says it again."""
        return text

    @server.tool()
    def pay(card: str, amount: int) -> str:
        """Charges a card."""
        return f"charged {amount} to a card of {len(card)} digits"

    @server.tool()
    def fail() -> str:
        """Always fails."""
        raise ValueError("the tool failed as asked")

    @server.tool()
    async def climb(gates: str, steps: int, ctx: Context) -> str:
        """Reports a step, then waits until its gate is open: nothing moves before the test has seen it move."""
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps, f"step {step}")
            await served.opened(f"{gates}/{step}")
        return f"climbed {steps}"

    @server.tool()
    async def stall(gates: str, ctx: Context) -> str:
        """Says that it began, then waits; says that it was cancelled."""
        try:
            open(f"{gates}/began", "w").close()
            await served.opened(f"{gates}/open")
            return "stalled"
        except anyio.get_cancelled_exc_class():
            open(f"{gates}/cancelled", "w").close()
            raise

    @server.tool()
    async def confirm(question: str, ctx: Context) -> str:
        """Asks the client's user."""
        answer = await ctx.elicit(question, Confirmation)
        return f"{answer.action} {answer.data.agreed}" if answer.action == "accept" else answer.action

    @server.tool()
    async def ponder(question: str, ctx: Context) -> str:
        """Asks the client's model."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text=question))
        answer = await ctx.session.create_message(
            messages=[message], max_tokens=16, related_request_id=ctx.request_id
        )
        return f"the model said {answer.content.text}"

    return server


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="answer with JSON instead of a stream where possible")
    parser.add_argument("--auth", metavar="URL", help="require a bearer token; this server's own URL")
    parser.add_argument("--gzip", action="store_true", help="compress responses, streams too")
    args = served.arguments(parser)
    options = {}
    if args.auth:
        options = {
            "auth": AuthSettings(
                issuer_url="https://idp.test/", resource_server_url=args.auth, required_scopes=["mcp"]
            ),
            "token_verifier": OneToken(),
        }
    app = build(options).streamable_http_app(
        json_response=args.json,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    if args.gzip:
        app = GZipMiddleware(app, minimum_size=1, exclude_content_types=())
    served.listen(served.SeenLog(app, args.log), args)


main()
