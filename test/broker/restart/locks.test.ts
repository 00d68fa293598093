import { chownSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startBroker, TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, settledFds } from "../../support/fds.ts";
import { isRoot, needs } from "../../support/needs.ts";

/** Starts a broker whose lock file has been made already; what it says. */
async function refusal(folder: TestFolder, where: "socket" | "state"): Promise<unknown> {
  const options = { socket: join(folder.path, "s"), ...(where === "state" && { state: join(folder.path, "state") }) };
  const broker = await startBroker({}, options).catch((error: unknown) => error);
  return broker;
}

it.each(["socket", "state"] as const)(
  "a lock of the %s that is a link, a folder or another user's is refused with a sentence",
  async (where) => {
    const before = await settledFds();
    const makers: readonly (readonly [string, (path: string, victim: string) => void])[] = [
      ["it is a symbolic link", (path, victim) => symlinkSync(victim, path)],
      ["it is a symbolic link", (path) => symlinkSync(`${path}.not-there`, path)],
      ["it is no regular file", (path) => mkdirSync(path)],
      ...(isRoot ? [["it belongs to uid 65534", ofNobody] as const] : []),
    ];
    for (const [words, make] of makers) {
      using folder = new TestFolder({ victim: "mine", "state/x": "" });
      const path = join(folder.path, where === "socket" ? "s.lock" : "state/lock");
      make(path, join(folder.path, "victim"));
      expect(await refusal(folder, where)).toMatchObject({
        code: "SYSTEM_ERROR",
        message: expect.stringContaining(`cannot lock ${path}: ${words}; move it away`),
      });
      expect(readFileSync(join(folder.path, "victim"), "utf8")).toBe("mine");
      expect(lstatSync(`${path}.not-there`, { throwIfNoEntry: false })).toBeUndefined();
    }
    await expectFdsAgain(before);
  },
);

function ofNobody(path: string): void {
  writeFileSync(path, "");
  chownSync(path, 65534, 65534);
}

it("a folder for the socket that cannot be made is an error without a stack", needs("root"), async () => {
  using folder = new TestFolder({ file: "" });
  await expect(startBroker({}, { socket: join(folder.path, "file/deep/s") })).rejects.toMatchObject({
    code: "SYSTEM_ERROR",
  });
});
