/**
 * What a further bind of a held socket comes to, as on plain Linux. If the server has no copy of it left, the socket is
 * made as new before the server gets it. If it has one, the address is in use, unless both may share it (SO_REUSEPORT,
 * for UDP also SO_REUSEADDR). Then a TCP server gets the same socket again, and one of UDP has its own socket bound
 * beside the held one. So a socket that it connects to a single player, as servers of DTLS do, takes nothing from the
 * others (hazard 53; test/bind/further-binds.test.ts).
 */
import { constants } from "node:os";
import type { KernelOption } from "../../config/keys/socket-options.ts";
import { SysError } from "../../errors.ts";
import type { BindReport } from "../../native-interceptor.ts";
import { type Address, encodeSockaddr, formatAddress } from "../../net/address.ts";
import { SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketOption } from "../../net/socket-queries.ts";
import type { SocketKind } from "../../net/transport.ts";
import type { ForeignCalls } from "../access/foreign-calls.ts";
import type { OwnSettings } from "../plans/carry-over.ts";
import { type Borrowed, lend } from "../plans/guarded-plan.ts";
import type { SocketPlan } from "../plans/socket-call.ts";
import { NOT_REOPENED } from "../plans/socket-care.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import { type Copies, copiesOf, hasCopy } from "../sockets/holders/copies.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import { socketInode } from "../sockets/passed-socket.ts";
import { type Bound, conflict, mayShare, overlap } from "./bind-conflict.ts";
import { isWildcard } from "./bind-match.ts";

const { EADDRINUSE } = constants.errno;

/**
 * Searches for copies and lost paths in a second. A server that binds more often gets its socket as it is, unless the
 * process that binds has it; or none if its path is lost.
 */
const SEARCHES_PER_SECOND = 20;
/** Binds of one socket that are remembered. */
const MOST_REMEMBERED = 64;

/** What the server asked for of which socket. */
export interface FurtherBind extends NamedSocket {
  readonly report: BindReport;
  readonly asked: Address;
  /** Undefined for a UNIX socket. */
  readonly now: Bound | undefined;
}

/** An errno or 0 for the server; or why nobody knows. */
type Outcome = number | "stuck" | "unavailable" | "gone";

export interface FurtherBindsOptions {
  readonly sys: ForeignCalls;
  /** An earlier broker has answered binds of this server: it may have got any socket. */
  readonly isRestored: boolean;
  /** Carries out a plan on the held socket, or with a number on that descriptor. */
  readonly run: <T>(
    report: BindReport,
    make: () => { readonly plan: SocketPlan<T>; readonly fd: Borrowed },
  ) => Promise<{ readonly value: T } | Exclude<Outcome, number>>;
  readonly bind: (report: BindReport, sockaddr: Uint8Array) => Promise<Outcome>;
  readonly note: (key: string, message: string) => void;
  /** A socket was opened again, and what is to be said of it. */
  readonly onReopened: (socket: string, sentences: readonly string[]) => void;
  /** A socket is as new, and has no filter, not even one that holds joins back. */
  readonly onCleaned: () => void;
}

export class FurtherBinds {
  readonly #options: FurtherBindsOptions;
  /** What the server has asked for and got a socket for, since that socket was as new. */
  readonly #before = new Map<HeldSocket, Bound[]>();
  #second = 0;
  #searches = 0;

  constructor(options: FurtherBindsOptions) {
    this.#options = options;
  }

  /** For so many milliseconds nothing is searched, and a further bind gets the socket as it is. */
  get unsearchedMs(): number {
    const now = performance.now();
    const isOver = this.#second !== Math.floor(now / 1000) || this.#searches < SEARCHES_PER_SECOND;
    return isOver ? 0 : Math.floor(1000 - (now % 1000));
  }

  /** Whether the server has not had the socket since it was as new. */
  isFirst(socket: HeldSocket): boolean {
    return !this.#before.has(socket);
  }

  /** The server has got the socket. */
  given(socket: HeldSocket, now: Bound | undefined): void {
    const before = this.#before.get(socket) ?? [];
    this.#before.set(socket, now === undefined ? before : [...before, now].slice(-MOST_REMEMBERED));
  }

  /**
   * Undefined: it gets the held socket; "again": that, and it has the same one already. Else the answer to its bind.
   */
  async prepare(bind: FurtherBind): Promise<Outcome | "again" | undefined> {
    const { socket, report, asked, now } = bind;
    const before = this.#before.get(socket);
    if (before === undefined && !this.#options.isRestored) return undefined;
    const inode = socketInode(socket.fd);
    const isThere = (): Copies => (hasCopy(report.thread, inode) ? "some" : "unknown");
    const copies = this.#maySearch() ? await copiesOf(inode, report.thread) : isThere();
    if (copies === "none") {
      const failed = await this.#clean(bind);
      if (failed === undefined) this.#before.delete(socket);
      return failed;
    }
    if (copies !== "some" || now === undefined) return undefined;
    const inTheWay = before?.filter((one) => overlap(one, now));
    if (inTheWay?.length === 0) return "again";
    const isShared = inTheWay === undefined || inTheWay.every((one) => mayShare(one, now));
    const isUdp = socket.listen.kind === "datagram";
    if (isUdp && (now.reusesPort || now.reusesAddress) && isShared) return this.#beside(bind);
    if (!isUdp && isShared) return "again";
    const text = formatAddress(asked);
    this.#options.note(`twice ${text}`, `its server bound ${text} while it still has the socket there: EADDRINUSE`);
    return EADDRINUSE;
  }

  /**
   * Many servers remove the path of their UNIX socket and bind it anew. What they get must be at that path (hazard 74;
   * test/bind/unix-path.test.ts). An errno if it cannot be.
   */
  renewPath({ name, socket }: NamedSocket): number | undefined {
    if (socket.reachable) return undefined;
    if (!this.#maySearch()) {
      const text = formatAddress(socket.address);
      const often = `its server removed ${text} and bound it again too often: EADDRINUSE for the rest of the second`;
      this.#options.note(`path ${text}`, often);
      return EADDRINUSE;
    }
    const said = socket.renewPath();
    if (said === undefined) return undefined;
    this.#before.delete(socket);
    return this.#reopened(name, socket, [said]);
  }

  /** Whether the server still has a socket that is in the way of this bind, of an address that the berth has not. */
  async isTaken(now: Bound, thread: number): Promise<boolean> {
    for (const [socket, before] of this.#before) {
      if (!before.some((one) => conflict(one, now))) continue;
      if (this.#maySearch() && (await copiesOf(socketInode(socket.fd), thread)) === "some") return true;
    }
    return false;
  }

  #maySearch(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) this.#searches = 0;
    this.#second = second;
    return ++this.#searches <= SEARCHES_PER_SECOND;
  }

  async #clean({ name, socket, report }: FurtherBind): Promise<Outcome | undefined> {
    const inode = socketInode(socket.fd);
    const said: string[] = [];
    const plan = (): SocketPlan<void> => socket.tend((sentences) => said.push(...sentences), "repair");
    // Its server may shut a listener down meanwhile: then there is a new one.
    const done = await this.#options.run(report, () => ({ plan: plan(), fd: lend(socket) }));
    const isSame = socketInode(socket.fd) === inode;
    if (isSame && typeof done !== "string") this.#options.onCleaned();
    const failed = isSame ? undefined : this.#reopened(name, socket, said);
    return failed ?? (typeof done === "string" ? done : undefined);
  }

  #reopened(name: string, socket: HeldSocket, said: readonly string[]): number | undefined {
    socket.share();
    this.#options.onReopened(name, said);
    return said.some((sentence) => sentence.includes(NOT_REOPENED)) ? EADDRINUSE : undefined;
  }

  async #beside({ socket, report, asked }: FurtherBind): Promise<Outcome> {
    const { sys, run, bind, note } = this.#options;
    const shared = sharing(report.socket, sys);
    const text = formatAddress(asked);
    const setting = run(report, () => ({ plan: socket.carryOver(shared), fd: socket.fd }));
    socket.carrying.add(setting);
    const set = await setting.finally(() => socket.carrying.delete(setting));
    if (typeof set === "string") return set;
    const isWhole = asked.family !== "unix" && isWildcard(asked);
    const result = await bind(report, isWhole ? encodeSockaddr(socket.address) : report.sockaddr);
    if (typeof result === "number" && result > 0) {
      const why = new SysError("bind", result).message;
      note(`beside ${text}`, `its server may have no second socket at ${text}: ${why}`);
    }
    return result;
  }
}

const ways: readonly KernelOption[] = [
  { name: "SO_REUSEPORT", level: SOL_SOCKET, option: SO_REUSEPORT, words: 1 },
  { name: "SO_REUSEADDR", level: SOL_SOCKET, option: SO_REUSEADDR, words: 1 },
];

/** What must be set on the held socket, so that this one may share its address. */
function sharing(socket: number, sys: ForeignCalls): OwnSettings {
  const set = ways.filter(({ option }) => socketOption(socket, SOL_SOCKET, option, sys) === 1);
  return { settings: set.map((option) => ({ option, value: Int32Array.of(1) })), flags: -1 };
}

/** What a server asks for by this socket; undefined if that is no internet address. */
export function boundBy(
  socket: number,
  { kind, v6only }: { readonly kind: SocketKind; readonly v6only: boolean },
  address: Address,
  sys: ForeignCalls,
): Bound | undefined {
  if (address.family === "unix") return undefined;
  const has = (option: number): boolean => socketOption(socket, SOL_SOCKET, option, sys) === 1;
  return { kind, v6only, address, reusesPort: has(SO_REUSEPORT), reusesAddress: has(SO_REUSEADDR) };
}
