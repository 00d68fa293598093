/** Why a socket could not be opened, for people, and what may end that. */
import type { Problem } from "../../config/toml/problem.ts";
import { formatOrigin } from "../../config/toml/problem.ts";
import { SysError } from "../../errors.ts";
import type { ListenAddress } from "../../net/address.ts";
import { describeHolders } from "./holders/socket-holders.ts";
import type { Wanted } from "./wanted.ts";

/** A socket that could not be opened. */
export interface SocketFailure {
  readonly berth: string;
  readonly problem: Problem;
  /** What may end it: another address or interface of the host, time, or only another configuration. */
  readonly cure: "network" | "time" | undefined;
}

/** An address or interface that is not there may come. */
const NETWORK: readonly (string | undefined)[] = ["EADDRNOTAVAIL", "ENODEV", "ENXIO"];

export function failureOf(want: Wanted, error: Error): SocketFailure {
  const { origin } = want.listen;
  const errno = error instanceof SysError ? error.errnoName : undefined;
  const problem = {
    file: origin.file,
    line: origin.line,
    message: `berth ${want.berth}, socket ${want.spec.name}: ${error.message}`,
    remedy:
      (errno === "EADDRINUSE" ? holderRemedy(want.listen) : undefined) ??
      remedies[errno ?? ""] ??
      `check the address and the options of the socket at ${formatOrigin(origin)}`,
  };
  return { berth: want.berth, problem, cure: NETWORK.includes(errno) ? "network" : "time" };
}

function holderRemedy(listen: ListenAddress): string | undefined {
  const holders = describeHolders(listen);
  return holders === undefined ? undefined : `${holders} has this address; stop it, or choose another`;
}

const remedies: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process has this address; find it with `ss -tulpn` and stop it, or choose another",
  EADDRNOTAVAIL: "the host has no such address; add it to an interface, or set freebind = true",
  EACCES: "the broker's user may not bind this; ports below 1024 need root or CAP_NET_BIND_SERVICE",
  EPERM: "the broker's user may not set this; run it as root or leave the option out",
  EMFILE: "the broker may not open more files; raise its RLIMIT_NOFILE (LimitNOFILE=)",
  ENODEV: "the host has no such interface; name one that `ip link` shows",
  EAFNOSUPPORT: "this kernel does not have the address family; use an address of another one",
  ENOENT: "the broker made the folder, but somebody removed it; find out who, and start again",
};
