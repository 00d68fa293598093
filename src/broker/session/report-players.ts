/** The method Report: what an observer knows of the players of a berth. No call of it is logged. */
import { printable } from "../../printable.ts";
import type { BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import { type Answer, answer, invalidParameter } from "../../varlink/service.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Berths } from "../berths/berths.ts";
import type { ReportRefusal, Requester } from "../berths/request.ts";
import { refusal } from "./refusals.ts";
import type { Session } from "./session.ts";

/** More than any server has. */
const MOST_PLAYERS = 1_000_000;
const MOST_CHARACTERS = 128;

type Reported = Pick<Berths, "get" | "visibility" | "reports">;

type Report = BrokerMethods["Report"]["parameters"];

export function reportPlayers(berths: Reported, session: Session, report: Report): Answer {
  const berth = observed(berths, report.berth, session);
  if ("kind" in berth) return refusal(berth);
  const unfit = unfitOf(report);
  if (unfit !== undefined) return invalidParameter(...unfit);
  const { players, max, name, map } = report;
  const known =
    typeof players === "number"
      ? {
          count: players,
          ...(typeof max === "number" && { max }),
          ...(typeof name === "string" && { name }),
          ...(typeof map === "string" && { map }),
        }
      : undefined;
  const refused = berths.reports.put(berth, known);
  return refused === undefined ? answer({}) : refusal(refused);
}

/** The berth if the requester may report its players. Who may not see it does not learn that it exists. */
function observed(berths: Reported, name: string, who: Requester): Berth | ReportRefusal {
  const berth = berths.get(name);
  if (who.privileged) return berth ?? { kind: "absent", berth: name };
  if (berths.visibility.observes(berth, who.peer)) return berth;
  const isSeen = berth !== undefined && berths.visibility.sees(berth, who);
  return isSeen ? { kind: "not-observer", berth: name } : { kind: "denied", berth: name };
}

/** The first parameter that cannot be used, and why. */
export function unfitOf(report: Report): [parameter: string, message: string] | undefined {
  for (const key of ["players", "max"] as const) {
    const count = report[key] ?? 0;
    if (count < 0 || count > MOST_PLAYERS) return [key, `${key} must be a number from 0 to ${MOST_PLAYERS}`];
  }
  for (const key of ["name", "map"] as const) {
    const text = report[key] ?? "";
    if (text.length > MOST_CHARACTERS || printable(text) !== text)
      return [key, `${key} must be at most ${MOST_CHARACTERS} characters, none of them a control character`];
  }
  return undefined;
}
