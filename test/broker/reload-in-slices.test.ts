/** A reload while other calls are answered: what the method Reload and SIGHUP do. */
import { describe, expect, it } from "vitest";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { RawPeer } from "../support/peer.ts";

const abstract = (name: string, more = ""): string => `[sockets.s]\nlisten = ["unix://@${name}"]\n${more}`;

/** So many that reading them takes several slices. */
const MANY = 800;

function many(test: { readonly folder: { readonly path: string } }, mark = ""): Record<string, string> {
  const id = test.folder.path.replaceAll("/", "-");
  return Object.fromEntries(
    Array.from({ length: MANY }, (_, n) => [
      `config/b${String(n).padStart(3, "0")}.toml`,
      abstract(`${id}-${n}`, mark),
    ]),
  );
}

const names = ({ broker }: TestBroker): string[] => broker.berths.map(({ name }) => name);

describe("a reload in slices", () => {
  it("answers others while it reads, and replies when all is in force", async () => {
    await using test = await startBroker({});
    test.folder.write(many(test));
    using operator = await RawPeer.connect(test.socket);
    using other = await RawPeer.connect(test.socket);
    let isOver = false;
    const reload = operator.call("Reload").then((reply) => {
      isOver = true;
      return reply;
    });
    let answered = 0;
    while (!isOver) {
      expect((await other.call("Acquire", { berth: "nobody-has-this" }))?.error).toBe("io.berthd.Broker.NoSuchBerth");
      if (!isOver) answered++;
    }
    expect((await reload)?.parameters).toMatchObject({ berths: MANY });
    expect(answered).toBeGreaterThan(0);
    expect(names(test)).toHaveLength(MANY);
  });

  it("that is asked for during another sees what was changed meanwhile", async () => {
    await using test = await startBroker({});
    test.folder.write(many(test));
    const first = test.broker.reloadInSlices();
    // Its reading has begun by now, and may be past the place of this one.
    await new Promise((resolve) => setImmediate(resolve));
    test.folder.write({ "config/a.toml": abstract(`${test.folder.path}-a`) });
    const [second, third] = [test.broker.reloadInSlices(), test.broker.reloadInSlices()];
    await Promise.all([first, second, third]);
    expect(names(test)).toHaveLength(MANY + 1);
  });

  it("does not undo a reload at once that was faster", async () => {
    await using test = await startBroker({});
    test.folder.write(many(test));
    const slow = test.broker.reloadInSlices();
    await new Promise((resolve) => setImmediate(resolve));
    test.folder.write({ "config/a.toml": abstract(`${test.folder.path}-a`) });
    test.broker.reload();
    expect(names(test)).toContain("a");
    await slow;
    expect(names(test)).toContain("a");
  });

  it("of a configuration with a mistake is refused, and changes nothing", async () => {
    await using test = await startBroker({});
    test.folder.write({ ...many(test), "config/a.toml": "[sockets" });
    await expect(test.broker.reloadInSlices()).rejects.toThrow("this is not TOML");
    expect([names(test), test.broker.outdated]).toEqual([[], true]);
    test.folder.write({ "config/a.toml": abstract(`${test.folder.path}-a`) });
    await test.broker.reloadInSlices();
    expect([names(test).length, test.broker.outdated]).toEqual([MANY + 1, false]);
  });

  it("does nothing once the broker is closed", async () => {
    await using test = await startBroker({});
    test.folder.write(many(test));
    const reload = test.broker.reloadInSlices();
    await test.broker.close();
    await reload;
    expect(names(test)).toEqual([]);
  });
});
