/**
 * SIGKILL while casync(1) runs for an import. It hits both processes, only the import, or only the program.
 * No process ever sees half an image, and the next import works.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Images } from "../../../src/rootfs/images/images.ts";
import { importImage } from "../../../src/rootfs/images/import.ts";
import { TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { fixtures } from "../../support/puppet.ts";

// Each import is a process of its own.
vi.setConfig({ testTimeout: 60_000 });

/** So many files with such names make more output than the pipe and its reader can buffer. */
const FILES = 1000;
const PADDING = "x".repeat(200);

interface Import {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly said: Promise<string>;
  readonly ended: Promise<unknown>;
}

let before: string[];
let folder: TestFolder;
let images: Images;
let started: Import | undefined;

beforeEach(() => {
  before = openFds();
  folder = new TestFolder({ "small/file": "whole" });
  images = new Images(join(folder.path, "state/images"));
  mkdirSync(join(folder.path, "source"));
  for (let n = 0; n < FILES; n++) writeFileSync(join(folder.path, "source", `${PADDING}-${n}`), String(n));
});

afterEach(async () => {
  if (started !== undefined && started.child.exitCode === null && started.child.signalCode === null) {
    process.kill(-started.pid, "SIGKILL");
    await started.ended;
  }
  started = undefined;
  folder[Symbol.dispose]();
  await expectFdsAgain(before);
});

/** Starts an import of the version `half` in its own process group. Its program has started and cannot end. */
async function begin(source: string): Promise<Import & { readonly program: number }> {
  const args = [join(fixtures, "rootfs/import-and-stop.mjs"), images.folder, "arena", "half", source];
  const child = spawn(process.execPath, args, { detached: true, stdio: ["ignore", "pipe", "inherit"] });
  const { pid, stdout } = child;
  if (pid === undefined || stdout === null) throw new Error("no process");
  const begun = { child, pid, said: text(stdout), ended: once(child, "exit") };
  started = begun;
  await vi.waitUntil(() => stateOf(pid) === "T", { timeout: 30_000 });
  // berth-launch runs it.
  const [program = 0] = childrenOf(childrenOf(pid)[0] ?? 0);
  // It names a file before that is there.
  await vi.waitUntil(() => halfDone() > 0, { timeout: 30_000 });
  expect(halfDone()).toBeLessThan(FILES);
  return { ...begun, program };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

/** The state of a process: `T` is stopped. Undefined when there is no such process. */
function stateOf(pid: number): string | undefined {
  try {
    return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1];
  } catch {
    return undefined;
  }
}

/** Whether a process has ended. It may be a zombie: all its descriptors are closed. */
function hasEnded(pid: number): boolean {
  return ["Z", undefined].includes(stateOf(pid));
}

const work = (): string[] => readdirSync(join(images.folder, ".work"));

/** The number of files in staging. */
function halfDone(): number {
  const trees = work().map((name) => join(images.folder, ".work", name, "version/tree"));
  return trees.filter((tree) => existsSync(tree)).flatMap((tree) => readdirSync(tree)).length;
}

/** Imports a small tree. */
async function importWhole(version: string): Promise<void> {
  await importImage(images, { name: "arena", version, source: join(folder.path, "small") });
}

/** Expects that every visible file belongs to {@link importWhole}. */
function visible(): string[] {
  return images.list().map(({ version, current }) => {
    expect(readdirSync(join(images.folder, "arena", version, "tree"))).toEqual(["file"]);
    return `${version}${current ? " current" : ""}`;
  });
}

describe("an import by casync", needs("root", "casync"), () => {
  let source: string;

  beforeEach(async () => {
    source = join(folder.path, "arena.caidx");
    await importWhole("before");
    execFileSync("casync", ["make", source, join(folder.path, "source")], { stdio: "ignore" });
  });

  it("that is killed with its program leaves what the next import removes", async () => {
    const { pid, program, ended } = await begin(source);
    process.kill(-pid, "SIGKILL");
    await ended;
    await vi.waitUntil(() => hasEnded(program), { timeout: 30_000 });
    expect(visible()).toEqual(["before current"]);
    expect(halfDone()).toBeGreaterThan(0);
    await importWhole("half");
    expect(visible()).toEqual(["half current", "before"]);
    expect(work()).toEqual([]);
  });

  it("that is killed alone takes its program with it, even a stopped one, which would go on fetching for nobody", async () => {
    const { child, pid, program, ended } = await begin(source);
    process.kill(program, "SIGSTOP");
    child.kill("SIGKILL");
    await ended;
    await vi.waitUntil(() => hasEnded(program), { timeout: 30_000 });
    expect(stateOf(pid)).toBeUndefined();
    expect(visible()).toEqual(["before current"]);
    await importWhole("half");
    expect(visible()).toEqual(["half current", "before"]);
    expect(work()).toEqual([]);
  });

  it("whose program is killed fails, says so, and leaves nothing", async () => {
    const { child, program: pid, said, ended } = await begin(source);
    process.kill(pid, "SIGKILL");
    child.kill("SIGCONT");
    expect(await ended).toEqual([1, null]);
    expect(await said).toMatch(/^IMPORT_FAILED: casync failed \(SIGKILL\): /);
    expect(visible()).toEqual(["before current"]);
    expect(work()).toEqual([]);
  });
});
