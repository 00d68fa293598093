/** The table in docs/servers.md: every server of scripts/servers, and when it was last run if no test runs it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./prepare.mjs";

const page = join(root, "docs/servers.md");
const record = join(root, "scripts/servers-seen.json");
const HEAD = [
  "| server | Debian's package | runtime | what it needed | in the tests |",
  "| --- | --- | --- | --- | --- |",
];

/** When each server served for the last time, and in which version: by name. */
export function readSeen() {
  return JSON.parse(readFileSync(record, "utf8"));
}

/** Remembers servers that serve. Sorted, so that a diff shows what is new. */
export function writeSeen(seen) {
  const sorted = Object.entries({ ...readSeen(), ...seen }).sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(record, `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`);
}

/** Replaces the table of the page. */
export function writeTable(servers) {
  const lines = readFileSync(page, "utf8").split("\n");
  const begin = lines.indexOf(HEAD[0]);
  if (begin < 0) throw new Error(`${page} has no line ${HEAD[0]}`);
  let end = begin;
  while (lines[end]?.startsWith("|")) end++;
  writeFileSync(page, [...lines.slice(0, begin), ...table(servers), ...lines.slice(end)].join("\n"));
}

function table(servers) {
  const seen = readSeen();
  const tested = ({ name, ci }) => {
    if (ci) return "yes";
    const last = seen[name];
    return last === undefined ? "no" : `no: last served ${last.date}, in ${last.version}`;
  };
  return [
    ...HEAD,
    ...servers.map((server) => {
      const { name, package: from, runtime, needs = "nothing" } = server;
      return `| ${name} | ${from} | ${runtime} | ${needs} | ${tested(server)} |`;
    }),
  ];
}
