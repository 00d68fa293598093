/** What a broker makes for a launcher that enters a root, made by hand: user namespace, overlay, /proc. Needs root. */
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import type { Plan } from "../../src/launch/plan.ts";
import {
  AT_FDCWD,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  native,
  OPEN_TREE_CLONE,
} from "../../src/native.ts";
import { FsContext } from "../../src/rootfs/mount/fs-context.ts";
import { idmapTree } from "../../src/rootfs/mount/idmap.ts";
import { mountOverlay, openFolder, PLAIN } from "../../src/rootfs/mount/overlay.ts";
import { encode, type FakeBroker, planOf } from "./fake-broker.ts";

/** First id of the tests' range: none that a system gives away by itself. */
export const BASE = 1_572_864_000;
const COUNT = 65_536;
const SAFE = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
export const RDONLY: number = SAFE | MOUNT_ATTR_RDONLY;

/** Folders for what is written to a root, with owners of the range. */
export interface Layers {
  readonly image: string;
  readonly upper: string;
  readonly work: string;
}

export function makeLayers(folder: string, image: string): Layers {
  const [upper, work] = ["upper", "work"].map((name) => join(folder, name));
  for (const path of [upper, work]) {
    if (path === undefined) throw new Error("two folders");
    mkdirSync(path, { mode: 0o755 });
    chownSync(path, BASE, BASE);
  }
  return { image, upper: upper ?? "", work: work ?? "" };
}

/** A detached copy of the mount at `path`. */
export function treeOf(path: string, attributes: number = SAFE): number {
  const tree = check("open_tree", native.openTree(AT_FDCWD, path, OPEN_TREE_CLONE), path);
  check("mount_setattr", native.mountSetattr(tree, attributes, 0));
  return tree;
}

/** The overlay of the layers, the image with the range's owners. */
export function overlayOf({ image, upper, work }: Layers, userns: number, attributes: number = SAFE): number {
  using namespace = FdHandle.adopt(check("dup", native.dup(userns)));
  using lower = idmapTree(image, namespace, native);
  using above = openFolder(upper, native);
  using beside = openFolder(work, native);
  return mountOverlay({ lowers: [lower], upper: { upper: above, work: beside } }, PLAIN, attributes, native).steal();
}

/** A /proc that shows nobody else's processes. */
function procOf(): number {
  using context = new FsContext("proc", native);
  context.set("hidepid", "invisible");
  return context.mount(SAFE).steal();
}

export interface Entry {
  /** User who may join the namespace, beside root. */
  readonly owner?: number;
  /** Attributes of the overlay's mount. */
  readonly attributes?: number;
  /** What else is placed in the root, by target. */
  readonly mounts?: Readonly<Record<string, number>>;
  /** What the launcher takes along itself. */
  readonly binds?: NonNullable<Plan["root"]>["binds"];
  readonly plan?: Partial<Plan>;
  /** Descriptors placed from 3 up. */
  readonly fds?: Readonly<Record<string, number>>;
}

/** Has the broker answer with a plan that enters a root of these layers and runs `argv` in it as id 0 inside. */
export function offerRoot(broker: FakeBroker, layers: Layers, argv: readonly string[], entry: Entry = {}): void {
  const { owner = 0, attributes = SAFE, mounts = {}, binds = [], plan = {}, fds = {} } = entry;
  const userns = check("userns", native.userns(BASE, COUNT, owner));
  const proc = procOf();
  const all = { ...mounts, "/proc": proc };
  const first = 3 + Object.keys(fds).length;
  broker.offerFds(
    encode(
      planOf(argv, {
        user: { uid: 0, gid: 0, groups: [] },
        environment: { PATH: "/usr/bin:/bin:/usr/sbin" },
        fds: Object.keys(fds).map((name, at) => ({ name, index: 3 + at })),
        root: {
          userns: 1,
          mount: 2,
          keepGroups: false,
          mounts: Object.keys(all).map((target, at) => ({ index: first + at, target })),
          binds,
        },
        ...plan,
      }),
    ),
    [userns, overlayOf(layers, userns, attributes), ...Object.values(fds), ...Object.values(all)],
  );
}

/** Has the broker offer the very root that it offered last, to run another command in it, without /proc. */
export function reofferRoot(broker: FakeBroker, argv: readonly string[]): void {
  const [, userns = -1, root = -1] = broker.answer === "close" || broker.answer === "silence" ? [] : broker.answer.fds;
  const copies = [userns, root].map((fd) => check("dup", native.dup(fd)));
  const plan = planOf(argv, {
    user: { uid: 0, gid: 0, groups: [] },
    environment: { PATH: "/usr/bin:/bin" },
    root: { userns: 1, mount: 2, keepGroups: false, mounts: [], binds: [] },
  });
  broker.offerFds(encode(plan), copies);
}
