/** `berth-launch --keep-binds` without a broker: what it takes from the channel, and what it refuses. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { check } from "../../src/errors.ts";
import { closeAll, type FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { leaksNothing, openFds } from "../support/fds.ts";
import { memfd, socketPair } from "../support/sockets.ts";
import { launcher } from "./fake-broker.ts";

const patiently = { timeout: 30_000 };
const FIRST_OF_MEMFDS = 4; // above the standard ones and the channel

leaksNothing("soon");

let child: ChildProcess | undefined;
afterEach(() => {
  child?.kill("SIGKILL");
});

/** Starts the fallback, which may open no more than `limit` files. */
function start(limit: number): { fallback: ChildProcess; stderr: Readable; channel: FdHandle } {
  const [channel, theirs] = socketPair();
  using _ = theirs;
  const fallback = spawn("sh", ["-c", `ulimit -n ${limit} && exec "$0" --keep-binds 3`, launcher], {
    stdio: ["ignore", "ignore", "pipe", theirs.fd],
  });
  child = fallback;
  if (fallback.stderr === null) throw new Error("the fallback has no stderr to read");
  return { fallback, stderr: fallback.stderr, channel };
}

function send(channel: FdHandle, names: readonly string[]): void {
  const files = names.map((name) => memfd(name));
  const fds = Int32Array.from(files, (file) => file.fd);
  check("sendmsg", native.sendmsg(channel.fd, new Uint8Array(1), 0, fds, fds.length));
  closeAll(files);
}

/** The memfds that a process has open, by name. */
function memfdsOf(pid: number | undefined): string[] {
  return openFds(pid ?? -1).flatMap((line) => /\/memfd:(\S+)/.exec(line)?.[1] ?? []);
}

test("descriptors beyond the filter and its record are closed", async () => {
  const { fallback, channel } = start(64);
  using _ = channel;
  send(channel, ["filter", "record", "extra", "more"]);
  await expect.poll(() => memfdsOf(fallback.pid), patiently).toEqual(["filter", "record"]);
  // It goes on, and takes the next one.
  send(channel, ["other", "its-record", "extra"]);
  await expect.poll(() => memfdsOf(fallback.pid), patiently).toEqual(["filter", "record", "other", "its-record"]);
});

test("a filter that does not fit in its open files is refused whole, and it goes on", async () => {
  const { fallback, stderr, channel } = start(FIRST_OF_MEMFDS + 1);
  const said = text(stderr);
  const ended = once(fallback, "exit");
  send(channel, ["filter", "record"]);
  // Alone it fits: nothing of the first is left.
  send(channel, ["lone"]);
  await expect.poll(() => memfdsOf(fallback.pid), patiently).toEqual(["lone"]);
  fallback.kill("SIGTERM");
  channel.close();
  expect(await ended).toEqual([null, "SIGTERM"]);
  expect(await said).toMatch(
    /^berth-launch: the bind fallback could not receive a filter: [^\n]+LimitNOFILE=[^\n]+\n$/,
  );
});

test("once the broker is gone and no filter is left, it ends", async () => {
  const { fallback, channel } = start(64);
  const ended = once(fallback, "exit");
  // A socket whose peer is closed hangs up, as a filter does that no process has any more.
  const [ours, theirs] = socketPair();
  const record = memfd("record");
  check("sendmsg", native.sendmsg(channel.fd, new Uint8Array(1), 0, Int32Array.of(theirs.fd, record.fd), 2));
  theirs.close();
  record.close();
  await expect.poll(() => memfdsOf(fallback.pid), patiently).toEqual(["record"]);
  channel.close();
  ours.close();
  expect(await ended).toEqual([0, null]);
});
