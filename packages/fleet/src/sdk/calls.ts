/**
 * The calls that there are, each with its names in gRPC and in REST. Names, numbers and paths are those of
 * proto/sdk/sdk.proto, alpha/alpha.proto and beta/beta.proto of github.com/googleforgames/agones.
 */
import { writeGameServer } from "./model/game-server.ts";
import type { Counter, List } from "./model/tallies.ts";
import type { Session } from "./session.ts";
import type { Sink } from "./wire/sink.ts";
import type { Source } from "./wire/source.ts";

export type Answer = (sink: Sink) => void;

export interface Call {
  /** `/SERVICE/METHOD`. */
  readonly grpc: string;
  readonly method: "GET" | "POST" | "PUT" | "PATCH";
  /** `{name}` stands for one part of the path. */
  readonly path: string;
  /** many: gRPC has a stream of requests, with one answer at its end. watch: a stream of answers. */
  readonly kind: "one" | "many" | "watch";
  /** For a watch: what its first answer is. Throws a Refusal. */
  readonly run: (session: Session, request: Source) => Answer | Promise<Answer>;
}

const nothing: Answer = () => undefined;

/** What the answers of WatchGameServer are. */
export const gameServerOf = (session: Session): Answer => writeGameServer(session.gameServer);

const stable = "/agones.dev.sdk.SDK";
const alpha = "/agones.dev.sdk.alpha.SDK";
const beta = "/agones.dev.sdk.beta.SDK";

export const calls: readonly Call[] = [
  one(`${stable}/Ready`, "POST", "/ready", async (session) => {
    await session.ready();
    return nothing;
  }),
  one(`${stable}/Allocate`, "POST", "/allocate", async (session) => {
    await session.allocate();
    return nothing;
  }),
  one(`${stable}/Shutdown`, "POST", "/shutdown", async (session) => {
    await session.shutdown();
    return nothing;
  }),
  one(`${stable}/Reserve`, "POST", "/reserve", async (session, request) => {
    await session.reserve(request.long(1, "seconds"));
    return nothing;
  }),
  {
    ...one(`${stable}/Health`, "POST", "/health", (session) => {
      session.health();
      return nothing;
    }),
    kind: "many",
  },
  one(`${stable}/GetGameServer`, "GET", "/gameserver", gameServerOf),
  { ...one(`${stable}/WatchGameServer`, "GET", "/watch/gameserver", gameServerOf), kind: "watch" },
  one(`${stable}/SetLabel`, "PUT", "/metadata/label", (session, request) => {
    session.change(() => session.metadata.setLabel(request.text(1, "key"), request.text(2, "value")));
    return nothing;
  }),
  one(`${stable}/SetAnnotation`, "PUT", "/metadata/annotation", (session, request) => {
    session.change(() => session.metadata.setAnnotation(request.text(1, "key"), request.text(2, "value")));
    return nothing;
  }),

  one(`${alpha}/PlayerConnect`, "POST", "/alpha/player/connect", (session, request) =>
    bool(session.change(() => session.players.connect(request.text(1, "playerID")))),
  ),
  one(`${alpha}/PlayerDisconnect`, "POST", "/alpha/player/disconnect", (session, request) =>
    bool(session.change(() => session.players.disconnect(request.text(1, "playerID")))),
  ),
  one(`${alpha}/SetPlayerCapacity`, "PUT", "/alpha/player/capacity", (session, request) => {
    session.change(() => session.players.setCapacity(request.long(1, "count")));
    return nothing;
  }),
  one(`${alpha}/GetPlayerCapacity`, "GET", "/alpha/player/capacity", ({ players }) => count(players.capacity)),
  one(`${alpha}/GetPlayerCount`, "GET", "/alpha/player/count", ({ players }) => count(players.count)),
  one(`${alpha}/IsPlayerConnected`, "GET", "/alpha/player/connected/{playerID}", ({ players }, request) =>
    bool(players.has(request.text(1, "playerID"))),
  ),
  one(`${alpha}/GetConnectedPlayers`, "GET", "/alpha/player/connected", ({ players: { ids } }) => {
    return (sink) => sink.list(1, "list", ids);
  }),

  one(`${beta}/GetCounter`, "GET", "/v1beta1/counters/{name}", ({ tallies }, request) => {
    const name = request.text(1, "name");
    return counter(name, tallies.counter(name));
  }),
  one(`${beta}/UpdateCounter`, "PATCH", "/v1beta1/counters/{name}", (session, request) => {
    const body = request.body(1);
    const name = body.text(1, "name");
    const set = body.optional(2, "count");
    const capacity = body.optional(3, "capacity");
    const diff = body.long(4, "countDiff");
    return counter(
      name,
      session.change(() => session.tallies.updateCounter({ name, count: set, capacity, diff })),
    );
  }),
  one(`${beta}/GetList`, "GET", "/v1beta1/lists/{name}", ({ tallies }, request) => {
    const name = request.text(1, "name");
    return list(name, tallies.list(name));
  }),
  one(`${beta}/UpdateList`, "PATCH", "/v1beta1/lists/{name}", (session, request) => {
    const body = request.body(1);
    const name = body.text(1, "name");
    const capacity = body.long(2, "capacity");
    const values = body.texts(3, "values");
    const paths = request.mask(2);
    return list(
      name,
      session.change(() => session.tallies.updateList({ name, capacity, values, paths })),
    );
  }),
  one(`${beta}/AddListValue`, "POST", "/v1beta1/lists/{name}:addValue", (session, request) => {
    const name = request.text(1, "name");
    return list(
      name,
      session.change(() => session.tallies.addValue(name, request.text(2, "value"))),
    );
  }),
  one(`${beta}/RemoveListValue`, "POST", "/v1beta1/lists/{name}:removeValue", (session, request) => {
    const name = request.text(1, "name");
    return list(
      name,
      session.change(() => session.tallies.removeValue(name, request.text(2, "value"))),
    );
  }),
];

function one(grpc: string, method: Call["method"], path: string, run: Call["run"]): Call {
  return { grpc, method, path, kind: "one", run };
}

function bool(value: boolean): Answer {
  return (sink) => sink.flag(1, "bool", value);
}

function count(value: number): Answer {
  return (sink) => sink.long(1, "count", value);
}

function counter(name: string, { count: value, capacity }: Counter): Answer {
  return (sink) => {
    sink.text(1, "name", name);
    sink.long(2, "count", value);
    sink.long(3, "capacity", capacity);
  };
}

function list(name: string, { capacity, values }: List): Answer {
  return (sink) => {
    sink.text(1, "name", name);
    sink.long(2, "capacity", capacity);
    sink.list(3, "values", values);
  };
}
