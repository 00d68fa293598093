/**
 * The Host header, against DNS rebinding: a stranger's page in a browser that has its own name point to this server
 * sends that name. Pure.
 */
import { isLoopback } from "../options/listen.ts";

/** Whether a request may have this Host. `names` are those of --host-name; over a UNIX socket every one is good. */
export function isOwnHost(host: string | undefined, names: readonly string[], isUnix: boolean): boolean {
  if (host === undefined) return false;
  const name = withoutPort(host)?.toLowerCase();
  if (name === undefined) return false;
  return isUnix || isLoopback(name) || names.some((own) => own.toLowerCase().replace(/^\[|\]$/g, "") === name);
}

/** Undefined for what is no host at all. */
function withoutPort(host: string): string | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?$/.exec(host);
  return match?.[1] ?? match?.[2]?.replace(/\.$/, "");
}
