/**
 * What etcd may decide for this host. The broker reads the agent's files as root, so a berth file from etcd may only
 * contain what gives a server no rights of root, unless this host's operator allows it. The broker checks the rest.
 */
import { readFileSync } from "node:fs";
import { Fault } from "../../fault.ts";
import { isTable } from "../../model/fields.ts";
import { isBerthOfSet } from "../../model/names.ts";
import type { Assignment } from "../../model/placement.ts";
import { type CommandRules, commandProblem } from "./command.ts";
import { keyProblem } from "./keys.ts";
import { type SocketRules, socketProblem } from "./sockets.ts";
import { type UserRules, userProblem } from "./user.ts";

/** What the operator of this host allows. */
export interface Rules extends SocketRules, UserRules, CommandRules {}

/** Why this host does not serve the berth; undefined: nothing is against it. `passwd`: the text of passwd(5). */
export function problemOf(
  { berth, config }: Pick<Assignment, "berth" | "config">,
  rules: Rules,
  passwd: () => string = () => readFileSync("/etc/passwd", "utf8"),
): string | undefined {
  const { server = {} } = config;
  if (!isBerthOfSet(berth)) return "a berth of the fleet has the name of a set and a number, as arena-1";
  try {
    const problem = socketProblem(config, berth, rules) ?? keyProblem(config, rules);
    if (problem !== undefined || !isTable(server)) return problem;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
  return userProblem(server, rules, passwd) ?? commandProblem(server, rules);
}
