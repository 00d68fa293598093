#!/usr/bin/env node
/**
 * `npm run fleet:rounds`: a fleet of five hosts and an etcd of three members, each in a network namespace. In each
 * round something fails while operators change the fleet. Afterwards scripts/fleet/check.mjs looks at all that
 * happened.
 */
import { parseArgs } from "node:util";
import { runInWorld, worldFolder } from "./fleet/world.mjs";
import { main, prepare, Sentence } from "./prepare.mjs";

const usage = `Usage: npm run fleet:rounds -- [OPTION]...

Five hosts and an etcd of three members in network namespaces. In each round something fails while operators change the
fleet. Then all that happened is checked. Exit status 1: something was wrong. Needs root.

  --rounds N       how many rounds (default: 30)
  --seed N         of the first round; the next one has the next seed (default: 1)
  --ttl N          seconds of a host's lease (default: 4)
  --berths N       first, clients race to place so many berths (default: 200)
  --allocations N  and to allocate one so often (default: 10000)
  --keep FILE      write all that happened to this file, for scripts/fleet/check.mjs`;

await main(async () => {
  const options = read();
  if (options === undefined) {
    console.log(usage);
    return 0;
  }
  if (worldFolder === undefined) {
    await prepare();
    return await runInWorld(import.meta.filename, process.argv.slice(2));
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));
  const { runRounds } = await import("./fleet/rounds.mjs");
  try {
    return await runRounds(options);
  } finally {
    // What still runs ends with the world, and the world with this process.
    setImmediate(() => process.exit());
  }
});

function read() {
  const option = (name) => ({ [name]: { type: "string" } });
  const names = ["rounds", "seed", "ttl", "berths", "allocations", "keep"].map(option);
  try {
    const { values } = parseArgs({ options: Object.assign({ help: { type: "boolean" } }, ...names) });
    if (values.help) return undefined;
    const whole = (text) => {
      if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`${text} is no whole number above 0`);
      return Number(text);
    };
    const { rounds = "30", seed = "1", ttl = "4", berths = "200", allocations = "10000", keep } = values;
    const numbers = { rounds, seed, ttl, berths, allocations };
    return { ...Object.fromEntries(Object.entries(numbers).map(([name, text]) => [name, whole(text)])), keep };
  } catch (error) {
    throw new Sentence(`${error.message}\n\n${usage}`);
  }
}
