/** `berth-fleet roles`: the commands that give a host its rights in etcd. */
import { Fault } from "../fault.ts";
import { Keys } from "../model/keys.ts";
import { hostName } from "../model/names.ts";
import { commonFlags, parse } from "./common.ts";
import { rolesUsage } from "./usage.ts";

/** Only prints them: to change users of etcd takes another certificate than ours. */
export async function rolesCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return rolesUsage;
  if (positionals.length === 0) throw new Fault("USAGE", "roles needs a host's name");
  const keys = new Keys(values.prefix);
  return positionals.map((name) => rolesOf(keys, hostName(name, "roles"))).join("");
}

/** A host's names have no character that means something to a shell. Its user of etcd has the host's name. */
function rolesOf(keys: Keys, host: string): string {
  const role = `host-${host}`;
  const grant = `etcdctl role grant-permission ${role}`;
  return `etcdctl role add ${role}
${grant} readwrite ${keys.of({ kind: "host", host })}
${grant} readwrite ${keys.allOf("state", host)} --prefix
${grant} read ${keys.allOf("assignment", host)} --prefix
etcdctl user add ${host} --no-password
etcdctl user grant-role ${host} ${role}
`;
}
