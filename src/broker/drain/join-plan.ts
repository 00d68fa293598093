/** Plans that put the filter of joins on a socket, and take it off again. The server's own filter stays. */
import { constants } from "node:os";
import { SysError } from "../../errors.ts";
import { SO_DETACH_FILTER, SOL_SOCKET } from "../../net/socket-constants.ts";
import type { SocketPlan, SocketResult } from "../plans/socket-call.ts";
import { type Joins, joinFilter, ownFilter } from "./join-filter.ts";

const { EACCES, EPERM } = constants.errno;
const SO_LOCK_FILTER = 44;
const LOCKED = "its server has locked the socket's filter";
const PRIVILEGED = "the kernel lets only those with CAP_NET_ADMIN filter TCP (EPERM)";
const NOTHING = new Uint8Array(0);

/** Holds joins back. A sentence's end, if it cannot: why. */
export function* holdJoins(joins: Joins): SocketPlan<string | undefined> {
  const [found, lock] = yield [
    { call: "getfilter" },
    { call: "getsockopt", level: SOL_SOCKET, option: SO_LOCK_FILTER, words: 1 },
  ];
  const present = filterOf(found);
  if (typeof present === "string") return present;
  if (lock?.value[0] === 1) return LOCKED;
  const program = joinFilter(joins, ownFilter(present) ?? present);
  if (program === undefined) return "its server has a filter that leaves no room for more";
  const [set] = yield [{ call: "setfilter", program }];
  // EPERM also where the server has locked the filter meanwhile.
  if (set?.result === -EPERM && joins === "connections") return PRIVILEGED;
  return problemOf("SO_ATTACH_FILTER", set);
}

/** Lets joins in again, where they are held back. A sentence's end, if it cannot: why. */
export function* letJoinsIn(): SocketPlan<string | undefined> {
  const [found] = yield [{ call: "getfilter" }];
  const present = filterOf(found);
  // With a filter of eBPF the server has removed the broker's.
  const own = typeof present === "string" ? undefined : ownFilter(present);
  if (own === undefined) return undefined;
  const [set] = yield [
    own.length > 0
      ? { call: "setfilter", program: own }
      : { call: "setsockopt", level: SOL_SOCKET, option: SO_DETACH_FILTER, value: 0 },
  ];
  return (set?.result ?? 0) === -EPERM ? LOCKED : problemOf("SO_DETACH_FILTER", set);
}

function filterOf(found: SocketResult | undefined): Uint8Array | string {
  if (found === undefined) return NOTHING;
  if (found.result === -EACCES) return "its server has a filter of eBPF, which cannot be put back";
  if (found.result < 0) return problemOf("SO_GET_FILTER", found) ?? "";
  const { buffer, byteOffset, byteLength } = found.value;
  return found.result === 0 ? NOTHING : new Uint8Array(buffer, byteOffset, byteLength);
}

function problemOf(call: string, done: SocketResult | undefined): string | undefined {
  const result = done?.result ?? 0;
  return result < 0 ? new SysError(call, -result).message : undefined;
}
