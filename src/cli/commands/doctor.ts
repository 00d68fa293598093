/** `berth doctor`: looks at what berthd needs from this machine, and says what to do. It changes nothing. */
import type { Command } from "commander";
import { printable, printableJson } from "../../printable.ts";
import { diagnose } from "../doctor/diagnosis.ts";
import type { Finding } from "../doctor/finding.ts";
import { readFacts } from "../doctor/read-facts.ts";
import { type ConfigChoice, configOption, jsonOption, type SocketChoice, socketOption } from "../options.ts";
import { EXIT_REFUSED } from "../print/exit.ts";
import { hasColours, print } from "../print/stdout.ts";
import { type Cell, renderTable, type Style } from "../print/table.ts";

interface DoctorOptions extends SocketChoice, ConfigChoice {
  readonly json?: true;
}

const help = `
It looks at the kernel and its settings, capabilities, limits, systemd's units, the versions, the broker and the
configuration, for the user who calls it. It changes nothing. A setting of sysctl(8) lasts until the next boot: write it
into a file of /etc/sysctl.d as well.
Exit status: 0 nothing is wrong, also where there is advice; 1 problems, 100 usage, 111 system.

Examples:
  berth doctor
  sudo berth doctor
  berth doctor --json | jq -r '.findings[] | select(.level == "problem").remedy'`;

const STYLES: Readonly<Record<Finding["level"], Style>> = { fine: "green", advice: "yellow", problem: "red" };

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("look for what keeps berthd or its servers from working on this machine, and say what to do")
    .addOption(socketOption())
    .addOption(configOption())
    .addOption(jsonOption("the findings"))
    .addHelpText("after", help)
    .action(async (_options: DoctorOptions, command: Command) => {
      const { socket, config, json } = command.optsWithGlobals<DoctorOptions>();
      const findings = diagnose(await readFacts(socket, config));
      const problems = findings.filter(({ level }) => level === "problem").length;
      print(json ? `${printableJson({ problems, findings }, 2)}\n` : report(findings, problems));
      if (problems > 0) process.exitCode = EXIT_REFUSED;
    });
}

function report(findings: readonly Finding[], problems: number): string {
  const rows = findings.flatMap(({ level, message, remedy }): Cell[][] => [
    [{ text: level, style: STYLES[level] }, { text: printable(message) }],
    ...(remedy === undefined ? [] : [[{ text: "" }, { text: `  ${printable(remedy)}` }]]),
  ]);
  const sum = problems === 0 ? "nothing is wrong" : `${problems} ${problems === 1 ? "problem" : "problems"}`;
  return `${renderTable(rows, hasColours())}${sum}\n`;
}
