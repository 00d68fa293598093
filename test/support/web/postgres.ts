/** Debian's PostgreSQL, in a folder of the test's own, on a UNIX socket alone. It refuses root: it runs as nobody. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { TestFolder } from "../broker.ts";
import { pathOf } from "../needs.ts";
import { asUser, endsWithTest } from "../wrap.ts";

const NOBODY = 65534;

export interface Postgres extends AsyncDisposable {
  /** Of its database, for pg. */
  readonly address: string;
  /** Ends it as a crash of the machine would, and starts it again. */
  restart(): Promise<void>;
}

export async function startPostgres(): Promise<Postgres> {
  const folder = new TestFolder();
  const data = join(folder.path, "data");
  mkdirSync(data);
  chownSync(data, NOBODY, NOBODY);
  const [setpriv = "", ...as] = asUser(NOBODY);
  const args = [...as, pathOf("initdb"), "--auth=trust", "--no-sync", "--username=web", "--pgdata", data];
  const made = spawnSync(setpriv, args, { encoding: "utf8", cwd: data });
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  let server = await serve(data);
  return {
    address: `postgres://web@localhost/postgres?host=${encodeURIComponent(data)}`,
    async restart(): Promise<void> {
      await end(server, "SIGQUIT");
      server = await serve(data);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await end(server, "SIGQUIT");
      folder[Symbol.dispose]();
    },
  };
}

type Server = Awaited<ReturnType<typeof serve>>;

async function serve(data: string) {
  const [command = "", ...rest] = [...endsWithTest, ...asUser(NOBODY), pathOf("postgres")];
  const args = [...rest, "-D", data, "-k", data, "-c", "listen_addresses=", "-c", "fsync=off"];
  const child = spawn(command, args, { cwd: data, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk) => {
      log += chunk;
      if (log.includes("ready to accept connections")) resolve();
    });
    child.once("close", () => reject(new Error(`postgres has ended:\n${log}`)));
  });
  return child;
}

async function end(server: Server, signal: NodeJS.Signals): Promise<void> {
  const closed = once(server, "close");
  if (server.exitCode !== null || server.signalCode !== null) return;
  server.kill(signal);
  await closed;
}
