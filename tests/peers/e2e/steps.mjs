// The steps of clients of the npm SDKs, and what is told of them: as told.py.

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

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

// Connects and goes through the steps, of which one that fails does not end the others.
export async function play(client, transport, steps) {
  try {
    await client.connect(transport);
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
}
