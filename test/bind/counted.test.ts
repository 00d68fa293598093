/** The binds of a server are counted by what they came to. */
import { describe, expect, test } from "vitest";
import { connect } from "../../src/client/connect.ts";
import { spawnBroker } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, linesOf } from "./harness.ts";

/** Binds one of the berth's, one of somebody else, one of its own choice, and one that the berth has already. */
const script = `
import socket, sys
def bind(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try: s.bind((host, port)); print("ok", flush=True)
    except OSError as e: print(e.errno, flush=True)
    return s
kept = [bind("127.0.0.1", int(sys.argv[1])), bind("127.0.0.1", int(sys.argv[2])), bind("127.0.0.1", 0)]
`;

describe("binds that the broker answers", needs("root"), () => {
  test("are counted for the berth, by their results", async () => {
    const [own, other] = [await freePort(), await freePort()];
    await using broker = await spawnBroker({ "arena.toml": berth({ game: [`udp://127.0.0.1:${own}`] }) });
    const said = await linesOf(broker, "arena", ["python3", "-c", script, String(own), String(other)]);
    expect(said).toEqual(["ok", "13", "ok"]);
    using client = await connect({ socket: broker.socket });
    const binds: Record<string, unknown> = {};
    for await (const { name, object, fields, value } of client.metrics())
      if (name === "io.berthd.Broker.Binds" && object === "arena") binds[fields?.["result"] ?? ""] = value;
    expect(binds).toEqual({ held: 1, own: 1, kernel: 0, refused: 1, busy: 0, failed: 0 });
  });
});
