/** The methods of io.berthd.Broker. Each call has been decoded and validated before. */
import { ConfigError } from "../../config/toml/problem.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { brokerInterface } from "../../varlink/interfaces/io.berthd.Broker.ts";
import type { BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import {
  type Answer,
  answer,
  type Handler,
  type Implementation,
  invalidParameter,
  type Later,
  type Methods,
  refuse,
} from "../../varlink/service.ts";
import { firstReservedFd } from "../access/limits/limits.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import { isStashName } from "../berths/berth/stash.ts";
import type { Berths } from "../berths/berths.ts";
import type { Refusal } from "../berths/request.ts";
import { NO_LISTENER } from "../bind/interception.ts";
import type { Interceptions } from "../bind/interceptions.ts";
import type { BrokerCounts } from "../counts/broker-counts.ts";
import type { Stops } from "../demand/stops.ts";
import type { Drains } from "../drain/drains.ts";
import type { NotifySockets } from "../notify/notify-sockets.ts";
import type { ConsoleSockets } from "../sockets/control/console-sockets.ts";
import { cancelDrain, drain } from "./drain-methods.ts";
import { makePlan } from "./launch.ts";
import { launchReply, rangeOf } from "./launch-reply.ts";
import { refusal } from "./refusals.ts";
import { reportPlayers } from "./report-players.ts";
import { guarded, retrying } from "./retry.ts";
import type { Grant, Session } from "./session.ts";
import { type SpeakContext, speak } from "./speak.ts";
import { timed } from "./timed.ts";
import { eventAnswer, type Watchers } from "./watchers.ts";

/** The parts of the broker that the methods use. */
export interface MethodsContext extends Pick<SpeakContext, "log"> {
  readonly berths: Berths;
  readonly sys: Native;
  readonly interceptions: Interceptions;
  /** For servers that systemd did not start. */
  readonly notify: NotifySockets;
  readonly consoles: ConsoleSockets;
  /** `over` resolves when no takeover is under way. Until then nothing is granted. */
  readonly takeover: { over(): Promise<void> };
  readonly watchers: Watchers;
  readonly stops: Stops;
  readonly drains: Drains;
  /** RLIMIT_NOFILE. */
  readonly maxFds: number;
  /** Absolute path of the state folder, if there is one by now. */
  readonly state: () => string | undefined;
  /** Reads the configuration again. Throws CONFIG_INVALID. */
  readonly reload: () => Promise<void>;
  readonly counts: Pick<BrokerCounts, "acquires" | "repeated">;
}

/** The handler of one method: its parameters are typed, and have been validated. */
type HandlerOf<Name extends keyof BrokerMethods> = Handler<Session, BrokerMethods[Name]["parameters"]>;

type Reply<Name extends keyof BrokerMethods> = BrokerMethods[Name]["reply"];

/**
 * The interface, for a {@link Service}. Each handler authorises, acts and replies; berths.ts decides who may do what.
 */
export function brokerMethods({
  berths,
  interceptions,
  sys,
  notify,
  consoles,
  takeover,
  watchers,
  stops,
  drains,
  maxFds,
  state,
  reload,
  counts,
  log,
}: MethodsContext): Implementation<Session> {
  /** The latest answer about each lease, for further connections of its tenant. */
  const answered = new WeakMap<Lease, Grant>();
  const grant: HandlerOf<"Acquire"> = (session, { berth: name, replace }) =>
    retrying(session, takeover, () => {
      const granted = berths.acquire(name, session, replace ?? "no");
      if (granted.kind !== "granted") return granted;
      const { berth, lease } = granted;
      session.confirm(lease);
      session.letDescriptorsIn();
      const known = answered.get(lease);
      if (known !== undefined && known.generation === berth.generation) {
        session.grants.set(name, known);
        return known.answer;
      }
      const root = berth.root?.lend();
      // No object spread here: it costs microseconds for each lease.
      const granting: Reply<"Acquire"> = { lease: lease.id, descriptors: berth.descriptors(0) };
      // An answer with a root is not reused: each one carries a new descriptor of the root.
      if (root !== undefined)
        return { ...answer({ ...granting, ...rangeOf(berth) }, berth.borrow(root)), owned: [root] };
      const reply = answer(granting, berth.borrow(root));
      const given = { berth, generation: berth.generation, answer: reply };
      answered.set(lease, given);
      session.grants.set(name, given);
      return reply;
    });
  const decide = timed(grant, counts.acquires);

  const acquire: HandlerOf<"Acquire"> = (session, parameters, call, fds) => {
    const known = session.grants.get(parameters.berth);
    if (known === undefined || known.generation !== known.berth.generation)
      return decide(session, parameters, call, fds);
    counts.repeated++;
    return known.answer;
  };

  const launch: HandlerOf<"Launch"> = (session, { berth: name, replace, command, environment }) => {
    const request = { command: command ?? undefined, environment: environment ?? undefined };
    return retrying(session, takeover, () => {
      // Check the command first: a command that cannot run must not take the berth.
      const berth = berths.find(name, session);
      if ("kind" in berth) return berth;
      const address = notify.addressFor(berth.spec.server.capabilities, session.peer);
      const unfit = makePlan(berth, "", request, address);
      if (!Buffer.isBuffer(unfit)) return invalidParameter(unfit.parameter, unfit.message);
      const known = [berth.lease, berth.incoming].find((lease) => lease !== undefined && session.holds(lease));
      const granted = berths.acquire(name, session, replace ?? "no");
      if (granted.kind !== "granted") return granted;
      session.confirm(granted.lease);
      session.letDescriptorsIn();
      const made: FdHandle[] = [];
      let reply: Answer | Refusal | undefined;
      try {
        reply = launchReply(granted, request, session.peer.uid, made, { sys, consoles, notify: address });
        return reply;
      } finally {
        // No plan, no lease: undo what this call granted.
        if (reply === undefined || !("owned" in reply)) {
          closeAll(made);
          if (known === undefined) berths.release(granted.lease.id, session);
        }
      }
    });
  };

  /** Whether the broker must not keep it, for it is one of the last descriptors. */
  const isReserved = ({ fd }: FdHandle, { privileged }: Session): boolean => fd >= firstReservedFd(maxFds, privileged);

  const stash: HandlerOf<"Stash"> = (session, { lease, name }, _, fds) => {
    if (!isStashName(name)) return invalidParameter("name", "a stash's name is 1 to 64 of A-Z a-z 0-9 _ . -");
    const [handle] = fds;
    if (handle === undefined) return invalidParameter("fds");
    if (isReserved(handle, session)) return refusal(NO_DESCRIPTOR_LEFT);
    return done(berths.stash(lease, name, handle, session));
  };

  const intercept: HandlerOf<"Intercept"> = (session, { lease }, _, fds) => {
    const [notify] = fds;
    if (notify === undefined) return invalidParameter("fds");
    if (isReserved(notify, session)) return refusal(NO_DESCRIPTOR_LEFT);
    return done(interceptions.begin(lease, notify, session));
  };

  /** Answers when it is done, unless the caller has gone. Not while a takeover is under way. */
  const later = (session: Session, act: () => Promise<Answer>): Later => {
    const run = async (): Promise<Answer | undefined> => {
      await takeover.over();
      if (session.closed) return undefined;
      try {
        const done = await act();
        return session.closed ? undefined : done;
      } catch (error) {
        return guarded(() => {
          throw error;
        });
      }
    };
    return (reply) => void run().then(reply);
  };

  const stop = async (name: string, session: Session): Promise<Answer> => {
    const done = await stops.stop(name, session);
    if (done.kind !== "stopped") return refusal(done);
    const { kind: _, ...stopped } = done;
    return answer(stopped satisfies Reply<"Stop">);
  };

  const reloaded = async (): Promise<Answer> => {
    try {
      await reload();
      const left = berths.list().filter(({ problems }) => problems.length > 0);
      const problems = left.flatMap((berth) => berth.view().problems ?? []);
      return answer({ berths: berths.size, problems } satisfies Reply<"Reload">);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const problems = error.problems.map(({ file, line, message, remedy }) => ({ file, line, message, remedy }));
      return refuse("io.berthd.Broker.ConfigurationInvalid", {
        problems,
        message: `${error.message}\nnothing changed`,
      });
    }
  };

  return {
    text: brokerInterface,
    methods: {
      List: {
        handle: (session) => {
          const views = visible(berths, session).map((berth) => berth.view());
          return answer({ berths: views } satisfies Reply<"List">);
        },
      },
      GetStateFolder: {
        handle: ({ privileged }) => {
          if (!privileged)
            return refuse(DENIED, { message: "only root and the broker's user may ask for the state folder" });
          const folder = state();
          return answer({ ...(folder !== undefined && { folder }) } satisfies Reply<"GetStateFolder">);
        },
      },
      Acquire: { handle: acquire },
      Release: { handle: (session, { lease }) => done(berths.release(lease, session)) },
      Reload: {
        handle: (session) => {
          if (!session.privileged) return refuse("org.varlink.service.PermissionDenied", { message: NOT_YOURS });
          return (reply) => void reloaded().then((it) => reply(session.closed ? undefined : it));
        },
      },
      Ready: { handle: (session, { lease }) => done(berths.ready(lease, session)) },
      Stop: { handle: (session, { berth }) => later(session, () => stop(berth, session)) },
      Drain: { handle: (session, asked) => later(session, () => drain(drains, session, asked)) },
      CancelDrain: {
        handle: (session, { berth }) => later(session, async () => cancelDrain(drains, session, berth)),
      },
      Stash: {
        handle: (...call) => guarded(() => stash(...call)),
        fds: 1,
        refuseFd: ({ name }, why) =>
          refusal({ kind: "unsuitable", name, message: `${name} cannot be stashed: ${why}` }),
      },
      Unstash: { handle: (session, { lease, name }) => done(berths.unstash(lease, name, session)) },
      Speak: { handle: (session, said) => speak({ berths, stops, log, takeover }, session, said) },
      Report: { handle: (session, report) => reportPlayers(berths, session, report) },
      Launch: { handle: timed(launch, counts.acquires) },
      Intercept: {
        handle: (...call) => guarded(() => intercept(...call)),
        fds: 1,
        refuseFd: () => refusal({ kind: "unsuitable", name: "notify", message: NO_LISTENER }),
      },
      Watch: {
        streams: true,
        handle: (session) => {
          const full = watchers.makeRoom(session);
          if (full !== undefined) return refusal(full);
          for (const berth of visible(berths, session)) session.send(eventAnswer("present", berth));
          watchers.add(session);
          return undefined;
        },
      },
    } satisfies Methods<Session, BrokerMethods>,
  };
}

const DENIED = "org.varlink.service.PermissionDenied";
const NOT_YOURS = "only root and the broker's own user may reload its configuration";

const NO_DESCRIPTOR_LEFT: Refusal = {
  kind: "limit",
  limit: "descriptors",
  message: "the broker has no descriptor left to keep this one; raise its RLIMIT_NOFILE",
};

function visible(berths: Berths, session: Session): Berth[] {
  return berths.list().filter((berth) => berths.visibility.sees(berth, session));
}

function done(why: Refusal | undefined): Answer {
  return why === undefined ? nothing : refusal(why);
}

const nothing: Answer = answer({});
