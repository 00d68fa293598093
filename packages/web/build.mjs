/**
 * Builds the status page into dist/page: index.html and public.html, and their files with a hash in each name. In the
 * pages, `{{NAME}}` becomes the address of the file that was built from NAME. A script with data-inline is written out.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const page = join(here, "page");
const out = join(here, "dist/page");
const common = {
  absWorkingDir: page,
  bundle: true,
  minify: true,
  target: ["chrome123", "firefox120", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
};

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const built = await build({
  ...common,
  entryPoints: { main: "main.tsx", public: "public/public.tsx" },
  outdir: out,
  format: "esm",
  splitting: true,
  publicPath: "/",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".svg": "file" },
  metafile: true,
});
const inline = await build({ ...common, entryPoints: ["theme-start.ts"], format: "iife", write: false });

const places = new Map();
for (const [path, { entryPoint, cssBundle, inputs }] of Object.entries(built.metafile.outputs)) {
  const file = basename(path);
  if (entryPoint !== undefined && cssBundle !== undefined) {
    const name = basename(entryPoint, ".tsx");
    places.set(`${name}.js`, `/${file}`);
    places.set(`${name}.css`, `/${basename(cssBundle)}`);
  }
  const [only] = Object.keys(inputs);
  if (path.endsWith(".svg") && only !== undefined) places.set(relative(page, join(page, only)), `/${file}`);
}

for (const source of ["index.html", "public/public.html"]) {
  const text = readFileSync(join(page, source), "utf8").replace(/\{\{(.+?)\}\}/g, (_, name) => {
    const place = places.get(name);
    if (place === undefined) throw new Error(`${source} names ${name}, which was not built`);
    return place;
  });
  const script = `<script>${inline.outputFiles[0].text.trim()}</script>`;
  writeFileSync(
    join(out, basename(source)),
    text.replace(/<script data-inline="theme-start.js"><\/script>/, () => script),
  );
}
