/**
 * The built page: every file of its folder, read once at the start. A request names an entry of this table, never a
 * path of the disk.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { packageFolder } from "../package-folder.ts";
import { headersOf, pagePolicy } from "./headers.ts";

export interface PageFile {
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
  readonly zipped: Buffer;
}

/** Where a build puts it. */
export const pageFolder: string = join(packageFolder, "dist/page");

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".webmanifest": "application/manifest+json",
};

const absent = `<!doctype html><html lang="en"><title>berthd</title><h1>The page is not built</h1>
<p>This is the server of the status page, and its page is missing. <code>/api/v1/overview</code> and
<code>/metrics</code> are here. To build the page: <code>npm run build:web</code></p></html>`;

/** By the path of its request. `/` and `/p` are the two pages. */
export function readPageFiles(folder: string = pageFolder): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>();
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const type = types[extname(name)];
    if (type === undefined) continue;
    const file = pageFile(type, readFileSync(join(folder, name)), isHashed(name));
    if (name === "index.html") files.set("/", file);
    else if (name === "public.html") files.set("/p", file);
    else files.set(`/${name}`, file);
  }
  if (!files.has("/")) files.set("/", pageFile("text/html; charset=utf-8", Buffer.from(absent), false));
  return files;
}

function pageFile(type: string, bytes: Buffer, isForEver: boolean): PageFile {
  const headers = type.startsWith("text/html") ? headersOf(type, pagePolicy(bytes.toString("utf8"))) : headersOf(type);
  headers["Cache-Control"] = isForEver ? "public, max-age=31536000, immutable" : "no-cache";
  return { headers, bytes, zipped: gzipSync(bytes, { level: 9 }) };
}

/** esbuild puts a hash of the content into a name: detail-7ABCD2XY.js. */
function isHashed(name: string): boolean {
  return /-[A-Z0-9]{8}\.\w+$/.test(name);
}
