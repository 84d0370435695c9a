// A client over stdio of `mcp-remote`, the bridge that desktop programs start to reach a server over HTTP. The same steps
// and events as told.py.
//
// usage: client_remote.mjs <url> <steps>

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [url, steps] = process.argv.slice(2);
const bridge = fileURLToPath(import.meta.resolve("mcp-remote/dist/proxy.js"));

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

const client = new Client({ name: "app", version: "1" });
try {
  const command = { command: process.execPath, args: [bridge, url, "--transport", "http-only"], env: process.env };
  await client.connect(new StdioClientTransport(command));
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
