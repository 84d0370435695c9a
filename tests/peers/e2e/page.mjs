// Opens a replay's page in a real browser, as on a phone, and prints what it is like there.
//
// usage: node page.mjs <browser> <file> <text to find>

import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, file, text] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
const trouble = [];
page.on("dialog", (dialog) => { trouble.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
page.on("pageerror", (error) => trouble.push(`error: ${error.message}`));
page.on("console", (message) => trouble.push(`console: ${message.text()}`));
const requests = [];
page.on("request", (request) => requests.push(request.url().split("/").pop()));
await page.goto(pathToFileURL(file).href);

const look = () => page.evaluate(() => ({
  shown: document.getElementById("shown").value,
  visible: [...document.querySelectorAll("article")].filter((entry) => entry.checkVisibility()).length,
  open: document.querySelectorAll("details[open]").length,
}));
const first = await look();
const facts = await page.evaluate(() => ({
  title: document.title,
  width: document.documentElement.scrollWidth,
  articles: document.querySelectorAll("article").length,
  details: document.querySelectorAll("details").length,
  scripts: document.scripts.length,
  foreign: document.querySelectorAll("img, iframe, object, embed, link, a, svg, audio, video").length,
  pwned: window.pwned ?? null,
  summaryIsAbove: document.getElementById("summary").getBoundingClientRect().top
    < document.querySelector("article").getBoundingClientRect().top,
  // A frame around the text, so that a layout that broke out of it shows.
  outside: [...document.querySelectorAll("article *")].filter((part) => part.getBoundingClientRect().right > 391).length,
}));
await page.fill("#find", text);
const found = await look();
await page.fill("#find", "");
await page.check("#trouble");
const wrong = await look();
await page.uncheck("#trouble");
await page.uncheck("input[value=call]");
const withoutCalls = await look();
await page.check("input[value=call]");
await page.click("#expand");
const expanded = await look();
await browser.close();
console.log(JSON.stringify({ ...facts, requests, trouble, first, found, wrong, withoutCalls, expanded }));
