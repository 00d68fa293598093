import { describe, expect, test } from "vitest";
import { whyNoNamespace } from "../../../src/rootfs/mount/userns-diagnosis.ts";

/** A host that has only these files. */
const system =
  (files: Readonly<Record<string, string>>) =>
  (path: string): string | undefined =>
    files[path];

const FORBIDDEN = "cannot make a user namespace: Operation not permitted";
const LIMIT = "/proc/sys/user/max_user_namespaces";
const CLONE = "/proc/sys/kernel/unprivileged_userns_clone";
const APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

describe("why a user has no overlay", () => {
  test.each([
    [
      { [LIMIT]: "0\n" },
      "cannot make a user namespace: No space left on device",
      "`sysctl -w user.max_user_namespaces=1000`",
    ],
    [{ [LIMIT]: "96365\n", [CLONE]: "0\n" }, FORBIDDEN, "`sysctl -w kernel.unprivileged_userns_clone=1`"],
    [
      { [LIMIT]: "96365\n", [CLONE]: "1\n", [APPARMOR]: "1\n" },
      "cannot make a file system of type overlay: Permission denied",
      "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
    ],
  ])("is a setting, which is named: %j", (files, said, remedy) => {
    expect(whyNoNamespace(said, [], system(files))).toContain(remedy);
  });

  test("is no setting that allows it", () => {
    const allowed = { [LIMIT]: "96365\n", [CLONE]: "1\n", [APPARMOR]: "0\n" };
    expect(whyNoNamespace(FORBIDDEN, [], system(allowed))).toBeUndefined();
    expect(whyNoNamespace(FORBIDDEN, [], system({}))).toBeUndefined();
    expect(whyNoNamespace("cannot open the folder /x: No such file", [], system({ [LIMIT]: "0" }))).toBeUndefined();
  });

  test("is a mount inside of an image, which the kernel lets no user leave out", () => {
    const mountinfo = "21 1 8:1 / / rw - ext4 x rw\n36 21 0:5 / /srv/my\\040image/proc rw - proc proc rw\n";
    const read = system({ "/proc/self/mountinfo": mountinfo });
    const said = "cannot mount the layers: Invalid argument";
    expect(whyNoNamespace(said, ["/srv/other", "/srv/my image"], read)).toContain("run `umount '/srv/my image/proc'`");
    expect(whyNoNamespace(said, ["/srv/my"], read)).toBeUndefined();
  });
});
