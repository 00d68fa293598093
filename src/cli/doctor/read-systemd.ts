/** Reads what systemd knows of berthd's units, by systemctl(1) and by their files. It changes nothing. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { renderUnit, UNIT_MARK, unitNames } from "../../systemd/units.ts";
import { ownPrograms, systemdVersion } from "../installation.ts";
import type { SystemdFacts, UnitFacts } from "./facts.ts";

/** systemctl asks systemd over D-Bus, which may not run. */
const PATIENCE_MS = 5000;
const PROPERTIES = ["Id", "FragmentPath", "ActiveState", "UnitFileState", "NeedDaemonReload"] as const;

/** The system's systemd for root, else the user's own. Undefined where it does not run or does not answer. */
export function readSystemd(uid: number): SystemdFacts | undefined {
  if (!existsSync(uid === 0 ? "/run/systemd/system" : `/run/user/${uid}/systemd`)) return undefined;
  const version = systemdVersion();
  const shown = show(uid === 0 ? [] : ["--user"]);
  if (shown === undefined) return undefined;
  return {
    version,
    units: shown.map((properties) => unitFacts(properties, uid === 0 ? "system" : "user", version)),
    lingers: uid === 0 ? undefined : existsSync(`/var/lib/systemd/linger/${userInfo().username}`),
  };
}

type Properties = Readonly<Partial<Record<(typeof PROPERTIES)[number], string>>>;

function show(manager: readonly string[]): Properties[] | undefined {
  const names = unitNames(manager.length === 0 ? "system" : "user");
  // A template has no state of its own: its first instance stands for it.
  const asked = names.map((name) => name.replace("@.", "@-."));
  try {
    const text = execFileSync("systemctl", [...manager, "show", "--property", PROPERTIES.join(), "--", ...asked], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: PATIENCE_MS,
    });
    return text
      .trimEnd()
      .split("\n\n")
      .map((unit): Properties => Object.fromEntries(unit.split("\n").map((line) => line.split(/=(.*)/s, 2))));
  } catch {
    return undefined;
  }
}

function unitFacts(properties: Properties, manager: "system" | "user", version: number): UnitFacts {
  const { Id = "", FragmentPath: path = "", ActiveState: active = "", UnitFileState: enabled = "" } = properties;
  const name = Id.replace("@-.", "@.");
  const there = path !== "" && existsSync(path);
  const text = there ? readFileSync(path, "utf8") : "";
  // A package's units start the programs of its prefix: only those of `berth units install` are compared.
  const isOurs = text.startsWith(UNIT_MARK) && !path.startsWith("/usr/") && !path.startsWith("/lib/");
  return {
    name,
    path: there ? path : undefined,
    isCurrent: !isOurs || text === renderUnit(name, ownPrograms(version), manager).text,
    missingPrograms: missingPrograms(text),
    active,
    enabled,
    needsReload: properties.NeedDaemonReload === "yes",
  };
}

/** Programs and scripts with a full path in ExecStart=, without those that systemd would expand. */
function missingPrograms(text: string): string[] {
  const [first = ""] = /^ExecStart=(.*)$/m.exec(text)?.slice(1) ?? [];
  const paths = first.split(" ").filter((word, at) => word.startsWith("/") && !/[%$]/.test(word) && at < 2);
  return paths.filter((path) => !existsSync(path));
}
