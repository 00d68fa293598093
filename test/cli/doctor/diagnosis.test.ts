import { describe, expect, test } from "vitest";
import { diagnose } from "../../../src/cli/doctor/diagnosis.ts";
import type { Facts, SystemdFacts, UnitFacts } from "../../../src/cli/doctor/facts.ts";
import type { Finding } from "../../../src/cli/doctor/finding.ts";
import { isOlder } from "../../../src/cli/doctor/version.ts";
import { capabilityNames } from "../../../src/config/keys/kernel-names.ts";

const unit = (name: string, changed: Partial<UnitFacts> = {}): UnitFacts => ({
  name,
  path: `/etc/systemd/system/${name}`,
  isCurrent: true,
  missingPrograms: [],
  active: "active",
  enabled: "enabled",
  needsReload: false,
  ...changed,
});

const systemd = (...units: UnitFacts[]): SystemdFacts => ({ version: 257, lingers: undefined, units });
const socket = (changed: Partial<UnitFacts> = {}): UnitFacts => unit("berthd.socket", changed);

const healthy: Facts = {
  isRoot: true,
  kernel: "6.18.5-amd64",
  reportsCalls: true,
  capabilities: new Set(capabilityNames),
  sysctls: new Map([
    ["kernel.yama.ptrace_scope", "0"],
    ["user.max_user_namespaces", "63000"],
    ["dev.tty.legacy_tiocsti", "0"],
  ]),
  userNamespaceError: undefined,
  openFiles: 524_288,
  node: "20.12.0",
  version: "0.1.0",
  nodeNeeded: "20.12",
  broker: { answers: true, version: "0.1.0" },
  config: { berths: 2, problems: 0, lowestPort: undefined, hasRoots: false },
  systemd: systemd(socket(), unit("berthd.service"), unit("berth@.service", { active: "inactive", enabled: "static" })),
};

/** The findings that are not fine, without their words. */
function wrong(changed: Partial<Facts>): [Finding["check"], Finding["level"], string][] {
  return diagnose({ ...healthy, ...changed }).flatMap(({ check, level, remedy = "" }) =>
    level === "fine" ? [] : [[check, level, remedy]],
  );
}

const sysctls = (...set: [string, string][]): Partial<Facts> => ({ sysctls: new Map(set) });
const rootless: Partial<Facts> = { isRoot: false, systemd: undefined, capabilities: new Set() };
const install = "berth units install && systemctl daemon-reload";

test("a machine with all that is needed has nothing wrong, and says what was looked at", () => {
  expect(wrong({})).toEqual([]);
  const checks = ["node", "kernel", "bind-delivery", "capabilities", "ptrace", "user-namespaces"];
  expect(diagnose(healthy).map(({ check }) => check)).toEqual([
    ...checks,
    ...["open-files", "units", "broker", "configuration"],
  ]);
});

describe("the kernel", () => {
  test.each<[string, Partial<Facts>, unknown[]]>([
    [
      "before 5.11 is too old",
      { kernel: "5.10.0-30-amd64" },
      [["kernel", "problem", expect.stringContaining("uname -r")]],
    ],
    ["before 5.19 could be better", { kernel: "5.15.0" }, [["kernel", "advice", expect.anything()]]],
    ["before 6.15 could be better", { kernel: "6.1.0-50-amd64" }, [["kernel", "advice", expect.anything()]]],
    ["may have no seccomp filter", { reportsCalls: false }, [["bind-delivery", "problem", expect.anything()]]],
    ["may not tell of seccomp", { reportsCalls: undefined }, []],
    ["may have no Yama, and no such settings", { sysctls: new Map() }, []],
  ])("%s", (_what, changed, expected) => {
    expect(wrong(changed)).toEqual(expected);
  });

  test("what root lacks is named with its use and the option that gives it", () => {
    const capabilities = new Set(capabilityNames.filter((name) => !/SYS_PTRACE|SYS_ADMIN/.test(name)));
    const found = diagnose({ ...healthy, capabilities }).find(({ check }) => check === "capabilities");
    expect(found).toMatchObject({
      level: "problem",
      message: "root lacks CAP_SYS_PTRACE (bind delivery, and taking sockets back), CAP_SYS_ADMIN (roots)",
      remedy: expect.stringMatching(/--cap-add SYS_PTRACE --cap-add SYS_ADMIN$/),
    });
    expect(wrong({ ...rootless })).toEqual([]);
  });
});

describe("a setting", () => {
  const scope = "kernel.yama.ptrace_scope";
  const namespaces = "user.max_user_namespaces";
  const clone = "kernel.unprivileged_userns_clone";
  const apparmor = "kernel.apparmor_restrict_unprivileged_userns";
  const roots: Partial<Facts> = { config: { ...healthy.config, hasRoots: true } };
  const port: Partial<Facts> = { config: { ...healthy.config, lowestPort: { port: 79, berth: "quake" } } };

  test.each<[string, Partial<Facts>, unknown[]]>([
    ["ptrace_scope 1 does not concern root", sysctls([scope, "1"]), []],
    ["ptrace_scope 2 does not concern root", sysctls([scope, "2"]), []],
    [
      "ptrace_scope 3 concerns root, and no command changes it",
      sysctls([scope, "3"]),
      [["ptrace", "problem", expect.stringContaining("/etc/sysctl.d")]],
    ],
    [
      "ptrace_scope 1 is good enough for most servers of a user",
      { ...rootless, ...sysctls([scope, "1"]) },
      [["ptrace", "advice", `sudo sysctl -w ${scope}=0`]],
    ],
    [
      "ptrace_scope 2 keeps a user's broker from its servers",
      { ...rootless, ...sysctls([scope, "2"]) },
      [["ptrace", "problem", `sudo sysctl -w ${scope}=1`]],
    ],
    [
      "no user namespaces is advice where no berth has a root",
      sysctls([namespaces, "0"]),
      [["user-namespaces", "advice", `sysctl -w ${namespaces}=65536`]],
    ],
    [
      "no user namespaces is a problem where a berth has a root",
      { ...roots, ...sysctls([namespaces, "0"]) },
      [["user-namespaces", "problem", `sysctl -w ${namespaces}=65536`]],
    ],
    ["Debian's and Ubuntu's limits do not concern root", { ...roots, ...sysctls([clone, "0"], [apparmor, "1"]) }, []],
    [
      "Debian's limit concerns users",
      { ...rootless, ...roots, ...sysctls([clone, "0"]) },
      [["user-namespaces", "problem", `sudo sysctl -w ${clone}=1`]],
    ],
    [
      "Ubuntu's limit concerns users",
      { ...rootless, ...roots, ...sysctls([apparmor, "1"]) },
      [["user-namespaces", "problem", `sudo sysctl -w ${apparmor}=0`]],
    ],
    [
      "is not always why there are no user namespaces",
      { ...roots, userNamespaceError: "EPERM" },
      [["user-namespaces", "problem", expect.stringContaining("unshare --user true")]],
    ],
    ["of low ports does not concern root", port, []],
    [
      "of low ports concerns a user's broker",
      { ...rootless, ...port, ...sysctls(["net.ipv4.ip_unprivileged_port_start", "1024"]) },
      [["low-ports", "problem", "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=79"]],
    ],
    ["may allow low ports", { ...rootless, ...port, ...sysctls(["net.ipv4.ip_unprivileged_port_start", "79"]) }, []],
    [
      "may let programs type into a terminal",
      sysctls(["dev.tty.legacy_tiocsti", "1"]),
      [["terminal", "advice", "sysctl -w dev.tty.legacy_tiocsti=0"]],
    ],
  ])("%s", (_what, changed, expected) => {
    expect(wrong(changed)).toEqual(expected);
  });
});

describe("limits and versions", () => {
  test.each<[string, Partial<Facts>, unknown[]]>([
    ["an old Node", { node: "20.11.9" }, [["node", "problem", expect.anything()]]],
    ["few open files", { openFiles: 1024 }, [["open-files", "advice", "ulimit -n 65536"]]],
    [
      "a broker of another version, under systemd",
      { broker: { answers: true, version: "0.0.9" } },
      [["broker", "advice", "systemctl restart berthd.service"]],
    ],
    [
      "a broker of another version, without systemd",
      { broker: { answers: true, version: "0.0.9" }, systemd: undefined },
      [["broker", "advice", "berthd --replace try &"]],
    ],
    [
      "problems in the configuration",
      { config: { ...healthy.config, problems: 1 } },
      [["configuration", "problem", "berth check"]],
    ],
    ["no berths", { config: { ...healthy.config, berths: 0 } }, [["configuration", "advice", "berth new --help"]]],
  ])("%s", (_what, changed, expected) => {
    expect(wrong(changed)).toEqual(expected);
  });

  test.each([
    ["5.10.0-30-amd64", "5.11", true],
    ["5.11", "5.11", false],
    ["6.2", "5.11", false],
    ["20.9.1", "20.12", true],
    ["20.12.0", "20.12", false],
    ["18", "20.12", true],
  ])("%s is older than %s: %s", (present, needed, expected) => {
    expect(isOlder(present, needed)).toBe(expected);
  });
});

describe("units", () => {
  const none = { answers: false, why: "there is no broker" } as const;
  const enable = "systemctl enable --now berthd.socket";
  const missing: Partial<UnitFacts> = { path: undefined, active: "inactive", enabled: "" };

  test.each<[string, Partial<Facts>, unknown[]]>([
    [
      "none: they can be installed, and the broker started by them or by hand",
      { systemd: systemd(socket(missing)), broker: none },
      [
        ["units", "advice", `${install} && ${enable}`],
        ["broker", "problem", "berthd &"],
      ],
    ],
    [
      "one is missing",
      { systemd: systemd(socket(), unit("berth@.service", missing)) },
      [["units", "problem", install]],
    ],
    [
      "one starts a program that is gone",
      { systemd: systemd(socket(), unit("berthd.service", { missingPrograms: ["/opt/node"], isCurrent: false })) },
      [["units", "problem", install]],
    ],
    ["of another version", { systemd: systemd(socket({ isCurrent: false })) }, [["units", "advice", install]]],
    [
      "failed",
      { systemd: systemd(socket(), unit("berthd.service", { active: "failed" })) },
      [["units", "problem", "journalctl -n 20 -u berthd.service"]],
    ],
    [
      "changed on disk",
      { systemd: systemd(socket({ needsReload: true })) },
      [["units", "advice", "systemctl daemon-reload"]],
    ],
    [
      "the socket does not listen",
      { systemd: systemd(socket({ active: "inactive" })), broker: none },
      [
        ["units", "problem", enable],
        ["broker", "problem", enable],
      ],
    ],
    [
      "the socket does not start at boot",
      { systemd: systemd(socket({ enabled: "disabled" })) },
      [["units", "advice", enable]],
    ],
    ["of a user who has none are no problem", { ...rootless, systemd: systemd(socket(missing)) }, []],
    [
      "of a user end at logout",
      { ...rootless, systemd: { ...systemd(socket()), lingers: false } },
      [["units", "advice", "loginctl enable-linger"]],
    ],
    [
      "of a user are the user's manager's",
      { ...rootless, systemd: systemd(socket({ active: "inactive", isCurrent: false })) },
      [
        ["units", "advice", "berth units install --user && systemctl --user daemon-reload"],
        ["units", "problem", "systemctl --user enable --now berthd.socket"],
      ],
    ],
  ])("%s", (_what, changed, expected) => {
    expect(wrong(changed)).toEqual(expected);
  });
});
