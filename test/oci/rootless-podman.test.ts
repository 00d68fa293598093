/** Containers of podman that an ordinary user runs, who has no ids but its own, and serves on a berth's sockets. */
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { inodesAt, NOBODY } from "../bind/harness.ts";
import { berth } from "../cli/support.ts";
import { type BrokerProcess, isReady, launchBroker, TestFolder } from "../support/broker.ts";
import { missing, type Needs, needs } from "../support/needs.ts";
import { PODMAN, Podman } from "../support/podman.ts";
import { freePort } from "../support/ports.ts";
import { ask, berthAt, compileServer, who } from "./harness.ts";

const programs = [...PODMAN, "setpriv"] as const;

/** As {@link needs}, and user namespaces for ordinary users. */
function needsAll(): Needs {
  if (missing(...programs) !== undefined) return needs(...programs);
  const ids = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  const { status } = spawnSync("setpriv", [...ids, "unshare", "--user", "--map-root-user", "true"]);
  return status === 0 ? {} : { skip: true, meta: { needs: "needs user namespaces for users other than root" } };
}

const tenant = async ({ socket }: BrokerProcess): Promise<{ pid: number; uid: number } | undefined> =>
  JSON.parse((await berth(["show", "arena", "--json", "--socket", socket])).stdout).lease ?? undefined;

/** Runs a server of that user's in a berth with these lines in its configuration. */
async function run(
  more: string,
  test: (all: { broker: BrokerProcess; podman: Podman; port: number; options: string[] }) => Promise<void>,
): Promise<void> {
  const port = await freePort();
  using folder = new TestFolder({ "config/arena.toml": `${berthAt(port, "any-namespace = true")}${more}` });
  const program = compileServer(folder);
  await using broker = launchBroker(folder);
  await broker.logged(isReady);
  await using podman = new Podman(folder, program, NOBODY);
  const { stdout } = await berth(["oci", "profile", "arena", "--socket", broker.socket]);
  const path = join(folder.path, "arena.json");
  writeFileSync(path, stdout);
  chmodSync(path, 0o644);
  const files = ["--rootfs", podman.rootfs, "/server", String(port)];
  await test({ broker, podman, port, options: ["--network", "none", "--security-opt", `seccomp=${path}`, ...files] });
}

describe.each(["crun", "runc"])(
  "a container of podman without root, by %s",
  {
    ...needsAll(),
    timeout: 60_000,
  },
  (runtime) => {
    it("serves UDP and TCP; after stop, start and restart it has the same sockets", () =>
      run(`[tenant]\nusers = ["nobody"]\n`, async ({ broker, podman, port, options }) => {
        const before = { udp: inodesAt("udp", port), tcp: inodesAt("tcp", port) };
        await podman.start("one", "--runtime", runtime, ...options);
        for (const kind of ["udp", "tcp"] as const) {
          const [own, seen] = await who(kind, port);
          expect(seen).toBe(own);
        }
        expect(await tenant(broker)).toMatchObject({ pid: await podman.pidOf("one"), uid: NOBODY });
        await podman.ok("stop", "--time", "0", "one");
        await expect.poll(() => tenant(broker)).toBeUndefined();
        await podman.ok("start", "one");
        expect([await ask(port, "inode")]).toEqual(before.udp);
        await podman.ok("restart", "--time", "0", "one");
        expect([await ask(port, "inode")]).toEqual(before.udp);
        expect({ udp: inodesAt("udp", port), tcp: inodesAt("tcp", port) }).toEqual(before);
        expect(broker.log.filter(({ level }) => level === "warning")).toEqual([]);
      }));

    it("gets no berth that is not its user's", () =>
      run("", async ({ broker, podman, options }) => {
        const { code, stderr } = await podman.run(["run", "--rm", "--runtime", runtime, ...options]);
        expect([code, stderr]).toEqual([expect.any(Number), expect.stringContaining("cannot")]);
        expect(code).not.toBe(0);
        expect(await tenant(broker)).toBeUndefined();
      }));
  },
);
