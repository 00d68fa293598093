/** What holds logins in the kernel is there only while a doorman has it. */
import { readdirSync, readlinkSync } from "node:fs";
import { constants } from "node:os";
import { describe, expect, it, vi } from "vitest";
import type { Accounts } from "../../../src/accounts.ts";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { Doormen } from "../../../src/broker/demand/doorman/doormen.ts";
import { DEFAULT_DOORMAN_LIMITS } from "../../../src/broker/demand/doorman/limits.ts";
import { tapMaker } from "../../../src/broker/demand/doorman/taps.ts";
import { SleepWatch } from "../../../src/broker/demand/sleep-watch.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { native } from "../../../src/native.ts";
import { needsBpf } from "../../support/bpf.ts";
import { TestFolder } from "../../support/broker.ts";
import { PATIENCE, doormen as processes, talk } from "../../support/doorman/doors.ts";
import { handshake, PING, REQUEST } from "../../support/doorman/streams.ts";
import { leaksNothing } from "../../support/fds.ts";
import { boundSocket } from "../../support/sockets.ts";

leaksNothing("soon");

const { EAGAIN, EMFILE, EPERM } = constants.errno;
const UID = 61_000;
const accounts: Accounts = {
  passwd: (user) => ({ name: String(user), uid: UID, gid: UID, home: "/", shell: "/bin/false", groups: [UID] }),
  group: () => undefined,
};
const world = `[sockets.game]
listen = ["tcp://127.0.0.1:0"]
[server]
command = ["x"]
user = "games"
start = "on-demand"
asleep = "minecraft"
asleep-as = { name = "Frozen Lake", slots = 12 }
hold-login = "20s"
`;

/** Maps and programs of eBPF that this process has. */
function tapsHere(): string[] {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return links.filter((link) => link.includes("bpf"));
}

describe("what holds the logins of a sleeping server", needsBpf(), () => {
  it("is made when a doorman gets the server, and the broker keeps none of it", async () => {
    using folder = new TestFolder({ "world.toml": world });
    const [spec = expect.unreachable()] = loadConfig({ directories: [folder.path], accounts }).specs;
    const [game = expect.unreachable()] = spec.sockets;
    const held = HeldSocket.open(game.listen[0] ?? expect.unreachable(), game.options, native);
    const port = held.address.family === "unix" ? 0 : held.address.port;
    const bpfMap = vi.fn(native.bpfMap);
    const limits = { ...DEFAULT_DOORMAN_LIMITS, eager: 0 };
    const doormen = new Doormen({ sys: { ...native, bpfMap }, log: vi.fn(), limits, onProcesses: () => undefined });
    const berth = new Berth(spec, [{ name: "game", socket: held }]);
    const watch = new SleepWatch(native, berth, doormen, { onWake: () => undefined, onHangUp: () => undefined });
    watch.arm([held.fd]);
    expect(bpfMap).not.toHaveBeenCalled();
    const answer = await talk(port, Buffer.concat([handshake(1), REQUEST, PING]));
    expect(answer).toContain('"max":12,"online":0');
    expect(bpfMap).toHaveBeenCalledOnce();
    expect(tapsHere()).toEqual([]);
    watch.end();
    doormen.close();
    held.close();
    await vi.waitFor(() => expect(processes()).toEqual([]), PATIENCE);
  });
});

it("a signal that comes while a program is loaded does not keep logins from being held", needsBpf(), () => {
  using socket = boundSocket("tcp://127.0.0.1:0", 1);
  const bpfSocketFilter = vi.fn(native.bpfSocketFilter).mockReturnValueOnce(-EAGAIN);
  const log = vi.fn();
  using taps = tapMaker({ ...native, bpfSocketFilter }, log).open([socket.fd]);
  expect(taps?.fds).toHaveLength(2);
  expect(log).not.toHaveBeenCalled();
});

it("each reason why logins cannot be held is logged once, and the remedy with its own reason only", () => {
  using socket = boundSocket("tcp://127.0.0.1:0", 1);
  const log = vi.fn();
  const errors = [EPERM, EPERM, EMFILE, EMFILE];
  const maker = tapMaker({ ...native, bpfMap: () => -(errors.shift() ?? 0) }, log);
  expect([1, 2, 3, 4].map(() => maker.open([socket.fd]))).toEqual([undefined, undefined, undefined, undefined]);
  expect(log.mock.calls.map(([level, message]) => `${level}: ${message}`)).toEqual([
    expect.stringMatching(/^warning: logins are not held, .*: bpf: EPERM; it needs CAP_BPF$/),
    expect.stringMatching(/^warning: logins are not held, .*: bpf: EMFILE$/),
  ]);
});
