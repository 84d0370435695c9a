// Reads JSON-RPC bodies, in base64 line by line, as servers of the TypeScript SDK read them. Writes a line for each; numbers are
// told by the bytes of their double.
import { createInterface } from "node:readline";

function told(value) {
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return "n" + bytes.toString("hex");
  }
  if (typeof value === "string") return "s" + value;
  if (Array.isArray(value)) return value.map(told);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, element]) => [key, told(element)]));
  }
  return value;
}

for await (const line of createInterface({ input: process.stdin })) {
  let read = null;
  try {
    read = told(JSON.parse(new TextDecoder("utf-8", { ignoreBOM: true }).decode(Buffer.from(line, "base64"))));
  } catch {}
  console.log(JSON.stringify({ javascript: read }));
}
