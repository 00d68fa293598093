/** Whose descriptors reach a session, and how: hazard 44. */
import { expect, it } from "vitest";
import { native } from "../../../src/native.ts";
import { SO_PASSRIGHTS } from "../../../src/net/socket-constants.ts";
import { type ConfigFiles, startBroker } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";
import { guardsEnded } from "../../support/guards.ts";
import { needs } from "../../support/needs.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { memfd } from "../../support/sockets.ts";

const STRANGER = 65_534;
const EPERM = -1;
const berth: ConfigFiles = {
  "a.toml": `[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n[tenant]\nusers = [${STRANGER}]`,
};
const LIST = frame("List");

leaksNothing("soon");

it("a peer without a lease cannot send a descriptor, and can once it has one", needs("root"), async () => {
  await using test = await startBroker(berth);
  using peer = await RawPeer.known(test.socket, STRANGER);
  using file = memfd();
  expect(peer.trySend(LIST, [file.fd])).toBe(EPERM);
  await peer.call("Acquire", { berth: "a" });
  expect(peer.trySend(LIST, [file.fd])).toBe(LIST.length);
  expect((await peer.receive())?.parameters["message"]).toContain("takes 0 descriptors, not 1");
  await guardsEnded(process.pid);
});

it("where the kernel keeps none out, a guard receives what a stranger sends at once", needs("root"), async () => {
  // As before Linux 6.16: the option is unknown (ENOPROTOOPT).
  const setsockopt: typeof native.setsockopt = (fd, level, option, value) =>
    option === SO_PASSRIGHTS ? -92 : native.setsockopt(fd, level, option, value);
  await using test = await startBroker(berth, { sys: { ...native, setsockopt } });
  using peer = await RawPeer.connect(test.socket, STRANGER);
  using file = memfd();
  expect(peer.trySend(LIST, [file.fd])).toBe(LIST.length);
  expect((await peer.receive())?.parameters["message"]).toContain("takes 0 descriptors, not 1");
  expect((await peer.call("List"))?.error).toBeUndefined();
  await guardsEnded(process.pid);
});
