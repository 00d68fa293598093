import { describe, expect, it } from "vitest";
import { type Native, native } from "../../../src/native.ts";
import { SO_PEERPIDFD } from "../../../src/net/socket-constants.ts";
import { startBroker } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

const NOBODY = 65534;

describe("a peer that may not take a berth (needs root, to be several users)", needs("root"), () => {
  async function twoBerths(tenant: string) {
    const [one, two] = [await freePort(), await freePort()];
    const command = "[server]\ncommand = ['/bin/true']\nuser = 65534\n";
    return await startBroker({
      "mine.toml": `[sockets.a]\nlisten = ["tcp://127.0.0.1:${one}"]\n[tenant]\n${tenant}\n${command}`,
      "secret.toml": `[sockets.a]\nlisten = ["tcp://127.0.0.1:${two}"]\n[tenant]\nusers = [1]\n${command}`,
    });
  }

  /** The bytes of the next reply, as they came. */
  const bytesOf = async (peer: RawPeer, method: string, parameters: object): Promise<string> =>
    JSON.stringify(await peer.call(method, parameters));

  it.each([
    ["Acquire", {}],
    ["Acquire", { replace: "try" }],
    ["Acquire", { replace: "must" }],
    ["Launch", {}],
    ["Launch", { command: ["/bin/sh"], environment: { A: "{port:a}" } }],
    ["Launch", { command: ["{port:nothing}"] }],
    ["Launch", { command: [] }],
  ])("%s %j answers the same for one that exists and one that does not, but for its name", async (method, more) => {
    await using test = await twoBerths("users = [65534]");
    await using holder = await Puppet.connect(test.socket);
    for (const occupied of [false, true]) {
      if (occupied) await holder.acquire("secret");
      using peer = await RawPeer.connect(test.socket, NOBODY);
      const existing = await bytesOf(peer, method, { berth: "secret", ...more });
      const missing = await bytesOf(peer, method, { berth: "sekret", ...more });
      expect(existing.replaceAll("secret", "sekret")).toBe(missing);
      expect(existing).toContain("org.varlink.service.PermissionDenied");
      expect(existing).not.toContain("127.0.0.1");
      expect(peer.fds).toEqual([]);
    }
  });

  it("another's lease and one that is not there get the same answer", async () => {
    await using test = await twoBerths("users = [65534]");
    await using holder = await Puppet.connect(test.socket);
    const lease = await holder.acquire("secret");
    using peer = await RawPeer.connect(test.socket, NOBODY);
    const wrong = lease.replace(/./g, (digit) => (digit === "0" ? "1" : "0"));
    for (const method of ["Release", "Ready"]) {
      const others = await bytesOf(peer, method, { lease });
      expect(others.replaceAll(lease, wrong)).toBe(
        (await bytesOf(peer, method, { lease: wrong })).replaceAll(lease, wrong),
      );
      expect(others).toContain("NoSuchLease");
    }
    expect(test.broker.berths.find(({ name }) => name === "secret")?.state).toBe("occupied");
  });

  it("does not see it in List, nor anything that happens to it in Watch", async () => {
    await using test = await twoBerths("users = [65534]");
    using peer = await RawPeer.connect(test.socket, NOBODY);
    const list = await peer.call("List");
    expect(list?.parameters["berths"]).toMatchObject([{ name: "mine" }]);
    await peer.send(frame("Watch", {}, { more: true }));
    await using holder = await Puppet.connect(test.socket);
    const lease = await holder.acquire("secret");
    await holder.call("Ready", { lease });
    await holder.call("Release", { lease });
    await holder.acquire("mine");
    const told = [await peer.receive(), await peer.receive()].map((reply) => JSON.stringify(reply));
    expect(told.join()).not.toContain("secret");
    expect(told[1]).toContain('"event":"acquired"');
    expect(JSON.stringify((await holder.call("List")).parameters)).toContain("secret");
  });

  it("is let in by its uid, and by a supplementary group; not by a group that it lacks", async () => {
    await using test = await twoBerths("users = [12345]\ngroups = [4242]");
    const outcomes: unknown[] = [];
    const users = [
      { uid: 12345, gid: 12345 },
      { uid: NOBODY, gid: NOBODY, groups: [7, 4242] },
      { uid: NOBODY, gid: 4242 },
      { uid: NOBODY, gid: NOBODY, groups: [7, 42] },
      { uid: NOBODY, gid: NOBODY, groups: [...Array.from({ length: 100 }, (_, index) => 1000 + index), 4242] },
    ];
    for (const user of users) {
      await using puppet = await Puppet.connect(test.socket, user);
      const { error = "taken" } = await puppet.call("Acquire", { berth: "mine" });
      outcomes.push(error);
      await puppet.kill();
      await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
    }
    expect(outcomes).toEqual(["taken", "taken", "taken", "org.varlink.service.PermissionDenied", "taken"]);
  });

  it.each([
    ["groups", "groups = [4242]", "groups"],
    ["unit", 'units = ["game.service"]', "unit"],
  ])(
    "is asked for its %s for a berth that does not exist too, so that the time tells nothing",
    async (_, policy, fact) => {
      const asked: string[] = [];
      const sys: Native = {
        ...native,
        peergroups: (socket, groups) => {
          asked.push("groups");
          return native.peergroups(socket, groups);
        },
        getsockopt: (socket, level, option, value) => {
          // Without its pidfd the kernel's word on its unit is not believed.
          if (option === SO_PEERPIDFD) asked.push("unit");
          return native.getsockopt(socket, level, option, value);
        },
      };
      await using test = await startBroker(
        { "secret.toml": `[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n[tenant]\n${policy}\n` },
        { sys },
      );
      const askedFor = async (berth: string): Promise<string[]> => {
        using peer = await RawPeer.connect(test.socket, NOBODY);
        asked.length = 0;
        expect((await peer.call("Acquire", { berth }))?.error).toBe("org.varlink.service.PermissionDenied");
        return [...asked];
      };
      expect([await askedFor("secret"), await askedFor("sekret")]).toEqual([[fact], [fact]]);
    },
  );

  it("root is told that a berth does not exist", async () => {
    await using test = await twoBerths("users = []");
    using peer = await RawPeer.connect(test.socket);
    expect((await peer.call("Acquire", { berth: "nothing" }))?.error).toBe("io.berthd.Broker.NoSuchBerth");
  });

  it("a policy that a reload takes away is gone for connections made before", async () => {
    await using test = await twoBerths("users = [65534]");
    using peer = await RawPeer.connect(test.socket, NOBODY);
    expect((await peer.call("List"))?.parameters["berths"]).toHaveLength(1);
    const listen = test.broker.berths[0]?.descriptors[0]?.address;
    test.folder.write({ "config/mine.toml": `[sockets.a]\nlisten = ["${listen}"]` });
    test.broker.reload();
    expect((await peer.call("List"))?.parameters["berths"]).toEqual([]);
    expect((await peer.call("Acquire", { berth: "mine" }))?.error).toBe("org.varlink.service.PermissionDenied");
  });
});
