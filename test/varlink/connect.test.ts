import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { SysError } from "../../src/errors.ts";
import { native } from "../../src/native.ts";
import { connectUnix } from "../../src/varlink/connect.ts";
import { leaksNothing } from "../support/fds.ts";
import { temporaryFolder } from "../support/folders.ts";
import { boundSocket } from "../support/sockets.ts";

leaksNothing();

it("waits while the backlog is full, until it is told not to or the time is over", async () => {
  const folder = temporaryFolder();
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "socket");
  const listener = boundSocket(`unix://${path}`, 0);
  const first = await connectUnix(path);
  const start = performance.now();
  await expect(connectUnix(path, { timeout: 5 })).rejects.toMatchObject({
    code: "BROKER_UNREACHABLE",
    message: `cannot reach a broker at ${path}: its backlog stayed full; is berthd running?`,
  });
  // Less than the default of five seconds.
  expect(performance.now() - start).toBeLessThan(4000);
  const controller = new AbortController();
  const waiting = connectUnix(path, { signal: controller.signal });
  controller.abort(new Error("no longer"));
  await expect(waiting).rejects.toThrow("no longer");
  const patient = connectUnix(path);
  const accepted = native.accept(listener.fd);
  const second = await patient;
  native.close(accepted);
  for (const handle of [first, second, listener]) handle.close();
});

it("reaches an abstract name, and is told where nobody listens on it", async () => {
  const name = `berthd-connect-${process.pid}`;
  const message = `cannot reach a broker at @${name}: nobody listens on it; is berthd running?`;
  await expect(connectUnix(`@${name}`)).rejects.toMatchObject({ code: "BROKER_UNREACHABLE", message });
  const listener = boundSocket(`unix://@${name}`, 1);
  const handle = await connectUnix(`@${name}`);
  expect(handle.open).toBe(true);
  handle.close();
  listener.close();
});

it("names the errno of anything else, with the path", async () => {
  const failure = await connectUnix("/proc/version/x").catch((error: unknown) => error);
  expect(failure).toMatchObject({
    message: "cannot reach a broker at /proc/version/x: ENOTDIR; is berthd running?",
    cause: expect.any(SysError),
  });
  expect(failure).toHaveProperty("cause.syscall", "connect");
  expect(failure).toHaveProperty("cause.message", expect.stringContaining("/proc/version/x"));
});

it("refuses a path that no UNIX socket address holds, whose length counts in bytes", async () => {
  const longest = `/${"x".repeat(106)}`;
  await expect(connectUnix(longest)).rejects.toThrow("there is no such socket");
  await expect(connectUnix(`@${"x".repeat(107)}`)).rejects.toThrow("nobody listens on it");
  for (const path of [`${longest}x`, `/${"ä".repeat(54)}`]) {
    await expect(connectUnix(path)).rejects.toMatchObject({
      code: "BROKER_UNREACHABLE",
      message: `${path} is longer than a UNIX socket address can be (107 bytes)`,
    });
  }
});
