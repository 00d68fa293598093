/** What to ask a server, and what its answer says. The answer comes from a stranger: it is cut to what it may be. */
import type { BerthRecord } from "berthd";
import { clean } from "../model/text.ts";

export interface Question {
  /** As the configuration names it: a game or a protocol of gamedig. */
  readonly type: string;
  readonly host: string;
  readonly port: number;
}

export interface PlayersAnswer {
  readonly players: number;
  readonly slots: number | null;
  /** What the server calls itself. */
  readonly name: string | null;
  readonly map: string | null;
  /** Its name in words, where the type is a game's and not only a protocol's. */
  readonly game: string | null;
}

/** The exit code of the process that asks, when it has worked too long for an answer. */
export const STUCK = 75;
/** More players than a real server has. */
const MOST_PLAYERS = 100_000;
const LONGEST = 128;

/** Undefined where nobody is to be asked: no server, or no query in its configuration. */
export function questionOf({ state, query, descriptors }: BerthRecord): Question | undefined {
  if (state === "vacant" || !query) return undefined;
  const first = descriptors.map(({ address }) => /^(?:udp|tcp):\/\/(\[[^\]]+\]|[^:]+):(\d+)/.exec(address ?? ""));
  const [, bound = "", ownPort = ""] = first.find((match) => match !== null) ?? [];
  const port = query.port ?? Number(ownPort);
  const host = query.host ?? loopbackFor(bound.replace(/^\[|\]$/g, ""));
  return port > 0 && host !== "" ? { type: query.type, host, port } : undefined;
}

/** Where a server is asked that listens on every address. */
function loopbackFor(bound: string): string {
  if (bound === "0.0.0.0") return "127.0.0.1";
  return bound === "::" ? "::1" : bound;
}

/** The type as gamedig knows it: one of its games, else one of its protocols. Undefined where it knows neither. */
export function typeFor(type: string, games: Readonly<Record<string, unknown>>, protocols: readonly string[]) {
  if (Object.hasOwn(games, type)) return type;
  const plain = type.replaceAll("-", "");
  return protocols.includes(plain) ? `protocol-${plain}` : undefined;
}

/** Undefined where the answer has no number of players. */
export function answerOf(result: unknown, game: unknown = null): PlayersAnswer | undefined {
  if (typeof result !== "object" || result === null) return undefined;
  const facts: Readonly<Record<string, unknown>> = { ...result };
  const players =
    countIn(facts["numplayers"]) ?? (Array.isArray(facts["players"]) ? facts["players"].length : undefined);
  if (players === undefined) return undefined;
  return {
    players: Math.min(players, MOST_PLAYERS),
    slots: countIn(facts["maxplayers"]) || null,
    name: textIn(facts["name"]),
    map: textIn(facts["map"]),
    game: textIn(game),
  };
}

/** What the process that asks has sent: it is believed no more than the stranger whom it asked. */
export function answerIn(sent: unknown): PlayersAnswer | undefined {
  if (typeof sent !== "object" || sent === null) return undefined;
  const { players, slots, name, map, game }: Readonly<Record<string, unknown>> = { ...sent };
  return answerOf({ numplayers: players, maxplayers: slots, name, map }, game);
}

function countIn(value: unknown): number | undefined {
  const count = Number(value);
  if (value === null || value === "" || !Number.isInteger(count) || count < 0) return undefined;
  return Math.min(count, MOST_PLAYERS);
}

function textIn(value: unknown): string | null {
  const text = typeof value === "string" ? clean(value, LONGEST) : "";
  return text === "" ? null : text;
}
