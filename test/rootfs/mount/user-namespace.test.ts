import { openSync } from "node:fs";
/** Errors of user namespaces: they name the cause and the remedy, wherever a namespace is made. */
import { constants as os } from "node:os";
import { describe, expect, test } from "vitest";
import { SysError } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { rangeNamespace } from "../../../src/rootfs/mount/idmap.ts";
import { makeUserNamespace } from "../../../src/rootfs/mount/user-namespace.ts";
import { rangeAt } from "../../../src/rootfs/ranges/range.ts";
import { Root } from "../../../src/rootfs/roots/root.ts";
import { makeRootEntry } from "../../../src/rootfs/roots/root-entry.ts";
import { scripted } from "../../support/scripted-native.ts";

const { EPERM, ENOSPC, ENOMEM } = os.errno;
const range = rangeAt(0x6000_0000);
const failing = (errno: number) => scripted({ userns: () => -errno });

/** The error that `action` throws. */
function errorOf(action: () => unknown): SysError {
  try {
    action();
  } catch (error) {
    if (error instanceof SysError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

const OUTSIDE = "36 21 8:1 / / rw - ext4 x rw\n";
const CHROOTED = "36 21 0:5 / /proc rw - proc proc rw\n";

describe("a refused user namespace", () => {
  test.each([
    ["a chroot", EPERM, { "/proc/self/mountinfo": CHROOTED }, "EPERM; berthd runs in a chroot"],
    ["a possible chroot or filter", EPERM, { "/proc/self/mountinfo": OUTSIDE }, "run `unshare --user true`"],
    ["a chroot without /proc", EPERM, {}, "EPERM; a chroot or a container's seccomp filter forbids it"],
    [
      "the sysctl that forbids it",
      EPERM,
      { "/proc/sys/kernel/unprivileged_userns_clone": "0\n" },
      "EPERM; this host allows only root to make user namespaces: allow others with `sysctl -w",
    ],
    [
      "the sysctl that allows none",
      ENOSPC,
      { "/proc/sys/user/max_user_namespaces": "0\n" },
      "ENOSPC; this host allows no user namespaces: allow them with `sysctl -w user.max_user_namespaces=",
    ],
    [
      "the limit that is reached",
      ENOSPC,
      { "/proc/sys/user/max_user_namespaces": "9\n" },
      "ENOSPC; the limit of user namespaces is reached",
    ],
  ])("names %s", (_, errno, files: Readonly<Record<string, string>>, words) => {
    const error = errorOf(() => makeUserNamespace(range, 0, failing(errno), (path) => files[path]));
    expect(error.message).toContain(words);
    expect(error.errno).toBe(errno);
  });

  test("has no remedy for an error that has nothing to do with permission", () => {
    expect(errorOf(() => makeUserNamespace(range, 0, failing(ENOMEM))).message).toBe("user namespace: ENOMEM");
  });

  test("is explained for an idmapped layer and for the entry of a root", () => {
    const explained = /^user namespace: EPERM; .+: /;
    expect(errorOf(() => rangeNamespace(range, failing(EPERM))).message).toMatch(explained);
    const sys = failing(EPERM);
    const mount = FdHandle.adopt(openSync("/", "r"), sys);
    const root = new Root(mount, { strategy: "idmap", images: [], state: "readonly", range }, [], sys);
    try {
      expect(errorOf(() => makeRootEntry(root, 1000, [], sys)).message).toMatch(explained);
    } finally {
      mount.close();
    }
  });
});
