// A client over stdio of `mcp-remote`, the bridge that desktop programs start to reach a server over HTTP. The same steps
// and events as told.py.
//
// usage: client_remote.mjs <url> <steps>

import { fileURLToPath } from "node:url";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

import { play } from "./steps.mjs";

const [url, steps] = process.argv.slice(2);
const bridge = fileURLToPath(import.meta.resolve("mcp-remote/dist/proxy.js"));

const command = { command: process.execPath, args: [bridge, url, "--transport", "http-only"], env: process.env };
await play(new Client({ name: "app", version: "1" }), new StdioClientTransport(command), steps);
