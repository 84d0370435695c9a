// An MCP server of the npm SDK 1.x: Streamable HTTP with sessions at /mcp, over HTTP/1.1 and HTTP/2, resumable.
//
// usage: server.mjs --port N --log FILE [--cert FILE --key FILE] [--trailers]

import { randomUUID } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { InMemoryEventStore } from "@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js";
import { z } from "zod";

const { values: args } = parseArgs({
  options: {
    port: { type: "string" },
    log: { type: "string" },
    cert: { type: "string" },
    key: { type: "string" },
    trailers: { type: "boolean" },
  },
});

const text = (words) => ({ content: [{ type: "text", text: words }] });

async function opened(path) {
  while (!existsSync(path)) await sleep(10);
}

async function report(extra, step, total) {
  const progressToken = extra._meta?.progressToken;
  if (progressToken === undefined) return;
  const params = { progressToken, progress: step, total, message: `step ${step}` };
  await extra.sendNotification({ method: "notifications/progress", params });
}

function build() {
  const server = new McpServer({ name: "stage", version: "1" });
  server.registerTool("add", { inputSchema: { a: z.number(), b: z.number() } }, async ({ a, b }) => text(`${a + b}`));
  server.registerTool("echo", { inputSchema: { text: z.string() } }, async (given) => text(given.text));
  server.registerTool("fail", {}, async () => {
    throw new Error("the tool failed as asked");
  });

  // Reports a step, then waits until its gate is open: nothing moves before the test has seen it move.
  const climbed = { gates: z.string(), steps: z.number() };
  server.registerTool("climb", { inputSchema: climbed }, async ({ gates, steps }, extra) => {
    for (let step = 1; step <= steps; step += 1) {
      await report(extra, step, steps);
      await opened(`${gates}/${step}`);
    }
    return text(`climbed ${steps}`);
  });

  // Once its gate is open, sends the client away, and finishes while it is gone.
  server.registerTool("vanish", { inputSchema: { gates: z.string() } }, async ({ gates }, extra) => {
    await report(extra, 1, 2);
    await opened(`${gates}/away`);
    extra.closeSSEStream();
    await report(extra, 2, 2);
    await sleep(5); // the event store orders by milliseconds
    return text("finished while nobody listened");
  });

  // Says that it began, then waits; says that it was cancelled.
  server.registerTool("stall", { inputSchema: { gates: z.string() } }, async ({ gates }, extra) => {
    extra.signal.addEventListener("abort", () => writeFileSync(`${gates}/cancelled`, ""));
    writeFileSync(`${gates}/began`, "");
    await Promise.race([opened(`${gates}/open`), opened(`${gates}/cancelled`)]);
    return text("stalled");
  });

  server.registerTool("confirm", { inputSchema: { question: z.string() } }, async ({ question }, extra) => {
    const requestedSchema = { type: "object", properties: { agreed: { type: "boolean" } }, required: ["agreed"] };
    const asked = { message: question, requestedSchema };
    const answer = await server.server.elicitInput(asked, { relatedRequestId: extra.requestId });
    return text(`${answer.action} ${answer.content?.agreed}`);
  });

  server.registerTool("ponder", { inputSchema: { question: z.string() } }, async ({ question }, extra) => {
    const asked = { messages: [{ role: "user", content: { type: "text", text: question } }], maxTokens: 16 };
    const answer = await server.server.createMessage(asked, { relatedRequestId: extra.requestId });
    return text(`the model said ${answer.content.text}`);
  });
  return server;
}

const sessions = new Map();

async function transportFor(session) {
  if (session) return sessions.get(session);
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    eventStore: new InMemoryEventStore(),
    retryInterval: 50,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await build().connect(transport);
  return transport;
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

// Trailers need a length that is not known in advance.
function addTrailers(response) {
  const writeHead = response.writeHead.bind(response);
  response.writeHead = (status, { "content-length": _, ...headers }) => writeHead(status, { ...headers, trailer: "x-checksum" });
  response.addTrailers({ "x-checksum": "0123456789abcdef" });
}

async function handle(request, response) {
  const body = await bodyOf(request);
  const { remoteAddress, remotePort } = request.socket;
  const seen = {
    peer: remoteAddress.replace(/^::ffff:/, ""),
    port: remotePort,
    http: request.httpVersion,
    method: request.method,
    path: request.url,
    headers: Object.fromEntries(Object.entries(request.headers).filter(([name]) => !name.startsWith(":"))),
    raw_length: body.length,
    body,
  };
  appendFileSync(args.log, `${JSON.stringify(seen)}\n`);
  if (args.trailers) addTrailers(response);
  const transport = await transportFor(request.headers["mcp-session-id"]);
  if (!transport) {
    response.writeHead(404).end();
    return;
  }
  await transport.handleRequest(request, response, body ? JSON.parse(body) : undefined);
}

function create(handler) {
  if (!args.cert) return http.createServer(handler);
  const tls = { cert: readFileSync(args.cert), key: readFileSync(args.key), allowHTTP1: true };
  return http2.createSecureServer(tls, handler);
}

const server = create((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});
server.listen(Number(args.port), "::", () => console.log("ready"));
