/** The page as berth-web serves it, of a real broker. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Overview, Series } from "../../../packages/web/src/api/shapes.ts";
import { packageRoot } from "../../../src/native.ts";
import { type BrokerProcess, spawnBroker } from "../../support/broker.ts";
import { isRoot, needs } from "../../support/needs.ts";
import { askJson, startWeb, type WebProcess } from "../../support/web/web-process.ts";
import { endsWithTest } from "../../support/wrap.ts";
import { violations } from "./support/axe.ts";
import { launchBrowser, Seen } from "./support/browser.ts";

const server = `[server]\ncommand = ["sleep", "600"]\n${isRoot ? 'user = "nobody"' : ""}\n`;
const files = {
  "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${server}`,
  "lazy.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n${server}start = "on-demand"\n`,
};
const row = (name: string): string => `.row[data-key$="/${name}"]`;

/** Takes a berth with a server that is killed with the test. */
async function take(broker: BrokerProcess, name: string): Promise<ChildProcess> {
  const [command = "", ...rest] = [...endsWithTest, process.execPath, join(packageRoot, "dist/berth/berth.cjs")];
  const child = spawn(command, [...rest, "run", "--socket", broker.socket, name], { stdio: "ignore" });
  await broker.logged(({ message, pid }) => message.includes("taken by") && pid === child.pid);
  return child;
}

describe("the page of a real broker", needs("chromium"), () => {
  let broker: BrokerProcess;
  let web: WebProcess;
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
    broker = await spawnBroker(files);
    web = await startWeb(broker.socket, [
      ...["--history", join(broker.folder.path, "history.db"), "--public", "arena=The Arena"],
    ]);
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await web?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });
  const open = (path: string): Promise<Seen> =>
    Seen.open(browser, `http://127.0.0.1:${web.port}${path}`, { width: 1440 });

  it("turns when a server comes and when it crashes, and opens with its history", async () => {
    await using seen = await open("/");
    const { page } = seen;
    await page.waitForSelector(`${row("lazy")}[data-state=asleep]`);
    const child = await take(broker, "arena");
    await page.waitForSelector(`${row("arena")}[data-state=serving]`);
    const { hosts } = await askJson<Overview>(web, "/api/v1/overview");
    const series = `/api/v1/berths/${hosts[0]?.id}/arena/series`;
    const queue = async (): Promise<unknown> => (await askJson<Series>(web, series)).queue.high.at(-1);
    await expect.poll(queue, { timeout: 30_000 }).toBe(0);
    await page.click(row("arena"));
    await page.waitForSelector(".plots canvas");
    expect(await page.locator(".plots canvas").count()).toBe(1);
    const unmeasured = "Not measured in the last 24 hours:Players: measured where the berth has a query";
    expect(await page.textContent(".unmeasured")).toContain(unmeasured);
    await expect.poll(() => page.textContent(".facts")).toContain(`pid ${child.pid}`);
    await expect.poll(() => page.textContent(".events")).toContain(String(child.pid));
    expect(await violations(page)).toEqual([]);
    await seen.shot("real-serving-1440-light");
    const closed = once(child, "close");
    const killed = performance.now();
    child.kill("SIGKILL");
    await page.waitForSelector(`${row("arena")}:not([data-state=serving])`);
    // What is promised is one second; a loaded machine may need more.
    expect(performance.now() - killed).toBeLessThan(10_000);
    await closed;
    await page.click("nav >> text=Quiet hours");
    await page.waitForSelector(".heat");
    await seen.shot("real-quiet-hours-1440-light");
    expect(seen.errors).toEqual([]);
    expect(seen.elsewhere).toEqual([]);
  });

  it("has a public page that its policy lets work", async () => {
    await using seen = await open("/p/arena");
    await seen.page.waitForSelector("h1 >> text=The Arena");
    expect(await violations(seen.page)).toEqual([]);
    expect(seen.errors).toEqual([]);
  });

  it("says that the broker does not answer, and keeps what it knew", async () => {
    await using seen = await open("/");
    await seen.page.waitForSelector(row("arena"));
    broker.child.kill("SIGKILL");
    await broker.exited;
    await seen.page.waitForSelector(".note >> text=does not answer");
    expect(await seen.page.locator(".stale .row").count()).toBe(2);
    await seen.shot("real-not-reachable-1440-light");
    expect(seen.errors).toEqual([]);
  });
});
