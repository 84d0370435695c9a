// Reads JSON-RPC bodies, in base64 line by line, as servers of the TypeScript SDK read them. Writes a line for each.
import { createInterface } from "node:readline";

import { told } from "./canonical.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  let read = null;
  try {
    read = told(JSON.parse(new TextDecoder("utf-8", { ignoreBOM: true }).decode(Buffer.from(line, "base64"))));
  } catch {}
  console.log(JSON.stringify({ javascript: read }));
}
