import { afterEach, expect, it, vi } from "vitest";
import { GroupUses, groupUse } from "../../../src/broker/metrics/group-use.ts";
import { TestFolder } from "../../support/broker.ts";

afterEach(() => void vi.useRealTimers());

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

it("reads the files of a group once a second, however often it is asked", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  using folder = new TestFolder({ "a/memory.current": "1\n", "b/memory.current": "2\n" });
  const uses = new GroupUses();
  const both = () => [uses.of(`${folder.path}/a`), uses.of(`${folder.path}/b`)];
  expect(both()).toEqual([{ memory: 1 }, { memory: 2 }]);
  folder.write({ "a/memory.current": "3\n" });
  vi.advanceTimersByTime(999);
  expect(both()).toEqual([{ memory: 1 }, { memory: 2 }]);
  vi.advanceTimersByTime(1);
  expect(both()).toEqual([{ memory: 3 }, { memory: 2 }]);
});
