/** Why a berth does not run, what is wrong with it, or what goes on, with commands to copy. Pure. */
import type { Remedy, Why } from "../api/shapes.ts";
import { type Known, timeOf } from "./known.ts";
import { trouble } from "./state.ts";
import { clean, duration, size } from "./text.ts";

export function whyOf(known: Known, now: number): Why | null {
  const { record, state } = known;
  const { name } = record;
  switch (state) {
    case "failed":
      return failed(known);
    case "problem":
      return wrong(known, now);
    case "draining":
      return why(
        "now",
        record.drain?.deadline
          ? "Its server stops once nobody plays, at the latest when this time is up."
          : "Its server stops once nobody plays.",
        [{ what: "Keep its server running", command: `berth drain --cancel ${name}` }],
      );
    case "handover":
      return why(
        "now",
        "A new server takes over. Both have the sockets. The old one goes on until the new one is ready.",
      );
    case "starting":
      if (record.wait) return why("now", clean(record.wait.message, 300));
      return record.state === "vacant"
        ? why(
            "now",
            "A packet or connection arrived, so the broker starts the server. Players who join wait until it is ready.",
          )
        : why("now", "Its server has taken the berth, and has not reported yet that it is ready.");
    case "serving":
      return outdated(known);
    case "asleep":
      return why("not-running", "Its port is open: the first packet or connection starts its server.", [
        { what: "Wake it now", command: `berth start ${name}` },
      ]);
    case "vacant":
      return why(
        "not-running",
        "No server runs. The port is open: packets and connections wait in the kernel until one starts.",
        [
          { what: "Start it", command: `berth start ${name}` },
          {
            what: "Or let the first packet start it: add this to its file, then berth reload",
            command: '[server]\nstart = "on-demand"',
          },
        ],
      );
  }
}

function why(kind: Why["kind"], text: string, remedies: readonly Remedy[] = [], next: Why["next"] = null): Why {
  return { kind, text, next, remedies };
}

function failed({ record }: Known): Why {
  const { name, problems, wait, start } = record;
  const [problem] = problems ?? [];
  if (problem !== undefined) return configuration("not-running", problem, problems?.length ?? 1);
  if (wait) return why("not-running", clean(wait.message, 500));
  const times = start && start.failures > 1 ? ` ${start.failures} times in a row` : "";
  const reason = start?.reason ? `: ${clean(start.reason, 500)}` : "";
  return why(
    "not-running",
    `Its server did not start${times}${reason}. The port stays open: packets and connections wait in the kernel.`,
    [
      { what: "Read what it wrote", command: `berth logs ${name}` },
      { what: "Start it now, not at the next try", command: `berth start ${name}` },
    ],
    timeOf(start?.next),
  );
}

interface Problem {
  readonly file: string;
  readonly line: number;
  readonly message: string;
  readonly remedy?: string | null | undefined;
}

function configuration(kind: Why["kind"], { file, line, message, remedy }: Problem, count: number): Why {
  const others = count - 1;
  const more = others === 0 ? "" : others === 1 ? " There is 1 more problem." : ` There are ${others} more problems.`;
  const advice = remedy ? ` ${sentence(clean(remedy, 300))}.` : "";
  return why(kind, `${clean(`${file}:${line}: ${message}`, 500)}.${advice}${more}`, [
    { what: "See every problem with its remedy", command: "berth check" },
    { what: "After you have corrected them", command: "berth reload" },
  ]);
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function wrong(known: Known, now: number): Why | null {
  const { record } = known;
  const { name, problems } = record;
  const found = trouble(known, now);
  const larger: readonly Remedy[] = [
    {
      what: "Give the socket a larger receive buffer: add this to its file",
      command: `[sockets.${socketName(known)}]\nreceive-buffer = "4M"`,
    },
    { what: "Then apply it; nobody is disconnected", command: "berth check && berth reload" },
  ];
  switch (found?.kind) {
    case "loss":
      return why(
        "wrong",
        `Packets come faster than its server reads them. In ${duration(now - found.since)} the kernel has dropped ` +
          `${found.count.toLocaleString("en-US")} packets. Players notice that as lag.`,
        larger,
      );
    case "queue":
      return why("wrong", "Its receive queue is nearly full: packets come faster than its server reads them.", larger);
    case "memory":
      return why(
        "wrong",
        `Its server uses ${size(found.used)} of the ${size(found.limit)} that it may use. ` +
          "The kernel kills it when it needs more.",
        [
          {
            what: "Allow it more",
            command: `systemctl set-property ${unitOf(known)} MemoryMax=${Math.ceil((found.limit * 1.5) / 2 ** 20)}M`,
          },
          { what: "See what uses it", command: `berth top ${name}` },
        ],
      );
    case "configuration": {
      const [problem] = problems ?? [];
      return problem === undefined ? null : configuration("wrong", problem, problems?.length ?? 1);
    }
    case undefined:
      return null;
  }
}

function unitOf({ record }: Known): string {
  return record.lease?.unit ?? `berth@${record.name}.service`;
}

function socketName({ record, measured }: Known): string {
  const fullest = [...(measured?.sockets ?? [])].sort((a, b) => (b.drops ?? 0) - (a.drops ?? 0))[0];
  return fullest?.name ?? record.descriptors.find(({ kind }) => kind === "datagram")?.name ?? "game";
}

function outdated({ record }: Known): Why | null {
  const newer = record.root?.newer?.map((one) => clean(one, 60)).join(" + ");
  if (!record.outdated && newer === undefined) return null;
  const older = record.older ?? [];
  const what = older.length > 0 ? ` It still has ${older.map((one) => clean(one, 80)).join(", ")}.` : "";
  const configuration = record.outdated ? [`Its configuration has changed since its server started.${what}`] : [];
  const image = newer === undefined ? [] : [`The next server gets the image ${newer}.`];
  return why("now", [...configuration, ...image].join(" "), [
    { what: "Restart it; players are disconnected", command: `berth restart ${record.name}` },
  ]);
}
