import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { type Native, native, packageRoot } from "../../src/native.ts";
import { AF_UNIX, encodeSockaddr } from "../../src/net/address.ts";
import { SOCK_DGRAM } from "../../src/net/transport.ts";
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

it.each(["path", "abstract"])("READY waits for room where the queue of a manager at %s is full", (kind) => {
  using folder = new TestFolder();
  const address = kind === "path" ? join(folder.path, "notify") : `@berthd-full-${process.pid}`;
  using manager = boundSocket(`unix-dgram://${address}`);
  using sender = FdHandle.adopt(check("socket", native.socket(AF_UNIX, SOCK_DGRAM, 0)));
  const [path, abstract] = [address.replace("@", ""), address.startsWith("@")];
  check("connect", native.connect(sender.fd, encodeSockaddr({ family: "unix", path, abstract })));
  let queued = 0;
  while (native.sendmsg(sender.fd, Buffer.from("X=1"), 0, new Int32Array(0), 0) > 0) queued++;
  const told: string[] = [];
  // The manager reads all that waits as soon as somebody waits for room.
  const pollFor: Native["pollFor"] = (fd, events, timeout) => {
    for (; queued > 0; queued--) told.push(received(manager));
    return native.pollFor(fd, events, timeout);
  };
  const problems: string[] = [];
  createNotify((message) => problems.push(message), { NOTIFY_SOCKET: address }, { ...native, pollFor })("READY=1");
  expect([new Set(told), received(manager), received(manager), problems]).toEqual([
    new Set(["X=1"]),
    "READY=1",
    "nothing",
    [],
  ]);
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
