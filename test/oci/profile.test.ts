/** Seccomp profiles with an agent, and what a runtime's config.json has of them. */
import { describe, expect, it } from "vitest";
import { configForBerth } from "../../src/oci/config.ts";
import { MINIMAL_PROFILE, profileWithAgent } from "../../src/oci/profile.ts";
import { resolveProfile } from "../../src/oci/resolve.ts";

const agent = { listenerPath: "/run/berthd/io.berthd.Broker.agent", listenerMetadata: "arena" };
const allow = "SCMP_ACT_ALLOW";
const notify = { names: ["bind"], action: "SCMP_ACT_NOTIFY", args: [] };

describe("a profile", () => {
  it("tells the agent of each bind, and is as it was for all other calls", () => {
    const base = {
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [{ names: ["accept", "bind", "listen"], action: allow }],
    };
    expect(profileWithAgent(base, agent)).toEqual({
      defaultAction: "SCMP_ACT_ERRNO",
      ...agent,
      syscalls: [{ names: ["accept", "listen"], action: allow }, notify],
    });
  });

  it.each<[string, object, object[]]>([
    ["a rule for bind alone goes", { names: ["bind"], action: allow }, []],
    ["an old rule with one name stays", { name: "read", action: allow }, [{ names: ["read"], action: allow }]],
    ["an old rule for bind goes", { name: "bind", action: allow }, []],
    [
      "socketcall is split: 2 is bind",
      { names: ["read", "socketcall"], action: allow, args: [] },
      [
        { names: ["read"], action: allow, args: [] },
        { names: ["socketcall"], action: allow, args: [{ index: 0, value: 2, op: "SCMP_CMP_NE" }] },
      ],
    ],
  ])("%s", (_, rule, left) => {
    expect(profileWithAgent({ syscalls: [rule] }, agent)).toEqual({ ...agent, syscalls: [...left, notify] });
  });

  it("can have this agent already, but no other", () => {
    const base = { ...agent, syscalls: [] };
    expect(profileWithAgent(base, agent)).toEqual({ ...agent, syscalls: [notify] });
    expect(profileWithAgent({ ...base, listenerPath: "/run/other" }, agent)).toBe(
      "it has another agent, /run/other, and the kernel allows only one",
    );
  });

  it("reports no other call, for nobody would answer that", () => {
    const base = { syscalls: [{ names: ["bind", "mkdir", "mount"], action: "SCMP_ACT_NOTIFY" }] };
    expect(profileWithAgent(base, agent)).toBe(
      "it reports other calls than bind(2) to an agent (mkdir, mount), and the broker answers none of them",
    );
    expect(profileWithAgent({ syscalls: [{ names: ["bind"], action: "SCMP_ACT_NOTIFY" }] }, agent)).toEqual({
      ...agent,
      syscalls: [notify],
    });
  });

  it.each([[{}], [{ syscalls: 1 }], [{ syscalls: ["bind"] }]])("is none: %o", (base) => {
    expect(profileWithAgent(base, agent)).toBe("it has no list of syscalls");
  });
});

describe("what a runtime gets", () => {
  const only = (name: string, more: object): object => ({ names: [name], action: allow, ...more });
  const profile = {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 38,
    defaultErrno: "ENOSYS",
    archMap: MINIMAL_PROFILE["archMap"],
    ...agent,
    syscalls: [
      only("a", { comment: "", args: [], includes: {}, excludes: {} }),
      only("b", { includes: { caps: ["CAP_A"] } }),
      only("c", { includes: { caps: ["CAP_B"] } }),
      only("d", { excludes: { caps: ["CAP_A"] } }),
      only("e", { excludes: { caps: ["CAP_B"] }, errnoRet: 1 }),
      only("f", { includes: { arches: ["amd64"] }, args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }] }),
      only("g", { includes: { arches: ["s390x"] } }),
      only("h", { excludes: { arches: ["amd64"] } }),
    ],
  };

  it("is the rules that hold for its capabilities and this machine", () => {
    expect(resolveProfile(profile, ["CAP_A"], { arch: "x64" })).toEqual({
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 38,
      ...agent,
      architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
      syscalls: [
        only("a", {}),
        only("b", {}),
        only("e", { errnoRet: 1 }),
        only("f", { args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }] }),
      ],
    });
  });

  it("has no list of architectures on a machine that the profile does not know", () => {
    expect(resolveProfile(profile, [], { arch: "s390x" })).toMatchObject({ syscalls: [{}, {}, {}, {}, {}] });
    expect(resolveProfile(profile, [], { arch: "s390x" })).not.toHaveProperty("architectures");
  });

  it("is a network of its own, the berth's ids and root; all else stays", () => {
    const config = {
      ociVersion: "1.0.2",
      process: { args: ["/server"], capabilities: { bounding: ["CAP_A"] } },
      root: { path: "rootfs", readonly: true },
      linux: { namespaces: [{ type: "pid" }, { type: "network", path: "/run/netns/x" }], sysctl: {} },
    };
    const own = { profile, range: { base: 524288, count: 65536 }, rootfs: "/srv/root" };
    const map = [{ containerID: 0, hostID: 524288, size: 65536 }];
    expect(configForBerth(config, own, { arch: "x64" })).toEqual({
      ...config,
      root: { path: "/srv/root", readonly: true },
      linux: {
        sysctl: {},
        namespaces: [{ type: "pid" }, { type: "network" }, { type: "user" }],
        uidMappings: map,
        gidMappings: map,
        seccomp: resolveProfile(profile, ["CAP_A"], { arch: "x64" }),
      },
    });
  });
});
