/**
 * Serves one request of the fleet's agent, on the connection that is standard input. The answer says what went wrong in
 * a sentence, and so does standard error.
 */
import { BerthError } from "../../errors.ts";
import { native } from "../../native.ts";
import { printable } from "../../printable.ts";
import { removeAllAbandoned } from "../backup/scratch.ts";
import { sizeOf } from "../print/size.ts";
import { exportImage, importImage, listImages } from "./images.ts";
import { type Limits, PeerConnection } from "./peer-connection.ts";
import { parseRequest, type Request } from "./request.ts";
import { restore } from "./restore.ts";
import { save } from "./save.ts";
import type { Work } from "./work.ts";

const STDIN = 0;

export interface ServeOptions extends Omit<Work, "connection" | "maxBytes"> {
  /** The only user who is served. */
  readonly uid: number;
  readonly limits: Limits;
}

/** Resolves when the request was answered, or cannot be. Throws USAGE if standard input is no connection. */
export async function serveState({ uid, limits, ...rest }: ServeOptions): Promise<void> {
  const peer = new Int32Array(3);
  if (native.peercred(STDIN, peer) < 0)
    throw new BerthError(
      "USAGE",
      "standard input is no connection of a UNIX socket; systemd starts this command: berthd-state.socket",
    );
  using connection = new PeerConnection(STDIN, limits, rest.signal);
  let what = "a request";
  try {
    const [pid, user] = peer;
    if (user !== uid) throw new BerthError("REFUSED", `pid ${pid} is of user ${user}; only user ${uid} is served`);
    const request = parseRequest(await connection.line());
    removeAllAbandoned(rest.state);
    what = textOf(request);
    const bytes = await act(request, { ...rest, connection, maxBytes: limits.maxBytes });
    await connection.answer({ ok: true, bytes });
    // An agent lists images often.
    if (request.method !== "ListImages") say(`${what}: ${sizeOf(bytes)}`);
  } catch (error) {
    await refuse(connection, what, error);
  }
  await connection.finish();
}

function textOf(request: Request): string {
  if ("berth" in request) return `${request.method} ${request.berth}`;
  return request.method === "ListImages" ? request.method : `${request.method} ${request.image}@${request.version}`;
}

function act(request: Request, work: Work): Promise<number> {
  switch (request.method) {
    case "Save":
      return save(request, work);
    case "Restore":
      return restore(request, work);
    case "ExportImage":
      return exportImage(request, work);
    case "ImportImage":
      return importImage(request, work);
    case "ListImages":
      return listImages(work);
  }
}

async function refuse(connection: PeerConnection, what: string, error: unknown): Promise<void> {
  say(`${what}: ${error instanceof BerthError ? error.message : inspect(error)}`);
  const { code, message } =
    error instanceof BerthError ? error : new BerthError("SYSTEM_ERROR", "it failed; the log of berthd-state says why");
  try {
    await connection.answer({ ok: false, error: printable(message), code });
  } catch (failure) {
    if (!(failure instanceof BerthError)) throw failure; // the agent has gone
  }
}

function inspect(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function say(text: string): void {
  process.stderr.write(`${text.split("\n").map(printable).join("\n")}\n`);
}
