/** The package as a stranger gets it: packed, installed into an empty folder, used. */
import { type ExecException, execFile } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../src/native.ts";
import { TestFolder } from "./support/broker.ts";
import { npmEnv as npm } from "./support/npm.ts";

const run = promisify(execFile);

// A compiler must not be needed where a prebuilt binary fits, and not be found when the test says so.
const withoutCompiler = { ...npm, CC: "/bin/false", CXX: "/bin/false", npm_config_nodedir: "/nonexistent" };

/**
 * The path of the tarball. Packing compiles everything, and one package serves every Node: $BERTHD_TEST_PACKAGE names
 * the file that the first run leaves and later runs take.
 */
async function packed(folder: TestFolder): Promise<string> {
  const kept = process.env["BERTHD_TEST_PACKAGE"];
  if (kept !== undefined && existsSync(kept)) return kept;
  const checkout = join(folder.path, "checkout");
  const skip = new Set(["node_modules", ".git", "build", "dist", "prebuilds", ".bench", ".ci", ".tmp-test"]);
  mkdirSync(checkout);
  // One by one: the folder of the test may be inside the checkout.
  for (const name of readdirSync(packageRoot).filter((one) => !skip.has(one)))
    cpSync(join(packageRoot, name), join(checkout, name), { recursive: true });
  symlinkSync(join(packageRoot, "node_modules"), join(checkout, "node_modules"));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder.path], {
    cwd: checkout,
    env: npm,
  });
  const [pack] = JSON.parse(stdout) as { filename: string }[];
  const tarball = join(folder.path, pack?.filename ?? "");
  if (kept !== undefined) copyFileSync(tarball, kept);
  return tarball;
}

describe("the packed package, installed in an empty folder", { timeout: 240_000 }, () => {
  const folder = new TestFolder();
  const app = join(folder.path, "app");
  const installed = join(app, "node_modules/berthd");
  let tarball = "";

  beforeAll(async () => {
    tarball = await packed(folder);
    folder.write({ "app/package.json": '{ "private": true, "type": "module" }' });
    await run("npm", ["install", "--no-audit", "--no-fund", "--omit=optional", tarball], {
      cwd: app,
      env: withoutCompiler,
    });
  }, 240_000);

  afterAll(() => folder[Symbol.dispose]());

  it("carries what is needed and nothing of the workshop", () => {
    const names = readdirSync(installed);
    expect(names).toEqual(
      expect.arrayContaining(["bin", "dist", "native", "binding.gyp", "prebuilds", "README.md", "LICENSE"]),
    );
    expect(names.filter((name) => ["src", "test", "bench", "scripts", ".ci", "tsconfig.json"].includes(name))).toEqual(
      [],
    );
  });

  describe("its declarations, read with all of their types checked", () => {
    const exported = (text: string): { readonly name: string; readonly isType: boolean }[] =>
      Array.from(text.matchAll(/^export (type )?\{([^}]*)\} from/gm), ([, all, names = ""]) =>
        names.split(",").flatMap((part) => {
          const [, type = all, name] = /^\s*(type )?(?:\w+ as )?(\w+)\s*$/.exec(part) ?? [];
          return name === undefined ? [] : [{ name, isType: type !== undefined }];
        }),
      ).flat();
    const declared = (): ReturnType<typeof exported> =>
      exported(readFileSync(join(installed, "dist/index.d.ts"), "utf8"));

    it("name each value that the package has, and no other", async () => {
      const program = 'import("berthd").then((all) => console.log(JSON.stringify(Object.keys(all))))';
      const { stdout } = await run(process.execPath, ["--eval", program], { cwd: app });
      const values = declared().filter(({ isType }) => !isType);
      expect(values.map(({ name }) => name).sort()).toEqual((JSON.parse(stdout) as string[]).sort());
    });

    it.each([{ module: "node16" }, { module: "nodenext" }, { module: "esnext", moduleResolution: "bundler" }])(
      "resolve for a program that imports every export, with %o",
      async (resolution) => {
        // Copies: npm follows a link, and then takes a checkout in a folder named berthd for the package itself.
        for (const types of ["@types/node", "undici-types"]) {
          cpSync(join(packageRoot, "node_modules", types), join(app, "node_modules", types), { recursive: true });
        }
        const names = declared();
        const values = names.filter(({ isType }) => !isType).map(({ name }) => name);
        // No esnext.disposable, and no `types`: docs/library.md promises that neither is needed.
        const compilerOptions = { ...resolution, target: "es2022", lib: ["es2022"], strict: true, skipLibCheck: false };
        folder.write({
          "app/every.ts": `import { ${values.join(", ")} } from "berthd";
          export type { ${names.map(({ name }) => name).join(", ")} } from "berthd";
          export const values: unknown[] = [${values.join(", ")}];
          export async function serve(): Promise<void> {
            await using tenancy = await acquire("arena");
            tenancy.net("game");
          }`,
          "app/tsconfig.json": JSON.stringify({
            compilerOptions: { ...compilerOptions, noEmit: true },
            files: ["every.ts"],
          }),
        });
        const compile = run(join(packageRoot, "node_modules/.bin/tsc"), ["-p", app]);
        const result = await compile.catch(({ code, stdout, stderr }: ExecException) => ({ code, stdout, stderr }));
        expect(result).toEqual({ stdout: "", stderr: "" });
      },
    );
  });

  it("needs no compiler: the prebuilt addon and launcher are used", async () => {
    expect(existsSync(join(installed, "build"))).toBe(false);
    const program = `import { FdChannel } from "berthd";
      const [a, b] = FdChannel.pair();
      await a.send("hello");
      console.log((await b.receive()).data.toString());
      a.close(); b.close();`;
    writeFileSync(join(app, "use.mjs"), program);
    expect((await run(process.execPath, ["use.mjs"], { cwd: app })).stdout).toBe("hello\n");
  });

  it("installs the commands, which serve and launch", async () => {
    folder.write({
      "config/demo.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n[server]\ncommand = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_FDNAMES"]\n${process.getuid?.() === 0 ? 'user = "nobody"' : ""}\n`,
    });
    const socket = join(folder.path, "broker.sock");
    const bin = (name: string): string => join(app, "node_modules/.bin", name);
    const abort = new AbortController();
    const broker = execFile(bin("berthd"), ["--config", join(folder.path, "config"), "--socket", socket], {
      signal: abort.signal,
    });
    const ended = new Promise((resolve) => broker.once("close", resolve));
    broker.on("error", () => undefined);
    try {
      await new Promise<void>((resolve, reject) => {
        broker.stderr?.on("data", (text: string) => text.includes("ready") && resolve());
        broker.once("close", () => reject(new Error("the broker ended")));
      });
      expect((await run(bin("berth"), ["--socket", socket, "ls", "--names"])).stdout).toBe("demo\n");
      expect((await run(bin("berth"), ["--socket", socket, "run", "demo"])).stdout).toBe("1 game\n");
    } finally {
      abort.abort();
      await ended;
    }
  });

  it("installs berth-launch, shift-own and shift-mount, which need no Node", async () => {
    expect((await run(join(app, "node_modules/.bin/berth-launch"), ["--version"], { env: {} })).stdout).toMatch(
      /^berth-launch /,
    );
    expect((await run(join(app, "node_modules/.bin/shift-mount"), ["--version"], { env: {} })).stdout).toMatch(
      /^shift-mount /,
    );
    const link = join(app, "node_modules/.bin/shift-own");
    expect((await run(link, ["-n", "-s", "0", "-r", "65536", app], { env: { PATH: "/usr/bin:/bin" } })).stdout).toMatch(
      / would be shifted with 0x0 using range 0x10000/,
    );
  });

  it("carries what a doorman needs: its program, its process and the codecs", () => {
    const [folder = ""] = readdirSync(join(installed, "prebuilds"));
    expect(readdirSync(join(installed, "prebuilds", folder))).toContain("berth-doorman");
    expect(readdirSync(join(installed, "dist/doorman"))).toEqual(expect.arrayContaining(["main.js", "protocols.js"]));
    expect(readFileSync(join(installed, "dist/doorman/protocols.js"), "utf8")).toContain("datagramProtocols");
  });

  it("builds from source where no prebuilt binary fits", async () => {
    rmSync(join(installed, "prebuilds"), { recursive: true });
    // Without optimisation it takes half as long, and what is tested is that it builds.
    const env = { ...npm, JOBS: "max", CXXFLAGS: "-O0" };
    await run("npm", ["rebuild", "berthd", "--foreground-scripts"], { cwd: app, env });
    expect(readdirSync(join(installed, "build/Release"))).toEqual(
      expect.arrayContaining([
        "berthd.node",
        "berth-doorman",
        "berth-guard",
        "berth-launch",
        "shift-mount",
        "shift-own",
      ]),
    );
    expect((await run(process.execPath, ["use.mjs"], { cwd: app })).stdout).toBe("hello\n");
    expect((await run(join(app, "node_modules/.bin/shift-own"), ["--version"])).stdout).toMatch(/^shift-own \d/);
  });

  it("says what to do when there is neither", async () => {
    rmSync(join(installed, "build"), { recursive: true, force: true });
    await expect(run(process.execPath, ["use.mjs"], { cwd: app })).rejects.toThrow(
      /native addon is not built.*npm rebuild berthd/s,
    );
    await expect(run(join(app, "node_modules/.bin/shift-own"), ["--version"])).rejects.toMatchObject({
      code: 111,
      stderr: expect.stringMatching(/^shift-own: .* npm rebuild berthd/),
    });
  });
});
