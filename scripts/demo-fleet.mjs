#!/usr/bin/env node
/**
 * `npm run demo:fleet`: an etcd and three hosts in network namespaces. Places berths, kills a host, and shows what
 * happens. Everything ends with it, also with Ctrl-C.
 */
import { parseArgs } from "node:util";
import { runInWorld, worldFolder } from "./fleet/world.mjs";
import { main, prepare, Sentence } from "./prepare.mjs";

const usage = `Usage: npm run demo:fleet

Starts an etcd and three hosts in network namespaces, places berths, kills a host, and shows what happens. Needs root.
It ends by itself after about half a minute, and leaves nothing behind.`;

await main(async () => {
  if (read().help) {
    console.log(usage);
    return 0;
  }
  if (worldFolder === undefined) {
    await prepare();
    return await runInWorld(import.meta.filename, []);
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));
  const { show } = await import("./fleet/demo.mjs");
  try {
    await show();
    return 0;
  } finally {
    // What still runs ends with the world, and the world with this process.
    setImmediate(() => process.exit());
  }
});

function read() {
  try {
    return parseArgs({ options: { help: { type: "boolean" } } }).values;
  } catch (error) {
    throw new Sentence(`${error.message}\n\n${usage}`);
  }
}
