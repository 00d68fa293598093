#!/usr/bin/env node
/**
 * `npm start`: a broker, a server and the status page without privilege, and what the broker sees, until Ctrl-C. With
 * `-- --once` it queries the server itself, prints what that proved, and ends.
 */
import { parseArgs, stripVTControlCharacters } from "node:util";
import { Demo } from "./demo.mjs";
import { main, prepare, Sentence } from "./prepare.mjs";
import { proveAll, watch } from "./proofs.mjs";

const usage = `Usage: npm start [-- --once]

Starts a broker with examples/demo and the example server, and shows the berths until Ctrl-C.

  --once   query the server, print what that proved, and exit: 0 if all of it holds, else 1`;

await main(async () => {
  const { once, help } = options();
  if (help) {
    console.log(usage);
    return 0;
  }
  await prepare();
  const stop = new AbortController();
  // Stays: npm passes Ctrl-C on a second time, which must not end us half-way through ending.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop.abort());
  // `npm start | head`: nobody reads on.
  process.stdout.on("error", () => stop.abort());
  const demo = await Demo.start();
  try {
    for (const note of demo.notes) console.log(note);
    demo.launchPage();
    if (once) await Promise.race([prove(demo), untilStopped(stop.signal)]);
    else await show(demo, stop.signal);
    return 0;
  } finally {
    await demo.stop();
  }
});

function options() {
  try {
    return parseArgs({ options: { once: { type: "boolean" }, help: { type: "boolean" } } }).values;
  } catch (error) {
    throw new Sentence(`${error.message}\n\n${usage}`);
  }
}

async function untilStopped(signal) {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  throw new Sentence("stopped before everything was proved");
}

async function prove(demo) {
  let count = 0;
  try {
    await proveAll(demo, (sentence) => {
      count++;
      console.log(`✓ ${sentence}`);
    });
  } catch (error) {
    console.log(`✗ ${error.message}`);
    throw new Sentence(`after ${count} that held, this did not`);
  }
}

/** The live table: redrawn in place on a terminal, printed again at each change elsewhere. */
async function show(demo, signal) {
  const { berthTable } = await import("../dist/cli/berths/berth-table.js");
  keepServing(demo, signal);
  const berths = new Map();
  const isTerminal = process.stdout.isTTY === true;
  let drawn = 0;
  const draw = () => {
    const sorted = [...berths.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const table = `${berthTable(sorted, isTerminal && process.stdout.hasColors())}\n`;
    const text = isTerminal || drawn === 0 ? `${table}${hints(demo)}` : table;
    process.stdout.write(isTerminal && drawn > 0 ? `\x1b[${drawn}F\x1b[J${text}` : text);
    drawn = linesOf(text);
  };
  let next;
  try {
    for await (const { event, berth } of watch(demo, signal)) {
      if (event === "removed") berths.delete(berth.name);
      else berths.set(berth.name, berth);
      // What happens at once is drawn at once; by then the tenant is the server it became.
      clearTimeout(next);
      next = setTimeout(draw, 100);
    }
  } catch (error) {
    if (!signal.aborted) throw new Sentence(`${error.message}\n${demo.log("broker")}`);
  } finally {
    clearTimeout(next);
  }
  console.log("\nstopped");
}

/** Starts the server, and the next one whenever a signal has ended it: `kill -9` is part of the show. */
function keepServing(demo, signal) {
  const server = demo.launch();
  server.once("close", (code) => {
    if (signal.aborted) return;
    if (code === null) return keepServing(demo, signal);
    console.error(`the server ended with code ${code}:\n${demo.log("server")}`);
  });
}

function hints({ port, socket, webAddress }) {
  // Node is here for sure, nc may not be.
  const page = webAddress === undefined ? "" : `See the berths:   ${webAddress} in a browser\n`;
  return `${page}Ask the server:   node -e 'net.connect(${port}).end("hello").pipe(process.stdout)'
                  node -e 's = dgram.createSocket("udp4"); s.send("hello", ${port}); s.on("message", (m) => (console.log(String(m)), s.close()))'
Ask the broker:   export BERTHD_SOCKET=${socket}
                  node dist/berth/berth.cjs ls
                  node dist/berth/berth.cjs watch
                  node dist/berth/berth.cjs run arena@bob -- sleep 60
Kill the server:  kill -9 PID      its port stays open, and the next server answers
Ctrl-C stops it all.
`;
}

/** How many lines of the terminal a text takes: a long one takes several. */
function linesOf(text) {
  const columns = process.stdout.columns ?? Number.POSITIVE_INFINITY;
  const plain = stripVTControlCharacters(text).split("\n").slice(0, -1);
  return plain.reduce((lines, line) => lines + Math.max(1, Math.ceil(line.length / columns)), 0);
}
