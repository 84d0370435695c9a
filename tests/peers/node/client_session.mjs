// An unmodified MCP client of the session era: the npm SDK, 1.x, over Streamable HTTP. Runs a fixed scenario against
// `py/server.py` and prints a canonical transcript. Trust comes from the environment (NODE_EXTRA_CA_CERTS).
//
// usage: node client_session.mjs <url> [steps] [delay]

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const [url, steps = "3", delay = "0.05"] = process.argv.slice(2);
if (!url) {
  console.error("usage: node client_session.mjs <url> [steps] [delay]");
  process.exit(2);
}

const sorted = (_key, value) =>
  value && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, value[key]]))
    : value;

const attempt = (call) => call.catch((error) => ({ error: error.code, message: error.message }));

const client = new Client({ name: "weir-peer", version: "1.0.0" }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({
  action: "accept",
  content: { name: `Ada (${params.message})` },
}));
const transport = new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);

const call = (name, args, options) => attempt(client.callTool({ name, arguments: args }, undefined, options));
const progress = [];
const transcript = {
  protocol_version: transport.protocolVersion,
  server: client.getServerVersion(),
  tools: await client.listTools(),
  echo: await call("echo", { text: "grüße, 世界 \u2028" }),
  add: await call("add", { a: 2, b: 40 }),
  slow: await call("slow", { steps: Number(steps), delay: Number(delay) }, { onprogress: (p) => progress.push(p) }),
  slow_progress: progress,
  fail: await call("fail", { reason: "on purpose" }),
  ask: await call("ask", { question: "who are you?" }),
  unknown_tool: await call("no_such_tool", {}),
  large: JSON.stringify(await call("large", { size: 200_000 })).length,
  resource: await attempt(client.readResource({ uri: "weir://motto" })),
  prompt: await attempt(client.getPrompt({ name: "review", arguments: { subject: "this" } })),
};
await transport.terminateSession();
await client.close();
console.log(JSON.stringify(transcript, sorted, 1));
