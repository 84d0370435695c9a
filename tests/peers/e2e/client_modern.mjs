// A client of the npm SDK 2.x, which speaks the modern era where the server does. The same steps and events as told.py.
//
// usage: client_modern.mjs <url> <steps>

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, steps] = process.argv.slice(2);

const tell = (event, facts = {}) => console.log(JSON.stringify({ event, ...facts }));
const tellError = (step, error) => tell("error", { step, kind: error.constructor.name, message: error.message });

async function perform(client, number, step) {
  switch (step.do) {
    case "list": {
      const { tools } = await client.listTools();
      tell("tools", { step: number, names: tools.map((tool) => tool.name).sort() });
      break;
    }
    case "call": {
      const result = await client.callTool({ name: step.name, arguments: step.arguments ?? {} });
      const structured = result.structuredContent ?? null;
      tell("result", { step: number, content: result.content, structured, failed: Boolean(result.isError) });
      break;
    }
    case "wait":
      while (!existsSync(step.once)) await sleep(10);
      break;
  }
}

const client = new Client({ name: "app", version: "1" }, { versionNegotiation: { mode: "auto" } });
try {
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  tell("connected");
  for (const [number, step] of JSON.parse(steps).entries()) {
    await perform(client, number, step).catch((error) => tellError(number, error));
  }
  await client.close();
  tell("closed");
} catch (error) {
  tellError(null, error);
  process.exitCode = 1;
}
