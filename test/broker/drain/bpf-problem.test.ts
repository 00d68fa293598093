/** Why the kernel refuses eBPF: what is known is said, what is not is to be checked. */
import { describe, expect, it } from "vitest";
import { type BpfFacts, bpfProblem, causesOf } from "../../../src/broker/drain/refusal/bpf-problem.ts";

const ALL = "000001ffffffffff";
const NONE = "0000000000000000";
/** CAP_SYS_ADMIN alone, CAP_NET_ADMIN alone. */
const [SYS_ADMIN, NET_ADMIN] = ["0000000000200000", "0000000000001000"];

const facts = (capabilities: string, more: Partial<BpfFacts> = {}, seccomp = 0): BpfFacts => ({
  status: `Name:\tnode\nCapEff:\t${capabilities}\nSeccomp:\t${seccomp}\n`,
  uidMap: "         0          0 4294967295\n",
  unprivileged: "2",
  lockdown: "[none] integrity confidentiality",
  ...more,
});

const SECCOMP = "the seccomp filter that the broker runs under (SystemCallFilter=, the container's profile)";
const MODULES = "the security modules (`journalctl -k`)";
const OUTER = "it is in a user namespace, whose capabilities do not count for eBPF";

describe("EPERM", () => {
  it.each([
    ["without capabilities", facts(NONE, { unprivileged: "0" }), "; the broker lacks CAP_BPF and CAP_NET_ADMIN"],
    ["without CAP_BPF", facts(NET_ADMIN), "; the broker lacks CAP_BPF; kernel.unprivileged_bpf_disabled is 2"],
    ["with CAP_SYS_ADMIN for both", facts(SYS_ADMIN), `; check ${MODULES}`],
    ["with all of them under seccomp", facts(ALL, {}, 2), `; check ${SECCOMP}, ${MODULES}`],
    [
      "with lockdown",
      facts(ALL, { lockdown: "none integrity [confidentiality]" }),
      `; check the kernel's lockdown (confidentiality), ${MODULES}`,
    ],
    ["in a user namespace", facts(ALL, { uidMap: "0 1000 1\n" }), `; ${OUTER}`],
    [
      "without capabilities, under seccomp",
      facts(NONE, { unprivileged: "" }, 2),
      `; the broker lacks CAP_BPF and CAP_NET_ADMIN; check ${SECCOMP}`,
    ],
    ["where nothing can be read", { status: "", uidMap: "", unprivileged: "", lockdown: "" }, `; check ${MODULES}`],
  ] as const)("%s", (_, known, said) => {
    expect(causesOf(known)).toBe(said);
  });

  it("may have a cause of that call alone", () => {
    expect(causesOf(facts(ALL), "the other program")).toBe(`; check the other program, ${MODULES}`);
  });
});

it("another errno is said as it is", () => {
  expect(bpfProblem("bpf", -12, "look at datagrams", "the other program")).toBe("bpf: ENOMEM");
});
