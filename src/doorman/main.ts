/**
 * The doorman: a process of the broker's that reads what arrives for sleeping servers, turns players away from servers
 * that drain, and asks those that run who plays: as their user, with no way to open anything. Arguments: the uid and
 * gid to become, if any. The broker is on descriptor 3; the doorman ends with it.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import { check } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import { READABLE, RECEIVED_LENGTH, native as sys } from "../native.ts";
import { POLLOUT } from "../net/socket-constants.ts";
import { Doors } from "./doors.ts";
import { startInquiry } from "./inquirer.ts";
import type { Codecs } from "./interfaces/codecs.ts";
import { type AskOrder, decodeOrder, encodeReport, ORDER_BYTES, type Report } from "./interfaces/messages.ts";

const CHANNEL = 3;
const { EAGAIN } = constants.errno;
const NO_FDS = new Int32Array(0);
/** How often, and for how many milliseconds each time, a report waits for the broker to read earlier ones. */
const [TRIES, TRY_MS] = [60, 1000];

const [uid, gid] = process.argv.slice(2);
// scripts/bundle.mjs puts it there. By an address, so that nothing else of berthd can load it.
const codecs: Codecs = await import(new URL("protocols.js", import.meta.url).href);
const challenges = new codecs.Challenges(randomBytes(32));
const doors = new Doors({ sys, codecs, challenges, say });
const buffer = Buffer.alloc(ORDER_BYTES);
const received = new Int32Array(RECEIVED_LENGTH);

if (uid !== undefined && gid !== undefined) {
  process.setgroups?.([Number(gid)]);
  process.setgid?.(Number(gid));
  process.setuid?.(Number(uid));
}
// Its thread has to be there before no process may be made.
check("poll", new sys.Poll(CHANNEL, read, true).start(READABLE));
check("seccomp", sys.confineDoorman());
say({ report: "ready" });

function say(report: Report): void {
  const bytes = encodeReport(report);
  for (let tried = 0; tried < TRIES; tried++) {
    const sent = sys.sendmsg(CHANNEL, bytes, 0, NO_FDS, 0);
    if (sent >= 0) return;
    if (sent !== -EAGAIN) break;
    sys.pollFor(CHANNEL, POLLOUT, TRY_MS);
  }
  sys.exitNow(0);
}

function read(): void {
  for (;;) {
    const length = sys.recvmsg(CHANNEL, buffer, 0, received);
    if (length === -EAGAIN) return;
    if (length <= 0) return sys.exitNow(0);
    const [count = 0] = received;
    const fds = Array.from(received.subarray(2, 2 + count), (fd) => FdHandle.adopt(fd, sys));
    const order = decodeOrder(buffer.subarray(0, length));
    if ("drop" in order) {
      for (const watch of order.drop) doors.drop(watch);
      say({ report: "dropped", number: order.number });
      continue;
    }
    if ("ask" in order) inquire(order, fds);
    else doors.open(order, fds);
  }
}

/** Nobody knows the secret of the challenges, so nobody can guess a nonce. */
function inquire(order: AskOrder, fds: readonly FdHandle[]): void {
  const { ask } = order;
  const nonce = challenges.for(`inquiry ${ask}`, performance.now()).value;
  const onAnswer = (players: number | undefined): void => say({ report: "players", ask, players });
  startInquiry(order, fds, { sys, codecs, nonce, onAnswer });
}
