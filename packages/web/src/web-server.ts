/** The whole of `berth-web`, from its options: what listens, what answers, and how it ends. */
import type { Server } from "node:http";
import { type FdHandle, listenFds } from "berthd";
import { ApiRoutes } from "./api/routes.ts";
import { Fault } from "./fault.ts";
import { isPostgres, PostgresDatabase } from "./history/postgres.ts";
import type { Sql } from "./history/sql.ts";
import { SqliteFile } from "./history/sqlite.ts";
import { limits } from "./http/limits.ts";
import { readPageFiles } from "./http/page-files.ts";
import { type Guard, httpServer, type TlsMaterial } from "./http/server.ts";
import { Streams } from "./http/streams.ts";
import { listenFault } from "./listen-fault.ts";
import { readNamed, readToken } from "./options/files.ts";
import { isLocal, type ListenPlace } from "./options/listen.ts";
import type { WebOptions } from "./options/options.ts";
import { readPeers } from "./options/peers.ts";
import { CachedExposition, exposition } from "./prometheus/exposition.ts";
import { Site } from "./site.ts";

export class WebServer {
  readonly #servers: readonly Server[];
  readonly #site: Site;
  readonly #streams: Streams;

  private constructor(servers: readonly Server[], site: Site, streams: Streams) {
    this.#servers = servers;
    this.#site = site;
    this.#streams = streams;
  }

  /** Listens, and connects to the broker as soon as that answers. Throws a {@link Fault}. */
  static async start(options: WebOptions, env: NodeJS.ProcessEnv): Promise<WebServer> {
    const token = options.tokenFile === undefined ? undefined : readToken(options.tokenFile);
    const tls = tlsOf(options);
    const peers = readPeers(options.peers);
    const isGuarded = token !== undefined || tls?.ca !== undefined;
    for (const place of options.listen) if (!isGuarded && !isLocal(place)) throw unsafe(place);
    const passed = options.listen.length > 0 ? [] : socketsOf(env);
    const history = await Site.openHistory(await databaseOf(options));
    const streams = new Streams(limits);
    const site = new Site({ ...options, peers }, streams, history);
    const cached = new CachedExposition(() => metricsText(site, streams));
    const files = readPageFiles();
    const routes = new ApiRoutes({ site, streams, files, metricsText: () => cached.text() });
    const guard: Guard = { hostNames: options.hostNames, token, limits };
    const make = (): Server => httpServer(guard, routes, tls);
    const servers: Server[] = [];
    const web = new WebServer(servers, site, streams);
    try {
      for (const place of options.listen) servers.push(await listenAt(make(), place));
      for (const { handle } of passed) servers.push(await listenOn(make(), handle, isGuarded));
    } catch (error) {
      await web.close();
      throw error;
    }
    return web;
  }

  /** As people write them: http://127.0.0.1:9115/. */
  get addresses(): string[] {
    return this.#servers.map((server) => {
      const address = server.address();
      if (address === null || typeof address === "string") return `unix:${address ?? "passed"}`;
      const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
      return `${"setSecureContext" in server ? "https" : "http"}://${host}:${address.port}/`;
    });
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    this.#streams.close();
    await Promise.all(
      this.#servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
          }),
      ),
    );
    await this.#site.close();
  }
}

async function databaseOf({ history }: WebOptions): Promise<Sql | undefined> {
  if (history === undefined) return undefined;
  return isPostgres(history) ? PostgresDatabase.open(history) : SqliteFile.open(history);
}

async function metricsText(site: Site, streams: Streams): Promise<string> {
  const isUp = site.facts.unreachableSince === null;
  const metrics = isUp ? await site.metrics().catch(() => undefined) : undefined;
  return exposition(metrics ?? [], {
    rows: site.ownRows,
    isUp: metrics !== undefined,
    streams: streams.count,
    historyWorks: site.history === undefined ? undefined : site.history.trouble === undefined,
  });
}

function socketsOf(env: NodeJS.ProcessEnv): ReturnType<typeof listenFds> {
  const passed = listenFds({ env });
  if (passed.length > 0) return passed;
  throw new Fault(
    "NO_SOCKET",
    "no socket was passed; start it on its berth: berth run web; or to try it: berth-web --listen 127.0.0.1:9115",
  );
}

function tlsOf({ tls }: WebOptions): TlsMaterial | undefined {
  if (tls === undefined) return undefined;
  return {
    cert: readNamed("--tls-cert", tls.cert),
    key: readNamed("--tls-key", tls.key),
    ca: tls.clientCa === undefined ? undefined : readNamed("--client-ca", tls.clientCa),
  };
}

function unsafe(place: { readonly kind: string; readonly host?: string; readonly port?: number }): Fault {
  return new Fault(
    "UNSAFE_ADDRESS",
    `other machines reach ${place.host}:${place.port}, and would see everything; add --token-file FILE or --client-ca FILE, or listen on 127.0.0.1`,
  );
}

function listenAt(server: Server, place: ListenPlace): Promise<Server> {
  return listening(server, place.kind === "unix" ? { path: place.path } : { host: place.host, port: place.port });
}

async function listenOn(server: Server, handle: FdHandle, isGuarded: boolean): Promise<Server> {
  await listening(server, { fd: handle.steal() });
  const address = server.address();
  if (address !== null && typeof address === "object") {
    const place = { kind: "tcp", host: address.address, port: address.port };
    if (!isGuarded && !isLocal(place)) {
      server.close();
      throw unsafe(place);
    }
  }
  return server;
}

function listening(server: Server, at: { host?: string; port?: number; path?: string; fd?: number }): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(listenFault(at, error)));
    server.listen(at, () => resolve(server));
  });
}
