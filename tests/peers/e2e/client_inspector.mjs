// The MCP Inspector as people use it in scripts. `cli`: each step is a command, with a session of its own. `session`: the
// commands share the connection of a daemon. The same steps and events as told.py; results are what the commands print.
//
// usage: client_inspector.mjs <url> <steps> cli|session

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const [url, steps, mode] = process.argv.slice(2);
const program = (below) => fileURLToPath(new URL(below, import.meta.resolve("@modelcontextprotocol/inspector/package.json")));
const inspector = program("clients/launcher/build/index.js");
const mcpdo = program("clients/mcpdo/build/mcp-bin.js");
const env = { ...process.env, MCP_INSPECTOR_SECRET_STORE: "memory", MCP_INSPECTOR_DAEMON_DIR: `${process.env.HOME}/d` };

const tell = (event, facts = {}) => console.log(JSON.stringify({ event, ...facts }));

function run(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env }, (error, stdout, stderr) => resolve({ failed: Boolean(error), stdout, stderr }));
  });
}

function command({ name, arguments: given = {}, do: what }) {
  const method = what === "list" ? "tools/list" : "tools/call";
  const pairs = Object.entries(given).map(([key, value]) => [key, JSON.stringify(value)]);
  if (mode === "session") {
    const words = what === "list" ? [] : [name, ...pairs.map(([key, value]) => `${key}:=${value}`)];
    return run(mcpdo, "--connection", "one", "--format", "json", method, ...words);
  }
  const call = what === "list" ? [] : ["--tool-name", name];
  for (const [key, value] of pairs) call.push("--tool-arg", `${key}=${value}`);
  return run(inspector, "--cli", url, "--transport", "http", "--method", method, ...call);
}

async function perform(number, step) {
  if (step.do === "wait") {
    while (!existsSync(step.once)) await sleep(10);
    return;
  }
  const { failed, stdout, stderr } = await command(step);
  let printed;
  try {
    printed = JSON.parse(stdout);
  } catch {
    tell("error", { step: number, kind: "Command", message: stderr });
    return;
  }
  if (step.do === "list") tell("tools", { step: number, names: printed.tools.map((tool) => tool.name).sort() });
  else tell("result", { step: number, content: printed.content, structured: printed.structuredContent ?? null, failed });
}

if (mode === "session") {
  const { failed, stderr } = await run(mcpdo, "--connection", "one", "connect", url, "--transport", "http");
  if (failed) tell("error", { step: null, kind: "Command", message: stderr });
}
tell("connected");
for (const [number, step] of JSON.parse(steps).entries()) await perform(number, step);
if (mode === "session") await run(mcpdo, "daemon", "stop");
tell("closed");
