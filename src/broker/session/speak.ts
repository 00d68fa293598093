/**
 * The method Speak: what the program that serves a server's SDK says for that server. It may say what the server could
 * say itself by sd_notify(3), and end it. It says it of one lease, so that no later server of the berth is meant.
 */
import { isScarcity } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import { type Answer, answer, invalidParameter } from "../../varlink/service.ts";
import { TenantWatchdog } from "../berths/berth/tenant-watchdog.ts";
import type { Berths } from "../berths/berths.ts";
import type { Tenancy } from "../berths/leases.ts";
import type { Requester, Speaker, SpeakRefusal } from "../berths/request.ts";
import type { Stops } from "../demand/stops.ts";
import { refusal } from "./refusals.ts";
import { unfitOf } from "./report-players.ts";

/** How long to wait where descriptors or memory have run out, in milliseconds. */
const RETRY_MS = 1000;

export interface SpeakContext {
  readonly berths: Pick<Berths, "get" | "leases" | "ready" | "reports" | "statuses" | "visibility">;
  readonly stops: Pick<Stops, "end">;
  readonly log: Log;
  /** As for all methods: nothing is stopped while a takeover is under way. */
  readonly takeover: { over(): Promise<void> };
}

type Spoken = BrokerMethods["Speak"]["parameters"];

export function speak(context: SpeakContext, who: Requester, spoken: Spoken): Answer {
  const tenancy = spokenFor(context, who, spoken);
  if ("kind" in tenancy) return refusal(tenancy);
  const { players, max, status } = spoken;
  const unfit = unfitOf({ berth: spoken.berth, players, max }) ?? unfitStatus(status ?? "");
  if (unfit !== undefined) return invalidParameter(...unfit);
  const { berths } = context;
  const { berth, lease } = tenancy;
  if (typeof status === "string") berths.statuses.put(berth, lease, status);
  if (typeof players === "number") {
    lease.said = { count: players, ...(typeof max === "number" && { max }), at: Date.now() * 1000 };
    berths.reports.update(berth);
  }
  const server: Speaker = { privileged: false, holds: (other) => other === lease };
  if (spoken.ready === true && !lease.ready) berths.ready(lease.id, server, "keep");
  if (spoken.end === "abort") abort(context, tenancy, who);
  else if (spoken.end === "stop" && !lease.endAsked) {
    // The call is answered at once: however often it comes, one stop is under way.
    lease.endAsked = true;
    void stop(context, tenancy, who);
  }
  return answer({});
}

/** The lease, if the requester may speak for its server. Who may not see the berth does not learn that it exists. */
function spokenFor(
  { berths }: SpeakContext,
  who: Requester,
  { berth: name, lease: id }: Spoken,
): Tenancy | SpeakRefusal {
  const berth = berths.get(name);
  if (!who.privileged && (berth === undefined || !berths.visibility.speaksFor(berth, who.peer))) {
    const isSeen = berth !== undefined && berths.visibility.sees(berth, who);
    return isSeen ? { kind: "not-speaker", berth: name } : { kind: "denied", berth: name };
  }
  if (berth === undefined) return { kind: "absent", berth: name };
  const found = berths.leases.tenancyOf(id);
  return found?.berth === berth ? found : { kind: "no-lease", lease: id };
}

/** As its watchdog does when the server has not called. */
function abort({ log }: SpeakContext, { berth, lease }: Tenancy, { peer }: Requester): void {
  lease.watchdog ??= new TenantWatchdog(berth.name, lease, 0, log);
  lease.watchdog.kill(`hangs, as pid ${peer.pid} (uid ${peer.uid}) says, which serves its SDK`);
}

/** With the broker's rights: the berth's file names who may say this. */
async function stop(context: SpeakContext, { berth, lease }: Tenancy, who: Requester): Promise<void> {
  const { stops, log, takeover } = context;
  const { pid, uid } = who.peer;
  await takeover.over();
  if (lease.ended) return;
  const why = `its server asked for its end, as pid ${pid} (uid ${uid}) says, which serves its SDK`;
  const failed = (message: string): void =>
    log("warning", `berth ${berth.name}: ${message}`, { event: "stop-failed", berth: berth.name });
  try {
    const done = await stops.end(berth, [lease], { privileged: true, uid, why });
    if (done.kind !== "not-stopped") return;
    lease.endAsked = false;
    failed(done.message);
  } catch (error) {
    if (!isScarcity(error)) throw error;
    failed(`its server asked for its end, and is stopped later: ${error.message}`);
    setTimeout(() => void stop(context, { berth, lease }, who), RETRY_MS).unref();
  }
}

function unfitStatus(status: string): [parameter: string, message: string] | undefined {
  const unfit = unfitOf({ berth: "", name: status });
  return unfit === undefined ? undefined : ["status", unfit[1].replace(/^name/, "status")];
}
