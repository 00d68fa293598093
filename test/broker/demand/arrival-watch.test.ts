/** Waiting for what comes on sockets that nobody reads. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ArrivalWatch } from "../../../src/broker/demand/arrival-watch.ts";
import { native } from "../../../src/native.ts";
import { decodeSockaddr, encodeSockaddr } from "../../../src/net/address.ts";
import { leaksNothing } from "../../support/fds.ts";
import { lastPoll, scripted } from "../../support/scripted-native.ts";
import { boundSocket } from "../../support/sockets.ts";

const EBADF = 9;

leaksNothing();
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Sends the socket a datagram from itself. */
function sendItself(fd: number): void {
  const name = new Uint8Array(128);
  const address = decodeSockaddr(name.subarray(0, native.getsockname(fd, name)));
  if (address === undefined) throw new Error("not bound");
  using sender = boundSocket("udp://127.0.0.1:0");
  expect(native.connect(sender.fd, encodeSockaddr(address))).toBe(0);
  expect(native.sendmsg(sender.fd, Buffer.from("x"), 0, new Int32Array(0), 0)).toBe(1);
}

it("reports once, after it stopped watching the socket", () => {
  using socket = boundSocket("udp://127.0.0.1:0");
  const woken = vi.fn(() => expect(lastPoll().closed).toBe(true));
  const watch = new ArrivalWatch(scripted(), woken);
  watch.arm([socket.fd]);
  expect(lastPoll().turn()).toBe(false);
  sendItself(socket.fd);
  expect(watch.waits([socket.fd])).toBe(true);
  expect(lastPoll().turn()).toBe(true);
  expect(lastPoll().turn()).toBe(false);
  expect(woken).toHaveBeenCalledTimes(1);
  expect(native.recvmsg(socket.fd, new Uint8Array(1), 0, new Int32Array(255))).toBe(1); // it is all there
});

it("looks from time to time at a socket whose poll fails, instead of spinning", () => {
  using socket = boundSocket("udp://127.0.0.1:0");
  const woken = vi.fn();
  const watch = new ArrivalWatch(scripted(), woken);
  watch.arm([socket.fd]);
  const first = lastPoll();
  first.fail(-EBADF);
  expect(first.closed).toBe(true);
  expect(lastPoll()).toBe(first);
  vi.advanceTimersByTime(1000);
  expect(lastPoll()).not.toBe(first);
  sendItself(socket.fd);
  lastPoll().fail(-EBADF);
  expect(woken).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(5000);
  expect(woken).toHaveBeenCalledTimes(1);
});

it("reports nothing once it is disarmed", () => {
  using socket = boundSocket("udp://127.0.0.1:0");
  const watch = new ArrivalWatch(scripted(), () => expect.unreachable());
  watch.arm([socket.fd]);
  lastPoll().fail(-EBADF);
  watch.disarm();
  const polls = lastPoll();
  sendItself(socket.fd);
  vi.advanceTimersByTime(5000);
  expect(lastPoll()).toBe(polls);
});
