/**
 * The seccomp profile of a container manager (containers/common, moby), with the rule that tells an agent of each
 * bind(2). Pure.
 */

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

export interface AgentAddress {
  /** The agent's socket. */
  readonly listenerPath: string;
  /** What the agent is told with it: the berth's name. */
  readonly listenerMetadata: string;
}

/** For a machine without containers-common: the runtime's capabilities already forbid the rest. */
export const MINIMAL_PROFILE: Json = {
  defaultAction: "SCMP_ACT_ALLOW",
  archMap: [
    { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
    { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
  ],
  syscalls: [
    {
      names: [
        ...["add_key", "bpf", "delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load"],
        ...["keyctl", "mount", "move_mount", "open_by_handle_at", "perf_event_open", "pivot_root", "ptrace"],
        ...["reboot", "request_key", "setns", "swapoff", "swapon", "umount2", "unshare", "userfaultfd"],
      ],
      action: "SCMP_ACT_ERRNO",
      errnoRet: 1,
      args: [],
    },
  ],
};

/** SYS_BIND of socketcall(2), by which 32-bit programs bind. */
const SOCKETCALL_BIND = 2;

/** The call is reported to the agent. */
const NOTIFY = "SCMP_ACT_NOTIFY";

/** The profile with the rule, or a sentence that says why it cannot have it. */
export function profileWithAgent(base: Json, { listenerPath, listenerMetadata }: AgentAddress): Json | string {
  const { syscalls } = base;
  if (!Array.isArray(syscalls) || !syscalls.every(isRecord)) return "it has no list of syscalls";
  const other = base["listenerPath"];
  if (typeof other === "string" && other !== "" && other !== listenerPath)
    return `it has another agent, ${other}, and the kernel allows only one`;
  const kept = syscalls.flatMap(withoutBind);
  const reported = kept.find(({ action }) => action === NOTIFY);
  if (reported !== undefined)
    return `it reports other calls than bind(2) to an agent (${namesOf(reported).join(", ")}), and the broker answers none of them`;
  const rule = { names: ["bind"], action: NOTIFY, args: [] };
  return { ...base, listenerPath, listenerMetadata, syscalls: [...kept, rule] };
}

/** What a rule says of other calls than bind(2). libseccomp adds the part of socketcall(2) that is one. */
function withoutBind(rule: Json): Json[] {
  const names = namesOf(rule);
  const others = names.filter((name) => name !== "bind" && name !== "socketcall");
  const hasNoConditions = !Array.isArray(rule["args"]) || rule["args"].length === 0;
  const socketcall = { index: 0, value: SOCKETCALL_BIND, op: "SCMP_CMP_NE" };
  const { name: _, ...rest } = rule;
  return [
    ...(others.length > 0 ? [{ ...rest, names: others }] : []),
    ...(names.includes("socketcall") && hasNoConditions
      ? [{ ...rest, names: ["socketcall"], args: [socketcall] }]
      : []),
  ];
}

/** Old profiles have one `name`. */
function namesOf({ names, name }: Json): string[] {
  const all: unknown[] = Array.isArray(names) && names.length > 0 ? names : [name];
  return all.filter((one) => typeof one === "string");
}

export function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
