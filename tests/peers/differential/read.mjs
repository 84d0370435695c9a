// Reads JSON-RPC bodies, in base64 line by line, as servers of the TypeScript SDK read them. Writes a line for each; numbers are
// told by the bytes of their double.
import { createInterface } from "node:readline";

// Deeper than anything that is let through.
const DEEP = 110;

function told(value, depth = 0) {
  if (depth > DEEP) return "deep";
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return "n" + bytes.toString("hex");
  }
  if (typeof value === "string") {
    // Half a surrogate pair cannot be told to others as it is.
    const half = (unit) => "\\u" + unit.charCodeAt(0).toString(16);
    return "s" + (value.isWellFormed() ? value : value.replace(/\p{Surrogate}/gu, half));
  }
  if (Array.isArray(value)) return value.map((element) => told(element, depth + 1));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, element]) => [key, told(element, depth + 1)]));
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
