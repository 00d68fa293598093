#!/usr/bin/env node
/** `berth-web`. It runs beside game servers, so it saves memory rather than milliseconds. */
import { setFlagsFromString } from "node:v8";

// Before anything else is loaded. With 500 berths this is 15 MB less.
setFlagsFromString("--semi-space-growth-factor=1");
setFlagsFromString("--optimize-for-size");

const { main } = await import("./program.ts");
process.exitCode = await main(process.argv.slice(2));
