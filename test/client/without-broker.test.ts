/** `acquire` with `fallback: "bind"`, where no broker answers. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { acquire } from "../../src/client/acquire.ts";
import { startBroker, TestFolder } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";
import { memfd } from "../support/sockets.ts";

leaksNothing("soon");

const lobby = `[sockets.chat]
listen = ["tcp://127.0.0.1:0", "unix:///TMP/chat"]
[sockets.game]
listen = ["udp://[::1]:0"]
receive-buffer = "64K"
`;

/** A folder with the berth in it, and the options with which it is acquired. */
function development(): TestFolder & { readonly options: { fallback: "bind"; socket: string; config: string[] } } {
  const folder = new TestFolder();
  folder.write({ "config/lobby.toml": lobby.replace("/TMP", folder.path) });
  const options = {
    fallback: "bind" as const,
    socket: join(folder.path, "none"),
    config: [join(folder.path, "config")],
  };
  return Object.assign(folder, { options });
}

describe('acquire with { fallback: "bind" }', () => {
  it("serves without a broker on the berth's own sockets, and says so", async () => {
    using folder = development();
    const warned = once(process, "warning");
    const tenancy = await acquire("lobby", folder.options);
    expect((await warned)[0]).toMatchObject({
      code: "BERTH_FALLBACK",
      detail: expect.stringContaining("no such socket"),
    });
    expect([tenancy.isLeased, tenancy.lease]).toEqual([false, ""]);
    const chat = tenancy.net("chat");
    chat.on("connection", (player) => player.end("hello"));
    const [text] = await once(connect((chat.address() as AddressInfo).port, "127.0.0.1"), "data");
    expect(text.toString()).toBe("hello");
    const game = tenancy.dgram("game");
    game.on("message", (message, from) => game.send(message, from.port, from.address));
    const player = createSocket("udp6");
    player.send("ping", game.address().port, "::1");
    expect((await once(player, "message"))[0].toString()).toBe("ping");
    player.close();
    await tenancy.ready();
    using file = memfd();
    await expect(tenancy.stash("state", file)).rejects.toMatchObject({ code: "BROKER_UNREACHABLE" });
    tenancy.on("replaced", () => undefined);
    await tenancy.release();
  });

  it("starts again where an earlier run has left the path of a UNIX socket, and not where one still serves", async () => {
    using folder = development();
    await (await acquire("lobby", folder.options)).release();
    expect(existsSync(join(folder.path, "chat"))).toBe(true);
    await using _ = await acquire("lobby", folder.options);
    await expect(acquire("lobby", folder.options)).rejects.toMatchObject({ errnoName: "EADDRINUSE" });
  });

  it("names the problem where the berth is not in the configuration, or is wrong", async () => {
    using folder = development();
    const refused = (text: string): unknown =>
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(text) });
    await expect(acquire("nowhere", folder.options)).rejects.toEqual(refused('no valid berth "nowhere"'));
    folder.write({ "config/lobby.toml": "[sockets.chat]\nlisten = [1]\n" });
    await expect(acquire("lobby", folder.options)).rejects.toEqual(refused("lobby.toml:2"));
  });

  it("does nothing where a broker answers", async () => {
    await using broker = await startBroker({ "lobby.toml": '[sockets.chat]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    await using tenancy = await acquire("lobby", { socket: broker.socket, fallback: "bind", config: [] });
    expect([tenancy.isLeased, broker.broker.berths[0]?.state]).toEqual([true, "occupied"]);
  });
});
