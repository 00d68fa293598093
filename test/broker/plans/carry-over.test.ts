import { expect, onTestFinished, test } from "vitest";
import { carryOver as carryOverPlan, type OwnSettings, settingsOf } from "../../../src/broker/plans/carry-over.ts";
import { differences, type OptionState, readPlan, setBackCalls } from "../../../src/broker/plans/option-state.ts";
import { type LocalPlan, runPlan } from "../../../src/broker/plans/socket-call.ts";
import { unreadableReset } from "../../../src/broker/plans/tenant-options.ts";
import { carriedOptions } from "../../../src/config/keys/carried-options.ts";
import type { KernelOption } from "../../../src/config/keys/socket-options.ts";
import { check } from "../../../src/errors.ts";
import { native } from "../../../src/native.ts";
import { type Address, AF_INET, AF_INET6, AF_UNIX, type ListenAddress } from "../../../src/net/address.ts";
import * as so from "../../../src/net/socket-constants.ts";
import { SOCK_DGRAM, SOCK_STREAM } from "../../../src/net/transport.ts";
import { openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";

function socket(domain: number, type: number): number {
  const fd = check("socket", native.socket(domain, type, 0));
  onTestFinished(() => void native.close(fd));
  return fd;
}

function get(fd: number, { level, option, words }: Pick<KernelOption, "level" | "option" | "words">): number[] {
  const value = new Int32Array(words);
  return native.getsockopt(fd, level, option, value) < 0 ? [] : [...value];
}

const all = (fd: number): Record<string, number[]> =>
  Object.fromEntries(carriedOptions.map((option) => [option.name, get(fd, option)]));

/** A value other than the default that the option takes; sizes as getsockopt(2) reports them. */
const unusual: Readonly<Record<string, number | number[]>> = {
  SO_RCVBUF: 30_000,
  SO_SNDBUF: 30_000,
  SO_PRIORITY: 3,
  SO_LINGER: [1, 0],
  SO_RCVLOWAT: 7,
  SO_RCVTIMEO: [3, 0, 0, 0],
  SO_SNDTIMEO: [4, 0, 0, 0],
  IP_TOS: 0x10,
  IP_TTL: 33,
  IP_MTU_DISCOVER: 2,
  IP_MULTICAST_IF: 0x0100007f,
  IP_MULTICAST_TTL: 9,
  IP_MULTICAST_LOOP: 0,
  IPV6_UNICAST_HOPS: 33,
  IPV6_MULTICAST_HOPS: 9,
  IPV6_MULTICAST_LOOP: 0,
  IPV6_MTU_DISCOVER: 2,
  IPV6_TCLASS: 0x20,
  TCP_KEEPIDLE: 77,
  TCP_KEEPINTVL: 7,
  TCP_KEEPCNT: 4,
  TCP_DEFER_ACCEPT: 3,
  TCP_USER_TIMEOUT: 5000,
  TCP_FASTOPEN: 16,
  SO_TXREHASH: 0,
  SO_PASSRIGHTS: 0,
  IP_UNICAST_IF: 0x01000000, // the number of "lo" in network order
  IP_MULTICAST_ALL: 0,
  IPV6_UNICAST_IF: 0x01000000,
  IPV6_MULTICAST_ALL: 0,
  IPV6_AUTOFLOWLABEL: 0,
  UDP_ENCAP: 2,
  TCP_MAXSEG: 1000,
  TCP_CONGESTION: [0x6f6e6572, 0, 0, 0],
  TCP_RTO_MAX_MS: 100_000,
  TCP_RTO_MIN_US: 100_000,
  TCP_DELACK_MAX_US: 20_000,
};

function set(fd: number, option: KernelOption, value: number | number[] = unusual[option.name] ?? 1): boolean {
  const raw = typeof value === "number" ? value : new Uint8Array(Int32Array.from(value).buffer);
  return native.setsockopt(fd, option.level, option.option, raw) >= 0;
}

/** A socket of that kind as a berth has it. */
function listenOf(domain: number, type: number): ListenAddress {
  const kind = type === SOCK_STREAM ? "stream" : "datagram";
  const address: Address =
    domain === AF_UNIX
      ? { family: "unix", path: "x", abstract: true }
      : { family: domain === AF_INET ? "ipv4" : "ipv6", host: domain === AF_INET ? "0.0.0.0" : "::", port: 0 };
  return { kind, address, dualStack: false };
}

/** What was set on `own` is set on `held`; the names of these options. */
function carryOver(own: number, held: number, domain: number, type: number): string[] {
  const found: OwnSettings = { settings: settingsOf(own, domain, type, native), flags: native.getfl(own) };
  runPlan(carryOverPlan(found, native.getfl(held)), held, native);
  return found.settings.map(({ option }) => option.name);
}

/** As at the end of a lease. */
function* setBack(listen: ListenAddress, wanted: OptionState): LocalPlan<void> {
  const found = differences(listen, yield* readPlan(listen), wanted);
  yield [...unreadableReset(listen), ...setBackCalls(listen, found, wanted)];
}

const kinds = [
  ["UDP", AF_INET, SOCK_DGRAM],
  ["TCP", AF_INET, SOCK_STREAM],
  ["UDP on IPv6", AF_INET6, SOCK_DGRAM],
  ["TCP on IPv6", AF_INET6, SOCK_STREAM],
  ["UNIX datagram", AF_UNIX, SOCK_DGRAM],
] as const;

test.each(kinds)("%s: each option that the socket takes is carried over, and taken back", (_, domain, type) => {
  const before = openFds();
  const carried: string[] = [];
  for (const option of carriedOptions) {
    const own = socket(domain, type);
    const held = socket(domain, type);
    const usual = all(held);
    if (!set(own, option) || get(own, option).join() === get(held, option).join()) continue;
    const configured = runPlan(readPlan(listenOf(domain, type)), held, native);
    expect(carryOver(own, held, domain, type)).toContain(option.name);
    expect({ [option.name]: get(held, option) }).toEqual({ [option.name]: get(own, option) });
    runPlan(setBack(listenOf(domain, type), configured), held, native);
    expect({ option: option.name, ...all(held) }).toEqual({ option: option.name, ...usual });
    carried.push(option.name);
  }
  expect(carried.length).toBeGreaterThan(domain === AF_UNIX ? 1 : 10);
  expect(openFds().length - before.length).toBe(2 * carriedOptions.length);
});

test("every option of the table is carried over by some kind of socket (some need root)", needs("root"), () => {
  const able = carriedOptions.filter((option) =>
    kinds.some(([, domain, type]) => {
      const own = socket(domain, type);
      const usual = get(own, option).join();
      return (
        (option.level !== so.IPPROTO_TCP || type === SOCK_STREAM) &&
        set(own, option) &&
        get(own, option).join() !== usual
      );
    }),
  );
  const names = able.map(({ name }) => name);
  // An older kernel does not know every one.
  const known = carriedOptions.filter((option) =>
    kinds.some(([, domain, type]) => get(socket(domain, type), option).length > 0),
  );
  expect(known.map(({ name }) => name).filter((name) => !names.includes(name))).toEqual(
    ["IPV6_MULTICAST_IF"].filter((name) => !names.includes(name)),
  );
});

const option = (name: string): KernelOption => {
  const found = carriedOptions.find((entry) => entry.name === name);
  if (found === undefined) throw new Error(name);
  return found;
};

test("options that the server did not set stay as configured", () => {
  const own = socket(AF_INET, SOCK_DGRAM);
  const held = socket(AF_INET, SOCK_DGRAM);
  for (const name of ["SO_RCVBUF", "SO_BROADCAST", "IP_TOS", "IP_TTL"]) set(held, option(name));
  const configured = all(held);
  carryOver(own, held, AF_INET, SOCK_DGRAM);
  expect(all(held)).toEqual(configured);
});

test("a priority beside a type of service is carried over and taken back, though one sets the other", () => {
  const own = socket(AF_INET, SOCK_DGRAM);
  const held = socket(AF_INET, SOCK_DGRAM);
  set(held, option("SO_PRIORITY"), 5);
  const configured = all(held);
  set(own, option("IP_TOS"));
  set(own, option("SO_PRIORITY"), 3);
  const state = runPlan(readPlan(listenOf(AF_INET, SOCK_DGRAM)), held, native);
  carryOver(own, held, AF_INET, SOCK_DGRAM);
  expect([get(held, option("IP_TOS")), get(held, option("SO_PRIORITY"))]).toEqual([[0x10], [3]]);
  runPlan(setBack(listenOf(AF_INET, SOCK_DGRAM), state), held, native);
  expect(all(held)).toEqual(configured);
});

test("a buffer configured beyond the host's limit has that size again afterwards", needs("root"), () => {
  const own = socket(AF_INET, SOCK_DGRAM);
  const held = socket(AF_INET, SOCK_DGRAM);
  check("setsockopt", native.setsockopt(held, so.SOL_SOCKET, so.SO_RCVBUFFORCE, 32 << 20));
  set(own, option("SO_RCVBUF"));
  const state = runPlan(readPlan(listenOf(AF_INET, SOCK_DGRAM)), held, native);
  carryOver(own, held, AF_INET, SOCK_DGRAM);
  expect(get(held, option("SO_RCVBUF"))).toEqual([60_000]);
  runPlan(setBack(listenOf(AF_INET, SOCK_DGRAM), state), held, native);
  expect(get(held, option("SO_RCVBUF"))).toEqual([64 << 20]);
});

test.each([0, so.O_NONBLOCK])("O_NONBLOCK is the server's own: %o", (flag) => {
  const own = socket(AF_INET, SOCK_DGRAM);
  const held = socket(AF_INET, SOCK_DGRAM);
  check("fcntl", native.setfl(own, flag));
  check("fcntl", native.setfl(held, so.O_NONBLOCK - flag));
  carryOver(own, held, AF_INET, SOCK_DGRAM);
  expect(native.getfl(held) & so.O_NONBLOCK).toBe(flag);
});
