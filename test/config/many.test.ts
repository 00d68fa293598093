/** A configuration of thousands takes seconds, not minutes. */
import { expect, it } from "vitest";
import { findConflicts } from "../../src/config/conflicts.ts";
import { loadConfig } from "../../src/config/load.ts";
import { parseListenAddress } from "../../src/net/address.ts";
import { accounts, folder } from "./fixture.ts";

it("findConflicts needs no quadratic time for many addresses of one port", () => {
  const drafts = Array.from({ length: 40_000 }, (_, n) => {
    const listen = parseListenAddress(`udp://10.${n >> 16}.${(n >> 8) & 255}.${n & 255}:5`);
    if (typeof listen === "string") throw new Error(listen);
    const options = { backlog: 1, mode: 0, v6only: true, reusePort: false, ...(n % 3 === 0 ? { device: "eth0" } : {}) };
    const sockets = [{ name: "s", listen: [{ ...listen, origin: { file: "f", line: 1 } }], options }];
    return { name: `b${n}`, sockets };
  });
  const before = process.cpuUsage();
  expect(findConflicts(drafts)).toEqual([]);
  // Microseconds of the processor. Comparing all pairs took a minute.
  expect(process.cpuUsage(before).user).toBeLessThan(15_000_000);
});

it("instances load a thousand at a time", () => {
  const instances = Array.from(
    { length: 1000 },
    (_, index) => [`arena@i${index}.toml`, { link: "arena@.toml" }] as const,
  );
  const template = '[sockets.game]\nlisten = ["unix:///run/%t/%i"]\n[server]\ncommand = ["%n"]\n';
  const root = folder({ "arena@.toml": template, ...Object.fromEntries(instances) });
  expect(loadConfig({ directories: [root], accounts })).toMatchObject({ problems: [], specs: { length: 1000 } });
});
