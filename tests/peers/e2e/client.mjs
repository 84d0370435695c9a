// A client of the npm SDK 1.x over Streamable HTTP. The same steps and events as told.py.
//
// usage: client.mjs <url> <steps> [header=value …]

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const [url, steps, ...pairs] = process.argv.slice(2);
const headers = Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));

function tell(event, facts = {}) {
  const sorted = Object.fromEntries(Object.entries({ event, ...facts }).sort(([a], [b]) => (a < b ? -1 : 1)));
  console.log(JSON.stringify(sorted));
}

const tellError = (step, error) => tell("error", { step, kind: error.constructor.name, message: error.message });

async function exists(path) {
  while (!existsSync(path)) await sleep(10);
}

async function perform(client, number, step) {
  const asked = { name: step.name, arguments: step.arguments ?? {} };
  switch (step.do) {
    case "list": {
      const { tools } = await client.listTools();
      tell("tools", { step: number, names: tools.map((tool) => tool.name).sort() });
      break;
    }
    case "call": {
      const onprogress = ({ progress, total, message }) => tell("progress", { step: number, progress, total, message });
      const result = await client.callTool(asked, undefined, { onprogress });
      const structured = result.structuredContent ?? null;
      tell("result", { step: number, content: result.content, structured, failed: Boolean(result.isError) });
      break;
    }
    case "abandon": {
      const abort = new AbortController();
      const call = client.callTool(asked, undefined, { signal: abort.signal }).catch(() => {});
      await exists(step.once);
      abort.abort("enough");
      await call;
      tell("abandoned", { step: number });
      break;
    }
    case "wait":
      await exists(step.once);
      break;
  }
}

const client = new Client({ name: "app", version: "1" }, { capabilities: { elicitation: {}, sampling: {} } });
client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
  tell("asked", { what: "elicitation", message: params.message });
  return { action: "accept", content: { agreed: true } };
});
client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => {
  tell("asked", { what: "sampling", message: params.messages[0].content.text });
  return { role: "assistant", model: "none", content: { type: "text", text: "forty-two" } };
});

try {
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
  await client.connect(transport);
  tell("connected", { protocol: transport.protocolVersion });
  for (const [number, step] of JSON.parse(steps).entries()) {
    await perform(client, number, step).catch((error) => tellError(number, error));
  }
  await transport.terminateSession();
  await client.close();
  tell("closed");
} catch (error) {
  tellError(null, error.cause ? Object.assign(error, { message: `${error.message}: ${error.cause.message}` }) : error);
  process.exitCode = 1;
}
