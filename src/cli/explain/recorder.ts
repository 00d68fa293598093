/** Records what a server binds. It lets every bind(2) happen and judges none. */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { basename } from "node:path";
import { lostOptions, settingsOf } from "../../broker/plans/carry-over.ts";
import { type KernelOption, type SocketOption, socketOptions } from "../../config/keys/socket-options.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { BindReport } from "../../native-interceptor.ts";
import {
  type Address,
  AF_INET,
  AF_INET6,
  AF_UNIX,
  decodeSockaddr,
  encodeSockaddr,
  familyNumber,
  formatListenAddress,
  formOf,
  type ListenAddress,
} from "../../net/address.ts";
import * as so from "../../net/socket-constants.ts";
import { boundAddressIfKnown, socketOption } from "../../net/socket-queries.ts";
import { isKnownProtocol, kindOfType } from "../../net/transport.ts";
import { socketsAt } from "./sockets-at.ts";

/** The answer that lets the kernel carry out the call. */
const CONTINUE = -1;
/** The most different addresses to record. Nobody writes a berth with more by hand. */
const MAX_BINDS = 1000;

/** One address that was bound, or that a process tried to bind. */
export interface SeenBind {
  readonly listen: ListenAddress;
  /** SO_PROTOCOL of a socket that no berth can have, as UDP-Lite; absent for TCP, UDP and UNIX sockets. */
  readonly protocol?: number;
  /** The kernel's result: 0 or an errno. Unknown for a UNIX socket. */
  readonly error: number;
  /** Options that were set before bind(2) and that bind delivery carries over, by name; all words of an option. */
  readonly options: Readonly<Record<string, readonly number[]>>;
  /** The options it had set that are fixed at bind(2), by their keys of the configuration. */
  readonly fixedAtBind: Readonly<Record<string, boolean | string>>;
  /** Names of the options it had set that bind delivery does not carry over. */
  readonly lost: readonly string[];
  /** How many sockets had the address at once, at the end: those of a server that sets SO_REUSEPORT. */
  readonly together?: number;
  /** Whether it was closed again while the server ran. Known of UDP ports only. */
  readonly isClosed?: true;
  /** The first process that bound it, its program (proc(5), cmdline), and the number of calls. */
  readonly pid: number;
  readonly program: string;
  readonly count: number;
}

export class Recorder {
  readonly #binds = new Map<string, SeenBind>();
  readonly #processes = new Map<number, FdHandle>();
  readonly #reported = new Set<string>();
  /** The ports that the server asked for, by those that it got in their place. */
  readonly #askedFor = new Map<number, number>();
  readonly #sys: Native;
  readonly #report: (sentence: string) => void;

  constructor(sys: Native, report: (sentence: string) => void) {
    this.#sys = sys;
    this.#report = report;
  }

  get binds(): SeenBind[] {
    return [...this.#binds.values()];
  }

  /**
   * Looks what is bound, while the server runs: a resolver closes the UDP ports that it only sends from, and workers of
   * a server may each have a socket of one address.
   */
  noteOpen(): void {
    for (const [key, bind] of this.#binds) {
      if (bind.fixedAtBind["reuse-port"] === true) this.#binds.set(key, { ...bind, together: this.#together(bind) });
    }
    for (const [key, bind] of this.#binds) {
      const { kind, address } = bind.listen;
      if (kind !== "datagram" || address.family === "unix" || address.port === 0 || bind.error !== 0) continue;
      if (isBound(bind.pid, address.port) === false) this.#binds.set(key, { ...bind, isClosed: true });
    }
  }

  /** Pidfds of the processes that have bound something; the caller closes them. */
  get processes(): Iterable<FdHandle> {
    return this.#processes.values();
  }

  /** Sends a signal to every process that has bound something. */
  signal(number: number): void {
    for (const pidfd of this.#processes.values()) this.#sys.pidfdSignal(pidfd.fd, number);
  }

  /** Records a bind and returns the answer. The server waits meanwhile, so no other process can get its pid. */
  see(report: BindReport): number {
    if (report.error !== 0) {
      if (report.error === constants.errno.EPERM) this.#once(blind);
      return CONTINUE;
    }
    const { socket } = report;
    const domain = this.#option(socket, so.SO_DOMAIN);
    const type = this.#option(socket, so.SO_TYPE);
    const protocol = this.#option(socket, so.SO_PROTOCOL);
    const kind = kindOfType(type);
    const written = [AF_INET, AF_INET6, AF_UNIX].includes(domain) ? decodeSockaddr(report.sockaddr) : undefined;
    if (kind === undefined || written === undefined || familyNumber(written) !== domain) return CONTINUE;
    const address = this.#askedAddress(written);
    const v6only = this.#option(socket, so.IPV6_V6ONLY, so.IPPROTO_IPV6) === 1;
    const listen = { kind, address, dualStack: address.family === "ipv6" && address.host === "::" && !v6only };
    const noted = {
      listen,
      options: this.#options(socket, domain, type),
      fixedAtBind: this.#fixedAtBind(socket),
      lost: this.#lost(socket, [domain, type, protocol], listen),
      ...(isKnownProtocol(kind, formOf(address), protocol) ? {} : { protocol }),
    };
    // The server itself must bind a path: it may be relative, or below another root.
    const error = address.family === "unix" ? CONTINUE : Math.max(0, -this.#sys.bind(socket, report.sockaddr));
    const refused = address === written ? Math.max(0, error) : constants.errno.EACCES;
    const isAgain = this.#binds.has(keyOf({ ...noted, error: refused }));
    const result = error === constants.errno.EACCES ? this.#bindAnywhere(socket, address, isAgain) : error;
    // A port below 1024 is refused first. But an address that this host does not have is none for a broker, either.
    const why = result === constants.errno.EADDRNOTAVAIL ? result : refused;
    this.#note({ ...noted, pid: report.pid, program: programOf(report.pid), error: why, count: 1 });
    return result;
  }

  /**
   * A port that this user may not bind is one for the broker. The server gets any port in its place, and is told that
   * it has the one it asked for, so that it goes on as it will in a berth.
   */
  #bindAnywhere(socket: number, address: Address, isAgain: boolean): number {
    if (address.family === "unix" || address.port === 0) return constants.errno.EACCES;
    const { scope = "0", ...rest } = address;
    const bindTo = (port: number): number => this.#sys.bind(socket, encodeSockaddr({ ...rest, port }, Number(scope)));
    const [before] = this.#givenFor(address.port);
    let result = before === undefined ? bindTo(0) : bindTo(before);
    // The number may be another program's. The second bind of one address is the server's own mistake.
    if (before !== undefined && result === -constants.errno.EADDRINUSE && !isAgain) result = bindTo(0);
    const given = result < 0 ? undefined : boundAddressIfKnown(socket, this.#sys);
    if (given !== undefined && given.family !== "unix") this.#askedFor.set(given.port, address.port);
    return Math.max(0, -result);
  }

  #givenFor(port: number): number[] {
    return [...this.#askedFor].filter(([, asked]) => asked === port).map(([given]) => given);
  }

  #together({ pid, listen }: SeenBind): number {
    const { address } = listen;
    if (address.family === "unix") return 1;
    const ports = [address.port, ...this.#givenFor(address.port)];
    return ports.reduce((sum, port) => sum + socketsAt(pid, { ...listen, address: { ...address, port } }), 0);
  }

  /** A server may ask getsockname(2) for its TCP port, and bind UDP to the same: it means the one it asked for. */
  #askedAddress(address: Address): Address {
    const port = address.family === "unix" ? undefined : this.#askedFor.get(address.port);
    return port === undefined || address.family === "unix" ? address : { ...address, port };
  }

  #note(bind: SeenBind): void {
    const key = keyOf(bind);
    const known = this.#binds.get(key);
    if (known === undefined && this.#binds.size >= MAX_BINDS) {
      this.#once(`it binds more than ${MAX_BINDS} different addresses; the others are not recorded`);
      return;
    }
    this.#binds.set(key, { ...(known ?? bind), count: (known?.count ?? 0) + 1 });
    const pidfd = this.#processes.has(bind.pid) ? -1 : this.#sys.pidfdOpen(bind.pid);
    if (pidfd >= 0) this.#processes.set(bind.pid, FdHandle.adopt(pidfd, this.#sys));
  }

  #options(socket: number, domain: number, type: number): Record<string, readonly number[]> {
    const set = settingsOf(socket, domain, type, this.#sys).map(({ option, value }) => {
      const words = Array.from(value, (word) => (option.force !== undefined ? Math.floor(word / 2) : word));
      return [option.name, words] as const;
    });
    const isNonBlocking = (this.#sys.getfl(socket) & so.O_NONBLOCK) !== 0;
    return Object.fromEntries(isNonBlocking ? [...set, ["O_NONBLOCK", [1]] as const] : set);
  }

  /** Compares with a new socket of that kind. */
  #lost(socket: number, make: readonly [number, number, number], listen: ListenAddress): readonly string[] {
    const fresh = this.#sys.socket(...make);
    if (fresh < 0) return [];
    using reference = FdHandle.adopt(fresh, this.#sys);
    const read = (fd: number, { level, option, words }: Omit<KernelOption, "name">): string => {
      const value = new Int32Array(words);
      return `${this.#sys.getsockopt(fd, level, option, value)} ${value.join(" ")}`;
    };
    return lostOptions(listen)
      .filter((option) => read(socket, option) !== read(reference.fd, option))
      .map(({ name }) => name);
  }

  #fixedAtBind(socket: number): Record<string, boolean | string> {
    const fixed: Record<string, boolean | string> = {};
    for (const { name, when, sets } of Object.values<SocketOption<unknown>>(socketOptions)) {
      if (when !== "bind") continue;
      for (const { kernel } of sets) {
        const value = this.#valueOf(socket, kernel);
        if (value !== undefined) fixed[name] = value;
      }
    }
    return fixed;
  }

  /** The value of an option that is fixed at bind(2), if it was set: a flag or a text. */
  #valueOf(socket: number, { level, option, words }: KernelOption): boolean | string | undefined {
    const value = new Int32Array(words);
    if (this.#sys.getsockopt(socket, level, option, value) < 0) return undefined;
    if (words === 1) return value[0] === 1 ? true : undefined;
    return Buffer.from(value.buffer).toString("latin1").split("\0")[0] || undefined;
  }

  #option(fd: number, option: number, level: number = so.SOL_SOCKET): number {
    return socketOption(fd, level, option, this.#sys);
  }

  #once(sentence: string): void {
    if (this.#reported.has(sentence)) return;
    this.#reported.add(sentence);
    this.#report(sentence);
  }
}

const blind =
  "cannot read the server's binds: ptrace is restricted; run this as root, or set kernel.yama.ptrace_scope=1 or 0";

/** Whether a UDP socket has the port, where that process is (proc_pid_net(5)); undefined if the process has ended. */
function isBound(pid: number, port: number): boolean | undefined {
  const end = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  try {
    return ["udp", "udp6"].some((name) =>
      readFileSync(`/proc/${pid}/net/${name}`, "utf8")
        .split("\n")
        .some((row) => row.trim().split(/\s+/)[1]?.endsWith(end)),
    );
  } catch {
    return undefined;
  }
}

function programOf(pid: number): string {
  try {
    // Not comm: that is the name of a thread, and newer Nodes call theirs "MainThread".
    const [program] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0", 1);
    return basename(program ?? "") || "?";
  } catch {
    return "?";
  }
}

function keyOf({ listen, protocol, error }: Pick<SeenBind, "listen" | "protocol" | "error">): string {
  return `${formatListenAddress(listen)} ${protocol} ${error}`;
}
