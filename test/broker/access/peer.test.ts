/** Who is at the other end, where a pid is another process's by now or descriptors run out. */
import { constants } from "node:os";
import { expect, it, vi } from "vitest";
import { Peer } from "../../../src/broker/access/peer.ts";
import { type Native, native } from "../../../src/native.ts";
import { POLLIN, SO_PEERPIDFD } from "../../../src/net/socket-constants.ts";
import { leaksNothing } from "../../support/fds.ts";
import { socketPair } from "../../support/sockets.ts";

const { EMFILE, ENFILE, ESRCH } = constants.errno;

vi.mock("../../../src/broker/access/small-file.ts", async (original) => {
  const { contentsOf } = await original<typeof import("../../../src/broker/access/small-file.ts")>();
  // This process, as the kernel would show one of a service.
  const own = `/proc/${process.pid}/cgroup`;
  return { contentsOf: (path: string) => (path === own ? "0::/system.slice/game.service\n" : contentsOf(path)) };
});

leaksNothing();

/** This process as a peer. */
function withPeer(changes: Partial<Native>, test: (peer: Peer) => void): void {
  const [ours, theirs] = socketPair();
  try {
    test(Peer.of(ours.fd, { ...native, ...changes }));
  } finally {
    ours.close();
    theirs.close();
  }
}

/** SO_PEERPIDFD fails with this errno. */
const withoutPidfd = (errno: number): Partial<Native> => ({
  getsockopt: (fd, level, option, value) =>
    option === SO_PEERPIDFD ? -errno : native.getsockopt(fd, level, option, value),
});

it("the unit of a process that has the peer's pid after the peer has exited is not the peer's", () => {
  withPeer({}, (peer) => expect(peer.unit).toBe("game.service"));
  withPeer({ pollNow: () => POLLIN }, (peer) => expect([peer.alive, peer.unit]).toEqual([false, undefined]));
  withPeer(withoutPidfd(ESRCH), (peer) => expect([peer.alive, peer.unit]).toEqual([false, undefined]));
});

it.each([EMFILE, ENFILE])("errno %i of a peer's pidfd is the broker's own scarcity: no word on the peer", (errno) => {
  withPeer(withoutPidfd(errno), (peer) => {
    const scarce = expect.objectContaining({ code: "SYSTEM_ERROR", errno });
    expect(() => peer.pidfd()).toThrow(scarce);
    expect(() => peer.alive).toThrow(scarce);
    expect(() => peer.unit).toThrow(scarce);
  });
});
