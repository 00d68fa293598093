/**
 * Limits in tests only end what hangs: a loaded machine may need 20 s for what takes 20 ms. A test that wants to see a
 * limit reached is listed here.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../src/native.ts";

const SHORTEST_MS = 30_000;

/** Short limits that a test wants to be reached, or whose end no test waits for. */
const wanted: readonly string[] = [
  "systemd/boot/machine.test.ts: timeout: 50",
  "varlink/connect.test.ts: timeout: 5",
  "web/page/support/browser.ts: timeout: 2000",
];

/** Each is a number of milliseconds, but the last, which Python counts in seconds. */
const limits: readonly RegExp[] = [
  /\b(?:timeout|testTimeout|hookTimeout): ?([\d_]+)/g,
  /\bAbortSignal\.timeout\(([\d_]+)\)/g,
  /\bvi\.wait(?:For|Until)\(.*, ([\d_]+)\);$/gm,
  /^ +\}, (\d_?\d{3,}|\d{2}_\d+)\);$/gm, // shorter ones are intervals
  /\bsettimeout\((\d+)\)/g,
];

const files = readdirSync(join(packageRoot, "test"), { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(ts|py)$/.test(name) && name !== "limits.test.ts")
  .map((name) => ({ name, text: readFileSync(join(packageRoot, "test", name), "utf8") }));

function shortLimits(text: string): string[] {
  return limits.flatMap((pattern) =>
    [...text.matchAll(pattern)]
      .filter(([found, number = ""]) => {
        const unit = found.startsWith("settimeout") ? 1000 : 1;
        return Number(number.replaceAll("_", "")) * unit < SHORTEST_MS;
      })
      .map(([found]) => found.trim()),
  );
}

it("no test fails because the machine is slow: limits are 30 seconds or more", () => {
  const found = files.flatMap(({ name, text }) => shortLimits(text).map((limit) => `${name}: ${limit}`));
  expect(found.sort()).toEqual([...wanted].sort());
});

it("vi.waitFor and vi.waitUntil are given a limit: their own is one second", () => {
  const calls = files.flatMap(({ name, text }) =>
    text
      .split(/\bvi\.wait(?:For|Until)\(/)
      .slice(1)
      .map((rest) => ({ name, call: upToItsEnd(rest) })),
  );
  expect(calls.length).toBeGreaterThan(50);
  const limited = /(?:, |\n +)(?:[\d_]+|[A-Z]+|\{[^{}]*\btimeout: [\d_]+[^{}]*\}),?\s*$/;
  expect(calls.filter(({ call }) => !limited.test(call))).toEqual([]);
});

/** The text before the parenthesis that closes the one before it. */
function upToItsEnd(text: string): string {
  let open = 1;
  const end = [...text].findIndex((one) => {
    if (one === "(") open++;
    if (one === ")") open--;
    return open === 0;
  });
  return text.slice(0, end);
}
