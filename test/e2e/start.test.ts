/** `npm start` for a newcomer: the commands that it prints to ask the server work, with nothing but Node. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { expect, test, vi } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { endsWithTest } from "../support/wrap.ts";

/** Where the status page is, if no other program has the port. */
const WEB_PORT = 9115;

test("each command that asks the server is answered, and so is the status page on another port", async () => {
  using _ = await takePort(WEB_PORT);
  const [first = "", ...rest] = [...endsWithTest, process.execPath, join(packageRoot, "scripts/start.mjs")];
  const demo = spawn(first, rest, {
    env: { ...process.env, BERTHD_SKIP_BUILD: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(demo, "close");
  try {
    // It ends when nobody reads on.
    let said = "";
    await new Promise<void>((resolve, reject) => {
      demo.once("close", () => reject(new Error(`npm start ended: ${said}`)));
      demo.stdout.setEncoding("utf8").on("data", (part: string) => {
        said += part;
        if (said.includes("Ask the broker:")) resolve();
      });
    });
    const address = /See the berths: +(\S+)/.exec(said)?.[1] ?? "";
    await vi.waitFor(async () => expect((await fetch(new URL("healthz", address))).status).toBe(200), 30_000);
    const { port } = new URL(address);
    expect(said).toContain(`port ${WEB_PORT} is in use here, so the status page has ${port}\n`);
    const [, asks = ""] = /Ask the server: ([\s\S]*)Ask the broker:/.exec(said) ?? [];
    const commands = asks.trim().split("\n");
    expect(commands).toHaveLength(2);
    for (const command of commands) {
      const env = { PATH: dirname(process.execPath) };
      expect(execFileSync("/bin/sh", ["-c", command], { encoding: "utf8", env, timeout: 60_000 })).toContain(
        "got: hello",
      );
    }
  } finally {
    demo.kill("SIGTERM");
    await closed;
  }
});

/** Takes it, if it is not taken already. */
function takePort(port: number): Promise<Disposable> {
  const server = createServer();
  return new Promise((resolve) => {
    const taken: Disposable = { [Symbol.dispose]: () => void server.close() };
    server.once("error", () => resolve(taken));
    server.listen(port, "127.0.0.1", () => resolve(taken));
  });
}
