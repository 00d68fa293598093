/**
 * The plan that sets the configured options on a bound socket that tenants have or had. It says what could not be set.
 */
import { constants } from "node:os";
import { type KernelOption, listenerReuse, type SocketOptions, settingsFor } from "../../config/keys/socket-options.ts";
import { SysError } from "../../errors.ts";
import type { ListenAddress } from "../../net/address.ts";
import { O_NONBLOCK } from "../../net/socket-constants.ts";
import type { SocketCall, SocketPlan } from "./socket-call.ts";

const { EPERM } = constants.errno;

interface Setting {
  readonly kernel: KernelOption;
  readonly value: number | string;
}

/** Of a socket that comes from a .socket unit, those options are set too that another has from its bind on. */
export function* settingsPlan(
  listen: ListenAddress,
  options: SocketOptions,
  place: "unit" | "held",
): SocketPlan<string[]> {
  const isUnits = place === "unit";
  const isTcp = listen.kind === "stream" && listen.address.family !== "unix";
  const settings: Setting[] = [
    ...(isUnits && isTcp ? [{ kernel: listenerReuse, value: 1 }] : []),
    ...(isUnits ? settingsFor("bind", listen, options) : []),
    ...settingsFor("any", listen, options),
  ];
  const listening: SocketCall[] = listen.kind === "datagram" ? [] : [{ call: "listen", backlog: options.backlog }];
  const calls = [...settings.map(forced), ...listening, { call: "getfl" } as const];
  const results = yield calls;
  // Above net.core.[rw]mem_max only CAP_NET_ADMIN helps; without it the kernel reduces the size (socket(7)).
  const refused = settings.filter(({ kernel }, at) => kernel.force !== undefined && results[at]?.result === -EPERM);
  const flags = results.at(-1)?.result ?? -1;
  // accept(2) and recv(2) wait, as servers expect from systemd (NonBlocking=no, systemd.service(5)).
  const waiting: SocketCall[] =
    isUnits && flags >= 0 && (flags & O_NONBLOCK) !== 0 ? [{ call: "setfl", flags: flags & ~O_NONBLOCK }] : [];
  const left = [...refused.map(plain), ...waiting];
  const more = left.length === 0 ? [] : yield left;
  return settings.flatMap((setting, at) => {
    const again = refused.indexOf(setting);
    const result = (again < 0 ? results[at] : more[again])?.result ?? 0;
    return result < 0
      ? [`cannot get its options: ${new SysError(`setsockopt ${setting.kernel.name}`, -result).message}`]
      : [];
  });
}

function forced(setting: Setting): SocketCall {
  const { level, force } = setting.kernel;
  return force === undefined ? plain(setting) : { call: "setsockopt", level, option: force, value: raw(setting.value) };
}

function plain({ kernel: { level, option }, value }: Setting): SocketCall {
  return { call: "setsockopt", level, option, value: raw(value) };
}

function raw(value: number | string): number | Uint8Array {
  return typeof value === "string" ? Buffer.from(`${value}\0`) : value;
}
