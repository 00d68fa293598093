/** A server without a filter that goes into the background, in a control group of its own and in that of others. */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ownGroup } from "../../../src/broker/sockets/control-group.ts";
import { packageRoot } from "../../../src/native.ts";
import { Server } from "../../bind/harness.ts";
import { startBroker } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { endCgroup, makeCgroup } from "../../support/machine-cgroup.ts";
import { needs } from "../../support/needs.ts";

leaksNothing("soon");

const launcher = join(packageRoot, "build/Release/berth-launch");
/**
 * Makes its socket non-blocking, leaves it to a child, which says its number, and ends with a line on standard input.
 */
const code = `import os, sys
os.set_blocking(3, False)
if os.fork() == 0:
    os.write(1, b"%d\\n" % os.getpid())
    os.read(0, 1)
    sys.stdin.close()
    os.setsid()
    import signal
    signal.pause()
os.read(0, 1)`;

interface World {
  readonly broker: Awaited<ReturnType<typeof startBroker>>;
  readonly child: number;
}

/** A server in this group, whose first process has exited. */
async function serving(group: string | undefined, test: (world: World) => Promise<void>): Promise<void> {
  const files = { "game.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[server]\nuser = "nobody"\n` };
  await using broker = await startBroker(files);
  const enter = group === undefined ? "" : `echo $$ > ${join(group, "cgroup.procs")};`;
  const command = `${enter} exec "$@"`;
  const args = [launcher, "--socket", broker.socket, "game", "--", "/usr/bin/python3", "-c", code];
  await using first = new Server("sh", ["-c", command, "sh", ...args]);
  const [child = -1] = (await first.said(1)).map(Number);
  expect(child).toBeGreaterThan(1);
  try {
    const exited = once(first.child, "exit");
    first.child.stdin?.write("\n\n");
    await exited;
    await test({ broker, child });
  } finally {
    if (existsSync(`/proc/${child}`)) process.kill(child, "SIGKILL");
  }
}

describe("a server with listen-fds that goes into the background", needs("root"), () => {
  it("has its berth until the last process of its group has ended", async () => {
    const group = makeCgroup("group");
    try {
      await serving(group, async ({ broker, child }) => {
        await expect.poll(() => broker.broker.berths[0]?.lease?.pid).toBe(child);
        process.kill(child, "SIGSTOP"); // it lives for as long as it is in the group
        expect(broker.broker.berths[0]?.state).toBe("occupied");
        process.kill(child, "SIGKILL");
        await expect.poll(() => broker.broker.berths[0]?.state).toBe("vacant");
      });
    } finally {
      await endCgroup(group);
    }
  });

  it("loses it with its first process in the group of others, and the log says who has the socket", async () => {
    await serving(undefined, async ({ broker }) => {
      await expect.poll(() => broker.broker.berths[0]?.state).toBe("vacant");
      await expect
        .poll(() => broker.log.filter(({ event }) => event === "still-open").map(({ message }) => message))
        .toEqual([
          "berth game: another process still has socket game, so the socket keeps O_NONBLOCK; end that process",
        ]);
    });
  });
});

it("a group with another process in it is nobody's own", () => {
  expect(ownGroup(process.pid)).toBeUndefined();
});
