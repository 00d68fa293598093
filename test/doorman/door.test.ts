/** The sockets of a sleeping server where no login can be held, although its berth asks for that. In this process. */
import { createConnection } from "node:net";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import * as codecs from "../../packages/doorman/src/index.ts";
import { Taps } from "../../src/broker/demand/doorman/taps.ts";
import { Door } from "../../src/doorman/door.ts";
import { WakeLimit } from "../../src/doorman/senders/admission.ts";
import { QueryLimit } from "../../src/doorman/senders/query-limit.ts";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { SOL_SOCKET } from "../../src/net/socket-constants.ts";
import { needsBpf } from "../support/bpf.ts";
import { TestFolder } from "../support/broker.ts";
import { PATIENCE } from "../support/doorman/doors.ts";
import { handshake, login, PING, REQUEST } from "../support/doorman/streams.ts";
import { leaksNothing } from "../support/fds.ts";
import { freePort } from "../support/ports.ts";
import { boundSocket } from "../support/sockets.ts";

leaksNothing("soon");

const SO_LOCK_FILTER = 44;
const LOGIN = Buffer.concat([handshake(2), login("Steve")]);
const STATUS = Buffer.concat([handshake(1), REQUEST, PING]);
const JOIN_AGAIN = "Frozen Lake is starting";

/** A door of one listening socket, which it takes, with the taps for it. `told` has what it reports. */
function doorOf(listener: FdHandle, told: string[]): Door {
  using taps = Taps.open([listener.fd], native);
  const fds = [listener.steal(), ...taps.fds.map((fd) => check("dup", native.dup(fd)))];
  return new Door(
    {
      ...{ watch: 1, asleep: "minecraft", wake: "join", networks: [], refusal: JOIN_AGAIN, discardAfter: 30_000 },
      ...{ kinds: ["stream"], hold: 28_000, server: { name: "Frozen Lake", map: "", slots: 12 } },
    },
    fds.map((fd) => FdHandle.adopt(fd)),
    {
      ...{ sys: native, codecs, limit: new WakeLimit(), queries: new QueryLimit() },
      challenges: new codecs.Challenges(Buffer.alloc(32)),
      budget: new codecs.AnswerBudget(),
      onWake: (index) => told.push(`wake ${index}`),
      onServed: () => told.push("served"),
    },
  );
}

/** All that comes back for these bytes until the other end closes. */
async function said(where: { readonly port: number } | { readonly path: string }, bytes: Buffer): Promise<string> {
  const socket = createConnection(where);
  socket.setTimeout(60_000, () => socket.destroy(new Error("there was no end")));
  socket.write(bytes);
  let all = "";
  for await (const part of socket) all += String(part);
  return all;
}

describe("where no login can be held,", needsBpf(), () => {
  it("as the socket's filter is locked, a player is told to join again, and nothing is left to watch", async () => {
    const port = await freePort();
    const listener = boundSocket(`tcp://127.0.0.1:${port}`, 9);
    check("setsockopt", native.setsockopt(listener.fd, SOL_SOCKET, SO_LOCK_FILTER, 1));
    const told: string[] = [];
    using _ = doorOf(listener, told);
    expect(await said({ port }, STATUS)).toContain('"max":12,"online":0');
    expect(told).toEqual([]);
    expect(await said({ port }, LOGIN)).toContain(JOIN_AGAIN);
    await vi.waitFor(() => expect(told).toEqual(["wake 0", "served"]), PATIENCE);
  });

  it("as it is a UNIX socket, a player is told to join again, and nothing is left to watch", async () => {
    using folder = new TestFolder({});
    const path = join(folder.path, "game");
    const told: string[] = [];
    using _ = doorOf(boundSocket(`unix://${path}`, 9), told);
    expect(await said({ path }, STATUS)).toContain('"max":12,"online":0');
    expect(told).toEqual([]);
    expect(await said({ path }, LOGIN)).toContain(JOIN_AGAIN);
    await vi.waitFor(() => expect(told).toEqual(["wake 0", "served"]), PATIENCE);
  });
});
