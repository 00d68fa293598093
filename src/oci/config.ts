/** The config.json of a runtime's bundle, with what a berth has to say in it. Pure. */
import { isRecord, type Json } from "./profile.ts";
import { type Machine, resolveProfile } from "./resolve.ts";

export interface BerthInContainer {
  /** The seccomp profile, with its agent. */
  readonly profile: Json;
  /** The berth's range of ids: the container's user namespace maps it. */
  readonly range?: { readonly base: number; readonly count: number } | undefined;
  /** Another folder for the container's files. */
  readonly rootfs?: string | undefined;
}

/** The configuration with a network namespace of its own, the berth's seccomp profile, its range, and the root. */
export function configForBerth(config: Json, { profile, range, rootfs }: BerthInContainer, machine: Machine): Json {
  const linux = objectOf(config["linux"]);
  const kinds = range === undefined ? ["network"] : ["network", "user"];
  const others = Array.isArray(linux["namespaces"])
    ? linux["namespaces"].filter((one) => isRecord(one) && !kinds.includes(String(one["type"])))
    : [];
  const mapping = range && [{ containerID: 0, hostID: range.base, size: range.count }];
  const { bounding } = objectOf(objectOf(config["process"])["capabilities"]);
  const capabilities = Array.isArray(bounding) ? bounding.filter((one) => typeof one === "string") : [];
  return {
    ...config,
    ...(rootfs !== undefined && { root: { ...objectOf(config["root"]), path: rootfs } }),
    linux: {
      ...linux,
      namespaces: [...others, ...kinds.map((type) => ({ type }))],
      ...(mapping !== undefined && { uidMappings: mapping, gidMappings: mapping }),
      seccomp: resolveProfile(profile, capabilities, machine),
    },
  };
}

function objectOf(value: unknown): Json {
  return isRecord(value) ? value : {};
}
