/** Who may speak by a berth's ports: processes of the user that its server runs as, and nobody else. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { uidIn } from "../../../packages/fleet/src/sdk/serve/peer.ts";
import { acquire } from "../../../src/client/acquire.ts";
import { startSdk } from "../../support/fleet/sdk.ts";
import { needs } from "../../support/needs.ts";

const STRANGER = 65_534;

/** Python of another user, that prints what it gets of the port. */
async function as(uid: number, code: string): Promise<string> {
  const child = spawn("/usr/bin/python3", ["-S", "-c", `import socket\n${code}`], {
    uid,
    gid: uid,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  const said = await text(child.stdout);
  await ended;
  return said.trim();
}

const request = 'b"POST /ready HTTP/1.1\\r\\nhost: a\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\n{}"';

const ask = (family: string, host: string, port: number): string => `
s = socket.socket(socket.${family}, socket.SOCK_STREAM)
try:
    s.connect(("${host}", ${port}))
    s.sendall(${request})
    print(s.recv(100)[:12].decode() or "closed")
except OSError as error:
    print(type(error).__name__)
`;

describe("of another user (needs root, to be several users)", { ...needs("root"), timeout: 60_000 }, () => {
  it.each([
    ["AF_INET", "127.0.0.1"],
    ["AF_INET6", "::1"],
    ["AF_INET6", "::ffff:127.0.0.1"],
  ])("by %s %s it is refused, the log says whose it is, and the server's own user is let in", async (family, host) => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    for (const port of [scene.http, scene.grpc])
      expect(await as(STRANGER, ask(family, host, port))).toMatch(/^ConnectionResetError$|^BrokenPipeError$|^closed$/);
    await scene.logged(/arena: a connection is refused: it is of user 65534, and the server's user is 0$/);
    expect(scene.test.broker.berths[0]?.ready).toBe(false);
    expect(await as(0, ask(family, host, scene.http))).toBe("HTTP/1.1 200");
    expect(scene.test.broker.berths[0]?.ready).toBe(true);
  });

  it("that has closed its socket already is not taken for root, whom older kernels name then", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const said = await as(
      STRANGER,
      `
for _ in range(300):
    s = socket.socket()
    try:
        s.connect(("127.0.0.1", ${scene.http}))
        s.sendall(${request})
    except OSError:
        pass
    s.close()
print("done")
`,
    );
    expect(said).toBe("done");
    await scene.logged(/a connection is refused/);
    // After all of them, one that is served: they were looked at in order.
    expect(await as(0, ask("AF_INET", "127.0.0.1", scene.http).replace("/ready", "/health"))).toBe("HTTP/1.1 200");
    expect(scene.test.broker.berths[0]?.ready).toBe(false);
  });

  it("that holds as many connections as it can does not keep the server out for long", async () => {
    await using scene = await startSdk();
    await using _tenancy = await acquire("arena", { socket: scene.test.socket });
    const said = await as(
      STRANGER,
      `
held = []
for _ in range(500):
    s = socket.socket()
    s.connect(("127.0.0.1", ${scene.http}))
    held.append(s)
print(len(held))
`,
    );
    expect(said).toBe("500");
    await expect.poll(() => as(0, ask("AF_INET", "127.0.0.1", scene.http)), { timeout: 30_000 }).toBe("HTTP/1.1 200");
  });
});

it("a berth that nobody has is served to nobody", { timeout: 60_000 }, async () => {
  await using scene = await startSdk();
  const socket = connectTcp(scene.http, "127.0.0.1");
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.once("close", resolve));
  await scene.logged(/a connection is refused: no server has the berth/);
});

describe("the kernel's list of sockets", () => {
  const peer = { address: "127.0.0.1", port: 0x1234 };
  const own = { address: "127.0.0.1", port: 0x2000 };
  const line = (from: string, to: string, uid: number, inode: number, state = "01"): string =>
    `   0: ${from} ${to} ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0000000000000000 20 4 30 10 -1\n`;
  const [here, there] = ["0100007F:2000", "0100007F:1234"];
  const mapped = (place: string): string => `0000000000000000FFFF0000${place}`;

  it("names the user of the peer's socket, not of our end of the connection", () => {
    expect(uidIn([line(here, there, 7, 11) + line(there, here, 1000, 12)], peer, own)).toBe(1000);
    expect(uidIn(["", line(mapped(there), mapped(here), 1001, 12)], peer, own)).toBe(1001);
  });

  it("names nobody for a socket that its process has closed, nor for one that is not there", () => {
    for (const state of ["04", "05", "06"]) expect(uidIn([line(there, here, 0, 0, state)], peer, own)).toBeUndefined();
    expect(uidIn([line(here, there, 7, 11)], peer, own)).toBeUndefined();
    expect(uidIn(["", ""], peer, own)).toBeUndefined();
  });

  it("knows no address that is not loopback's form", () => {
    expect(uidIn([line(there, here, 1, 2)], { address: "fe80::1%eth0", port: 0x1234 }, own)).toBeUndefined();
    const ipv6 = `${"0".repeat(24)}01000000`;
    const both = [line(`${ipv6}:1234`, `${ipv6}:2000`, 5, 9)];
    expect(uidIn(both, { address: "::1", port: 0x1234 }, { address: "::1", port: 0x2000 })).toBe(5);
  });
});
