import { expect, it } from "vitest";
import { groupUse } from "../../../src/broker/metrics/group-use.ts";
import { TestFolder } from "../../support/broker.ts";

it("reads memory, its limit, and processor time; what is absent or without a limit says nothing", () => {
  using folder = new TestFolder({
    "memory.current": "4096000\n",
    "memory.max": "536870912\n",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
  });
  expect(groupUse(folder.path)).toEqual({ memory: 4_096_000, memoryLimit: 536_870_912, cpuSeconds: 1.5 });
  folder.write({ "memory.max": "max\n", "cpu.stat": "user_usec 1\n" });
  expect(groupUse(folder.path)).toEqual({ memory: 4_096_000 });
  expect(groupUse(`${folder.path}/gone`)).toEqual({});
});
