/**
 * Makes of a container manager's seccomp profile what a runtime's config.json has as `linux.seccomp`: only the rules
 * that hold for the container's capabilities and for this machine, as containers/common and moby do it. Pure.
 */
import { isRecord, type Json } from "./profile.ts";

export interface Machine {
  /** As Node names it: `x64`. */
  readonly arch: string;
}

/** Names of architectures: of Node, of profiles, and of libseccomp. */
const ARCHITECTURES: Readonly<Record<string, readonly [profile: string, libseccomp: string]>> = {
  x64: ["amd64", "SCMP_ARCH_X86_64"],
  arm64: ["arm64", "SCMP_ARCH_AARCH64"],
};

/** `capabilities`: those that the container's program may have. */
export function resolveProfile(profile: Json, capabilities: readonly string[], { arch }: Machine): Json {
  const [name = arch, native = ""] = ARCHITECTURES[arch] ?? [];
  const { syscalls, archMap, ...rest } = profile;
  const rules = recordsOf(syscalls).filter(({ includes, excludes }) => {
    const needs = conditions(includes);
    const forbids = conditions(excludes);
    return (
      needs.caps.every((one) => capabilities.includes(one)) &&
      (needs.arches.length === 0 || needs.arches.includes(name)) &&
      !forbids.caps.some((one) => capabilities.includes(one)) &&
      !forbids.arches.includes(name)
    );
  });
  const mapped = recordsOf(archMap).find(({ architecture }) => architecture === native);
  const architectures = mapped === undefined ? undefined : [native, ...stringsOf(mapped["subArchitectures"])];
  const { defaultErrno: _, ...common } = rest;
  return {
    ...common,
    ...(architectures !== undefined && { architectures }),
    syscalls: distinct(
      rules.map(({ names, action, errnoRet, args }) => ({
        names,
        action,
        ...(errnoRet !== undefined && { errnoRet }),
        ...(Array.isArray(args) && args.length > 0 && { args }),
      })),
    ),
  };
}

/** libseccomp refuses a rule that it has already, and the profile of containers-common 0.50 has one twice. */
function distinct(rules: readonly Json[]): Json[] {
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()];
}

function conditions(value: unknown): { readonly caps: readonly string[]; readonly arches: readonly string[] } {
  const { caps, arches } = isRecord(value) ? value : {};
  return { caps: stringsOf(caps), arches: stringsOf(arches) };
}

function recordsOf(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}
