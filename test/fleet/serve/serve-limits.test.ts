/** `berth-fleet serve` under a flood: what a client sends costs etcd a bounded number of calls. */
import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { Fault } from "../../../packages/fleet/src/fault.ts";
import { EtcdClient, Keys } from "../../../packages/fleet/src/index.ts";
import { allocationServer } from "../../../packages/fleet/src/serve/server.ts";
import { Turns } from "../../../packages/fleet/src/serve/turns.ts";

/** Answers no read before it is let go. */
class SlowEtcd extends EtcdClient {
  reads = 0;
  busy = 0;
  busiest = 0;
  readonly #gates: (() => void)[] = [];
  isOpen = false;

  constructor() {
    super(["http://127.0.0.1:1"]);
  }

  override async read(): Promise<never> {
    this.reads++;
    this.busy++;
    this.busiest = Math.max(this.busiest, this.busy);
    if (!this.isOpen) await new Promise<void>((resolve) => this.#gates.push(resolve));
    this.busy--;
    throw new Fault("ETCD_UNREACHABLE", "etcd at http://secret.example:1 does not answer");
  }

  letGo(): void {
    this.isOpen = true;
    for (const open of this.#gates.splice(0)) open();
  }
}

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function serve(): Promise<{ etcd: SlowEtcd; port: number; said: string[] }> {
  const etcd = new SlowEtcd();
  const said: string[] = [];
  server = allocationServer({ etcd, keys: new Keys(), token: undefined, say: (one) => void said.push(one) });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === "string") throw new Error("it does not listen on a port");
  return { etcd, port: address.port, said };
}

/** How many connections the server has. */
const open = (): Promise<number> =>
  new Promise((resolve, reject) =>
    server?.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );

async function client(port: number, sent: string): Promise<{ socket: Socket; answer: Promise<string> }> {
  const socket = connect(port, "127.0.0.1");
  let got = "";
  socket.on("error", () => undefined); // the server may end it while we write
  socket.on("data", (chunk) => {
    got += chunk;
  });
  const answer = new Promise<string>((resolve) => socket.on("close", () => resolve(got)));
  await once(socket, "connect");
  socket.write(sent);
  return { socket, answer };
}

const health = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
const body = JSON.stringify({ gameServerSelectors: [{ matchLabels: { "agones.dev/fleet": "arena" } }] });
const post = `POST /gameserverallocation HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

it.each([
  ["GET /healthz", health],
  ["POST", post],
])("a connection that sends 50,000 requests at once (%s) has one in progress, and is closed", async (_, one) => {
  const { etcd, port } = await serve();
  const { answer } = await client(port, one.repeat(50_000));
  expect(await answer).toBe("");
  expect(etcd.reads).toBe(1);
  etcd.letGo();
});

it("200 callers who ask at once whether it is well cost etcd one read, and get one text", async () => {
  const { etcd, port, said } = await serve();
  const all = await Promise.all(Array.from({ length: 200 }, () => client(port, health)));
  await expect.poll(() => etcd.reads).toBe(1);
  etcd.letGo();
  for (const { answer } of all) expect(await answer).toMatch(/^HTTP\/1\.1 503 .*"message":"etcd does not answer"/s);
  expect(etcd.reads).toBe(1);
  expect(said).toEqual([]);
});

it("of 257 connections the last one is closed, and the others get an answer", async () => {
  const { etcd, port } = await serve();
  const all = await Promise.all(Array.from({ length: 256 }, () => client(port, health)));
  await expect.poll(open).toBe(256);
  expect(await (await client(port, health)).answer).toBe("");
  etcd.letGo();
  for (const { answer } of all) expect(await answer).toContain(" 503 ");
});

it("of 200 callers who allocate at once, 32 have etcd work at the same time, and each gets an answer", async () => {
  const { etcd, port } = await serve();
  const all = await Promise.all(Array.from({ length: 200 }, () => client(port, post)));
  await expect.poll(() => etcd.busy).toBe(32);
  etcd.letGo();
  for (const { answer } of all) expect(await answer).toMatch(/^HTTP\/1\.1 503 .*"message":"etcd does not answer"/s);
  expect([etcd.busiest, etcd.reads]).toEqual([32, 200]);
});

it("an accept that fails does not end the program, and is told", async () => {
  const { etcd, port, said } = await serve();
  server?.emit("error", new Error("accept ENOMEM"));
  expect(said).toEqual(["no connection: accept ENOMEM"]);
  etcd.letGo();
  expect(await (await client(port, health)).answer).toContain(" 503 ");
});

it("a caller who has gone before its turn costs etcd nothing", async () => {
  const { etcd, port } = await serve();
  const first = await Promise.all(Array.from({ length: 32 }, () => client(port, post)));
  await expect.poll(() => etcd.busy).toBe(32);
  const gone = await client(port, post);
  const last = await client(port, health); // answered after the other was read
  await expect.poll(() => etcd.reads).toBe(33);
  gone.socket.destroy();
  await gone.answer;
  await expect.poll(open).toBe(33);
  etcd.letGo();
  for (const { answer } of [...first, last]) expect(await answer).toContain(" 503 ");
  expect(etcd.reads).toBe(33);
});

it("a call beyond those that may wait is refused, and there is room again once one has ended", async () => {
  const turns = new Turns(1, 2);
  const ends: (() => void)[] = [];
  const begun: string[] = [];
  const call = (name: string) =>
    turns.take(async () => {
      begun.push(name);
      await new Promise<void>((resolve) => ends.push(resolve));
      return name;
    });
  const taken = [call("a"), call("b"), call("c")];
  expect(await call("d")).toBe(undefined);
  ends.shift()?.();
  expect(await taken[0]).toEqual({ result: "a" });
  taken.push(call("e"));
  expect(await call("f")).toBe(undefined);
  for (const name of ["b", "c", "e"]) {
    await expect.poll(() => begun.at(-1)).toBe(name);
    ends.shift()?.();
  }
  expect(await Promise.all(taken)).toEqual(["a", "b", "c", "e"].map((result) => ({ result })));
});
