/** The address that a player types. Pure. */
import type { DescriptorRecord } from "berthd";
import type { BerthRow } from "../api/shapes.ts";

export interface PlayerAddress {
  readonly address: string | null;
  readonly protocol: BerthRow["protocol"];
}

/** Of the first socket that players can reach; datagrams first, as games are. `own` replaces a wildcard. */
export function playerAddress(descriptors: readonly DescriptorRecord[], own: string | null): PlayerAddress {
  const found = descriptors
    .filter(({ kind }) => kind === "datagram" || kind === "stream")
    .map(({ address }) => /^(udp|tcp):\/\/(\[[^\]]+\]|[^:]+):(\d+)/.exec(address ?? ""))
    .filter((match) => match !== null);
  const best = found.find(([, protocol]) => protocol === "udp") ?? found[0];
  if (best === undefined) return { address: null, protocol: descriptors.some(isUnix) ? "unix" : null };
  const [, protocol, host = "", port = ""] = best;
  const isWildcard = host === "0.0.0.0" || host === "[::]";
  const shown = isWildcard ? own : host;
  return {
    address: shown === null ? null : `${shown.includes(":") && !shown.startsWith("[") ? `[${shown}]` : shown}:${port}`,
    protocol: protocol === "udp" ? "udp" : "tcp",
  };
}

function isUnix({ address }: DescriptorRecord): boolean {
  return address?.startsWith("unix") ?? false;
}
