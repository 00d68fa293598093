#!/usr/bin/env node
/**
 * `check.mjs HISTORY`: whether what happened to a fleet was right. HISTORY has one event a line, as JSON. Prints what
 * was wrong, and how much was looked at; exit status 1 if anything was wrong.
 *
 * - `{"kind":"put","revision",…,"key","value"}` and `{"kind":"removed","revision","key"}`: every change in etcd since
 *   revision 1, in order, keys without the fleet's prefix.
 * - `{"kind":"started"|"ended","host","berth","generation","ms"}`: of a server, by itself. `ms`: since 1970.
 * - `{"kind":"killed","host","ms"}`: every server of the host has ended.
 * - `{"kind":"leased"|"unleased","host","ms"}`: somebody saw that etcd has the host's key, or has it no longer.
 * - `{"kind":"allocated","berth","generation"}`: a caller was told that the berth is theirs.
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** A host may have begun a start before its lease ended. */
const START_SLACK_MS = 5_000;

/** What is wrong with the history, as sentences; and counts. Pure. */
export function check(history) {
  const wrong = [];
  const changes = history.filter(({ kind }) => kind === "put" || kind === "removed");
  const counts = { revisions: 0, placements: 0, allocations: 0, starts: 0 };
  const placedOn = checkChanges(changes, wrong, counts);
  checkServers(history, placedOn, wrong, counts);
  checkLeases(history, wrong);
  checkCallers(history, changes, wrong);
  return { wrong, counts };
}

/** The state of etcd after each transaction. Result: the host of each berth and generation that was ever placed. */
function checkChanges(changes, wrong, counts) {
  const state = new Map();
  const placedOn = new Map();
  const generations = new Map();
  for (let at = 0; at < changes.length; ) {
    const { revision } = changes[at];
    const before = new Map();
    for (; changes[at]?.revision === revision; at++) {
      const { kind, key, value } = changes[at];
      before.set(key, state.get(key));
      if (kind === "removed") state.delete(key);
      else state.set(key, JSON.parse(value));
    }
    counts.revisions++;
    const say = (sentence) => wrong.push(`revision ${revision}: ${sentence}`);
    for (const [key, former] of before) {
      const now = state.get(key);
      if (key.startsWith("placements/") && now !== undefined) {
        counts.placements++;
        const { berth, host, generation } = now;
        if (generation <= (generations.get(berth) ?? 0)) say(`${berth} has generation ${generation} again`);
        generations.set(berth, generation);
        placedOn.set(`${berth} ${generation}`, host);
        if (!state.has(`hosts/${host}`)) say(`${berth} was placed on ${host}, which has no lease`);
      }
      if (key.startsWith("allocations/") && now !== undefined) {
        counts.allocations++;
        const { berth, generation, server } = now;
        const isSame = former?.generation === generation && former.server === server;
        if (isSame && !(former.shared && now.shared)) say(`${berth} was allocated twice`);
        const placed = state.get(`placements/${berth}`);
        if (placed?.generation !== generation) say(`${berth} was allocated with the old generation ${generation}`);
        const report = placed && state.get(`states/${placed.host}/${berth}`);
        if (report?.server !== server) say(`${berth} was allocated without its server ${server}`);
      }
    }
    if ([...before.keys()].some((key) => /^(?:placements|assignments|bookings)\//.test(key))) checkHosts(state, say);
  }
  return placedOn;
}

/** No port twice; a host is assigned and has booked what is placed on it, and nothing else. */
function checkHosts(state, say) {
  const ports = new Set();
  const placed = new Set();
  for (const [key, { berth, host, generation, ports: drawn }] of state) {
    if (!key.startsWith("placements/")) continue;
    placed.add(`${host}/${berth}`);
    for (const port of Object.values(drawn)) {
      if (ports.has(`${host}:${port}`)) say(`port ${port} of ${host} was given twice`);
      ports.add(`${host}:${port}`);
      const booking = state.get(`bookings/${host}`)?.berths[berth];
      if (!booking?.ports.includes(port)) say(`port ${port} of ${host} is not booked for ${berth}`);
    }
    const assigned = state.get(`assignments/${host}/${berth}`);
    if (assigned?.generation !== generation) say(`${host} is not assigned ${berth} of generation ${generation}`);
  }
  for (const [key, value] of state) {
    const [kind, host, berth] = key.split("/");
    if (kind === "assignments" && !placed.has(`${host}/${berth}`))
      say(`${host} is assigned ${berth}, not placed there`);
    if (kind !== "bookings") continue;
    for (const name of Object.keys(value.berths))
      if (!placed.has(`${host}/${name}`)) say(`${host} has booked ${name}, which is not placed there`);
  }
}

/** One server at a time of a berth on a host, and none of an older generation after a newer one. */
function checkServers(history, placedOn, wrong, counts) {
  const running = new Map();
  const newest = new Map();
  const events = history.filter(({ kind }) => kind === "started" || kind === "ended" || kind === "killed");
  for (const { kind, host, berth, generation } of events.sort((one, other) => one.ms - other.ms)) {
    const place = `${host}/${berth}`;
    if (kind === "killed") for (const key of [...running.keys()]) if (key.startsWith(`${host}/`)) running.delete(key);
    if (kind === "ended" && running.get(place) === generation) running.delete(place);
    if (kind !== "started") continue;
    counts.starts++;
    const say = (sentence) => wrong.push(`${berth} of generation ${generation} on ${host} ${sentence}`);
    if (placedOn.get(`${berth} ${generation}`) !== host) say("was started, and was never placed there");
    if (running.has(place)) say(`was started while that of generation ${running.get(place)} ran`);
    if (generation < (newest.get(place) ?? 0)) say(`was started after one of generation ${newest.get(place)}`);
    running.set(place, generation);
    newest.set(place, Math.max(generation, newest.get(place) ?? 0));
  }
}

/** A host without its lease begins no berth that is new there. */
function checkLeases(history, wrong) {
  const seen = new Set();
  for (const { host, berth, generation, ms } of history.filter(({ kind }) => kind === "started")) {
    const which = `${host} ${berth} ${generation}`;
    if (seen.has(which)) continue;
    seen.add(which);
    const last = history.filter((one) => /^(?:un)?leased$/.test(one.kind) && one.host === host && one.ms <= ms).at(-1);
    if (last?.kind === "unleased" && ms - last.ms > START_SLACK_MS)
      wrong.push(`${berth} of generation ${generation} began on ${host}, which had no lease for ${ms - last.ms} ms`);
  }
}

/** Nobody was told of an allocation that etcd has not. */
function checkCallers(history, changes, wrong) {
  const kept = new Map();
  for (const { kind, key, value } of changes) {
    if (kind !== "put" || !key.startsWith("allocations/")) continue;
    const { berth, generation } = JSON.parse(value);
    kept.set(`${berth} ${generation}`, (kept.get(`${berth} ${generation}`) ?? 0) + 1);
  }
  for (const { berth, generation } of history.filter(({ kind }) => kind === "allocated")) {
    const left = (kept.get(`${berth} ${generation}`) ?? 0) - 1;
    if (left < 0) wrong.push(`${berth} of generation ${generation} was given to more callers than etcd has`);
    kept.set(`${berth} ${generation}`, left);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const lines = readFileSync(process.argv[2] ?? 0, "utf8").split("\n");
  const { wrong, counts } = check(lines.filter((line) => line !== "").map((line) => JSON.parse(line)));
  for (const sentence of wrong) console.log(sentence);
  console.log(JSON.stringify(counts));
  process.exitCode = wrong.length > 0 ? 1 : 0;
}
