/** What somebody does with the page, and what the page does by itself. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { needs } from "../../support/needs.ts";
import { violations } from "./support/axe.ts";
import { launchBrowser, Seen } from "./support/browser.ts";
import { madeUpBerth, madeUpFleet, manyBerths, overviewOf, thirtyBerths } from "./support/made-up.ts";
import { PageServer } from "./support/page-server.ts";

const bob = { host: "fsn-1", name: "arena@bob" };
const crash = { ...bob, state: "failed", cause: "SIGSEGV, 1×", memory: null, players: 0 } as const;
const rowOf = (name: string): string => `.row[data-key="fsn-1/${name}"]`;
const focused = (page: Page): Promise<string> => page.evaluate("document.activeElement.textContent");
const said = (page: Page): Promise<string | null> => page.textContent("#say");
const hide = (page: Page, hidden: boolean): Promise<void> =>
  page.evaluate(
    `Object.defineProperty(document, "hidden", { configurable: true, get: () => ${hidden} }); document.dispatchEvent(new Event("visibilitychange"))`,
  );
const firstNames = (page: Page): Promise<string[]> => page.locator(".row .name a").allTextContents();

describe("the status page", { ...needs("chromium") }, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser.close());

  const withPage = async (
    work: (page: Page, server: PageServer, seen: Seen) => Promise<void>,
    overview: PageServer["overview"] = overviewOf(thirtyBerths("fsn-1")),
    path: string = "/",
  ): Promise<void> => {
    await using server = await PageServer.start(overview);
    await using seen = await Seen.open(browser, server.url + path, { width: 1440 });
    await seen.telling(async () => {
      await seen.page.waitForSelector("#main .row, .join");
      await work(seen.page, server, seen);
    });
    expect(seen.errors).toEqual([]);
  };

  it("shows a crash as it is told of it: in the row, the tab, its icon, and to screen readers", async () => {
    await withPage(
      async (page, server) => {
        const icon = await page.getAttribute("link[rel=icon]", "href");
        expect(await page.title()).toBe("fsn-1 · berthd");
        const sent = performance.now();
        server.patch({ berths: [crash] });
        await page.waitForSelector(`${rowOf("arena@bob")}[data-state=failed]`);
        expect(performance.now() - sent).toBeLessThan(10_000);
        expect(await page.textContent(`${rowOf("arena@bob")} .state`)).toBe("FailedSIGSEGV, 1×");
        expect(await firstNames(page)).toEqual(["arena@bob", "arena@ann"]);
        await expect.poll(() => page.title()).toBe("1 problem · fsn-1 · berthd");
        await expect.poll(() => said(page)).toBe("arena@bob: Failed, SIGSEGV, 1×");
        expect(await page.getAttribute("link[rel=icon]", "href")).not.toBe(icon);
      },
      overviewOf([madeUpBerth("fsn-1", "arena@ann"), madeUpBerth("fsn-1", "arena@bob")]),
    );
  });

  it("keeps the order still while the pointer is in the list, and makes it good when it leaves", async () => {
    await withPage(async (page, server) => {
      const before = await firstNames(page);
      await page.hover(rowOf("arena@bob"));
      server.patch({ berths: [crash] });
      await page.waitForSelector(`${rowOf("arena@bob")}[data-state=failed]`);
      expect(await firstNames(page)).toEqual(before);
      await page.hover(".top");
      await expect.poll(async () => (await firstNames(page)).indexOf("arena@bob")).toBeLessThan(3);
    });
  });

  it("numbers alone move no row, in no order", async () => {
    await withPage(async (page, server) => {
      await page.selectOption(".tools .select", "players");
      const before = await firstNames(page);
      server.patch({ berths: [{ ...bob, players: 0 }] });
      await expect.poll(() => page.textContent(`${rowOf("arena@bob")} .on`)).toBe("0");
      expect(await firstNames(page)).toEqual(before);
    });
  });

  it("is walked by the keyboard: filter, next, open, next, copy, close, keys", async () => {
    await withPage(async (page) => {
      await page.keyboard.press("/");
      await page.keyboard.type("arena serving");
      await expect.poll(() => said(page)).toBe("4 of 30");
      await page.keyboard.press("ArrowDown");
      expect(await focused(page)).toBe("arena@red");
      await page.keyboard.press("j");
      expect(await focused(page)).toBe("arena@blue");
      await page.keyboard.press("k");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#detail-title:focus >> text=arena@red");
      await page.keyboard.press("j");
      await expect.poll(() => focused(page)).toBe("arena@blue");
      expect(new URL(page.url()).hash).toBe("#/b/fsn-1/arena@blue");
      await page.keyboard.press("c");
      const address = await page.textContent(`${rowOf("arena@blue")} .address .two-lines > :first-child`);
      await expect.poll(() => said(page)).toBe(`Copied ${address}`);
      expect(await page.evaluate("navigator.clipboard.readText()")).toBe(address);
      await page.keyboard.press("Escape");
      await page.waitForSelector(".detail", { state: "detached" });
      await page.waitForSelector(`${rowOf("arena@blue")} a:focus`);
      await page.keyboard.press("Escape");
      await expect.poll(() => page.inputValue("#filter")).toBe("");
      await page.keyboard.press("?");
      await page.waitForSelector("dialog[open]");
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("Escape");
      await page.waitForSelector("dialog:not([open])", { state: "attached" });
    });
  });

  it("copies without the clipboard of HTTPS, and claims nothing when the browser refuses", async () => {
    await withPage(async (page) => {
      const copy = page.locator(`${rowOf("arena@bob")} .copy`);
      const address = await page.textContent(`${rowOf("arena@bob")} .address .two-lines > :first-child`);
      await page.evaluate(
        "globalThis.clipboard = navigator.clipboard; Object.defineProperty(navigator, 'clipboard', { value: undefined })",
      );
      await copy.click();
      await expect.poll(() => said(page)).toBe(`Copied ${address}`);
      expect(await page.evaluate("clipboard.readText()")).toBe(address);
      await page.waitForSelector(`${rowOf("arena@bob")} .copy:not([data-copied])`);
      await page.evaluate("document.execCommand = () => false");
      await copy.click();
      await expect.poll(() => said(page)).toBe(`Your browser did not copy ${address}`);
      expect(await copy.getAttribute("data-copied")).toBeNull();
    });
  });

  it("has an address for each view, and the browser's Back works", async () => {
    await withPage(async (page) => {
      await page.click(rowOf("arena@bob"));
      await page.waitForSelector(".detail");
      await page.click("nav >> text=Quiet hours");
      await page.waitForSelector(".heat");
      await page.goBack();
      await page.waitForSelector(".detail");
      await page.goBack();
      await page.waitForSelector(".detail", { state: "detached" });
      expect(new URL(page.url()).hash).toBe("");
    });
  });

  it("shows script in a server's name, map, output or event as text", async () => {
    const script = '<img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>';
    const hostile = madeUpBerth("fsn-1", script, { game: script, map: script, cause: script, state: "failed" });
    await withPage(
      async (page, server) => {
        expect(await page.textContent(".row .name")).toContain(script);
        await page.click(".row .name a");
        await page.waitForSelector(".events li");
        server.send("timeline", {
          ...{ host: "fsn-1", name: script },
          event: { at: Date.now(), kind: "crash", text: script, detail: script },
        });
        await expect.poll(() => page.locator(".events .what").first().textContent()).toBe(script);
        expect(await page.locator("main img, aside img, #app script").count()).toBe(0);
        expect(await page.evaluate("'hacked' in globalThis")).toBe(false);
      },
      overviewOf([hostile]),
    );
  });

  it("asks for nothing while its tab is hidden, and for all of it when it is seen again", async () => {
    await withPage(async (page, server) => {
      await page.click(rowOf("arena@bob"));
      await page.waitForSelector(".plots");
      await hide(page, true);
      await expect.poll(() => server.streams).toBe(0);
      server.overview = overviewOf(
        thirtyBerths("fsn-1").map((row) => (row.name === bob.name ? { ...row, ...crash } : row)),
      );
      await hide(page, false);
      await page.waitForSelector(`${rowOf("arena@bob")}[data-state=failed]`);
      expect(server.streams).toBe(1);
    });
  });

  it("keeps what it knows, in grey, while its server does not answer, and goes on when it does", async () => {
    await withPage(async (page, server, seen) => {
      server.goDown();
      await page.waitForSelector(".note");
      expect(await page.textContent(".note h2")).toBe("This page's server does not answer");
      expect(await page.locator(".stale .row").count()).toBe(30);
      expect(await page.title()).toBe("Not reachable · fsn-1 · berthd");
      expect(await page.textContent(".live")).toBe("Not live");
      expect(await said(page)).toBe("This page's server does not answer");
      await seen.shot("server-not-reachable-1440-light");
      server.isDown = false;
      await page.waitForSelector(".note", { state: "detached" });
      expect(await page.textContent(".live")).toBe("Live");
      expect(seen.errors.splice(0).filter((text) => !text.includes("Failed to load resource"))).toEqual([]);
    });
  });

  it("is not live when its connection is dead without an error, and goes on when there is an answer again", async () => {
    await withPage(async (page, server) => {
      await page.clock.install();
      await page.reload();
      await expect.poll(() => page.textContent(".live")).toBe("Live");
      server.isMute = true;
      await page.clock.fastForward(24_000);
      expect(await page.textContent(".live")).toBe("Live");
      await page.clock.fastForward(2_000);
      await expect.poll(() => page.textContent(".live")).toBe("Not live");
      expect(await page.textContent(".note h2")).toBe("This page's server does not answer");
      // The question why has no answer either.
      await page.clock.fastForward(21_000);
      server.isMute = false;
      await page.clock.fastForward(5_000);
      await page.waitForSelector(".note", { state: "detached" });
      expect(await page.textContent(".live")).toBe("Live");
    });
  });

  it("stays live by pings where nothing changes", async () => {
    await withPage(async (page, server) => {
      await page.clock.install();
      await page.addInitScript(`{
        const Source = EventSource;
        globalThis.pings = 0;
        globalThis.sources = 0;
        globalThis.EventSource = class extends Source {
          constructor(address) {
            super(address);
            globalThis.sources++;
            this.addEventListener("ping", () => globalThis.pings++);
          }
        };
      }`);
      await page.reload();
      await expect.poll(() => page.textContent(".live")).toBe("Live");
      for (const pings of [1, 2, 3]) {
        await page.clock.fastForward(20_000);
        server.send("ping", { at: Date.now() });
        await expect.poll(() => page.evaluate("pings")).toBe(pings);
      }
      expect([await page.textContent(".live"), await page.evaluate("sources")]).toEqual(["Live", 1]);
    });
  });

  it("shows 200 of a long group, folds what sleeps, and opens it for a filter", async () => {
    await withPage(
      async (page) => {
        expect(await page.locator(".row[data-state=serving]").count()).toBe(200);
        expect(await page.locator(".row[data-state=asleep]").count()).toBe(0);
        await page.click(".more");
        expect(await page.locator(".row[data-state=serving]").count()).toBeGreaterThan(300);
        await page.fill("#filter", "arctic asleep");
        await expect.poll(() => page.locator(".row[data-state=asleep]").count()).toBeGreaterThan(0);
        await page.fill("#filter", "no such berth");
        await page.click("text=Show all 500");
        expect(await page.inputValue("#filter")).toBe("");
      },
      overviewOf(manyBerths("fsn-1", 500)),
    );
  });

  it("filters by the totals, and says so", async () => {
    await withPage(async (page) => {
      await page.click("button.total >> text=problems");
      expect(await page.locator(".row").count()).toBe(3);
      expect(await page.getAttribute("button.total.bad", "aria-pressed")).toBe("true");
      await expect.poll(() => said(page)).toBe("3 of 30");
    });
  });

  it("opens a berth of a fleet above the fleet's list, and closes it to there", async () => {
    await withPage(
      async (page) => {
        await page.click('.row[data-key="hel-1/ddnet@east"]');
        await page.waitForSelector(".detail");
        expect(await page.locator(".card").count()).toBe(4);
        const labels = await page.locator(".detail .command-label").allTextContents();
        expect(labels.length).toBeGreaterThan(0);
        expect(labels.filter((label) => !label.endsWith(", on hel-1"))).toEqual([]);
        await page.click(".detail .close");
        await page.waitForSelector(".detail", { state: "detached" });
        expect(new URL(page.url()).hash).toBe("#/fleet");
        await page.click(".card >> text=ash-1");
        await page.waitForSelector(".note");
        expect(await page.textContent(".note h2")).toBe("ash-1 does not answer");
      },
      madeUpFleet(),
      "/#/fleet",
    );
  });

  it("moves one cursor over all plots, by the pointer and by arrows, and says its values", async () => {
    await withPage(async (page, _server, seen) => {
      await page.click(rowOf("cs2@mirage"));
      await page.waitForSelector(".plots canvas");
      expect(await page.locator(".plots canvas").count()).toBe(4);
      await page.locator(".area").first().hover();
      await expect.poll(() => page.locator(".area .cursor").count()).toBe(4);
      await page.hover(".top");
      await expect.poll(() => page.locator(".area .cursor").count()).toBe(0);
      await page.focus(".plots");
      await page.keyboard.press("ArrowLeft");
      await expect
        .poll(() => said(page))
        .toMatch(/^\d\d:\d\d: Players \d+, Receive queue .*[KM]B, 241 lost, CPU \d+ %, Memory /);
      await page.click("text=30 d");
      await expect.poll(() => page.textContent(".key")).toContain("highest in 4 h");
      await page.locator(".plots").scrollIntoViewIfNeeded();
      await seen.shot("30-days-1440-light");
    });
  });

  it("scrolls the detail so that its head hides no control that has the focus", async () => {
    await withPage(async (page) => {
      await page.setViewportSize({ width: 1440, height: 640 });
      await page.click(rowOf("cs2@mirage"));
      await page.waitForSelector(".plots canvas");
      await page.focus(".events button");
      const hidden = (): Promise<string | null | undefined> =>
        page.evaluate(`(() => {
          const [focused, head] = [document.activeElement, document.querySelector(".detail-head")];
          if (head.contains(focused)) return undefined;
          const isHidden = focused.getBoundingClientRect().top < head.getBoundingClientRect().bottom;
          return isHidden ? focused.outerHTML : null;
        })()`);
      const found: (string | null)[] = [];
      for (let at = 0; at < 20; at += 1) {
        await page.keyboard.press("Shift+Tab");
        const one = await hidden();
        if (one === undefined) break;
        found.push(one);
      }
      expect(found.length).toBeGreaterThan(4);
      expect(found.filter((one) => one !== null)).toEqual([]);
    });
  });

  it("says that a part cannot be loaded, and loads it when it can", async () => {
    await using server = await PageServer.start(overviewOf(thirtyBerths("fsn-1")));
    await using seen = await Seen.open(browser, server.url, { width: 1440 });
    const { page } = seen;
    await page.route("**/plots-*.js", (route) => route.abort());
    await page.click(rowOf("cs2@mirage"));
    await page.waitForSelector("text=This part cannot be loaded. Reload the page.");
    await page.unroute("**/plots-*.js");
    await page.waitForSelector(".plots canvas");
  });

  it("loads no part while its tab is hidden, and loads it at once when the tab is seen again", async () => {
    await withPage(async (page, _server, seen) => {
      let loads = 0;
      await page.route("**/plots-*.js", (route) => {
        loads++;
        return route.abort();
      });
      await page.clock.install();
      const failed = page.waitForEvent("requestfailed", (request) => request.url().includes("/plots-"));
      await page.click(rowOf("cs2@mirage"));
      await failed;
      await hide(page, true);
      for (let round = 0; round < 5; round++) {
        await page.clock.fastForward(4000);
        await page.evaluate("fetch('/healthz').catch(() => undefined)");
      }
      expect(loads).toBe(1);
      await page.unroute("**/plots-*.js");
      await hide(page, false);
      await page.waitForSelector(".plots canvas");
      expect(seen.errors.splice(0).filter((text) => !text.includes("Failed to load resource"))).toEqual([]);
    });
  });

  it("draws its plots in the theme's colours, and alike when they are drawn again", async () => {
    await withPage(async (page) => {
      await page.click(rowOf("cs2@mirage"));
      await page.waitForSelector(".plots canvas");
      const drawn = (): Promise<string> => page.evaluate("document.querySelector('.plots canvas').toDataURL()");
      const light = await drawn();
      // From the system's theme, which is light, to light.
      await page.click('button[aria-label^="Theme"]');
      await page.waitForSelector('button[aria-label="Theme: light"]');
      expect(await drawn()).toBe(light);
      await page.click('button[aria-label^="Theme"]');
      await expect.poll(drawn).not.toBe(light);
    });
  });

  it("asks for the quiet hours of the host that it names, and not of another one", async () => {
    await withPage(
      async (page) => {
        const asked = page.waitForRequest((request) => request.url().includes("/api/v1/quiet"));
        await page.evaluate("location.hash = '#/quiet/hel-1'");
        expect(new URL((await asked).url()).search).toBe("?host=hel-1");
        expect(await page.textContent("select[aria-label=Berth] option")).toBe("All berths on hel-1");
      },
      madeUpFleet(),
      "/#/fleet",
    );
  });

  it("has one tab stop in the map of quiet hours, which arrows move", async () => {
    await withPage(async (page) => {
      await page.click("nav >> text=Quiet hours");
      await page.waitForSelector(".heat .best");
      expect(await page.locator('.heat [tabindex="0"]').count()).toBe(1);
      await page.focus('.heat [tabindex="0"]');
      await page.keyboard.press("ArrowRight");
      await expect.poll(() => page.textContent(".heat-legend .num")).toMatch(/^Tuesday 06:00, .* players$/);
      await page.setViewportSize({ width: 360, height: 800 });
      await page.keyboard.press("ArrowRight");
      await expect.poll(() => page.textContent(".heat-legend .num")).toMatch(/^Wednesday 06:00/);
    });
  });

  it("keeps the theme that was chosen, before anything is drawn", async () => {
    await withPage(async (page) => {
      const theme = page.locator('button[aria-label^="Theme"]');
      await theme.click();
      await theme.click();
      await expect.poll(() => said(page)).toBe("Theme: dark");
      await page.reload();
      expect(await page.getAttribute("html", "data-theme")).toBe("dark");
      expect(await theme.getAttribute("aria-label")).toBe("Theme: dark");
    });
  });

  it("tells players nothing of the host, its versions, users or other berths", async () => {
    await withPage(
      async (page, _server, seen) => {
        const asked: string[] = [];
        page.on("request", (request) => asked.push(new URL(request.url()).pathname));
        await page.reload();
        await page.waitForSelector(".join");
        expect(asked.filter((path) => path.startsWith("/api/"))).toEqual(["/api/v1/public/cs2%40dust2"]);
        expect(await page.textContent("main")).not.toMatch(/fsn-1|berthd|1\.40\.7|cs2-dust2|GB|pid/);
        await seen.shot("public-page-1440-light");
      },
      overviewOf(thirtyBerths("fsn-1")),
      "/p/cs2@dust2",
    );
  });

  it("tells players that there is no page where its name is not well formed", async () => {
    await using server = await PageServer.start(overviewOf(thirtyBerths("fsn-1")));
    await using seen = await Seen.open(browser, `${server.url}/p/%zz`, { width: 360 });
    await seen.page.waitForSelector("h1 >> text=No such page");
    expect(seen.errors.filter((text) => !text.includes("Failed to load resource"))).toEqual([]);
  });

  it("tells players that its server does not answer, not that there is no such page, and asks again", async () => {
    await withPage(
      async (page, server, seen) => {
        server.isDown = true;
        await page.reload();
        await page.waitForSelector("h1 >> text=No answer");
        server.isDown = false;
        await hide(page, true);
        await hide(page, false);
        await page.waitForSelector(".join");
        expect(seen.errors.splice(0).filter((text) => !text.includes("Failed to load resource"))).toEqual([]);
      },
      overviewOf(thirtyBerths("fsn-1")),
      "/p/cs2@dust2",
    );
  });
});
