// Reads an AsyncAPI document with AsyncAPI's own parser: asyncapi.mjs FILE. Prints what it finds as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const ERROR = 0, WARNING = 1;
const bad = diagnostics.filter(({ severity }) => severity === ERROR || severity === WARNING);
console.log(JSON.stringify({
  complaints: bad.map(({ code, path, message }) => `${code} at ${path.join(".")}: ${message}`),
  channels: document?.channels().all().map((channel) => channel.address()) ?? [],
  sent: document?.operations().filterBySend().length ?? 0,
  received: document?.operations().filterByReceive().length ?? 0,
}));
