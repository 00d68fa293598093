import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { native, packageRoot } from "../../src/native.ts";
import { createNotify } from "../../src/systemd/notify.ts";
import { TestFolder } from "../support/broker.ts";
import { openFds } from "../support/fds.ts";
import { boundSocket } from "../support/sockets.ts";

it("unix-dgram is optional: npm says nothing where it cannot be built (hazard 23)", () => {
  const manifest: unknown = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  expect(manifest).toMatchObject({ optionalDependencies: { "unix-dgram": expect.any(String) } });
  expect(manifest).not.toHaveProperty(["dependencies", "unix-dgram"]);
});

const data = Buffer.alloc(4096);

function received(socket: { readonly fd: number }): string {
  const size = native.recvmsg(socket.fd, data, 0, new Int32Array(255));
  return size < 0 ? "nothing" : data.toString("utf8", 0, size);
}

it.each(["path", "abstract"])("sends each state as one datagram to a manager at %s", (kind) => {
  using folder = new TestFolder();
  const address = kind === "path" ? join(folder.path, "notify") : `@berthd-notify-${process.pid}`;
  using manager = boundSocket(`unix-dgram://${address}`);
  const before = openFds();
  const problems: string[] = [];
  const notify = createNotify((message) => problems.push(message), { NOTIFY_SOCKET: address });
  notify("READY=1\nSTATUS=käse");
  notify("RELOADING=1");
  expect([received(manager), received(manager), received(manager)]).toEqual([
    "READY=1\nSTATUS=käse",
    "RELOADING=1",
    "nothing",
  ]);
  expect([problems, openFds()]).toEqual([[], before]);
});

it.each(["/nonexistent/notify", `@berthd-no-manager-${process.pid}`])(
  "says in a sentence that nobody is at %s",
  (address) => {
    const before = openFds();
    const problems: string[] = [];
    createNotify((message) => problems.push(message), { NOTIFY_SOCKET: address })("READY=1");
    expect(problems).toEqual([expect.stringContaining(`cannot notify ${address}`)]);
    expect(openFds()).toEqual(before);
  },
);

it.each([{}, { NOTIFY_SOCKET: "" }])("does nothing without a manager: %j", (env) => {
  const problems: string[] = [];
  createNotify((message) => problems.push(message), env)("READY=1");
  expect(problems).toEqual([]);
});
