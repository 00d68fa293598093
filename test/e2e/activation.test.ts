/** Sockets of berths that .socket units own, passed to the broker by a service manager. */
import { expect, it } from "vitest";
import type { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { FakeManager } from "../support/fake-manager.ts";
import { leaksNothing } from "../support/fds.ts";
import { RawPeer } from "../support/peer.ts";
import { freePort } from "../support/ports.ts";
import { boundSocket, fileOf } from "../support/sockets.ts";

leaksNothing("soon");

/** What a berth's socket hands out: which files, in order. */
async function handedOut(manager: FakeManager, berth: string): Promise<string[]> {
  using peer = await RawPeer.connect(manager.socket);
  const { parameters } = (await peer.call("Acquire", { berth })) ?? {};
  await peer.call("Release", { lease: parameters?.["lease"] });
  return peer.fds.map(fileOf);
}

function option(handle: FdHandle, level: number, name: number): number | undefined {
  const value = new Int32Array(1);
  native.getsockopt(handle.fd, level, name, value);
  return value[0];
}

const said = (manager: FakeManager): string => manager.log.map(({ message }) => message).join("\n");

it("is taken by its name, with all its addresses, or by its address; options are set on it, and a reload keeps it", async () => {
  const [one, two] = [await freePort(), await freePort()];
  const unix = `@berthd-owned-${one}`;
  const units = [
    { name: "arena@red.game", handle: boundSocket(`udp://127.0.0.1:${one}`) },
    { name: "arena@red.game", handle: boundSocket(`tcp://127.0.0.1:${one}`, 5) },
    { name: "whatever.socket", handle: boundSocket(`tcp://[::1]:${two}`, 5) },
    { name: "unknown", handle: boundSocket(`unix-seqpacket://${unix}`, 5) },
  ];
  const files = units.map(({ handle }) => fileOf(handle));
  await using manager = new FakeManager({ units, max: 64 });
  manager.config(
    "arena@.toml",
    `[sockets.game]\nlisten = ["tcp://127.0.0.1:${one}", "udp://127.0.0.1:${one}"]\nbroadcast = true\n`,
  );
  manager.config("arena@red.toml", "");
  manager.config("b.toml", `[sockets.s]\nlisten = ["tcp://[::1]:${two}", "unix-seqpacket://${unix}"]\n`);
  await manager.start();
  const [udp, tcp, other, seqpacket] = files;
  expect(await handedOut(manager, "arena@red")).toEqual([tcp, udp]);
  expect(await handedOut(manager, "b")).toEqual([other, seqpacket]);
  expect(units.map(({ handle }) => option(handle, 1, 6))).toEqual([1, 0, 0, 0]); // SO_BROADCAST
  manager.config("c.toml", '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
  manager.child?.kill("SIGHUP");
  await manager.until(() => said(manager).includes("reloaded: 3 berths"));
  expect(await handedOut(manager, "arena@red")).toEqual([tcp, udp]);
  // They come twice now: from the units, and from the store.
  await manager.end();
  await manager.start();
  expect(await handedOut(manager, "arena@red")).toEqual([tcp, udp]);
  expect(await handedOut(manager, "b")).toEqual([other, seqpacket]);
  expect(said(manager)).not.toMatch(/no berth uses/);
});

it.each([
  ["another port", () => boundSocket("tcp://127.0.0.1:0", 5), /is tcp:\/\/127.0.0.1:\d+, and the socket is/],
  [
    "another kind",
    (port: number) => boundSocket(`udp://127.0.0.1:${port}`),
    /is udp:\/\/127.0.0.1:\d+, and the socket is/,
  ],
  [
    "not listening",
    (port: number) => boundSocket(`tcp://127.0.0.1:${port}`),
    /is a stream socket that does not listen, and/,
  ],
  [
    "one family only",
    (port: number) => boundSocket(`udp://[::1]:${port}`),
    /is udp:\/\/\[::1\]:\d+, and the socket is/,
  ],
])("that bears the name of a berth's socket and is %s is a problem of the berth", async (_, open, message) => {
  const port = await freePort();
  await using manager = new FakeManager({ units: [{ name: "a.s", handle: open(port) }] });
  manager.config("a.toml", `[sockets.s]\nlisten = ["tcp://127.0.0.1:${port}"]\n`);
  await manager.start();
  expect(said(manager)).toMatch(/a\.toml:2: berth a, socket s: the descriptor passed as a\.s/);
  expect(said(manager)).toMatch(message);
});

it("that no berth uses is closed and logged; the only one may be the control socket", async () => {
  const port = await freePort();
  const address = `@berthd-control-${port}`;
  {
    const units = [{ name: "arena.game", handle: boundSocket(`tcp://127.0.0.1:${port}`, 5) }];
    await using manager = new FakeManager({ units });
    manager.config("a.toml", "");
    manager.launch();
    await manager.exited();
    // It is no control socket either, and it is all there is.
    expect(said(manager)).toMatch(/the control socket that was passed is tcp:.*, not a listening UNIX stream socket/);
  }
  const units = [
    { name: "my.socket", handle: boundSocket(`unix://${address}`, 5) },
    { name: "varlink", handle: boundSocket(`unix://${address}-2`, 5) },
  ];
  await using manager = new FakeManager({ units });
  manager.config("a.toml", "");
  await manager.start();
  expect(said(manager)).toMatch(
    new RegExp(`no berth uses the passed descriptor my.socket \\(unix://${address}\\): closed`),
  );
  using peer = await RawPeer.connect(`${address}-2`);
  expect((await peer.call("List"))?.error).toBeUndefined();
});
