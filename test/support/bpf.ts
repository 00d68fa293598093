/** eBPF in tests. */
import { accessSync, constants, readFileSync } from "node:fs";
import { native } from "../../src/native.ts";
import { MAP_TYPES, type Program } from "../../src/net/bpf-program.ts";
import { isRoot, type Needs } from "./needs.ts";

/** The least ring: a page. */
export const RING_BYTES = 4096;

/** Options for tests that load programs: they skip, and say why, where the kernel lets nobody. */
export function needsBpf(): Needs {
  if (!isRoot) return { skip: true, meta: { needs: "needs root: sudo npm test" } };
  const map = native.bpfMap(MAP_TYPES.ring, 0, 0, RING_BYTES);
  if (map < 0) return { skip: true, meta: { needs: "needs bpf(2): Linux 5.8 and CAP_BPF" } };
  native.close(map);
  return {};
}

/** Where control groups of version 2 are mounted, at one of the places where the broker looks. */
export function groupsRoot(): string | undefined {
  return /^\S+ (\/sys\/fs\/cgroup(?:\/unified)?) cgroup2 /m.exec(readFileSync("/proc/mounts", "latin1"))?.[1];
}

/** As {@link needsBpf}, for programs of a control group. */
export function needsGroups(): Needs {
  const needs = needsBpf();
  if (needs.skip === true || groupsRoot() !== undefined) return needs;
  return { skip: true, meta: { needs: "needs control groups of version 2" } };
}

/** As {@link needsGroups}, for a test that makes a control group. */
export function needsNewGroups(): Needs {
  const needs = needsGroups();
  if (needs.skip === true) return needs;
  try {
    accessSync(groupsRoot() ?? "", constants.W_OK);
    return {};
  } catch {
    return { skip: true, meta: { needs: "needs control groups that root may change" } };
  }
}

/** Loads it. Throws Error with what the kernel's verifier says. */
export function loaded(program: Program): number {
  const log = Buffer.alloc(65_536);
  const fd = native.bpfSocketFilter(program.encode(), log);
  if (fd < 0) throw new Error(`${fd}: ${log.toString("latin1", 0, log.indexOf(0))}`);
  return fd;
}
