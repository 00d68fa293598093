/** The unmount of a file system, as a real kernel reports it. */
import { constants } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { pathOf } from "../../../src/rootfs/disk/proc-path.ts";
import { FsContext } from "../../../src/rootfs/mount/fs-context.ts";
import { openFolder } from "../../../src/rootfs/mount/overlay.ts";
import { UnmountWatch } from "../../../src/rootfs/mount/unmount-watch.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { scripted } from "../../support/scripted-native.ts";

const { EMFILE, ENOSPC } = constants.errno;

let before: string[];

beforeEach(() => {
  before = openFds();
});

afterEach(async () => {
  await expectFdsAgain(before);
});

function tmpfs(): FdHandle {
  using context = new FsContext("tmpfs", native);
  return context.mount(0);
}

describe("a file system that is watched (needs root)", needs("root"), () => {
  it("ends when no process has it open any more, in any order", () => {
    const endings = new UnmountWatch(native);
    const mounts = Array.from({ length: 300 }, tmpfs);
    const watches = mounts.map((mount) => endings.watch(mount) ?? -1);
    expect(new Set(watches).size).toBe(300);
    expect(watches.map((watch) => endings.isUnmounted(watch))).not.toContain(true);
    mounts[7]?.close();
    expect(watches.filter((watch) => endings.isUnmounted(watch))).toEqual([watches[7]]);
    for (const mount of mounts) mount.close();
    expect(watches.map((watch) => endings.isUnmounted(watch))).not.toContain(false);
    endings.close();
  });

  it("has not while a folder of it is open, or a copy of the mount", () => {
    const endings = new UnmountWatch(native);
    const mount = tmpfs();
    const watch = endings.watch(mount) ?? -1;
    using folder = openFolder(pathOf(mount), native);
    mount.close();
    expect(endings.isUnmounted(watch)).toBe(false);
    folder.close();
    expect(endings.isUnmounted(watch)).toBe(true);
    endings.close();
  });

  it.each([
    ["another instance", { inotifyInit: () => -EMFILE }],
    ["another watch", { inotifyAddWatch: () => -ENOSPC }],
  ])("is not watched where the user may not have %s", (_, sys) => {
    const endings = new UnmountWatch(scripted(sys));
    using mount = tmpfs();
    expect(endings.watch(mount)).toBeUndefined();
    endings.close();
  });
});
