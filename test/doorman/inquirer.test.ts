/** The doorman asks servers that run, by real sockets: honest ones, and those that send whatever they like. */
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import * as codecs from "../../packages/doorman/src/index.ts";
import { connectLines } from "../../src/broker/demand/doorman/lines.ts";
import { startInquiry } from "../../src/doorman/inquirer.ts";
import type { AskOrder } from "../../src/doorman/interfaces/messages.ts";
import { native as sys } from "../../src/native.ts";
import { answers, tellJava } from "../support/doorman/answers.ts";
import { type Answering, answerDatagrams, answerStreams } from "../support/doorman/running.ts";
import { leaksNothing } from "../support/fds.ts";

leaksNothing("soon");

/** How many play on a server that listens there, as the doorman reports it: once. */
function ask(asleep: AskOrder["asleep"], ...servers: readonly Answering[]): Promise<number | undefined> {
  const all = servers.map(({ listening }) => listening);
  const { fds, ...lines } = connectLines(all, asleep === "minecraft", sys);
  expect(fds.length).toBe(servers.length);
  return new Promise((resolve, reject) => {
    let count = 0;
    const onAnswer = (players: number | undefined): void => {
      if (++count > 1) reject(new Error("it answered twice"));
      resolve(players);
    };
    startInquiry({ ask: 1, asleep, ...lines }, fds, { sys, codecs, nonce: 0x1234abcd, onAnswer });
  });
}

const [quakers] = answers.quake3.filter(({ players }) => players === 1);
const tell = quakers?.tell ?? expect.unreachable();

describe("by datagrams", () => {
  it("hears who plays, also if the first questions are lost", async () => {
    let lost = 2;
    await using server = await answerDatagrams((question, reply) => {
      if (lost-- > 0) return;
      for (const bytes of tell(question)) reply(bytes);
    });
    expect(await ask("quake3", server)).toBe(1);
  });

  it("believes the socket on which more play", async () => {
    const [nobody] = answers.quake3.filter(({ players }) => players === 0);
    await using one = await answerDatagrams((question, reply) => nobody?.tell(question).forEach(reply));
    await using other = await answerDatagrams((question, reply) => tell(question).forEach(reply));
    await using silent = await answerDatagrams(() => undefined);
    expect(await ask("quake3", one, other, silent)).toBe(1);
  });

  it("gives up where nothing comes that it understands, after a few questions", async () => {
    await using server = await answerDatagrams((_, reply) => reply(Buffer.from("what?")));
    expect(await ask("teeworlds", server)).toBeUndefined();
    expect(server.asked.length).toBeLessThan(20);
  });

  it("gives up where nobody listens any more", async () => {
    const server = await answerDatagrams(() => undefined);
    await server[Symbol.asyncDispose]();
    expect(await ask("quake3", server)).toBeUndefined();
  });

  it("reads only so much of a server that sends without end", async () => {
    await using server = await answerDatagrams((_, reply) => {
      for (let sent = 0; sent < 2000; sent++) reply(Buffer.alloc(1400, sent));
    });
    expect(await ask("quake3", server)).toBeUndefined();
  });
});

describe("by a connection", () => {
  it("hears who plays, and lets the server close first", async () => {
    const closed: Promise<unknown>[] = [];
    const errors: unknown[] = [];
    await using server = await answerStreams((connection) => {
      closed.push(once(connection, "close"));
      connection.on("error", (error) => errors.push(error));
      connection.once("data", () => connection.write(tellJava({ players: { online: 4 } })));
    });
    expect(await ask("minecraft", server)).toBe(4);
    await Promise.all(closed);
    expect(errors).toEqual([]);
  });

  it("ends a connection that the server does not close, so that it keeps nobody awake", async () => {
    const ended: Promise<unknown>[] = [];
    await using server = await answerStreams((connection) => {
      connection.allowHalfOpen = true;
      ended.push(once(connection, "error"));
    });
    expect(await ask("minecraft", server)).toBeUndefined();
    const [[error]] = (await Promise.all(ended)) as [[NodeJS.ErrnoException]];
    expect(error.code).toBe("ECONNRESET");
  });

  it.each([
    ["closes at once", (): Buffer[] => []],
    ["answers something else", () => [Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")]],
    ["sends without end", () => Array.from({ length: 100 }, () => Buffer.alloc(65_536, 0x20))],
    ["sends a long text without end", () => [Buffer.of(0xb8, 0xff, 7, 0), Buffer.alloc(120_000, 0x5b)]],
  ])("gives up on a server that %s", async (_, say) => {
    await using server = await answerStreams((connection) => {
      const all = say();
      for (const bytes of all) connection.write(bytes);
      if (all.length === 0) connection.end();
    });
    expect(await ask("minecraft", server)).toBeUndefined();
  });
});

it("asks nobody by addresses that are no server's own", () => {
  const at = (host: string, family: "ipv4" | "ipv6" = "ipv4") =>
    ({ kind: "datagram", address: { family, host, port: 9 } }) as const;
  const nobody = [at("224.0.0.1"), at("255.255.255.255"), at("ff02::1", "ipv6")];
  const unix = { kind: "datagram", address: { family: "unix", path: "/run/x", abstract: false } } as const;
  const scoped = { kind: "datagram", address: { family: "ipv6", host: "fe80::1", port: 9, scope: "1" } } as const;
  const stream = { ...at("127.0.0.1"), kind: "stream" } as const;
  expect(connectLines([...nobody, unix, scoped, stream], false, sys).fds).toEqual([]);
});
