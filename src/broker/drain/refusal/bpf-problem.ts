/**
 * Why the kernel refuses the broker's use of eBPF, as a sentence's end. EPERM has many causes: this names those that
 * can be seen, and what to check, and claims none that it has not seen.
 */
import { constants } from "node:os";
import { SysError } from "../../../errors.ts";
import { beginningOf } from "../../access/small-file.ts";

const { EPERM } = constants.errno;
/** Bits of CapEff (capabilities(7), proc_pid_status(5)). */
const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;
const CAP_BPF = 39n;

/** The contents of files; empty where there is none. */
export interface BpfFacts {
  /** /proc/self/status. */
  readonly status: string;
  /** /proc/self/uid_map. */
  readonly uidMap: string;
  /** /proc/sys/kernel/unprivileged_bpf_disabled. */
  readonly unprivileged: string;
  /** /sys/kernel/security/lockdown. */
  readonly lockdown: string;
}

/** `call`: that failed. `aim`: what the broker would do, after "let". `check`: what else can be the cause of EPERM. */
export function bpfProblem(call: string, result: number, aim: string, check?: string): string {
  if (result !== -EPERM) return new SysError(call, -result).message;
  return `the kernel does not let the broker ${aim} (${call}: EPERM)${causesOf(readFacts(), check)}`;
}

function readFacts(): BpfFacts {
  return {
    status: beginningOf("/proc/self/status"),
    uidMap: beginningOf("/proc/self/uid_map"),
    unprivileged: beginningOf("/proc/sys/kernel/unprivileged_bpf_disabled").trim(),
    lockdown: beginningOf("/sys/kernel/security/lockdown").trim(),
  };
}

/** What is known, and what to check, as a sentence's end. Pure. */
export function causesOf(facts: BpfFacts, check?: string): string {
  const missing = missingOf(facts.status);
  const known = missing.length > 0 ? [`the broker lacks ${missing.join(" and ")}`] : [];
  if (missing.includes("CAP_BPF") && /^[12]$/.test(facts.unprivileged))
    known.push(`kernel.unprivileged_bpf_disabled is ${facts.unprivileged}`);
  if (isInner(facts.uidMap)) known.push("it is in a user namespace, whose capabilities do not count for eBPF");
  const checks: string[] = [];
  if (isFiltered(facts.status))
    checks.push("the seccomp filter that the broker runs under (SystemCallFilter=, the container's profile)");
  const lockdown = /\[(integrity|confidentiality)\]/.exec(facts.lockdown)?.[1];
  if (lockdown !== undefined) checks.push(`the kernel's lockdown (${lockdown})`);
  if (check !== undefined) checks.push(check);
  if (known.length === 0) checks.push("the security modules (`journalctl -k`)");
  return [...known.map((one) => `; ${one}`), ...(checks.length > 0 ? [`; check ${checks.join(", ")}`] : [])].join("");
}

/** CAP_SYS_ADMIN does for both (capabilities(7)). Where nobody tells which the broker has, none is missing. */
function missingOf(status: string): string[] {
  const written = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (written === undefined) return [];
  const has = (capability: bigint): boolean => ((BigInt(`0x${written}`) >> capability) & 1n) === 1n;
  const needed = [
    ["CAP_BPF", CAP_BPF],
    ["CAP_NET_ADMIN", CAP_NET_ADMIN],
  ] as const;
  return needed.flatMap(([name, capability]) => (has(capability) || has(CAP_SYS_ADMIN) ? [] : [name]));
}

/** The first user namespace maps all ids to themselves (user_namespaces(7)). */
function isInner(uidMap: string): boolean {
  return uidMap !== "" && uidMap.trim().split(/\s+/).join(" ") !== "0 0 4294967295";
}

/** Seccomp: 2 is SECCOMP_MODE_FILTER (proc_pid_status(5)). */
function isFiltered(status: string): boolean {
  return /^Seccomp:\s*2$/m.test(status);
}
