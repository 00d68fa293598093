/** The commands of docs/containers.md, as they stand there but for the port. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { inodesAt } from "../bind/harness.ts";
import { cli } from "../cli/support.ts";
import { blocks, read, section } from "../docs/markdown.ts";
import { type BrokerProcess, isReady, launchBroker, TestFolder } from "../support/broker.ts";
import { withOneCgroupVersion } from "../support/cgroups.ts";
import { needs, pathOf } from "../support/needs.ts";
import { PODMAN, Podman } from "../support/podman.ts";
import { freePort } from "../support/ports.ts";
import { ask, compileServer, who } from "./harness.ts";

const page = read("docs/containers.md");
const [configuration = ""] = blocks(page, "toml");

const shared = new TestFolder();
let program: string;
let port: number;

beforeAll(() => {
  program = compileServer(shared);
});

afterAll(() => shared[Symbol.dispose]());

beforeEach(async () => {
  port = await freePort();
});

/** The page's text with the test's port, and with other words for some. */
function adapted(text: string, words: Readonly<Record<string, string>> = {}): string {
  const all = { "27960": String(port), ...words };
  return Object.entries(all).reduce(
    (now, [word, other]) => now.replaceAll(new RegExp(`\\b${word}\\b`, "g"), other),
    text,
  );
}

/** A machine on which somebody follows the page. */
class Reader implements AsyncDisposable {
  readonly folder: TestFolder;
  readonly podman: Podman;
  readonly broker: BrokerProcess;
  readonly #bundle: string;

  constructor() {
    this.folder = new TestFolder({ "config/arena.toml": adapted(configuration) });
    this.podman = new Podman(this.folder, program);
    this.broker = launchBroker(this.folder);
    this.#bundle = join(this.podman.rootfs, "..");
    mkdirSync(join(this.folder.path, "bin"));
    this.#command("berth", [process.execPath, cli]);
    this.#command("podman", this.podman.command);
    for (const name of ["runc", "crun"] as const)
      this.#command(name, [...withOneCgroupVersion(), pathOf(name), "--root", join(this.folder.path, name)]);
  }

  /** Runs commands in the bundle's folder, and shows what the last that failed has said. */
  run(commands: string): void {
    const { PATH, ...others } = this.podman.environment;
    const env = { ...others, PATH: `${join(this.folder.path, "bin")}:${PATH}`, BERTHD_SOCKET: this.broker.socket };
    const script = `{ ${commands}\n} >output 2>&1 </dev/null || { cat output >&2; exit 1; }`;
    execFileSync("bash", ["-euo", "pipefail", "-c", script], { env, cwd: this.#bundle, stdio: "pipe" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.podman[Symbol.asyncDispose]();
    await this.broker[Symbol.asyncDispose]();
    this.folder[Symbol.dispose]();
  }

  #command(name: string, words: readonly string[]): void {
    const path = join(this.folder.path, "bin", name);
    writeFileSync(path, `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`);
    chmodSync(path, 0o755);
  }
}

async function servesHeldSockets(): Promise<void> {
  const [own, seen] = await who("udp", port);
  expect(seen).toBe(own);
  expect([await ask(port, "inode")]).toEqual(inodesAt("udp", port));
}

const hasEnded = (broker: BrokerProcess): Promise<unknown> => broker.logged(({ event }) => event === "released");

describe("the commands of docs/containers.md", { ...needs(...PODMAN), timeout: 60_000 }, () => {
  it("start a container of podman, and end it", async () => {
    await using reader = new Reader();
    await reader.broker.logged(isReady);
    const [start = "", end = "", image = ""] = blocks(section(page, "## podman"), "");
    for (const commands of [image, start])
      reader.run(adapted(commands, { IMAGE: "arena-image", FOLDER: reader.podman.rootfs }));
    await servesHeldSockets();
    const [restart = "", ...rest] = end.trim().split("\n");
    reader.run(restart);
    await servesHeldSockets();
    reader.run(rest.join("\n"));
    await hasEnded(reader.broker);
  });

  it.each(["runc", "crun"])("start a bundle by %s, and end it", async (runtime) => {
    await using reader = new Reader();
    await reader.broker.logged(isReady);
    const [start = "", end = ""] = blocks(section(page, "## runc and crun"), "");
    reader.run(adapted(start, { runc: runtime }));
    try {
      await servesHeldSockets();
    } finally {
      reader.run(adapted(end, { runc: runtime }));
    }
    await hasEnded(reader.broker);
  });
});
