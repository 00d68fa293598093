/**
 * Steers new connections to other sockets than those that listen at their address. The kernel does it by a program of
 * the broker's network namespace, while this has the program's descriptor. It ends with the broker, however that ends.
 */
import { constants } from "node:fs";
import { FdHandle } from "../../../fd.ts";
import { AT_FDCWD, type Native } from "../../../native.ts";
import type { InetAddress } from "../../../net/address.ts";
import { loadProgram } from "../../../net/bpf-load.ts";
import { MAP_TYPES } from "../../../net/bpf-program.ts";
import { bpfProblem } from "./bpf-problem.ts";
import { KEY_BYTES, keyOf, lookupProgram } from "./lookup-program.ts";

const NETWORK = Buffer.from("/proc/self/ns/net");
/** Addresses at a time: two for a socket of two families. */
const MOST = 4096;
/** A map of sockets takes a descriptor in 64 bits. */
const VALUE_BYTES = 8;

interface Installed {
  readonly map: FdHandle;
  readonly link: FdHandle;
}

export class Steering {
  readonly #sys: Native;
  #installed: Installed | undefined;
  /** The keys that the map has. */
  readonly #steered = new Set<string>();

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /**
   * New connections to an address go to this listening socket, of the same family. Its address may be 0.0.0.0 or `::`.
   * Returns a sentence's end, if that cannot be: why.
   */
  steer(address: InetAddress, fd: number): string | undefined {
    const installed = this.#install();
    if (typeof installed === "string") return installed;
    const key = keyOf(address);
    const put = this.#sys.bpfSet(installed.map.fd, key, descriptorValue(fd));
    if (put < 0) {
      this.#uninstallUnused();
      return problemOf("bpf", put);
    }
    this.#steered.add(nameOf(key));
    return undefined;
  }

  /** New connections to an address go where they went before. Idempotent. */
  leave(address: InetAddress): void {
    const key = keyOf(address);
    if (this.#installed === undefined || !this.#steered.delete(nameOf(key))) return;
    // ENOENT: the socket was closed before.
    this.#sys.bpfDelete(this.#installed.map.fd, key);
    this.#uninstallUnused();
  }

  /** Idempotent. */
  close(): void {
    this.#steered.clear();
    this.#uninstallUnused();
  }

  #install(): Installed | string {
    if (this.#installed !== undefined) return this.#installed;
    const map = this.#sys.bpfMap(MAP_TYPES.sockets, KEY_BYTES, VALUE_BYTES, MOST);
    if (map < 0) return problemOf("bpf", map);
    const handle = FdHandle.adopt(map, this.#sys);
    const link = this.#link(map);
    if (typeof link === "string") {
      handle.close();
      return link;
    }
    this.#installed = { map: handle, link: FdHandle.adopt(link, this.#sys) };
    return this.#installed;
  }

  /** The link keeps the program, and the program the map. Or why there is none. */
  #link(map: number): number | string {
    const instructions = lookupProgram(map);
    const number = loadProgram((log) => this.#sys.bpfLookup(instructions, log));
    if (number < 0) return problemOf("bpf", number);
    using program = FdHandle.adopt(number, this.#sys);
    const place = this.#sys.openat2(AT_FDCWD, NETWORK, constants.O_RDONLY, 0, 0);
    if (place < 0) return problemOf("openat2", place);
    using network = FdHandle.adopt(place, this.#sys);
    const link = this.#sys.bpfLinkLookup(program.fd, network.fd);
    return link < 0 ? problemOf("bpf", link) : link;
  }

  /** A program costs each new connection of the host some ten nanoseconds: it is there only while it is needed. */
  #uninstallUnused(): void {
    if (this.#steered.size > 0) return;
    this.#installed?.link.close();
    this.#installed?.map.close();
    this.#installed = undefined;
  }
}

function descriptorValue(fd: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(fd)).buffer);
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key).toString("latin1");
}

function problemOf(call: "bpf" | "openat2", result: number): string {
  return bpfProblem(call, result, "steer connections");
}
