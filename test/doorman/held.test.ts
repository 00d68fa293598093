/** A listening socket whose logins are held, in this process. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { minecraft, networkOf } from "../../packages/doorman/src/index.ts";
import { Taps } from "../../src/broker/demand/doorman/taps.ts";
import { HeldSocket } from "../../src/doorman/sockets/held.ts";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { needsBpf } from "../support/bpf.ts";
import { PATIENCE } from "../support/doorman/doors.ts";
import { handshake, login } from "../support/doorman/streams.ts";
import { leaksNothing } from "../support/fds.ts";
import { freePort } from "../support/ports.ts";
import { boundSocket } from "../support/sockets.ts";

leaksNothing("soon");

const LOGIN = Buffer.concat([handshake(2), login("Steve")]);
const server = { name: "Frozen Lake", map: "", slots: 12 };

async function client(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return socket;
}

describe("a socket whose logins are held", needsBpf(), () => {
  it("wakes no server for a login that another process has accepted, and one for a login that waits", async () => {
    const port = await freePort();
    using listener = boundSocket(`tcp://127.0.0.1:${port}`, 64);
    using taps = Taps.open([listener.fd], native);
    const [ring = -1, program = -1] = taps.fds;
    const onWake = vi.fn();
    let read = 0;
    class BpfRing extends native.BpfRing {
      override read(record: Uint8Array): number {
        const length = super.read(record);
        if (length > 0) read++;
        return length;
      }
    }
    const held = HeldSocket.attach(listener.fd, [ring, program], {
      sys: { ...native, BpfRing },
      admission: { knows: () => true, admits: () => true },
      converse: () => minecraft.converse(server, "join again"),
      networkOf,
      onWake,
      onServed: () => undefined,
      hold: 28_000,
    });
    const first = await client(port);
    using _accepted = FdHandle.adopt(check("accept", native.accept(listener.fd)));
    first.write(LOGIN);
    await vi.waitFor(() => expect(read).toBe(1), PATIENCE);
    expect(onWake).not.toHaveBeenCalled();
    const second = await client(port);
    second.write(LOGIN);
    await vi.waitFor(() => expect(onWake).toHaveBeenCalled(), PATIENCE);
    held?.close();
    first.destroy();
    second.destroy();
  });
});
