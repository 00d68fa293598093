/**
 * The socket options that a server can set before bind(2) and that bind delivery does not carry over to the held
 * socket: neither carried, nor a key of the configuration. What nobody can read (filters, multicast memberships) is not
 * among them: docs/bind-delivery.md. Data alone.
 */
import { carriedOptions } from "../../config/keys/carried-options.ts";
import { type KernelOption, type SocketOption, socketOptions } from "../../config/keys/socket-options.ts";
import type { ListenAddress } from "../../net/address.ts";
import { IPPROTO_IPV6, IPV6_V6ONLY, SO_REUSEADDR, SOL_SOCKET } from "../../net/socket-constants.ts";
import { type TenantOption, tenantOptions } from "./tenant-options.ts";

/** Those that a socket of this kind can have. */
export function lostOptions(listen: ListenAddress): readonly TenantOption[] {
  return tenantOptions(listen).filter((option) => !isElsewhere(option));
}

const carried = new Set(carriedOptions.map(key));
const configured = new Set(
  Object.values<SocketOption<unknown>>(socketOptions).flatMap(({ when, sets }) =>
    when === "bind" ? sets.map(({ kernel }) => key(kernel)) : [],
  ),
);
/** The berth's listeners have SO_REUSEADDR, and `*` or `[::]` says IPV6_V6ONLY. */
const ofTheBerth = new Set([`${SOL_SOCKET} ${SO_REUSEADDR}`, `${IPPROTO_IPV6} ${IPV6_V6ONLY}`]);

function isElsewhere(option: TenantOption): boolean {
  const own = key(option);
  // What changes with a carried option comes with it.
  const follows = carriedOptions.some(({ name }) => option.follows?.includes(name));
  return carried.has(own) || configured.has(own) || ofTheBerth.has(own) || follows;
}

function key({ level, option }: Pick<KernelOption, "level" | "option">): string {
  return `${level} ${option}`;
}
