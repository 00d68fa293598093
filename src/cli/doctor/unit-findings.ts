/** What systemd has of berthd's units. Pure. */
import type { Facts, UnitFacts } from "./facts.ts";
import { advice, type Finding, fine, problem } from "./finding.ts";

export function unitFindings({ systemd, isRoot }: Facts): Finding[] {
  const check = "units";
  if (systemd === undefined) return [fine(check, "no systemd runs here: berthd is started by hand")];
  const ctl = isRoot ? "systemctl" : "systemctl --user";
  const install = `berth units install${isRoot ? "" : " --user"} && ${ctl} daemon-reload`;
  const enable = `${ctl} enable --now berthd.socket`;
  const present = systemd.units.filter(({ path }) => path !== undefined);
  if (present.length === 0) {
    const message = `systemd ${systemd.version} runs, and has no unit of berthd`;
    // A user may well use the broker of the host.
    return [isRoot ? advice(check, message, `${install} && ${enable}`) : fine(check, message)];
  }
  const findings = [
    ...files(systemd.units, install),
    ...present.flatMap((unit) => running(unit, ctl)),
    ...socket(present, enable),
    ...lingering(systemd.lingers),
  ];
  return findings.length > 0 ? findings : [fine(check, `${present.length} units are installed and current`)];
}

function files(units: readonly UnitFacts[], install: string): Finding[] {
  const missing = units.filter(({ path }) => path === undefined);
  const broken = units.filter(({ missingPrograms }) => missingPrograms.length > 0);
  const older = units.filter(
    ({ isCurrent, path }) => path !== undefined && !isCurrent && !broken.some((one) => one.path === path),
  );
  return [
    ...(missing.length === 0
      ? []
      : [problem("units", `not installed: ${missing.map(({ name }) => name).join(", ")}`, install)]),
    ...broken.map(({ name, missingPrograms }) =>
      problem("units", `the unit ${name} starts ${missingPrograms.join(" and ")}, which is not there`, install),
    ),
    ...(older.length === 0
      ? []
      : [advice("units", `another version of berth wrote ${older.map(({ name }) => name).join(", ")}`, install)]),
  ];
}

function running({ name, active, needsReload }: UnitFacts, ctl: string): Finding[] {
  const journal = ctl === "systemctl" ? "journalctl" : "journalctl --user";
  return [
    ...(active === "failed" ? [problem("units", `the unit ${name} has failed`, `${journal} -n 20 -u ${name}`)] : []),
    ...(needsReload ? [advice("units", `the file of ${name} has changed`, `${ctl} daemon-reload`)] : []),
  ];
}

function socket(units: readonly UnitFacts[], enable: string): Finding[] {
  const found = units.find(({ name }) => name === "berthd.socket");
  if (found === undefined || found.active === "failed") return [];
  if (found.active !== "active") return [problem("units", "the unit berthd.socket does not listen", enable)];
  if (found.enabled !== "disabled") return [];
  return [advice("units", "the unit berthd.socket does not start at boot", enable)];
}

function lingering(lingers: boolean | undefined): Finding[] {
  if (lingers !== false) return [];
  return [advice("units", "the broker and its servers end when you log out", "loginctl enable-linger")];
}
