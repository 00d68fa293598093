/** Serves the built page, and an API whose answers are made up. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, extname, join } from "node:path";
import type {
  ApiError,
  BerthRow,
  Overview,
  Patch,
  Quiet,
  StreamEvents,
} from "../../../../packages/web/src/api/shapes.ts";
import { packageRoot } from "../../../../src/native.ts";
import { madeUpDetail, madeUpPublic, madeUpQuiet, madeUpSeries, madeUpTimeline } from "./made-up-detail.ts";

const BUILT = join(packageRoot, "packages/web/dist/page");
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

export class PageServer implements AsyncDisposable {
  readonly url: string;
  /**
   * What the API tells. Put another one here before a page is opened; {@link patch} changes it for those that are open.
   */
  overview: Overview;
  /** Instead of what is made up. */
  quiet: Quiet | undefined;
  /** Answers nothing but the page's files. */
  isDown = false;
  /** Does not begin the stream of events. */
  isSlow = false;
  /** Takes every question of the API and answers none; its streams stay open and bring nothing. As a dead network. */
  isMute = false;
  readonly #server: Server;
  readonly #streams = new Set<ServerResponse>();

  private constructor(server: Server, overview: Overview) {
    this.#server = server;
    this.overview = overview;
    const { port } = server.address() as AddressInfo;
    this.url = `http://127.0.0.1:${port}`;
    server.on("request", (request, response) => this.#answer(request, response));
  }

  static async start(overview: Overview): Promise<PageServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new PageServer(server, overview);
  }

  get streams(): number {
    return this.#streams.size;
  }

  patch(patch: Partial<Patch>): void {
    this.send("patch", { at: Date.now(), hosts: [], berths: [], removed: [], ...patch });
  }

  send<Name extends keyof StreamEvents>(name: Name, data: StreamEvents[Name]): void {
    for (const stream of this.#streams) stream.write(eventText(name, data));
  }

  /** Ends all streams, and answers no more; as a killed web server. */
  goDown(): void {
    this.isDown = true;
    for (const stream of this.#streams) stream.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", this.url);
    if (!url.pathname.startsWith("/api/")) return sendFile(url.pathname, response);
    if (this.isDown) return void request.socket.destroy();
    if (this.isMute) return;
    if (url.pathname === "/api/v1/events") return this.#stream(response);
    const answer = this.#tell(url);
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    const missing: ApiError = { error: { code: "not-found", message: "There is no such berth." } };
    response.end(JSON.stringify(answer ?? missing));
  }

  #stream(response: ServerResponse): void {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    if (!this.isSlow) response.write(eventText("state", { ...this.overview, at: Date.now() }));
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
  }

  #tell(url: URL): unknown {
    const [what, ...rest] = url.pathname.slice("/api/v1/".length).split("/").map(decodeURIComponent);
    const name = what === "quiet" ? (url.searchParams.get("berth")?.split("/").at(-1) ?? "") : (rest[1] ?? rest[0]);
    const row = this.overview.berths.find((berth) => berth.name === name);
    if (what === "overview") return this.overview;
    if (what === "quiet") return this.quiet ?? madeUpQuiet(row);
    if (row === undefined) return undefined;
    return what === "public" ? madeUpPublic(row) : tellOfBerth(row, rest[2], url);
  }
}

function tellOfBerth(row: BerthRow, what: string | undefined, url: URL): unknown {
  if (what === "series") return madeUpSeries(row, url.searchParams.get("range") === "30d" ? "30d" : "24h");
  if (what === "timeline") return madeUpTimeline(row);
  return what === undefined ? madeUpDetail(row) : undefined;
}

function eventText(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

function sendFile(path: string, response: ServerResponse): void {
  const file = path === "/" ? "index.html" : path.startsWith("/p/") ? "public.html" : basename(path);
  let text: Buffer;
  try {
    text = readFileSync(join(BUILT, file));
  } catch {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "content-type": TYPES[extname(file)] ?? "application/octet-stream",
    "content-security-policy": policyOf(text.toString()),
  });
  response.end(text);
}

/** As berthd-web's: the page's own files, and inline scripts by their hashes. */
function policyOf(html: string): string {
  const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
    ([, text = ""]) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`,
  );
  return `default-src 'none'; script-src 'self' ${scripts.join(" ")}; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}
