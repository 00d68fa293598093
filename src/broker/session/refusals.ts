/** Makes the Varlink error reply of a refusal, with a message for people. Pure. */
import { describeProblems } from "../../config/toml/problem.ts";
import { type Answer, refuse } from "../../varlink/service.ts";
import type { ReportRefusal, SpeakRefusal, StopRefusal } from "../berths/request.ts";

/** The error reply of a refusal. */
export function refusal(why: StopRefusal | ReportRefusal | SpeakRefusal): Answer {
  switch (why.kind) {
    case "denied":
      return refuse("org.varlink.service.PermissionDenied", {
        message: `you may not take berth ${quote(why.berth)}, or there is none of that name; \`berth ls\` lists those you may`,
      });
    case "absent":
      return refuse("io.berthd.Broker.NoSuchBerth", {
        berth: why.berth,
        message: `there is no berth ${quote(why.berth)}; \`berth ls\` lists them`,
      });
    case "occupied":
      // The berth exists, so its name needs no quoting in a shell.
      return refuse("io.berthd.Broker.BerthOccupied", {
        berth: why.berth,
        lease: why.lease,
        message: `berth ${why.berth} is taken by pid ${why.lease.pid} (uid ${why.lease.uid}); to take over: berth run --replace try ${why.berth}`,
      });
    case "not-yours":
      return refuse("org.varlink.service.PermissionDenied", {
        message: `berth ${why.berth} is taken by pid ${why.lease.pid} (uid ${why.lease.uid}): only that user, root and the broker's own user may stop its server`,
      });
    case "drained-by":
      return refuse("org.varlink.service.PermissionDenied", {
        message: `uid ${why.uid} asked to drain berth ${why.berth}: only root and the broker's own user may cancel that or give it a later deadline`,
      });
    case "not-stopped":
      return refuse("io.berthd.Broker.StopFailed", {
        berth: why.berth,
        ...(why.lease !== undefined && { lease: why.lease }),
        message: `berth ${why.berth}: ${why.message}`,
      });
    case "stopping":
      return refuse("io.berthd.Broker.ServerStopping", {
        berth: why.berth,
        lease: why.lease,
        message: `the server of berth ${why.berth}, pid ${why.lease.pid}, is being stopped already; to start it again then: berth start ${why.berth}`,
      });
    case "vacant":
      return refuse("io.berthd.Broker.BerthVacant", {
        berth: why.berth,
        message: `berth ${why.berth} has no tenant to take over from; to take it: berth run ${why.berth}`,
      });
    case "problem":
      return refuse("io.berthd.Broker.BerthHasProblems", {
        berth: why.berth,
        problems: why.problems.map(({ file, line, message, remedy }) => ({ file, line, message, remedy })),
        message: `berth ${why.berth} has a problem: ${describeProblems(why.problems)}`,
      });
    case "not-observer":
      return refuse("org.varlink.service.PermissionDenied", {
        message: `you may not report the players of berth ${why.berth}: write your user into its [observer] users`,
      });
    case "not-speaker":
      return refuse("org.varlink.service.PermissionDenied", {
        message: `you may not speak for the server of berth ${why.berth}: write your user into its server.sdk-user`,
      });
    case "no-tenant":
      return refuse("io.berthd.Broker.BerthVacant", {
        berth: why.berth,
        message: `berth ${why.berth} has no tenant, so nobody plays there`,
      });
    case "no-lease":
      return refuse("io.berthd.Broker.NoSuchLease", {
        lease: why.lease,
        message: `this process has no lease ${quote(why.lease)}; it may have ended`,
      });
    case "limit":
      return refuse("io.berthd.Broker.LimitReached", { limit: why.limit, message: why.message });
    case "no-root":
      return refuse("io.berthd.Broker.RootUnavailable", {
        berth: why.berth,
        message: `the root of berth ${quote(why.berth)} is not available: ${why.message}`,
      });
    case "unsuitable":
      return refuse("io.berthd.Broker.UnsuitableDescriptor", { name: why.name, message: why.message });
    default:
      return why satisfies never;
  }
}

/** Names in messages come from the peer: quoted, and cut to a maximum. */
function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
