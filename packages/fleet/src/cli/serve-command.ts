/** `berth-fleet serve`. */
import { once } from "node:events";
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { connect, isIP } from "node:net";
import { Fault } from "../fault.ts";
import { allocationServer } from "../serve/server.ts";
import { commonFlags, openFleet, parse, readText, sayer, untilSignal } from "./common.ts";
import { serveUsage } from "./usage.ts";

const flags = { ...commonFlags, listen: { type: "string" }, "token-file": { type: "string" } } as const;

const DEFAULT_LISTEN = "127.0.0.1:9116";
const SHORTEST_TOKEN = 16;

type Place = { readonly path: string } | { readonly host: string; readonly port: number };

/** Runs until a signal. */
export async function serveCommand(args: readonly string[]): Promise<string> {
  const { values } = parse(args, flags, false);
  if (values.help) return serveUsage;
  const listen = values.listen ?? DEFAULT_LISTEN;
  const place = placeOf(listen);
  const token = values["token-file"] === undefined ? undefined : tokenIn(values["token-file"]);
  if (token === undefined && !("path" in place) && !isLoopback(place.host))
    throw new Fault("USAGE", `--listen ${listen} is not on loopback, so callers need a token: add --token-file FILE`);
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  const say = sayer(values);
  const server = allocationServer({ etcd, keys, token, say });
  await listenOn(server, place, listen);
  say(`allocates on ${"path" in place ? place.path : `http://${listen}`}`);
  if (!stop.signal.aborted) await once(stop.signal, "abort");
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  // A request in progress has some seconds for its transaction.
  const late = setTimeout(() => server.closeAllConnections(), 5_000);
  await closed;
  clearTimeout(late);
  return "";
}

/** `/PATH`, or `ADDRESS:PORT`. Throws USAGE. */
function placeOf(listen: string): Place {
  if (listen.startsWith("/")) return { path: listen };
  const [, bracketed, plain, port = ""] = /^(?:\[([0-9A-Fa-f:.]+)\]|([\d.]+)):(\d{1,5})$/.exec(listen) ?? [];
  const host = bracketed ?? plain ?? "";
  if (isIP(host) !== 0 && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new Fault(
    "USAGE",
    `--listen ${listen} is neither ADDRESS:PORT nor the path of a socket: write ${DEFAULT_LISTEN}`,
  );
}

function isLoopback(host: string): boolean {
  return host === "::1" || /^127\./.test(host);
}

/** Throws USAGE, FILE_UNREADABLE. */
function tokenIn(file: string): string {
  const token = readText(file).trim();
  if (token.length >= SHORTEST_TOKEN && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new Fault("USAGE", `--token-file ${file} must have one word of at least ${SHORTEST_TOKEN} characters`);
}

async function listenOn(server: Server, place: Place, listen: string): Promise<void> {
  if ("path" in place) await removeStale(place.path);
  try {
    server.listen(place);
    await once(server, "listening");
    if ("path" in place) chmodSync(place.path, 0o660);
  } catch (error) {
    throw new Fault("USAGE", `cannot listen on ${listen}: ${error instanceof Error ? error.message : error}`);
  }
}

/** A socket on which nobody listens any more: its program was killed. */
async function removeStale(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const socket = connect(path);
  const isServed = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  if (!isServed) unlinkSync(path);
}
