/** The helper of brokers without root, on a real kernel. It runs without privilege, even if the test has some. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { closeAll } from "../../../src/fd.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { native } from "../../../src/native.ts";
import { mountRootless, type RootlessLayers, type RootlessMount } from "../../../src/rootfs/mount/rootless-mount.ts";
import { TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { mountsHere } from "../../support/folders.ts";

describe("an overlay without privilege", () => {
  let folder: TestFolder;
  let fds: string[];
  let mounts: string[];
  beforeEach(() => {
    fds = openFds();
    mounts = mountsHere();
    folder = new TestFolder({ "below/a": "a", "below/both": "below", "above/both": "above", "above/b": "b" });
    for (const name of ["upper", "work"]) mkdirSync(at(name));
  });
  afterEach(async () => {
    // The kernel's work folder has no permissions at all.
    execFileSync("chmod", ["-R", "u+rwX", folder.path]);
    folder[Symbol.dispose]();
    expect(mountsHere()).toEqual(mounts);
    await expectFdsAgain(fds);
  });
  const at = (name: string): string => join(folder.path, name);

  async function make(change: Partial<RootlessLayers> = {}): Promise<RootlessMount> {
    return await mountRootless(
      {
        lowers: [at("above"), at("below")],
        changes: { upper: at("upper"), work: at("work") },
        readOnly: false,
        nosuid: true,
        nodev: true,
        ...change,
      },
      native,
    );
  }
  const inside = ({ mount }: RootlessMount, name = ""): string => `/proc/self/fd/${mount.fd}/${name}`;

  test("has the layers one over the other, and takes what is written, in the user's name", async () => {
    const made = await make();
    expect(readdirSync(inside(made)).toSorted()).toEqual(["a", "b", "both"]);
    expect(readFileSync(inside(made, "both"), "utf8")).toBe("above");
    writeFileSync(inside(made, "both"), "written");
    writeFileSync(inside(made, "new"), "new");
    expect(statSync(inside(made, "new")).uid).toBe(process.getuid?.());
    closeAll([made.mount, made.userns]);
    expect(readdirSync(at("upper")).toSorted()).toEqual(["both", "new"]);
    expect(readFileSync(at("above/both"), "utf8")).toBe("above");
  });

  test("continues with its files when it is built again", async () => {
    const first = await make();
    writeFileSync(inside(first, "a"), "mine");
    closeAll([first.mount, first.userns]);
    const second = await make();
    expect(readFileSync(inside(second, "a"), "utf8")).toBe("mine");
    closeAll([second.mount, second.userns]);
  });

  test("in memory has no more bytes and files than it may have, and leaves nothing", async () => {
    const made = await make({ changes: { size: 65_536 } });
    writeFileSync(inside(made, "new"), "new");
    expect(() => writeFileSync(inside(made, "large"), Buffer.alloc(200_000))).toThrow("ENOSPC");
    closeAll([made.mount, made.userns]);
    const few = await make({ changes: { inodes: 20 } });
    const write = (nth: number): void => writeFileSync(inside(few, `file-${nth}`), "");
    for (let nth = 0; nth < 10; nth++) write(nth);
    expect(() => {
      for (let nth = 10; nth < 20; nth++) write(nth);
    }).toThrow("ENOSPC");
    closeAll([few.mount, few.userns]);
    expect(readdirSync(at("upper"))).toEqual([]);
  });

  test("that is read-only is, of one layer as well", async () => {
    const made = await make({ lowers: [at("below")], changes: { size: undefined }, readOnly: true });
    expect(readdirSync(inside(made)).toSorted()).toEqual(["a", "both"]);
    expect(() => writeFileSync(inside(made, "new"), "")).toThrow("EROFS");
    closeAll([made.mount, made.userns]);
  });

  test("of more layers than one text names", async () => {
    const names = Array.from({ length: 30 }, (_, index) => `layer-${index}`);
    for (const name of names) folder.write({ [`${name}/${name}`]: name });
    const made = await make({ lowers: names.map(at) });
    expect(readdirSync(inside(made)).toSorted()).toEqual(names.toSorted());
    closeAll([made.mount, made.userns]);
  });

  test("of a folder that is not there is a sentence, and nothing is left open", async () => {
    await expect(make({ lowers: [at("none")] })).rejects.toThrow(
      `cannot open the folder ${at("none")}: No such file or directory`,
    );
    await expect(make({ changes: { upper: at("upper"), work: at("none") } })).rejects.toThrow("cannot open the folder");
  });

  test.each([[[]], [["lower=/"]], [["lower=/", "upper=/"]], [["lower=/", "tmpfs=", "colour=blue"]]])(
    "of %j is wrong usage",
    (words) => {
      const run = (): unknown => execFileSync(launcherPath(), ["--make-root", "3", ...words], { stdio: "pipe" });
      expect(run).toThrow(expect.objectContaining({ status: 100 }));
    },
  );
});
