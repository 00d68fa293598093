/** What the declarations promise, as a program sees them that has installed the package: needs `npm run build:ts`. */
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";

const consumer = `
import type { Socket } from "node:dgram";
import type { Server } from "node:net";
import * as berthd from "berthd";
import {
  acquire, type AcquireOptions, berthAdvice, berthCommand, BerthError, type BerthRecord, berthState, type BerthStateWord, Broker, BrokerClient, type MetricFamily, tenantUser, type PlayersReport, type DrainRecord, type DrainOptions, type BrokerOptions, connect, type DirectoryEntry, DirectoryHandle, type ErrorCode, type Fd, FdChannel, FdHandle, FdMessage,
  type DescriptorStore, listenFds, type QuotaLimits, recvFds, RefusedError, Reply, sendFds, SysError, Tenancy, VarlinkClient,
} from "berthd";
import manifest from "berthd/package.json" with { type: "json" };

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

same<ReturnType<typeof acquire>, Promise<Tenancy>>(true);
same<Parameters<typeof acquire>[0], string>(true);
same<Parameters<typeof acquire>[1], AcquireOptions | undefined>(true);
same<AcquireOptions["signal"], AbortSignal | undefined>(true);
same<AcquireOptions["replace"], "no" | "try" | "must" | undefined>(true);
same<AcquireOptions["wait"], boolean | undefined>(true);
same<Tenancy["root"], DirectoryHandle>(true);
same<FdHandle["fd"], Fd>(true);
same<BerthError["code"], ErrorCode>(true);
same<BrokerOptions["store"], DescriptorStore | undefined>(true);
same<BrokerOptions["quota"], Partial<QuotaLimits> | undefined>(true);
same<typeof manifest.name, string>(true);

export async function everything(signal: AbortSignal): Promise<void> {
  await using tenancy = await acquire("arena@bob", { signal, wait: true, socket: "/run/x" });
  const server: Server = tenancy.net("game");
  const socket: Socket = tenancy.dgram("query", 1);
  const handle: FdHandle = tenancy.fd("game");
  await tenancy.stash("state", handle, { signal });
  await tenancy.stash("state", 7);
  await tenancy.ready({ signal });
  await tenancy.release({ signal });
  using client: VarlinkClient = await connect({ signal });
  using broker: BrokerClient = await connect({ socket: "/run/x" });
  const berths: readonly BerthRecord[] = await broker.berths({ signal });
  for (const berth of berths) console.log(berthState(berth) satisfies BerthStateWord, berthAdvice(berth)?.length, berthCommand(berth)?.length, berth.lease && tenantUser(berth.lease));
  for await (const { event, berth } of broker.watch({ signal })) console.log(event satisfies string, berth.lease?.pid);
  for await (const { name, value, object, fields } of broker.metrics({ signal })) {
    same<typeof value, number | string>(true);
    console.log(name, object?.length, fields?.["le"] satisfies string | undefined);
  }
  await broker.report("arena", { players: 3, max: 16, map: "q3dm17" } satisfies PlayersReport, { signal });
  const drain: DrainRecord | undefined = await broker.drain("arena", { within: 600, signal } satisfies DrainOptions);
  console.log(drain?.deadline, (await broker.cancelDrain("arena", { signal }))?.began);
  const families: readonly MetricFamily[] = await broker.metricFamilies();
  using reply: Reply = await client.call("io.berthd.Broker.List", {}, { signal });
  for await (const event of client.stream("io.berthd.Broker.Watch", {}, { signal })) event[Symbol.dispose]();
  const [left, right] = FdChannel.pair("seqpacket");
  await left.send("x", [handle], { signal });
  const message: FdMessage | undefined = await right.receive({ signal });
  await sendFds(0, [handle], "x", { signal });
  await recvFds(0, { signal, size: 10 });
  await using root: DirectoryHandle = await DirectoryHandle.open("/srv");
  same<Awaited<ReturnType<typeof root.open>>, FdHandle>(true);
  const bytes: Buffer = await root.readFile("a", { signal });
  const text: string = (await root.readFile("a", "utf8")) + (await root.readFile(bytes, { encoding: "latin1" }));
  await root.writeFile("a", text, { atomic: true, mode: 0o600, signal });
  const names: string[] = await root.readdir("/");
  const raw: Buffer[] = await root.readdir(".", { encoding: "buffer" });
  const entries: DirectoryEntry[] = await root.readdir(".", { withFileTypes: true });
  const both: DirectoryEntry<Buffer>[] = await root.readdir(".", { encoding: "buffer", withFileTypes: true });
  const link: string = await root.readlink("a");
  (await root.createReadStream("a", { start: 1, signal })).pipe(await root.createWriteStream("b", { flags: "wx" }));
  console.log(names, raw, entries.map(({ type }) => type === "file"), both, link, DirectoryHandle.adopt(handle));
  for (const { name, handle: passed } of listenFds()) console.log(name satisfies string, passed satisfies FdHandle);
  const own: Broker = await Broker.start({ config: ["/etc/berthd"], socket: "/run/x" });
  await own.close();
  console.log(families);
  const fault: BerthError = new SysError("bind", 98);
  if (fault instanceof RefusedError) console.log(fault.error satisfies string);
  console.log(server, socket, reply, message);
}

// @ts-expect-error a berth has a name
acquire();
// @ts-expect-error "maybe" is no way to replace
acquire("arena", { replace: "maybe" });
// @ts-expect-error a number is not a descriptor that is owned
new FdHandle(3);
// @ts-expect-error any number is not an Fd
const fd: Fd = 3;
// @ts-expect-error no such code
const code: ErrorCode = "NO_SUCH_CODE";
// @ts-expect-error a directory handle is opened or adopted
new DirectoryHandle(FdHandle.adopt(3));
// @ts-expect-error no such letters
DirectoryHandle.prototype.open("a", "rw");
// @ts-expect-error the addon is not API
berthd.native;
// @ts-expect-error and neither is replacing it
Broker.start({ berths: [], socket: "/run/x", sys: {} });
// @ts-expect-error as above
FdHandle.adopt(3, {});
// @ts-expect-error only what the exports map names can be imported
import "berthd/dist/wire.js";
console.log(fd, code);
`;

it("a program that installed the package compiles against its declarations, and only against its API", () => {
  using folder = new TestFolder({
    "package.json": '{ "type": "module" }',
    "consumer.ts": consumer,
    "tsconfig.json": JSON.stringify({
      compilerOptions: {
        module: "nodenext",
        target: "es2022",
        lib: ["es2023", "esnext.disposable"],
        types: ["node"],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedSideEffectImports: true,
        resolveJsonModule: true,
        noEmit: true,
      },
      files: ["consumer.ts"],
    }),
  });
  mkdirSync(join(folder.path, "node_modules"));
  symlinkSync(packageRoot, join(folder.path, "node_modules/berthd"));
  symlinkSync(join(packageRoot, "node_modules/@types"), join(folder.path, "node_modules/@types"));
  const { stdout, status } = spawnSync(join(packageRoot, "node_modules/.bin/tsc"), ["-p", folder.path], {
    encoding: "utf8",
  });
  expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
}, 60_000);
