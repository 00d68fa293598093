/**
 * Real servers of Debian, each in the berth that `berth explain` writes for it: scripts/servers.mjs runs them, and
 * docs/servers.md has them in a table.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { read } from "../docs/markdown.ts";
import { needs, type Program } from "../support/needs.ts";

interface Described {
  readonly package: string;
  readonly runtime: string;
  readonly needs?: string;
  readonly ci: boolean;
}

const folder = join(packageRoot, "scripts/servers");
const servers = readdirSync(folder)
  .sort()
  .map((file) => {
    const described = JSON.parse(readFileSync(join(folder, file), "utf8")) as Described;
    return { ...described, name: file.replace(/\.json$/, "") };
  });
const programs: readonly Program[] = [
  "apache2",
  "busybox",
  "bzfs",
  "dnsmasq",
  "dropbear",
  "erl",
  "gunicorn",
  "haproxy",
  "in.tftpd",
  "lighttpd",
  "memcached",
  "microsocks",
  "mosquitto",
  "murmurd",
  "named",
  "ncat",
  "nginx",
  "ngircd",
  "nsd",
  "prometheus-node-exporter",
  "rbldnsd",
  "redis-server",
  "rsync",
  "setpriv",
  "socat",
  "tinyproxy",
  "turnserver",
  "unbound",
  "vsftpd",
  "webfsd",
  "wesnothd-1.16",
];

describe("a real server serves in the berth that explain writes, at once, later, and after SIGKILL", {
  ...needs("root", ...programs),
  timeout: 300_000,
}, () => {
  let results: ReadonlyMap<string, string | null>;

  beforeAll(async () => {
    const child = spawn(process.execPath, [join(packageRoot, "scripts/servers.mjs"), "--ci", "--json"], {
      env: { ...process.env, BERTHD_SKIP_BUILD: "1" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      stdout += part;
    });
    await once(child, "close");
    const all = JSON.parse(stdout) as { readonly name: string; readonly error: string | null }[];
    results = new Map(all.map(({ name, error }) => [name, error]));
  }, 300_000);

  test.each(servers.filter(({ ci }) => ci).map(({ name }) => name))("%s", (name) => {
    expect(results.get(name)).toBeNull();
  });
});

interface Seen {
  readonly date: string;
  readonly version: string;
}

test("docs/servers.md lists them all; those outside the tests have served once", () => {
  const seen = JSON.parse(readFileSync(join(packageRoot, "scripts/servers-seen.json"), "utf8")) as Record<string, Seen>;
  const outside = servers.filter(({ ci }) => !ci).map(({ name }) => name);
  expect(Object.keys(seen).sort()).toEqual(outside.sort());
  const when = (name: string): string => `no: last served ${seen[name]?.date}, in ${seen[name]?.version}`;
  const rows = servers.map(
    ({ name, package: from, runtime, needs: what = "nothing", ci }) =>
      `| ${name} | ${from} | ${runtime} | ${what} | ${ci ? "yes" : when(name)} |`,
  );
  const table = [
    "| server | Debian's package | runtime | what it needed | in the tests |",
    "| --- | --- | --- | --- | --- |",
  ];
  expect(read("docs/servers.md")).toContain(`${[...table, ...rows].join("\n")}\n`);
});
