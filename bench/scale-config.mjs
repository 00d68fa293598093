/** Folders of many berths, each with one UDP socket, and the one berth among them that changes. It starts nothing. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Below Linux's range of ports that the kernel gives out (ip(7), ip_local_port_range), and 10,000 of them. */
const FIRST_PORT = 20_000;
/** Of loopback, and unlikely to be another program's. */
const HOST = "127.77.77.77";
const ONE_PORT = 19_999;
/** The port that the berth of {@link change} moves to and from. */
const OTHER_PORT = 19_998;

/** Where the berth of this number listens, by the way in which the berths differ. */
export const ways = {
  "different ports": (index) => `${HOST}:${FIRST_PORT + index}`,
  "one port": (index) => `127.${1 + (index >> 14)}.${(index >> 7) & 127}.${1 + (index & 127)}:${ONE_PORT}`,
};

export const nameOf = (index) => `b${String(index).padStart(5, "0")}`;

/** Writes so many berths into a new folder. */
export function configure(folder, way, count) {
  mkdirSync(folder, { recursive: true });
  for (let index = 0; index < count; index++) write(folder, index, ways[way](index));
}

/** Moves the last berth to another port, or back. */
export function change(folder, way, count, isBack) {
  write(folder, count - 1, isBack ? ways[way](count - 1) : `${HOST}:${OTHER_PORT}`);
}

function write(folder, index, address) {
  const server = process.getuid() === 0 ? '[server]\nuser = "nobody"\n' : "";
  writeFileSync(join(folder, `${nameOf(index)}.toml`), `[sockets.game]\nlisten = ["udp://${address}"]\n${server}`);
}
