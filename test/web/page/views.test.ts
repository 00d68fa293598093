/**
 * Every view, at each width and in both themes: nothing for axe-core to find, no error, no request to anywhere else.
 */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { needs } from "../../support/needs.ts";
import { violations } from "./support/axe.ts";
import { launchBrowser, Seen } from "./support/browser.ts";
import { madeUpFleet, madeUpHost, manyBerths, overviewOf, thirtyBerths, threeBerths } from "./support/made-up.ts";
import { madeUpQuiet } from "./support/made-up-detail.ts";
import { PageServer } from "./support/page-server.ts";

const WIDTHS = [360, 768, 1440];
const THEMES = ["light", "dark"] as const;
/** What screen readers read whenever it changes. Countdowns and figures change too often for that. */
const LIVE_REGIONS = "output, [role=alert], [role=status], [role=log], [aria-live]";

interface View {
  readonly name: string;
  readonly path: string;
  readonly overview: () => PageServer["overview"];
  /** An element that is there when the view is. */
  readonly shows: string;
  readonly prepare?: (server: PageServer) => void;
}

const thirty = (): PageServer["overview"] => overviewOf(thirtyBerths("fsn-1"));
const unreachable = madeUpHost("fsn-1", { unreachableSince: Date.now() - 194_000, nextTry: Date.now() + 5000 });
/** Few rows beside the detail: axe-core looks at each. */
const open = (name: string): Pick<View, "path" | "shows" | "overview"> => ({
  path: `/#/b/fsn-1/${name}`,
  shows: ".plots canvas",
  overview: () => overviewOf(thirtyBerths("fsn-1").filter((row) => row.name === name || row.name === "arena@bob")),
});

const views: readonly View[] = [
  { name: "no berths", path: "/", shows: ".empty", overview: () => overviewOf([]) },
  { name: "3 berths", path: "/", shows: ".row", overview: () => overviewOf(threeBerths("fsn-1")) },
  { name: "30 berths", path: "/", shows: ".row", overview: thirty },
  { name: "500 berths", path: "/", shows: ".dense .row", overview: () => overviewOf(manyBerths("fsn-1", 500)) },
  { name: "fleet", path: "/#/fleet", shows: ".card", overview: madeUpFleet },
  { name: "failed", ...open("mc@survival") },
  { name: "problem", ...open("cs2@mirage") },
  { name: "draining", ...open("tf2@upward") },
  { name: "outdated", ...open("arena@red") },
  { name: "asleep", ...open("ttd@arctic") },
  { name: "quiet hours", path: "/#/quiet/fsn-1/cs2@dust2", shows: ".heat", overview: thirty },
  {
    name: "quiet hours of a week",
    path: "/#/quiet",
    shows: ".heat",
    overview: thirty,
    prepare: (server) => {
      server.quiet = madeUpQuiet(undefined, 7);
    },
  },
  { name: "public page", path: "/p/cs2@dust2", shows: ".join", overview: thirty },
  { name: "no public page", path: "/p/none", shows: "h1", overview: thirty },
  {
    name: "broker not reachable",
    path: "/",
    shows: ".note",
    overview: () => overviewOf(threeBerths("fsn-1"), [unreachable]),
  },
  {
    name: "loading",
    path: "/",
    shows: ".loading",
    overview: thirty,
    prepare: (server) => {
      server.isSlow = true;
    },
  },
];

describe("the status page", { timeout: 240_000, ...needs("chromium") }, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser.close());

  it.each(views)("shows $name, at each width and in both themes", async (view) => {
    await using server = await PageServer.start(view.overview());
    view.prepare?.(server);
    await using seen = await Seen.open(browser, server.url + view.path, { width: 320 });
    const { page } = seen;
    await page.waitForSelector(view.shows, { state: "attached" });
    expect(await sidewaysOf(seen)).toEqual([]);
    expect(await page.locator(LIVE_REGIONS).count()).toBe(1);
    const found: string[] = [];
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width === 360 ? 800 : 900 });
      for (const theme of THEMES) {
        await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
        await seen.drawn();
        // Nothing but colours differs between the themes.
        const rules = theme === "light" ? undefined : ["color-contrast"];
        found.push(...(await violations(page, rules)).map((text) => `${width} ${theme}: ${text}`));
        await seen.shot(`${view.name.replaceAll(" ", "-")}-${width}-${theme}`);
      }
    }
    expect(found).toEqual([]);
    expect(seen.elsewhere).toEqual([]);
    // The browser itself reports an answer of 404.
    expect(seen.errors.filter((text) => !text.includes("404"))).toEqual([]);
  });
});

/** Widths at which the page can be scrolled sideways, also with twice the text size. */
async function sidewaysOf(seen: Seen): Promise<string[]> {
  const found: string[] = [];
  for (const width of [320, 400, 640, 767, 768, 1023, 1199, 1200, 1920, 2560, 3840]) {
    await seen.page.setViewportSize({ width, height: 900 });
    if ((await seen.sideways()) > 0) found.push(`${width} px`);
  }
  await seen.page.setViewportSize({ width: 640, height: 900 });
  await seen.page.evaluate("document.documentElement.style.fontSize = '200%'");
  if ((await seen.sideways()) > 0) found.push("200 % of the text size");
  await seen.page.evaluate("document.documentElement.style.fontSize = ''");
  return found;
}
