/** Imports from folders and with casync: the image has everything of the tree, or there is no image. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { native } from "../../../src/native.ts";
import { openTree } from "../../../src/rootfs/disk/open-tree.ts";
import { digestTree } from "../../../src/rootfs/disk/tree-digest.ts";
import { Images } from "../../../src/rootfs/images/images.ts";
import { type ImportRequest, importImage, type OnProgress } from "../../../src/rootfs/images/import.ts";
import type { Manifest } from "../../../src/rootfs/images/manifest.ts";
import { TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { FileServer } from "../../support/file-server.ts";
import { isRoot, needs, pathOf } from "../../support/needs.ts";
import { scripted } from "../../support/scripted-native.ts";

let before: string[];
let folder: TestFolder;
let source: string;
let images: Images;

beforeEach(() => {
  before = openFds();
  folder = new TestFolder({ "source/etc/motd": "welcome\n", "source/bin/server": "#!/bin/sh\n", "source/big": "" });
  source = join(folder.path, "source");
  images = new Images(join(folder.path, "state/images"));
});

afterEach(async () => {
  await expectFdsAgain(before);
  folder[Symbol.dispose]();
});

function run(
  request: Partial<ImportRequest> = {},
  onProgress: OnProgress = () => undefined,
  signal?: AbortSignal,
): Promise<Manifest> {
  const options = { onProgress, ...(signal !== undefined && { signal }) };
  return importImage(images, { name: "arena", version: "1", source, ...request }, options);
}

const tree = (version = "1"): string => join(images.folder, "arena", version, "tree");
const failed = (part: string | RegExp) =>
  expect.objectContaining({ code: "IMPORT_FAILED", message: expect.stringMatching(part) });

/** Expects no image, and no leftover files, but for what was fetched. */
function expectNothing(leftovers = 0): void {
  expect(images.list()).toEqual([]);
  expect(existsSync(images.folder) ? readdirSync(images.folder) : [".work"]).toEqual([".work"]);
  if (existsSync(images.folder)) expect(readdirSync(join(images.folder, ".work"))).toHaveLength(leftovers);
}

/** What {@link makeItHard} needs, and looking at it. */
const hard = needs("setfattr", "getfattr", ...(isRoot ? (["setcap", "getcap"] as const) : []));

/** Owners, special modes, devices and capabilities need root. */
function makeItHard(): void {
  chmodSync(join(source, "bin/server"), 0o755);
  linkSync(join(source, "bin/server"), join(source, "bin/other-name"));
  symlinkSync("../etc/motd", join(source, "bin/link"));
  symlinkSync("/nowhere", join(source, "dangling"));
  mkdirSync(Buffer.concat([Buffer.from(`${source}/not-utf-8-`), Buffer.from([0xff, 0xfe, 0x0a])]));
  truncateSync(join(source, "big"), 64 << 20);
  appendFileSync(join(source, "big"), "end");
  utimesSync(join(source, "etc/motd"), 1, 978_310_923.123_456);
  execFileSync("mkfifo", [join(source, "fifo")]);
  execFileSync("setfattr", ["-n", "user.note", "-v", "a note", join(source, "etc/motd")]);
  if (!isRoot) return;
  chownSync(join(source, "etc/motd"), 33, 4242);
  chmodSync(join(source, "bin/server"), 0o4755);
  chmodSync(join(source, "etc"), 0o2771);
  execFileSync("mknod", [join(source, "null"), "c", "1", "3"]);
  execFileSync(pathOf("setcap"), ["cap_net_bind_service=ep", join(source, "bin/server")]);
}

describe("a folder", () => {
  it(
    "is imported with owners, modes, times, attributes, capabilities, hard links and holes, and a digest of it all",
    hard,
    async () => {
      makeItHard();
      const steps = new Map<string, number>();
      const manifest = await run({}, (step, files) => steps.set(step, files));
      expect(manifest).toMatchObject({
        name: "arena",
        version: "1",
        digest: expect.stringMatching(/^sha256:[\da-f]{64}$/),
        entries: isRoot ? 12 : 11,
        bytes: (64 << 20) + 3 + 8 + 10,
        source: { kind: "directory", location: source },
      });
      using copy = openTree(tree(), native);
      const again = await digestTree(
        copy,
        native,
        async () => undefined,
        () => undefined,
      );
      expect(again.digest).toBe(manifest.digest);
      expect(steps.get("copying")).toBe(manifest.entries);
      expect(steps.get("comparing")).toBe(manifest.entries);
      // The digest covers all this. Other programs check it too:
      const [motd, server, big] = ["etc/motd", "bin/server", "big"].map((name) => lstatSync(join(tree(), name)));
      expect(motd?.mtimeMs).toBeCloseTo(978_310_923_123.456, 2);
      expect(server?.ino).toBe(lstatSync(join(tree(), "bin/other-name")).ino);
      expect((big?.blocks ?? 0) * 512).toBeLessThan(1 << 20);
      expect(
        execFileSync("getfattr", [
          "--absolute-names",
          "-n",
          "user.note",
          "--only-values",
          join(tree(), "etc/motd"),
        ]).toString(),
      ).toBe("a note");
      if (!isRoot) return;
      expect([motd?.uid, motd?.gid, server?.mode]).toEqual([33, 4242, 0o104755]);
      expect(statSync(join(tree(), "null")).rdev).toBe(0x103);
      expect(execFileSync(pathOf("getcap"), [join(tree(), "bin/server")]).toString()).toContain(
        "cap_net_bind_service=ep",
      );
    },
  );

  it(
    "has the same digest wherever it is, and another when anything about it is different",
    needs("setfattr"),
    async () => {
      const digest = (await run()).digest;
      expect((await run({ version: "2", source: tree("1"), digest })).digest).toBe(digest);
      const changes: (() => void)[] = [
        () => chmodSync(join(source, "etc/motd"), 0o600),
        () => utimesSync(join(source, "etc/motd"), 5, 5),
        () => execFileSync("setfattr", ["-n", "user.x", "-v", "y", join(source, "etc/motd")]),
        () => execFileSync("ln", ["-f", join(source, "etc/motd"), join(source, "bin/server")]),
        ...(isRoot ? [() => chownSync(join(source, "etc/motd"), 1, 1)] : []),
      ];
      const digests = new Set([digest]);
      for (const [index, change] of changes.entries()) {
        change();
        digests.add((await run({ version: `changed-${index}` })).digest);
      }
      expect(digests.size).toBe(changes.length + 1);
      await expect(run({ version: "3", digest })).rejects.toThrow(failed("the digest of .* is sha256:.*, not sha256:"));
      expect(images.resolve("arena@3")).toHaveProperty("problem");
    },
  );

  it("that changes while it is copied is not imported, and the file is named", async () => {
    const change: OnProgress = (step) => {
      if (step === "copying") appendFileSync(join(source, "etc/motd"), "more");
    };
    await expect(run({}, change)).rejects.toThrow(
      failed(/etc\/motd differs in (modified, )?content, size; the folder changed/),
    );
    expectNothing();
  });

  it("of a file system that refuses to be read is an error with the path, and nothing is there", async () => {
    const sys = scripted({ listxattr: () => -5 });
    await expect(importImage(images, { name: "arena", source }, { sys })).rejects.toThrow(
      expect.objectContaining({ code: "SYSTEM_ERROR", syscall: "listxattr", path: source }),
    );
    expectNothing();
  });

  it("that has the images in it is not imported", async () => {
    mkdirSync(join(source, "state"));
    const inside = new Images(join(source, "state/images"));
    await expect(importImage(inside, { name: "arena", source })).rejects.toThrow(
      failed(/^the folder has the images of berthd in it .*cannot be copied into itself/),
    );
    expect(inside.list()).toEqual([]);
  });

  it.each(["copying", "comparing", "flushing"])("whose import is aborted while %s leaves nothing", async (when) => {
    const controller = new AbortController();
    const onProgress: OnProgress = (step) => {
      if (step === when) controller.abort(new Error("stop"));
    };
    const options = { signal: controller.signal, onProgress };
    await expect(importImage(images, { name: "arena", source }, options)).rejects.toThrow("stop");
    expectNothing();
  });
});

it("a version is the time of its import, and the first and every later import is the current one", async () => {
  const { version } = await importImage(images, { name: "arena", source });
  expect(version).toMatch(/^20\d{6}-\d{6}$/);
  await run({ version: "next" });
  expect(images.resolve("arena")).toMatchObject({ version: "next" });
  await expect(run({ version: "next" })).rejects.toThrow(expect.objectContaining({ code: "IMAGE_IN_USE" }));
});

it.each([
  ["a name that is none", { name: "../x" }],
  ["a version that is none", { version: "current" }],
  ["a source that is not there", { source: "/nonexistent/tree" }],
  ["stores for a folder", { stores: ["/store"] }],
  ["two stores to fetch from", { source: "x:/y.caidx", stores: ["http://a/b", "c:/d"] }],
])("%s is a mistake of usage", async (_what, request) => {
  await expect(run(request)).rejects.toThrow(expect.objectContaining({ code: "USAGE" }));
  expect(existsSync(images.folder)).toBe(false);
});

/** Makes nodes of real devices in `source/dev`, some with names that are not text, beside harmless ones. */
function makeDevices(): void {
  mkdirSync(join(source, "dev"));
  const nodes = [
    ...["null c 1 3", "zero c 1 5", "full c 1 7", "random c 1 8", "urandom c 1 9", "tty c 5 0", "ptmx c 5 2"],
    ...[
      "whiteout c 0 0",
      "sda b 8 0",
      "null-block b 1 3",
      "console c 5 1",
      "mem c 1 1",
      "tty1 c 4 1",
      "far c 300 70000",
    ],
  ];
  for (const node of nodes) execFileSync("mknod", node.split(" "), { cwd: join(source, "dev") });
  execFileSync("sh", ["-c", `d=$(printf '\\377'); mkdir "$d" && mknod "$d/sda" b 8 0`], { cwd: source });
}

const REAL = ["console", "far", "mem", "null-block", "sda", "tty1"];
const HARMLESS = ["full", "null", "ptmx", "random", "tty", "urandom", "whiteout", "zero"];
const modified = (path: string): bigint => lstatSync(path, { bigint: true }).mtimeNs;

describe("device nodes (making them needs root)", needs("root"), () => {
  beforeEach(() => {
    makeDevices();
  });

  it("but for the harmless ones keep a folder from being imported, before anything is copied", async () => {
    const steps = new Set<string>();
    await expect(run({}, (step) => steps.add(step))).rejects.toThrow(
      failed(
        /source has 7 device nodes: dev\/console \(character 5:1\), dev\/far \(character 300:70000\), dev\/mem \(character 1:1\) and 4 more; .*--drop-devices/,
      ),
    );
    expect([...steps]).toEqual([]);
    expectNothing();
    for (const name of REAL) rmSync(join(source, "dev", name));
    await expect(run()).rejects.toThrow(failed(/source has a device node: \uFFFD\/sda \(block 8:0\); /));
    execFileSync("sh", ["-c", "rm ./*/sda"], { cwd: source });
    expect(await run()).not.toHaveProperty("droppedDevices");
    expect(readdirSync(join(tree(), "dev")).sort()).toEqual(HARMLESS);
  });

  it("are left out if asked, and the digest is that of a tree that never had any", async () => {
    linkSync(join(source, "dev/sda"), join(source, "dev/again"));
    utimesSync(join(source, "dev"), 1, 978_310_923.123_456);
    const manifest = await run({ dropDevices: true });
    expect(manifest.droppedDevices).toBe(8);
    expect(images.list()).toMatchObject([{ version: "1", droppedDevices: 8 }]);
    expect(readdirSync(join(tree(), "dev")).sort()).toEqual(HARMLESS);
    expect(modified(join(tree(), "dev"))).toBe(modified(join(source, "dev")));
    const script = `touch -r dev ../time && rm ${REAL.map((name) => `dev/${name}`).join(" ")} dev/again && touch -r ../time dev
      for d in *; do test ! -e "$d/sda" || { touch -r "$d" ../time && rm "$d/sda" && touch -r ../time "$d"; }; done`;
    execFileSync("sh", ["-ec", script], { cwd: source });
    const { digest, entries, bytes } = await run({ version: "2" });
    expect({ digest, entries, bytes }).toEqual({
      digest: manifest.digest,
      entries: manifest.entries,
      bytes: manifest.bytes,
    });
    expect(await run({ version: "3", source: tree() })).toMatchObject({ digest });
  });

  it("that come while it is copied are found in the copy", async () => {
    execFileSync("sh", ["-c", "rm ./*/sda && rm -r dev"], { cwd: source });
    const makeOne: OnProgress = (step, files) => {
      if (step === "copying" && files === 1) execFileSync("mknod", [join(source, "etc/late"), "b", "7", "0"]);
    };
    await expect(run({}, makeOne)).rejects.toThrow(failed(/source has a device node: etc\/late \(block 7:0\)/));
    expectNothing();
  });
});

describe(
  "a casync index (extracting owners needs root)",
  needs("root", "casync", "unshare", "setfattr", "setcap"),
  () => {
    let index: string;
    let store: string;

    beforeEach(() => {
      makeItHard();
      rmSync(join(source, "big")); // chunks of zeros are the same everywhere
      rmSync(join(source, "bin/other-name")); // casync has no hard links
      for (const name of ["one", "two", "three"]) writeFileSync(join(source, name), randomBytes(300_000));
      index = join(folder.path, "web/arena.caidx");
      store = join(folder.path, "web/default.castr");
      mkdirSync(join(folder.path, "web"));
    });

    const make = (...options: string[]): string =>
      execFileSync("casync", ["make", ...options, index, source], { encoding: "utf8" }).trim();
    const chunks = (): string[] =>
      readdirSync(store, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".cacnk"));

    it("from a local store becomes the same tree as the folder, with the digest that casync printed", async () => {
      const printed = make();
      const steps = new Set<string>();
      const archive = await run({ source: index, digest: printed }, (step) => steps.add(step));
      expect(archive.source).toEqual({ kind: "casync", location: index, digest: printed });
      expect([...steps]).toEqual(["extracting", "comparing", "flushing"]);
      const copied = await run({ version: "copied" });
      expect(archive.digest).toBe(copied.digest);
    });

    it("gives files to the ids that it names, not to users of this host who have the same names", async () => {
      chownSync(join(source, "etc/motd"), 33, 33);
      make();
      const accounts = {
        passwd: "root:x:0:0::/:/bin/sh\nwww-data:x:3333:3333::/:/bin/sh\n",
        group: "www-data:x:3333:\n",
      };
      folder.write(accounts);
      // As on a host where www-data has another id.
      const script = `mount --bind ${folder.path}/passwd /etc/passwd && mount --bind ${folder.path}/group /etc/group &&
      exec ${process.execPath} test/fixtures/rootfs/die-at-step.mjs 0 ${folder.path}/state import arena 1 ${index}`;
      execFileSync("unshare", ["--mount", "--", "sh", "-c", script]);
      const { uid, gid } = lstatSync(join(tree(), "etc/motd"));
      expect([uid, gid]).toEqual([33, 33]);
    });

    it("over http, with a folder of chunks beside; an update fetches only what the current version has not", async () => {
      await using server = await FileServer.start(join(folder.path, "web"));
      make();
      mkdirSync(join(folder.path, "near.castr"));
      const stores = [join(folder.path, "near.castr"), `${server.url}/default.castr`];
      await run({ source: `${server.url}/arena.caidx`, stores });
      const fetched = () => server.requests.splice(0).filter((path) => path.includes("/default.castr/")).length;
      expect(fetched()).toBe(chunks().length);
      writeFileSync(join(source, "etc/motd"), "welcome back\n");
      make();
      await run({ source: `${server.url}/arena.caidx`, version: "2" });
      expect(readFileSync(join(tree("2"), "etc/motd"), "utf8")).toBe("welcome back\n");
      expect(readFileSync(join(tree("1"), "etc/motd"), "utf8")).toBe("welcome\n");
      expect(images.resolve("arena")).toMatchObject({ version: "2" });
      const again = fetched();
      expect(again).toBeGreaterThan(0);
      expect(again).toBeLessThan(chunks().length / 2);
    });

    it("over http that is interrupted, again and again, fetches no chunk twice but those it was at", async () => {
      await using server = await FileServer.start(join(folder.path, "web"));
      for (let n = 0; n < 12; n++) writeFileSync(join(source, `more-${n}`), randomBytes(200_000));
      make();
      const at = `${server.url}/arena.caidx`;
      const isChunk = (path: string): boolean => path.includes("/default.castr/");
      const all = chunks().length;
      let fetched = 0;
      for (const part of [0.3, 0.3]) {
        const controller = new AbortController();
        let left = Math.floor(all * part);
        server.onRequest = (path) => {
          if (isChunk(path) && left-- <= 0) controller.abort();
          return !controller.signal.aborted;
        };
        await expect(run({ source: at }, undefined, controller.signal)).rejects.toThrow("aborted");
        expectNothing(1);
        fetched += server.requests.splice(0).filter(isChunk).length;
      }
      server.onRequest = () => true;
      await run({ source: at });
      fetched += server.requests.filter(isChunk).length;
      expect(fetched).toBeGreaterThanOrEqual(all);
      expect(fetched).toBeLessThan(all * 1.3);
      expect(readdirSync(join(images.folder, ".work"))).toEqual([]);
    });

    it("over http for a second image fetches only what the first has not", async () => {
      await using server = await FileServer.start(join(folder.path, "web"));
      make();
      await run({ source: `${server.url}/arena.caidx` });
      server.requests.splice(0);
      writeFileSync(join(source, "etc/motd"), "another\n");
      index = join(folder.path, "web/hall.caidx");
      make();
      await run({ name: "hall", source: `${server.url}/hall.caidx` });
      expect(readFileSync(join(images.folder, "hall/1/tree/etc/motd"), "utf8")).toBe("another\n");
      const fetched = server.requests.filter((path) => path.includes("/default.castr/")).length;
      expect(fetched).toBeGreaterThan(0);
      expect(fetched).toBeLessThan(chunks().length / 2);
    });

    it.each(["local", "http"])(
      "with a corrupt chunk, or without one, is refused and leaves nothing but what was fetched (%s)",
      async (how) => {
        await using server = await FileServer.start(join(folder.path, "web"));
        make();
        const at = how === "local" ? index : `${server.url}/arena.caidx`;
        const [victim = ""] = chunks().sort((a, b) => statSync(join(store, b)).size - statSync(join(store, a)).size);
        const bytes = readFileSync(join(store, victim));
        bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
        writeFileSync(join(store, victim), bytes);
        await expect(run({ source: at })).rejects.toThrow(failed(/^casync failed \(exit status 1\): /));
        expectNothing(how === "http" ? 1 : 0);
        rmSync(join(store, victim));
        await expect(run({ source: at })).rejects.toThrow(failed(/^casync failed \(exit status 1\): /));
        expectNothing(how === "http" ? 1 : 0);
      },
    );

    it("with another digest, cut short, or not an archive, is refused and leaves nothing", async () => {
      make();
      await expect(run({ source: index, digest: "0".repeat(64) })).rejects.toThrow(failed("the digest of"));
      truncateSync(index, statSync(index).size - 100);
      await expect(run({ source: index })).rejects.toThrow(failed("casync failed"));
      writeFileSync(index, "no index");
      await expect(run({ source: index })).rejects.toThrow(failed("casync failed"));
      expectNothing();
    });

    it("made with fewer features is compared with what it has", async () => {
      const printed = make("--with=unix", "--digest=sha256");
      await run({ source: index, digest: printed });
      expect(lstatSync(join(tree(), "etc/motd")).mtimeMs).toBe(978_310_923_000);
    });

    it("of a tree with device nodes is refused, or has the digest of the archive and the tree of a folder without them", async () => {
      makeDevices();
      const printed = make();
      await expect(run({ source: index })).rejects.toThrow(
        failed(/arena\.caidx has 7 device nodes: dev\/console \(character 5:1\), /),
      );
      expectNothing();
      const archive = await run({ source: index, digest: printed, dropDevices: true });
      expect(archive).toMatchObject({ droppedDevices: 7, source: { digest: printed } });
      expect(readdirSync(join(tree(), "dev")).sort()).toEqual(HARMLESS);
      const copied = await run({ version: "copied", dropDevices: true });
      expect([archive.digest, archive.entries]).toEqual([copied.digest, copied.entries]);
    });

    it("over ssh is fetched by casync itself, with the program that CASYNC_SSH_PATH names", async () => {
      make();
      folder.write({ ssh: '#!/bin/sh\nshift\nexec sh -c "$*"\n' });
      chmodSync(join(folder.path, "ssh"), 0o755);
      process.env["CASYNC_SSH_PATH"] = join(folder.path, "ssh");
      try {
        await run({ source: `somewhere:${index}`, stores: [`somewhere:${store}`] });
      } finally {
        delete process.env["CASYNC_SSH_PATH"];
      }
      expect(readFileSync(join(tree(), "etc/motd"), "utf8")).toBe("welcome\n");
    });
  },
);

it("without casync an index is refused with what to install", async () => {
  const { PATH } = process.env;
  writeFileSync(join(folder.path, "a.caidx"), "");
  process.env["PATH"] = folder.path;
  try {
    await expect(run({ source: join(folder.path, "a.caidx") })).rejects.toThrow(failed("apt install casync"));
  } finally {
    process.env["PATH"] = PATH;
  }
  expectNothing();
});
