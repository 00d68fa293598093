/**
 * The plan that sets right what a tenant changed on a shared open file description, as far as system calls can (hazard
 * 16; test/broker/sockets/held-socket.test.ts). It never opens or closes a socket: that is held-socket.ts.
 */
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import { type Address, decodeSockaddr, type ListenAddress } from "../../net/address.ts";
import {
  IPPROTO_IP,
  IPPROTO_IPV6,
  POLLERR,
  POLLHUP,
  POLLRDHUP,
  SO_ACCEPTCONN,
  SO_ERROR,
  SOL_SOCKET,
} from "../../net/socket-constants.ts";
import { Batch } from "./batch.ts";
import { differences, namesOf, type OptionState, readState, setBackCalls, stateCalls } from "./option-state.ts";
import type { SocketCall, SocketPlan, SocketResult } from "./socket-call.ts";
import { type TenantOption, unreadableReset } from "./tenant-options.ts";

const SO_MEMINFO = 55;
/** SK_MEMINFO_OPTMEM: the memory of filters, MD5 keys, group memberships and IPv6 headers (linux/sock_diag.h). */
const MEMINFO_OPTMEM = 6;
const IP_RECVERR = 11;
const IPV6_RECVERR = 25;
/** More names than this make no sentence. */
const MAX_NAMES = 8;

/** A socket to repair: what it is and where it was bound. */
export interface Repaired {
  readonly listen: ListenAddress;
  readonly options: SocketOptions;
  readonly bound: Address;
  /** What its options should be. `mustBeNew`: not as remembered, but as a new socket has them at this moment. */
  configured(mustBeNew: boolean): OptionState;
  /** Names of options that the broker itself changed for the tenant. */
  readonly carried: ReadonlySet<string>;
  /** Another process has the socket: its O_NONBLOCK stays, for a thread of that process would wait for ever without. */
  readonly keepsFlags: boolean;
}

/** One sentence for each repair, and why only a new socket helps, if so. */
export interface Repair {
  readonly sentences: string[];
  readonly beyondRepair?: string;
}

/** What one look at the socket found. */
interface Findings {
  /** Before it was asked to listen again. */
  readonly hasStopped: boolean;
  readonly isConnected: boolean;
  readonly hasErrors: boolean;
  /** No call can repair it: shut down, bound elsewhere, or it does not listen. */
  readonly isSpoilt: boolean;
  readonly changed: readonly TenantOption[];
  readonly keepsMemory: boolean;
}

/** Makes it accept or receive again, with the options it was configured with. */
export function* repairPlan(socket: Repaired): SocketPlan<Repair> {
  const { listen, carried, configured } = socket;
  const look = lookAt(socket, configured(false));
  const [seen, name] = yield [{ call: "batch", batch: look }, askName];
  if (look.isExpected(seen) && isBoundTo(socket.bound, name)) return { sentences: [] };
  const results = look.read(seen);
  let found = examine(socket, results, name, configured(false));
  // A sysctl may have changed since that was remembered.
  if (found.changed.length > 0) found = examine(socket, results, name, configured(true));
  if (isFine(found)) {
    if (!found.hasStopped) lookAt(socket, configured(false)).expect(seen);
    return { sentences: listenSentence(found) };
  }
  const remedies = [
    ...(found.isConnected ? [dissolve] : []),
    ...(found.hasErrors ? errorCalls(listen) : []),
    ...setBackCalls(listen, found.changed, configured(false)),
  ];
  const after = (yield [...remedies, ...look.calls, askName]).slice(remedies.length);
  const left = examine(socket, after.slice(0, -1), after.at(-1), configured(false));
  const sentences =
    found.isConnected && !left.isConnected ? ["was connected to one peer by the server; it is disconnected again"] : [];
  if (!left.isSpoilt) sentences.push(...listenSentence(found));
  const names = namesOf(
    found.changed.filter((option) => !left.changed.includes(option)),
    carried,
  );
  if (names.length > 0 && !left.isSpoilt)
    sentences.push(`had ${list(names)} changed by the server; set back as configured`);
  const why = reasonFor(left);
  return { sentences, ...(why !== undefined && { beyondRepair: why }) };
}

/** What a look finds where all is well: the same for all sockets of one state. */
const looks = new WeakMap<OptionState, Batch>();

/** One look at a socket that should have this state; what belongs to the one socket alone is asked beside it. */
function lookAt(socket: Repaired, wanted: OptionState): Batch {
  if (socket.keepsFlags) return new Batch(lookCalls(socket));
  const known = looks.get(wanted) ?? new Batch(lookCalls(socket));
  looks.set(wanted, known);
  return known;
}

/** First what is set in any case, then all that can be asked. */
function lookCalls({ listen, options, keepsFlags }: Repaired): readonly SocketCall[] {
  return [
    // Nearly every server changes O_NONBLOCK. One that calls accept or recv right away expects to wait there
    // (systemd.service(5)). No other flag that fcntl(2) F_SETFL changes is set either.
    keepsFlags ? { call: "getfl" } : { call: "setfl", flags: 0 },
    ask(SO_ACCEPTCONN),
    // In any case: a tenant's listen(fd, 0) leaves no other trace than a backlog of nothing. A TCP listener that was
    // shut down keeps its address, and listens again when asked to.
    listen.kind === "datagram" ? { call: "getpeername" } : { call: "listen", backlog: options.backlog },
    ask(SO_ERROR), // to read it clears it
    { call: "poll", events: POLLRDHUP },
    ...stateCalls(listen),
    ...unreadableReset(listen),
    // After the filter was detached.
    { call: "getword", level: SOL_SOCKET, option: SO_MEMINFO, word: MEMINFO_OPTMEM },
  ];
}

const askName: SocketCall = { call: "getsockname" };

function examine(
  { listen, bound }: Repaired,
  results: readonly SocketResult[],
  name: SocketResult | undefined,
  configured: OptionState,
): Findings {
  const [, accepts, peerOrListen, , poll, ...rest] = results;
  const isDatagram = listen.kind === "datagram";
  const events = poll?.result ?? -1;
  const hasFailed = !isDatagram && (peerOrListen?.result ?? -1) < 0;
  return {
    hasStopped: !isDatagram && accepts?.value[0] !== 1,
    isConnected: isDatagram && (peerOrListen?.result ?? -1) >= 0,
    hasErrors: events > 0 && (events & POLLERR) !== 0,
    isSpoilt: hasFailed || events < 0 || (events & (POLLRDHUP | POLLHUP)) !== 0 || !isBoundTo(bound, name),
    changed: differences(listen, readState(rest.slice(0, configured.length)), configured),
    keepsMemory: (rest.at(-1)?.result ?? 0) > 0,
  };
}

/** What getsockname gave of a socket that was bound there. The same bytes are the same address. */
const namesSeen = new WeakMap<Address, Int32Array>();

/** A UNIX socket cannot be bound a second time. */
function isBoundTo(bound: Address, name: SocketResult | undefined): boolean {
  if (bound.family === "unix") return true;
  if (name === undefined || name.result < 0) return false;
  const { value } = name;
  const seen = namesSeen.get(bound);
  if (seen?.length === value.length && seen.every((word, at) => word === value[at])) return true;
  const now = decodeSockaddr(new Uint8Array(value.buffer, value.byteOffset, name.result));
  // Of its scope only the name stays the same: that is SO_BINDTODEVICE.
  const isThere =
    now !== undefined && now.family === bound.family && now.host === bound.host && now.port === bound.port;
  if (isThere) namesSeen.set(bound, value.slice());
  return isThere;
}

function isFine({ isConnected, hasErrors, isSpoilt, changed, keepsMemory }: Findings): boolean {
  return !isConnected && !hasErrors && !isSpoilt && changed.length === 0 && !keepsMemory;
}

function reasonFor({ isSpoilt, isConnected, changed, keepsMemory }: Findings): string | undefined {
  if (isSpoilt || isConnected) return "was left unusable by the server";
  if (changed.length > 0)
    return `had ${list(changed.map(({ name }) => name))} changed by the server, which cannot be set back`;
  return keepsMemory ? "has a filter, an MD5 key or a multicast group of the server's" : undefined;
}

function listenSentence({ hasStopped }: Findings): string[] {
  return hasStopped ? ["was shut down by the server; it listens again"] : [];
}

/** AF_UNSPEC dissolves the association with one peer (connect(2)). */
const dissolve: SocketCall = { call: "connect", sockaddr: new Uint8Array(16) };

/** To switch these off empties the queue of errors (ip(7)). */
function errorCalls({ address }: ListenAddress): readonly SocketCall[] {
  if (address.family === "unix") return [];
  const ipv4: SocketCall = { call: "setsockopt", level: IPPROTO_IP, option: IP_RECVERR, value: 0 };
  const ipv6: SocketCall = { call: "setsockopt", level: IPPROTO_IPV6, option: IPV6_RECVERR, value: 0 };
  return address.family === "ipv6" ? [ipv4, ipv6] : [ipv4];
}

function ask(option: number): SocketCall {
  return { call: "getsockopt", level: SOL_SOCKET, option, words: 1 };
}

function list(names: readonly string[]): string {
  const more = names.length - MAX_NAMES;
  return more > 0 ? `${names.slice(0, MAX_NAMES).join(", ")} and ${more} more` : names.join(", ");
}
