// A person at a browser who signs in: opens a page, fills in whatever form it has, and agrees to everything.
//
// usage: person.mjs <url> <name>

const [start, name] = process.argv.slice(2);
const jar = new Map();

async function ask(url, options = {}) {
  const cookie = [...jar].map(([key, value]) => `${key}=${value}`).join("; ");
  const response = await fetch(url, { ...options, redirect: "manual", headers: { ...options.headers, cookie } });
  for (const line of response.headers.getSetCookie()) {
    const [key, value] = line.split(";")[0].split("=");
    jar.set(key, value);
  }
  return response;
}

function form(page, url) {
  const found = /<form[^>]*?>([\s\S]*?)<\/form>/.exec(page);
  if (!found) return undefined;
  const attribute = (text, key) => new RegExp(`\\b${key}="([^"]*)"`).exec(text)?.[1]?.replaceAll("&amp;", "&");
  const fields = new URLSearchParams();
  for (const [input] of page.matchAll(/<input[^>]*>/g)) {
    const key = attribute(input, "name");
    if (key) fields.set(key, key === "login" ? name : (attribute(input, "value") ?? "anything"));
  }
  const action = /<form[^>]*>/.exec(page)[0];
  return { to: new URL(attribute(action, "action") ?? url, url), fields };
}

let url = new URL(start);
let response = await ask(url);
for (let step = 0; step < 20; step++) {
  const next = response.headers.get("location");
  if (next) {
    url = new URL(next, url);
    response = await ask(url);
    continue;
  }
  const page = await response.text();
  const filled = form(page, url);
  if (!filled || response.status >= 400) {
    console.log(JSON.stringify({ status: response.status, at: url.pathname, page: page.replace(/<[^>]*>/g, " ").trim() }));
    break;
  }
  url = filled.to;
  response = await ask(url, {
    method: "POST", body: filled.fields.toString(), headers: { "content-type": "application/x-www-form-urlencoded" },
  });
}
