/** BZFlag's server in a berth, and clients that come to it one after another. */
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { pathOf } from "./needs.ts";

const PAUSE_MS = 5;

/** What became of the clients. */
export interface Tally {
  connects: number;
  /** ECONNREFUSED: nobody had the port. */
  refused: number;
  answered: number;
  /** Accepted and not answered before the server's end, or in the queue of a listener that it shut down. */
  cut: number;
}

/** A berth file: bzfs on the port, by bind delivery, as nobody. All may write to `folder`. `more` is of [server]. */
export function bzflagBerth(port: number, folder: string, more = ""): string {
  return `[sockets.game]
listen = ["tcp://127.0.0.1:${port}", "udp://127.0.0.1:${port}"]
[server]
command = ["${pathOf("bzfs")}", "-i", "127.0.0.1", "-p", "{port:game}"]
deliver = ["bind"]
directory = "${folder}"
environment = { HOME = "${folder}" }
user = "nobody"
${more}`;
}

/** Connects, until the signal is aborted, and waits for the server's answer, or for the next server's. */
export async function knock(port: number, tally: Tally, end: AbortSignal): Promise<void> {
  for (; !end.aborted; await pause(PAUSE_MS)) {
    const socket = connect(port, "127.0.0.1", () => tally.connects++);
    socket.write("BZFLAG\r\n\r\n");
    let answer = "";
    let isRefused = false;
    try {
      for await (const part of socket.setEncoding("latin1")) {
        answer += part;
        if (answer.length >= 9) break;
      }
    } catch (error) {
      isRefused = error instanceof Error && "code" in error && error.code === "ECONNREFUSED";
    }
    socket.destroy();
    if (isRefused) tally.refused++;
    else if (/^BZFS\d{4}/.test(answer)) tally.answered++;
    else tally.cut++;
  }
}
