/** What is wrong with a machine, and what to do. Pure: facts in, findings out. */
import type { Facts } from "./facts.ts";
import { advice, type Finding, fine, problem } from "./finding.ts";
import { kernelFindings } from "./kernel-findings.ts";
import { unitFindings } from "./unit-findings.ts";
import { isOlder } from "./version.ts";

/** The findings, in the order in which to mend them. */
export function diagnose(facts: Facts): readonly Finding[] {
  return [
    node(facts),
    ...kernelFindings(facts),
    openFiles(facts),
    ...unitFindings(facts),
    broker(facts),
    configuration(facts),
  ];
}

function node({ node: present, nodeNeeded }: Facts): Finding {
  if (!isOlder(present, nodeNeeded)) return fine("node", `Node ${present}`);
  return problem(
    "node",
    `Node ${present} is too old: berthd needs ${nodeNeeded} or newer`,
    "install a newer Node: https://nodejs.org/en/download",
  );
}

/** What a broker of some hundred berths needs. */
const FILES_WANTED = 4096;

function openFiles({ openFiles: limit, isRoot }: Facts): Finding {
  if (limit >= FILES_WANTED) return fine("open-files", `up to ${limit} open files`);
  const message = `a program started here may open ${limit} files, which is little for a broker of many berths`;
  return advice("open-files", message, isRoot ? "ulimit -n 65536" : "sudo prlimit --pid $$ --nofile=65536:65536");
}

function broker({ broker: found, version, systemd, isRoot }: Facts): Finding {
  const check = "broker";
  const ctl = isRoot ? "systemctl" : "systemctl --user";
  const underSystemd = systemd?.units.some(({ name, path }) => name === "berthd.socket" && path !== undefined) === true;
  if (!found.answers) return problem(check, found.why, underSystemd ? `${ctl} enable --now berthd.socket` : "berthd &");
  if (found.version === version) return fine(check, `the broker answers, version ${version}`);
  const restart = underSystemd ? `${ctl} restart berthd.service` : "berthd --replace try &";
  return advice(check, `the broker has version ${found.version}, and this program ${version}`, restart);
}

function configuration({ config }: Facts): Finding {
  const check = "configuration";
  const { berths, problems } = config;
  const count = `${berths} ${berths === 1 ? "berth" : "berths"}`;
  if (problems > 0)
    return problem(
      check,
      `the configuration has ${problems} ${problems === 1 ? "problem" : "problems"}`,
      "berth check",
    );
  if (berths > 0) return fine(check, `${count} without a problem`);
  return advice(check, "there are no berths yet", "berth new --help");
}
