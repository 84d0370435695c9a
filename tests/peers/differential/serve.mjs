// A server of the npm SDKs, stateless, that tells what its tools are called with. `--sdk 1` is `@modelcontextprotocol/sdk`,
// `--sdk 2` is `@modelcontextprotocol/server`. Both read the body themselves.
//
// usage: serve.mjs --port N --log FILE --sdk 1|2

import { appendFileSync } from "node:fs";
import http from "node:http";
import { parseArgs } from "node:util";

import { told } from "./canonical.mjs";

const { values: args } = parseArgs({ options: { port: { type: "string" }, log: { type: "string" }, sdk: { type: "string" } } });

const about = [{ name: "reader", version: "1" }, { capabilities: { tools: {} } }];

function called({ params }) {
  appendFileSync(args.log, `${JSON.stringify({ tool: told(params.name), arguments: told(params.arguments ?? null) })}\n`);
  return { content: [] };
}

async function handlerOf1() {
  const { Server } = await import("@modelcontextprotocol/sdk/server/index.js");
  const { StreamableHTTPServerTransport } = await import("@modelcontextprotocol/sdk/server/streamableHttp.js");
  const { CallToolRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
  return async (request, response) => {
    const server = new Server(...about);
    server.setRequestHandler(CallToolRequestSchema, called);
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
    await server.connect(transport);
    await transport.handleRequest(request, response);
  };
}

async function handlerOf2() {
  const { Server, createMcpHandler } = await import("@modelcontextprotocol/server");
  const handler = createMcpHandler(() => {
    const server = new Server(...about);
    server.setRequestHandler("tools/call", called);
    return server;
  });
  return async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method, headers } = request;
    const asked = new Request(`http://${headers.host}${request.url}`, { method, headers, body: Buffer.concat(chunks) });
    const answer = await handler.fetch(asked);
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(Buffer.from(await answer.arrayBuffer()));
  };
}

const handler = await (args.sdk === "1" ? handlerOf1() : handlerOf2());
const server = http.createServer((request, response) => {
  handler(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});
server.listen(Number(args.port), "::", () => console.log("ready"));
