// How a JSON value was read, so that readings in several languages can be compared: whole numbers by their digits, others
// by the bytes of their double, strings with `s` before them.

// Deeper than anything that is let through.
const DEEP = 110;

export function told(value, depth = 0) {
  if (depth > DEEP) return "deep";
  if (Number.isInteger(value)) return "i" + BigInt(value);
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
