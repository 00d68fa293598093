/** A berth that a host has for its files only, and a broker that refuses its configuration or does not answer. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BerthFiles } from "../../../packages/fleet/src/agent/berth-files.ts";
import { Staging } from "../../../packages/fleet/src/agent/copies/staging.ts";
import { TestFolder } from "../../support/broker.ts";

const ROOT = { image: "/srv/image" };
const TYPO = "other.toml: line 3 is no TOML";

describe("a staged berth", () => {
  let folder: TestFolder;
  let files: BerthFiles;
  let staging: Staging;
  let agent: AbortController;
  let order: AbortController;
  /** Why the broker refuses its configuration. An error: it does not answer. */
  let refusal: string | Error | undefined;
  let hasBerth: boolean;
  let changes: number;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    folder = new TestFolder();
    files = new BerthFiles(folder.path);
    [agent, order] = [new AbortController(), new AbortController()];
    [refusal, hasBerth, changes] = [undefined, false, 0];
    const broker = {
      reload: async () => {
        if (refusal instanceof Error) throw refusal;
        if (refusal === undefined) hasBerth = existsSync(file());
        return refusal;
      },
      present: async () => {
        if (refusal instanceof Error) throw refusal;
        return new Set(hasBerth ? ["a-1"] : []);
      },
    };
    staging = new Staging(files, broker, () => changes++, agent.signal);
  });
  afterEach(() => {
    agent.abort();
    vi.useRealTimers();
    folder[Symbol.dispose]();
  });

  const file = () => join(folder.path, "a-1.toml");
  const during = (action: () => Promise<string>) => staging.with("a-1", ROOT, action, order.signal);

  it("is at the broker only for as long as something is done", async () => {
    expect(await during(async () => `${hasBerth} ${files.isStaged("a-1")}`)).toBe("true true");
    expect([hasBerth, files.isStaged("a-1"), existsSync(file()), changes]).toEqual([false, false, false, 1]);
  });

  it("that the broker refuses is none at once, so that its host may serve it", async () => {
    refusal = TYPO;
    await expect(during(async () => "done")).rejects.toMatchObject({
      code: "COPY_FAILED",
      message: expect.stringContaining(TYPO),
    });
    expect([files.isStaged("a-1"), existsSync(file()), changes]).toEqual([false, false, 1]);
  });

  it.each([TYPO, new Error("nobody listens")])(
    "is none once the broker reads again, also after its order: %s",
    async (why) => {
      const ended = during(async () => {
        refusal = why;
        order.abort();
        throw new Error("the copy was ended");
      });
      await expect(ended).rejects.toThrow("the copy was ended");
      expect([files.isStaged("a-1"), existsSync(file()), changes]).toEqual([true, false, 0]);
      // Another order does not stage it meanwhile.
      order = new AbortController();
      await expect(during(async () => "done")).rejects.toMatchObject({ code: "COPY_FAILED" });
      refusal = undefined;
      await vi.advanceTimersByTimeAsync(1_000);
      expect([hasBerth, files.isStaged("a-1"), changes]).toEqual([false, false, 1]);
      expect(await during(async () => "done")).toBe("done");
    },
  );

  it("that the broker does not forget fails its order after 30 s, as the other host holds the berth", async () => {
    const ended = during(async () => {
      refusal = TYPO;
      return "done";
    });
    const failed = expect(ended).rejects.toMatchObject({ code: "COPY_FAILED", message: expect.stringContaining(TYPO) });
    await vi.advanceTimersByTimeAsync(30_000);
    await failed;
    refusal = undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    expect([hasBerth, files.isStaged("a-1"), changes]).toEqual([false, false, 1]);
  });

  it("whose file cannot be written is none", async () => {
    // A folder in its place: root may write to all others.
    mkdirSync(`${file()}.new`);
    await expect(during(async () => "done")).rejects.toMatchObject({ code: "EISDIR" });
    expect(files.isStaged("a-1")).toBe(false);
  });

  it("that a killed agent has left goes, and an agent that ends waits for the broker's answer", async () => {
    files.stage("a-1", ROOT);
    hasBerth = true;
    await staging.endLeft();
    expect([hasBerth, files.staged(), changes]).toEqual([false, [], 1]);
    void during(async () => {
      agent.abort();
      order.abort();
      throw new Error("the copy was ended");
    }).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(0);
    await staging.ended();
    expect(hasBerth).toBe(false);
  });
});
