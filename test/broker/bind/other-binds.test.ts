/** What `server.other-binds` says of an address that is not the berth's, and what the log says. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  type Asked,
  decideOtherBind,
  explainRefusal,
  kernelPorts,
  nameAsked,
} from "../../../src/broker/bind/other-binds.ts";
import { type InetAddress, type ListenAddress, parseListenAddress } from "../../../src/net/address.ts";

function listen(text: string): ListenAddress {
  const parsed = parseListenAddress(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

function inet(text: string): InetAddress {
  const { address } = listen(text);
  if (address.family === "unix") throw new Error(`${text} is a path`);
  return address;
}

function asked(text: string, protocol = 17): Asked {
  return { ...listen(text), protocol, isServed: protocol === 17 };
}

const ports = () => ({ firstFree: 1024, ephemeral: [32768, 60999] }) as const;

test.each([
  ["refuse", "udp://0.0.0.0:40000", "refused"],
  ["allow", "udp://0.0.0.0:79", "kernel"],
  ["loopback", "udp://127.0.0.1:1024", "here"],
  ["loopback", "udp://127.0.0.1:1023", "refused"],
  ["loopback", "udp://0.0.0.0:40000", "refused"],
  ["ephemeral", "udp://0.0.0.0:32768", "here"],
  ["ephemeral", "udp://[::]:60999", "here"],
  ["ephemeral", "udp://0.0.0.0:32767", "busy"],
  ["ephemeral", "udp://127.0.0.1:61000", "busy"],
  ["ephemeral", "udp://0.0.0.0:1024", "busy"],
  ["ephemeral", "udp://0.0.0.0:1023", "refused"],
] as const)("%s: %s is %s", (otherBinds, text, outcome) => {
  expect(decideOtherBind(otherBinds, inet(text), ports)).toBe(outcome);
});

test("the kernel's ports are those of its settings", () => {
  const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").trim().split(/\s+/).map(Number);
  const first = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
  expect(kernelPorts()).toEqual({ firstFree: first, ephemeral: range });
});

describe("a refusal", () => {
  test("of [::] for both families says what to write in place of the one family that the berth has", () => {
    expect(explainRefusal(asked("udp://*:629"), [listen("udp://0.0.0.0:629")], "refuse")).toBe(
      'the berth has udp://0.0.0.0:629 and other-binds = "refuse"; write udp://*:629 in place of udp://0.0.0.0:629',
    );
    expect(nameAsked(asked("udp://*:629"))).toBe("udp://*:629");
  });

  test("of another port, of loopback or of another kind has no such advice", () => {
    const has = 'the berth has udp://0.0.0.0:629 and other-binds = "refuse"';
    for (const text of ["udp://*:630", "udp://127.0.0.1:629", "tcp://*:629"])
      expect(explainRefusal(asked(text), [listen("udp://0.0.0.0:629")], "refuse")).toBe(has);
    expect(explainRefusal(asked("udp://*:630"), [], "loopback")).toBe(
      'the berth has no sockets and other-binds = "loopback"',
    );
  });

  test.each([
    [136, "UDP-Lite 0.0.0.0:629"],
    [255, "protocol 255 0.0.0.0:629"],
  ])("of protocol %i is not said to be of UDP", (protocol, name) => {
    const lite = asked("udp://0.0.0.0:629", protocol);
    expect(nameAsked(lite)).toBe(name);
    expect(explainRefusal(lite, [listen("udp://0.0.0.0:629")], "refuse")).toContain("a berth holds TCP and UDP only");
  });
});
