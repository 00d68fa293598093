/**
 * Turns players away while their berth drains: a doorman tells them when the server is stopped. New connections go to a
 * socket of the doorman's; joins by UDP are dropped, and it gets copies. The server's own sockets are left alone.
 * Without a doorman connections go where they went before, to the filter that has them wait; joins by UDP are dropped.
 */
import type { RefuseOrder } from "../../../doorman/interfaces/messages.ts";
import type { FdHandle } from "../../../fd.ts";
import type { Native } from "../../../native.ts";
import { type InetAddress, isUdp, mappedIPv4 } from "../../../net/address.ts";
import { type JoinShape, lastJoinShapes, type Refusing, refusingProtocol } from "../../../net/join-shapes.ts";
import { SO_BINDTOIFINDEX, SO_REUSEPORT, SOL_SOCKET } from "../../../net/socket-constants.ts";
import { networkCookie, socketOption } from "../../../net/socket-queries.ts";
import type { ForeignCalls } from "../../access/foreign-calls.ts";
import type { Berth } from "../../berths/berth/berth.ts";
import type { Lease } from "../../berths/berth/lease.ts";
import { ArrivalWatch } from "../../demand/arrival-watch.ts";
import type { Doormen, Watched } from "../../demand/doorman/doormen.ts";
import { identityOf } from "../../demand/doorman/identity.ts";
import { shownServer } from "../../demand/doorman/shown-server.ts";
import type { HeldSocket } from "../../sockets/held-socket.ts";
import { JoinCopies } from "./join-copies.ts";
import { openListener } from "./listener.ts";
import { Steering } from "./steering.ts";

/** One doorman's share: as many as one message of it carries, with room. */
const MOST_SOCKETS = 64;
const CLOSED = "it is closed";

export interface RefusalsOptions {
  readonly sys: Native;
  readonly doormen: Pick<Doormen, "watch">;
  /** Nobody is turned away any more, because a socket is closed or opened again: it may be begun anew. */
  readonly onBroken: (berth: Berth, lease: Lease) => void;
}

/** Where new connections come from, and the socket that they go to. */
interface Steered {
  readonly address: InetAddress;
  readonly listener: FdHandle;
}

/** Of sockets at which nobody is turned away: a sentence's end that says why. */
type Problems = Map<HeldSocket, string>;

interface Refusal {
  readonly berth: Berth;
  readonly protocol: Refusing;
  readonly steered: readonly Steered[];
  /** Of joins by UDP. */
  readonly copies: JoinCopies | undefined;
  /** At which players are turned away. */
  readonly sockets: readonly HeldSocket[];
  /** One of them is closed, or another berth gets it. */
  readonly onClosing: () => void;
  /** Tells that something has come, where the doorman begins with that. */
  readonly arrivals: ArrivalWatch;
  /** What a doorman does. */
  watched: Watched | undefined;
}

export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #steering: Steering;
  readonly #byLease = new Map<Lease, Refusal>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
    this.#steering = new Steering(options.sys);
  }

  /** Turns players away wherever that is possible. Of each other socket: a sentence's end that says why not. */
  begin(berth: Berth, lease: Lease): ReadonlyMap<HeldSocket, string> {
    this.end(lease);
    const { query, asleep } = berth.spec.server;
    const protocol = refusingProtocol(query?.type, asleep?.protocol);
    const all = berth.sockets.map(({ socket }) => socket);
    if (protocol === undefined) return new Map(all.map((socket) => [socket, UNKNOWN]));
    const problems: Problems = new Map();
    // A reload that failed may have left a socket closed, where none could be opened again.
    for (const socket of all) if (!socket.open) problems.set(socket, CLOSED);
    const open = all.filter((socket) => socket.open);
    const shapes = lastJoinShapes(protocol);
    const steered = shapes === undefined ? this.#steerAll(open, problems) : [];
    const copies = shapes === undefined ? undefined : this.#copy(open, shapes, problems);
    if (steered.length === 0 && copies === undefined) return problems;
    const arrivals = new ArrivalWatch(this.#options.sys, () => refusal.watched?.arrived());
    const sockets = all.filter((socket) => !problems.has(socket));
    const onClosing = (): void => {
      this.end(lease);
      this.#options.onBroken(berth, lease);
    };
    for (const socket of sockets) socket.closing.add(onClosing);
    const refusal: Refusal = { berth, protocol, steered, copies, sockets, onClosing, arrivals, watched: undefined };
    this.#byLease.set(lease, refusal);
    refusal.watched = this.#hire(refusal, lease);
    return problems;
  }

  /** The drain has another deadline. */
  change(lease: Lease): void {
    const refusal = this.#byLease.get(lease);
    if (refusal === undefined) return;
    this.#dismiss(refusal);
    this.#steerAgain(refusal);
    refusal.watched = this.#hire(refusal, lease);
  }

  /** New connections go where they went before. Idempotent. */
  end(lease: Lease): void {
    const refusal = this.#byLease.get(lease);
    if (refusal === undefined) return;
    this.#byLease.delete(lease);
    for (const socket of refusal.sockets) socket.closing.delete(refusal.onClosing);
    this.#pass(refusal);
    this.#dismiss(refusal);
    if (lease.ended && refusal.copies !== undefined) this.#delayRepair(refusal);
    refusal.copies?.[Symbol.dispose]();
    for (const { listener } of refusal.steered) listener.close();
  }

  close(): void {
    for (const lease of [...this.#byLease.keys()]) this.end(lease);
    this.#steering.close();
  }

  /** Has joins copied at all sockets of UDP, or at none. */
  #copy(all: readonly HeldSocket[], shapes: readonly JoinShape[], problems: Problems): JoinCopies | undefined {
    const taken: HeldSocket[] = [];
    for (const socket of all) {
      if (!isUdp(socket.listen)) problems.set(socket, NO_UDP);
      else if (taken.length === MOST_SOCKETS) problems.set(socket, TOO_MANY);
      else taken.push(socket);
    }
    if (taken.length === 0) return undefined;
    const fds = taken.map(({ fd }) => fd);
    const copies = JoinCopies.open(fds, shapes, this.#options.sys);
    if (typeof copies !== "string") return copies;
    for (const socket of taken) problems.set(socket, copies);
    return undefined;
  }

  #steerAll(all: readonly HeldSocket[], problems: Problems): Steered[] {
    const steered: Steered[] = [];
    for (const socket of all) {
      const problem = this.#steer(socket, steered);
      if (problem !== undefined) problems.set(socket, problem);
    }
    return steered;
  }

  /** All addresses of a socket, or none. */
  #steer(socket: HeldSocket, steered: Steered[]): string | undefined {
    const { sys } = this.#options;
    const addresses = addressesOf(socket);
    const obstacle = addresses.length === 0 ? NO_TCP : obstacleOf(socket, sys);
    if (obstacle !== undefined) return obstacle;
    if (steered.length + addresses.length > MOST_SOCKETS) return TOO_MANY;
    const own: Steered[] = [];
    for (const address of addresses) {
      const listener = openListener(address.family, sys);
      const problem = typeof listener === "string" ? listener : this.#steerTo(address, listener, socket);
      if (typeof listener !== "string" && problem === undefined) own.push({ address, listener });
      if (problem === undefined) continue;
      for (const one of own) this.#drop(one);
      return problem;
    }
    steered.push(...own);
    return undefined;
  }

  #steerTo(address: InetAddress, listener: FdHandle, { fd }: HeldSocket): string | undefined {
    const { sys } = this.#options;
    const isHere = networkCookie(fd, sys) === networkCookie(listener.fd, sys);
    const problem = isHere ? this.#steering.steer(address, listener.fd) : "it is in another network namespace";
    if (problem !== undefined) listener.close();
    return problem;
  }

  #drop({ address, listener }: Steered): void {
    this.#steering.leave(address);
    listener.close();
  }

  #pass({ steered }: Refusal): void {
    for (const { address } of steered) this.#steering.leave(address);
  }

  #steerAgain({ steered }: Refusal): void {
    for (const { address, listener } of steered) this.#steering.steer(address, listener.fd);
  }

  #dismiss({ arrivals, watched }: Refusal): void {
    arrivals.disarm();
    watched?.leave();
  }

  /** It may have to open the sockets again: until the doorman has closed its copies, their addresses are in use. */
  #delayRepair({ sockets, watched }: Refusal): void {
    const left = watched?.left() ?? Promise.resolve();
    for (const { carrying } of sockets) {
      carrying.add(left);
      void left.then(() => carrying.delete(left));
    }
  }

  #hire(refusal: Refusal, lease: Lease): Watched {
    const { berth, protocol, steered, copies, sockets, arrivals } = refusal;
    const told = copies === undefined ? steered.map(({ listener }) => listener.fd) : [copies.ring];
    const fds = copies === undefined ? told : [...told, ...sockets.map(({ fd }) => fd)];
    return this.#options.doormen.watch(identityOf(berth), {
      // A reload may have changed the text, and a doorman gets its orders again after it.
      get order() {
        return orderOf(berth, lease, protocol);
      },
      fds,
      onWake: () => undefined,
      onAlone: () => this.#pass(refusal),
      onQuiet: () => {
        this.#steerAgain(refusal);
        arrivals.arm(told);
      },
      onAgain: () => this.#steerAgain(refusal),
    });
  }
}

const UNKNOWN = "neither server.query nor server.asleep names a protocol that can tell players why";
const NO_TCP = "only players who join by TCP can be turned away";
const NO_UDP = "only players who join by UDP can be turned away";
const TOO_MANY = "it has too many sockets";

function orderOf(berth: Berth, lease: Lease, refuse: Refusing): Omit<RefuseOrder, "watch"> {
  const deadline = lease.drain?.deadline;
  return {
    refuse,
    text: berth.spec.server.drainText,
    server: shownServer(berth),
    ...(deadline !== undefined && { deadline }),
  };
}

/** Where connections to a socket go. */
function addressesOf({ address, listen, options }: HeldSocket): InetAddress[] {
  if (listen.kind !== "stream" || address.family === "unix") return [];
  const ipv4 = mappedIPv4(address.host);
  if (ipv4 !== undefined) return [{ family: "ipv4", host: ipv4, port: address.port }];
  const isDual = address.host === "::" && (listen.dualStack || !options.v6only);
  return isDual ? [address, { family: "ipv4", host: "0.0.0.0", port: address.port }] : [address];
}

/** Another socket may have the same address: its players must not be turned away. */
function obstacleOf({ fd, address }: HeldSocket, sys: ForeignCalls): string | undefined {
  const isScoped = address.family === "ipv6" && address.scope !== undefined;
  if (isScoped || socketOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, sys) > 0) return "it is bound to an interface";
  return socketOption(fd, SOL_SOCKET, SO_REUSEPORT, sys) > 0
    ? "others may share its address (SO_REUSEPORT)"
    : undefined;
}
