/**
 * The Host header, against DNS rebinding: a foreign web site can make its own name point to this server. A browser
 * that shows that site then sends the foreign name here. Pure.
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
