import { afterEach, describe, expect, it, vi } from "vitest";
import { Complaints } from "../../../src/broker/access/limits/complaints.ts";
import { startBroker } from "../../support/broker.ts";
import { RawPeer } from "../../support/peer.ts";

describe("connections that send rubbish", () => {
  it("write a few lines, one for each, and are counted after that", async () => {
    await using test = await startBroker({});
    for (let n = 0; n < 100; n++) {
      using peer = await RawPeer.connect(test.socket);
      await peer.send("rubbish\0");
      await peer.receiveAll();
    }
    const lines = () => test.log.filter(({ event }) => event === "protocol-error" || event === "dropped");
    expect(lines()).toHaveLength(5);
    await test.broker.close();
    expect(lines()).toHaveLength(5);
    expect(test.log.filter(({ event }) => event === "dropped-more")).toMatchObject([
      { message: "95 more connections were refused or dropped within 10 s" },
    ]);
  });
});

describe("complaints", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("are logged again after ten seconds, when the rest was summed up", () => {
    vi.useFakeTimers();
    const log: string[] = [];
    const complaints = new Complaints((_, message) => log.push(message));
    for (let n = 0; n < 6; n++) complaints.log("notice", "x");
    vi.advanceTimersByTime(10_000);
    complaints.log("notice", "y");
    complaints.close();
    expect(log).toEqual([..."xxxxx", "1 more connection was refused or dropped within 10 s", "y"]);
  });
});
