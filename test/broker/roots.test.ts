/** Roots through a broker: who gets one, when it is made and when it goes, and what is said when it cannot be. */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mounts } from "../rootfs/world.ts";
import { startBroker, type TestBroker, TestFolder } from "../support/broker.ts";
import { fdsAgain, openFds } from "../support/fds.ts";
import { isRoot, Puppet } from "../support/puppet.ts";

let before: string[];
let mounted: string;
let images: TestFolder;

beforeEach(() => {
  before = openFds();
  mounted = mounts();
  images = new TestFolder({ "one/etc/motd": "one", "two/etc/motd": "two" });
});

afterEach(async () => {
  images[Symbol.dispose]();
  expect(await fdsAgain(before)).toEqual(before);
  expect(mounts()).toBe(mounted);
});

/** A broker whose berth `a` has a root of the image `one` and this in its section. */
async function broker(more = "", sockets = ""): Promise<TestBroker> {
  const root = `[root]\nimage = "${images.path}/one"\n${more}`;
  return await startBroker({ "a.toml": `${sockets}${root}` }, { state: join(images.path, "state") });
}

const read = 'result = os.read(os.open("etc/motd", 0, dir_fd=b.fds[-1]), 99).decode()';
const write = (text: string): string =>
  `fd = os.open("etc/motd", os.O_WRONLY | os.O_TRUNC, dir_fd=b.fds[-1]); os.write(fd, b"${text}"); os.close(fd)`;

describe.skipIf(!isRoot)("a berth with a root (needs root)", () => {
  it("hands it over after the sockets, with its range, and shows both", async () => {
    await using test = await broker("", '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n');
    expect(test.broker.berths).toEqual([
      expect.objectContaining({
        state: "vacant",
        root: { images: [join(images.path, "one")], state: "persistent" },
        descriptors: [expect.objectContaining({ name: "game" }), { name: "root", kind: "root" }],
      }),
    ]);
    await using puppet = await Puppet.connect(test.socket);
    const { parameters } = await puppet.call("Acquire", { berth: "a" });
    expect(parameters["descriptors"]).toEqual([
      expect.objectContaining({ name: "game", kind: "stream", index: 0 }),
      { name: "root", kind: "root", index: 1 },
    ]);
    const [view] = test.broker.berths;
    expect(view?.root).toEqual({ images: [join(images.path, "one")], state: "persistent", strategy: "idmap" });
    expect(view?.range).toEqual(parameters["range"]);
    expect(view?.range?.count).toBe(65_536);
    expect(await puppet.do(read)).toBe("one");
    expect(await puppet.do("result = os.fstat(b.fds[-1]).st_uid")).toBe(view?.range?.base);
  });

  it("keeps what was written for the next tenant, and gives a volatile one nothing", async () => {
    for (const [state, found] of [
      ["persistent", "mine"],
      ["volatile", "one"],
    ] as const) {
      await using test = await broker(`state = "${state}"`);
      await using first = await Puppet.connect(test.socket);
      await first.acquire("a");
      await first.do(write("mine"));
      await first.kill();
      await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
      await using second = await Puppet.connect(test.socket);
      await second.acquire("a");
      expect(await second.do(read)).toBe(found);
    }
  });
});
