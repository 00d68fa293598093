/** Debian's Chromium, one for all tests of a file, and pages that note what must not happen in them. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { isRoot, pathOf } from "../../../support/needs.ts";

/** Screenshots are kept in this folder. Without it none is made. */
const SHOTS = process.env["BERTHD_TEST_SHOTS"];

export function launchBrowser(): Promise<Browser> {
  // Chromium's own sandbox refuses root.
  return chromium.launch({ executablePath: pathOf("chromium"), args: isRoot ? ["--no-sandbox"] : [] });
}

export interface View {
  readonly width: number;
  readonly height?: number;
  readonly theme?: "light" | "dark";
}

/** A page, and what went wrong in it. */
export class Seen implements AsyncDisposable {
  /** Errors in the console, exceptions, refusals of the Content-Security-Policy. */
  readonly errors: string[] = [];
  /** Addresses of other servers that it asked. */
  readonly elsewhere: string[] = [];
  readonly page: Page;
  readonly #context: BrowserContext;

  private constructor(context: BrowserContext, page: Page, origin: string) {
    this.#context = context;
    this.page = page;
    page.setDefaultTimeout(30_000);
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.errors.push(message.text());
    });
    page.on("pageerror", (error) => this.errors.push(error.stack ?? String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith(origin)) this.elsewhere.push(request.url());
    });
  }

  static async open(browser: Browser, url: string, view: View): Promise<Seen> {
    const context = await browser.newContext({
      viewport: { width: view.width, height: view.height ?? (view.width < 600 ? 800 : 900) },
      colorScheme: view.theme ?? "light",
      permissions: ["clipboard-read", "clipboard-write"],
    });
    const seen = new Seen(context, await context.newPage(), new URL(url).origin);
    await seen.page.goto(url);
    return seen;
  }

  /** What fails in `work` tells what the page showed then. */
  async telling(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const text = await this.page.innerText("body", { timeout: 2000 }).catch((none: unknown) => String(none));
      const shown = `The page ${this.page.url()} showed:\n${text}\nIts errors: ${JSON.stringify(this.errors)}`;
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${shown}`, { cause: error });
    }
  }

  /** Keeps a picture where CI asks for it. */
  async shot(name: string, full: boolean = false): Promise<void> {
    if (SHOTS === undefined) return;
    mkdirSync(SHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: full });
  }

  /**
   * Resolves when the page has been drawn as it is after a change of its size or colours: it hears of that in a frame.
   */
  async drawn(): Promise<void> {
    await this.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
  }

  /** How far the page can be scrolled sideways, in pixels. */
  async sideways(): Promise<number> {
    await this.drawn();
    return await this.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
  }
}
