/** What the owner of a folder can do while root imports it: the image has nothing that is not in the folder. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Images } from "../../../src/rootfs/images/images.ts";
import { importImage, type OnProgress } from "../../../src/rootfs/images/import.ts";
import { TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";

vi.setConfig({ testTimeout: 60_000 });

let before: string[];
let folder: TestFolder;
let source: string;
let hidden: string;
let images: Images;

beforeEach(() => {
  before = openFds();
  folder = new TestFolder();
  [source, hidden] = [join(folder.path, "source"), join(folder.path, "private/hidden")];
  images = new Images(join(folder.path, "state/images"));
});

afterEach(async () => {
  await expectFdsAgain(before);
  folder[Symbol.dispose]();
});

/** The folder `source/maps`, and a hidden one that differs from it in the last file only. */
function makeBoth(files: number): void {
  for (const path of [source, join(folder.path, "private"), hidden, join(source, "maps")]) mkdirSync(path);
  chmodSync(join(folder.path, "private"), 0o700);
  for (let n = 0; n < files; n++) {
    const name = `${"x".repeat(200)}-${n}`;
    writeFileSync(join(source, "maps", name), "");
    linkSync(join(source, "maps", name), join(hidden, name));
  }
  writeFileSync(join(source, "maps/zz"), "own");
  writeFileSync(join(hidden, "zz"), "secret", { mode: 0o600 });
  for (const path of [join(source, "maps"), source]) utimesSync(path, 1, 1);
}

/** Puts a link to the hidden folder in the place of `source/maps`, or takes it away again. */
function swap(isLink: boolean): void {
  const [maps, away] = [join(source, "maps"), join(folder.path, "away")];
  if (isLink) {
    renameSync(maps, away);
    symlinkSync(hidden, maps);
  } else {
    rmSync(maps);
    renameSync(away, maps);
  }
  utimesSync(source, 1, 1);
}

it("a folder that is swapped for a link, while it is copied and compared, shows nothing of what is behind the link", async () => {
  makeBoth(2000);
  let isLink = false;
  const attack: OnProgress = (step, files) => {
    const wanted = step === "copying" ? isLink || files > 2 : step === "comparing" && files > 2;
    if (wanted !== isLink) swap(wanted);
    isLink = wanted;
  };
  const made = await importImage(images, { name: "arena", version: "1", source }, { onProgress: attack });
  expect(isLink).toBe(false);
  expect(made.entries).toBe(2003);
  expect(readFileSync(join(images.folder, "arena/1/tree/maps/zz"), "utf8")).toBe("own");
});

it("a file that is swapped for a FIFO does not make the import wait", async () => {
  makeBoth(3);
  const path = join(source, "maps/zz");
  const attack: OnProgress = (step, files) => {
    if (step !== "copying" || files !== 3) return;
    rmSync(path);
    execFileSync("mkfifo", [path]);
    utimesSync(join(source, "maps"), 1, 1);
  };
  await importImage(images, { name: "arena", version: "1", source }, { onProgress: attack });
  expect(lstatSync(join(images.folder, "arena/1/tree/maps/zz")).isFIFO()).toBe(true);
});

it("a link of another user on the way to the folder is not followed (needs root)", needs("root"), async () => {
  makeBoth(1);
  const link = join(folder.path, "link");
  symlinkSync(source, link);
  await importImage(images, { name: "arena", version: "mine", source: link });
  lchownSync(link, 1234, 1234);
  await expect(importImage(images, { name: "arena", version: "theirs", source: link })).rejects.toThrow(
    /link is a link of uid 1234, who can change where it leads; name the folder that you mean: .*source$/,
  );
});

it.each([
  [0o755, 1234, "uid 1234"],
  [0o777, 0, "every user"],
  [0o775, 0, "group 1234"],
  [0o755, 0, undefined],
])(
  "the import says who else can write to the folder: mode %o of uid %d (needs root)",
  needs("root"),
  async (mode, uid, who) => {
    makeBoth(1);
    chownSync(source, uid, 1234);
    chmodSync(source, mode);
    const warnings: string[] = [];
    const onWarning = (message: string): number => warnings.push(message);
    await importImage(images, { name: "arena", version: "1", source }, { onWarning });
    expect(warnings).toEqual(
      who === undefined ? [] : [`${who} can write to ${source}; the image has what is in the folder during the import`],
    );
  },
);
