// A client of the npm SDK 2.x, which speaks the modern era where the server does. The same steps and events as told.py.
//
// usage: client_modern.mjs <url> <steps>

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

import { play } from "./steps.mjs";

const [url, steps] = process.argv.slice(2);

const client = new Client({ name: "app", version: "1" }, { versionNegotiation: { mode: "auto" } });
await play(client, new StreamableHTTPClientTransport(new URL(url)), steps);
