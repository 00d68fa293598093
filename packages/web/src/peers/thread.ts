/**
 * The thread that reads what peers say: an answer that takes long to read holds up other peers, and not the page of
 * this host. It tells the page's thread what has changed.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { BerthRow, Host, StreamTimeline } from "../api/shapes.ts";
import { EventLimit } from "../history/event-limit.ts";
import type { Answer } from "../http/answer.ts";
import type { Peer } from "./peer.ts";
import { Peers } from "./peers.ts";
import type { AskThread, Question, ThreadSays, ThreadStart } from "./thread-messages.ts";

/** Milliseconds between two looks at what has changed. */
const TICK_MS = 500;

const port = parentPort;
if (port === null) throw new Error("this is no thread");
const say = (message: ThreadSays): void => port.postMessage(message);
const show = (happened: readonly StreamTimeline[]): void => {
  for (const one of happened) say({ kind: "timeline", happened: one });
};

const { places, tls }: ThreadStart = workerData;
const limit = new EventLimit();
const peers = new Peers(places, tls, {
  // By this host's clock: the time of an event is the peer's word.
  timeline: (happened) => show(limit.admit(happened, Date.now())),
  say: (message) => say({ kind: "say", message }),
});

interface Told {
  host: Host | undefined;
  rows: readonly BerthRow[] | undefined;
}

const told = new Map<Peer, Told>(peers.all.map((peer) => [peer, { host: undefined, rows: undefined }]));

function tell(peer: Peer, before: Told): void {
  const { host, rows } = peer;
  const hasAnswered = peer.ownName !== undefined;
  if (host !== before.host) say({ kind: "host", host, hasAnswered });
  before.host = host;
  if (!hasAnswered || rows === before.rows) return;
  // A row that has not changed is the same object.
  const old = new Set(before.rows);
  const names = new Set(rows.map(({ name }) => name));
  const removed = (before.rows ?? []).flatMap(({ name }) => (names.has(name) ? [] : [name]));
  const changed = rows.filter((row) => !old.has(row));
  say({ kind: "rows", host: host.id, isAll: before.rows === undefined, changed, removed });
  before.rows = rows;
}

function answerTo(question: Question): Promise<Answer> {
  const { host, name } = question;
  if (question.kind === "quiet") return peers.quiet(host, name);
  return peers.berth(host, question.name, question.part, new URLSearchParams(question.query));
}

port.on("message", ({ id, question }: AskThread) => {
  void answerTo(question).then(({ status, body }) => say({ kind: "answer", id, status, bytes: body.bytes }));
});
setInterval(() => {
  for (const [peer, before] of told) tell(peer, before);
  show(limit.over(Date.now()));
}, TICK_MS);
peers.start();
