/** What to do with a new berth, as commands that work when pasted. Pure. */

/** What is known of this machine. */
export interface Surroundings {
  readonly name: string;
  /** A template is no berth: an instance comes first. */
  readonly isTemplate: boolean;
  readonly isRoot: boolean;
  /** `--config`, where the broker has to be told of it. */
  readonly config: readonly string[];
  readonly user: string | undefined;
  /** The server's folder, if it is not there yet. */
  readonly missingFolder: string | undefined;
  readonly brokerAnswers: boolean;
  /** Whether systemd runs and has the units of berth. */
  readonly hasSystemd: boolean;
  readonly hasUnits: boolean;
  readonly hasCommand: boolean;
  /** How the server is stopped, as a unit's settings: systemd does not read those of the berth. */
  readonly stopSettings: readonly string[];
}

/** The commands, in their order. */
export function nextSteps(about: Surroundings): readonly string[] {
  const { name, isTemplate, isRoot, user, missingFolder, config } = about;
  if (isTemplate) {
    const instance = `${name}one`;
    return [`ln -s ${shellWord(`${name}.toml`)} ${shellWord(`${config.at(-1)}/${instance}.toml`)}`];
  }
  const owner = user === undefined ? "" : `-o ${shellWord(user)} `;
  return [
    ...(missingFolder === undefined ? [] : [`install -d ${owner}${shellWord(missingFolder)}`]),
    ...brokerStep(about),
    ...stopStep(about),
    !about.hasCommand
      ? `berth run ${name} -- /path/of/the/server`
      : isRoot && about.hasSystemd
        ? `berth start ${name}`
        : `berth run ${name}`,
  ];
}

/** Has the broker read the file: the one that runs, or a new one. */
function brokerStep({ brokerAnswers, isRoot, hasSystemd, hasUnits, config }: Surroundings): string[] {
  if (brokerAnswers) return ["berth reload"];
  if (isRoot && hasSystemd) {
    const enable = "systemctl enable --now berthd.socket";
    return [hasUnits ? enable : `berth units install && systemctl daemon-reload && ${enable}`];
  }
  return [`berthd ${config.map((folder) => `--config ${shellWord(folder)} `).join("")}&`];
}

/** Has the berth's unit stop the server as the berth says, by a drop-in. */
function stopStep({ name, isRoot, hasSystemd, hasCommand, stopSettings }: Surroundings): string[] {
  if (!isRoot || !hasSystemd || !hasCommand || stopSettings.length === 0) return [];
  const folder = shellWord(`/etc/systemd/system/berth@${name}.service.d`);
  const lines = ["[Service]", ...stopSettings].map(shellWord).join(" ");
  return [`mkdir -p ${folder} && printf '%s\\n' ${lines} >${folder}/stop.conf && systemctl daemon-reload`];
}

/** The settings of a unit for what a berth's text says of its server's stop. */
export function stopSettingsOf(text: string): readonly string[] {
  const setting = (key: string): string | undefined => new RegExp(`^${key} = "(.*)"$`, "m").exec(text)?.[1];
  const [signal, timeout] = [setting("stop-signal"), setting("stop-timeout")];
  return [
    ...(signal === undefined ? [] : [`KillSignal=${signal}`]),
    ...(timeout === undefined ? [] : [`TimeoutStopSec=${timeout}`]),
  ];
}

/** The text as one word of a shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
