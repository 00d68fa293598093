/**
 * Bind delivery to one server. Each bind(2) that the kernel reports is answered with the held socket for that address,
 * or as `server.other-binds` says. The broker copies the arguments once, so later changes by the server do not count.
 * An internet bind that is not the berth's is never handed back to the kernel, unless all binds are allowed. This is no
 * sandbox (docs/security.md).
 */
import { fstatSync, readFileSync, readlinkSync } from "node:fs";
import { constants } from "node:os";
import type { ServerSpec } from "../../config/keys/spec.ts";
import type { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { BindReport } from "../../native-interceptor.ts";
import {
  type Address,
  AF_INET,
  AF_INET6,
  AF_UNIX,
  decodeSockaddr,
  formatAddress,
  formatListenAddress,
} from "../../net/address.ts";
import * as so from "../../net/socket-constants.ts";
import { boundAddressIfKnown, socketOption } from "../../net/socket-queries.ts";
import { isKnownProtocol, kindOfType, type SocketKind } from "../../net/transport.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import { type Candidate, isLoopback, matchBind } from "./bind-match.ts";
import { BindReports } from "./bind-reports.ts";

const { EACCES, EAFNOSUPPORT, EINVAL, EMFILE, EPERM } = constants.errno;

/** The verdict that lets the kernel carry out the call. */
const CONTINUE = -1;
const NO_SOCKET = -1;

/** Binds per second that are answered at once. More have to wait, so a flood only costs the server that floods. */
const BINDS_PER_SECOND = 200;
const DELAY_MS = 20;
/** Different refusals that are logged for one server. */
const MAX_LOGGED = 32;

/** What the server may get: the sockets of a berth, or none if the berth is no longer configured. */
export interface BindSource {
  readonly name: string;
  readonly sockets: readonly NamedSocket[];
  readonly spec: { readonly server: Pick<ServerSpec, "otherBinds"> };
}

export interface InterceptionOptions {
  readonly berth: BindSource;
  readonly lease: { readonly ended: boolean };
  readonly sys: Native;
  readonly log: Log;
  /** No process has the filter any more. */
  readonly onEnded: () => void;
}

/** A socket a server may get, in the form {@link matchBind} decides on. */
interface Offer extends Candidate, NamedSocket {}

/** What to tell who sends another descriptor than a seccomp listener. */
export const NO_LISTENER: string = "the descriptor is not a seccomp listener";

/** Whether a descriptor is a seccomp listener. A read from anything else could wait for ever. */
export function isNotifyDescriptor(fd: number): boolean {
  return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:seccomp notify";
}

export class Interception {
  readonly #options: InterceptionOptions;
  readonly #sys: Native;
  readonly #reports: BindReports;
  /** The path in /proc of each socket's last place. Among equal sockets, the server gets one that it no longer has. */
  readonly #given = new Map<HeldSocket, string>();
  readonly #logged = new Set<string>();
  #second = 0;
  #binds = 0;
  #delay: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * Takes ownership of the notify descriptor, and of the memfd that records what is being answered, if there is one.
   * Throws SYSTEM_ERROR when there is no thread or descriptor for it.
   */
  constructor(notify: FdHandle, record: FdHandle | undefined, options: InterceptionOptions) {
    this.#options = options;
    this.#sys = options.sys;
    const report = (call: BindReport | null): void => {
      if (call === null) options.onEnded();
      else if (!this.#closed) this.#throttle(call);
    };
    this.#reports = new BindReports(notify, record, report, options.sys);
  }

  /** Answers nothing until {@link resume}. If that fails, it goes on and throws SYSTEM_ERROR. */
  pause(): void {
    this.#reports.pause();
    clearTimeout(this.#delay);
  }

  /** Answers binds again. If it throws SYSTEM_ERROR, it answers no more binds of this server. */
  resume(): void {
    this.#reports.resume();
  }

  /** Whether it is paused, and every call that it received is recorded. */
  get resting(): boolean {
    return this.#reports.resting;
  }

  /** What a successor needs, borrowed: the notify descriptor, and the record if there is one. */
  get descriptors(): readonly number[] {
    return this.#reports.descriptors;
  }

  /** Answers no more binds. For processes that still have the filter, the bind fallback answers. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#delay);
    this.#reports.close();
  }

  #throttle(report: BindReport): void {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#binds = 0;
    }
    if (++this.#binds <= BINDS_PER_SECOND) return this.#answer(report);
    if (this.#binds === BINDS_PER_SECOND + 1)
      this.#say("warning", "flood", `its server makes more than ${BINDS_PER_SECOND} binds a second; the rest wait`);
    this.#delay = setTimeout(() => this.#answer(report), DELAY_MS).unref();
  }

  #answer(report: BindReport): void {
    if (report.error !== 0) {
      if (report.error === EPERM) this.#say("error", "ptrace", blind);
      return this.#reports.answer(report.error, NO_SOCKET);
    }
    const domain = this.#option(report.socket, so.SO_DOMAIN);
    const kind = kindOfType(this.#option(report.socket, so.SO_TYPE));
    const isInet = domain === AF_INET || domain === AF_INET6;
    // Netlink, packet and other families never belong to a berth.
    if (kind === undefined || (!isInet && domain !== AF_UNIX)) return this.#reports.answer(CONTINUE, NO_SOCKET);
    const address = addressOf(report.sockaddr, domain);
    if (report.recalled && this.#isDone(report.socket, address)) return this.#reports.answer(0, NO_SOCKET);
    if (isInet) this.#answerInet(report, kind, address);
    else this.#answerUnix(report, kind, address);
  }

  #answerInet(report: BindReport, kind: SocketKind, address: Address | number): void {
    if (typeof address === "number") return this.#reports.answer(address, NO_SOCKET);
    if (address.family === "unix") return this.#reports.answer(EAFNOSUPPORT, NO_SOCKET);
    if (this.#options.lease.ended) return this.#refuse(kind, address, "its lease has ended");
    if (this.#isBound(report.socket)) return this.#reports.answer(EINVAL, NO_SOCKET);
    const v6only = this.#option(report.socket, so.IPV6_V6ONLY, so.IPPROTO_IPV6) === 1;
    const found = this.#find({ kind, address, v6only }, address.port === 0);
    if (found !== undefined && this.#isTcpOrUdp(report.socket, kind)) return this.#deliver(report, found, address);
    // Port 0 takes no address from anyone. The broker binds the server's own socket itself, so that the server cannot
    // change the address in between.
    if (address.port === 0) return this.#bindHere(report);
    const { otherBinds } = this.#options.berth.spec.server;
    if (otherBinds === "allow") return this.#reports.answer(CONTINUE, NO_SOCKET);
    if (otherBinds === "loopback" && isLoopback(address) && address.port >= firstFreePort())
      return this.#bindHere(report);
    this.#refuse(kind, address, `the berth has ${this.#describe()}`);
  }

  /** A UNIX address that the berth does not have is bound by the server itself; the file system decides. */
  #answerUnix(report: BindReport, kind: SocketKind, address: Address | number): void {
    if (typeof address === "number" || this.#options.lease.ended || this.#isBound(report.socket))
      return this.#reports.answer(CONTINUE, NO_SOCKET);
    const found = this.#find({ kind, address, v6only: false }, false);
    if (found === undefined) this.#reports.answer(CONTINUE, NO_SOCKET);
    else this.#deliver(report, found, address);
  }

  #find(request: { kind: SocketKind; address: Address; v6only: boolean }, ephemeral: boolean): Offer | undefined {
    const offers = this.#options.berth.sockets.flatMap(({ name, socket }): Offer[] => {
      const { listen } = socket;
      const chosenByKernel = listen.address.family !== "unix" && listen.address.port === 0;
      if (ephemeral && !chosenByKernel) return [];
      const address = ephemeral ? listen.address : socket.address;
      return [{ name, socket, kind: listen.kind, address, dualStack: socket.dualStack }];
    });
    const fitting = matchBind(request, offers);
    return fitting.find(({ socket }) => !this.#has(socket)) ?? fitting[0];
  }

  /** Whether the server still has the socket where it was put. */
  #has(socket: HeldSocket): boolean {
    try {
      return readlinkSync(this.#given.get(socket) ?? "") === `socket:[${fstatSync(socket.fd).ino}]`;
    } catch {
      return false; // it was not handed over, or it was closed
    }
  }

  #deliver(report: BindReport, { name, socket }: Offer, asked: Address): void {
    const duplicate = this.#sys.dup(socket.fd);
    if (duplicate < 0) return this.#reports.answer(EMFILE, NO_SOCKET);
    socket.carryOver(report.socket);
    this.#given.set(socket, `/proc/${report.pid}/fd/${report.fd}`);
    const { berth } = this.#options;
    this.#options.log(
      "info",
      `berth ${berth.name}: pid ${report.pid} bound ${formatAddress(asked)} and got socket ${name}`,
      {
        event: "bound",
        berth: berth.name,
        socket: name,
        pid: report.pid,
        address: formatListenAddress(socket.listen),
      },
    );
    this.#reports.answer(0, duplicate);
  }

  #bindHere(report: BindReport): void {
    this.#reports.answer(Math.max(0, -this.#sys.bind(report.socket, report.sockaddr)), NO_SOCKET);
  }

  #refuse(kind: SocketKind, address: Address, why: string): void {
    const asked = formatListenAddress({ kind, address, dualStack: false });
    this.#say("warning", asked, `its server may not bind ${asked}: ${why}`);
    this.#reports.answer(EACCES, NO_SOCKET);
  }

  #describe(): string {
    const addresses = this.#options.berth.sockets.map(({ socket }) =>
      formatListenAddress({ ...socket.listen, address: socket.address }),
    );
    return `${addresses.join(", ") || "no sockets"} and other-binds = "${this.#options.berth.spec.server.otherBinds}"`;
  }

  /** Whether a broker that was killed during this call had already handed over the socket. */
  #isDone(socket: number, asked: Address | number): boolean {
    const { ino } = fstatSync(socket);
    if (this.#options.berth.sockets.some((held) => fstatSync(held.socket.fd).ino === ino)) return true;
    const bound = boundAddressIfKnown(socket, this.#sys);
    if (typeof asked === "number" || asked.family === "unix") return false;
    if (bound === undefined || bound.family === "unix" || bound.port === 0) return false;
    return bound.host === asked.host && [0, bound.port].includes(asked.port);
  }

  #isBound(socket: number): boolean {
    const address = boundAddressIfKnown(socket, this.#sys);
    return address !== undefined && (address.family === "unix" || address.port !== 0);
  }

  /** TCP, MPTCP or UDP; not SCTP, UDP-Lite or another protocol. */
  #isTcpOrUdp(socket: number, kind: SocketKind): boolean {
    return isKnownProtocol(kind, "inet", this.#option(socket, so.SO_PROTOCOL));
  }

  #option(fd: number, option: number, level: number = so.SOL_SOCKET): number {
    return socketOption(fd, level, option, this.#sys);
  }

  /** Logs each message once per server, up to a limit. */
  #say(level: "error" | "warning", key: string, message: string): void {
    if (this.#logged.has(key) || this.#logged.size >= MAX_LOGGED) return;
    this.#logged.add(key);
    const { berth } = this.#options;
    this.#options.log(level, `berth ${berth.name}: ${message}`, { event: "bind-refused", berth: berth.name });
  }
}

const blind =
  "the broker may not inspect its server (ptrace is restricted), so the server's binds fail with EPERM; " +
  "run the broker as root, or set kernel.yama.ptrace_scope=1 or 0";

/** The address, or the errno that the kernel would return. */
function addressOf(sockaddr: Uint8Array, domain: number): Address | number {
  if (sockaddr.length < (domain === AF_UNIX ? 2 : domain === AF_INET ? 16 : 24)) return EINVAL;
  // Old programs write AF_UNSPEC for the any address of AF_INET (ip(7)).
  const bytes = Buffer.from(sockaddr);
  const family = bytes.readUInt16LE(0);
  if (domain === AF_INET && family === 0 && bytes.readUInt32BE(4) === 0) bytes.writeUInt16LE(AF_INET, 0);
  else if (family !== domain) return domain === AF_UNIX ? EINVAL : EAFNOSUPPORT;
  return decodeSockaddr(bytes) ?? EINVAL;
}

/** The lowest port that needs no privilege (ip(7)). The broker must not bind a lower one for the server. */
function firstFreePort(): number {
  const text = readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8");
  return Number(text);
}
