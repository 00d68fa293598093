/** Berths stay in the order of their names, whichever of them a reload adds, removes or leaves alone. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { acquire } from "../../../src/client/acquire.ts";
import { startBroker } from "../../support/broker.ts";

const berth = '[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n';

it("a reload that adds, removes and brings back berths keeps the order, and the sockets of the others", async () => {
  await using test = await startBroker({ "b.toml": berth, "d.toml": berth });
  const names = () => test.broker.berths.map(({ name }) => name);
  const addressOf = (name: string) => test.broker.berths.find((one) => one.name === name)?.descriptors[0]?.address;
  const first = addressOf("b");
  const write = (name: string, text: string) => writeFileSync(join(test.folder.path, "config", `${name}.toml`), text);

  write("c", berth);
  write("a", "[sockets.game]\nlisten = 5\n");
  expect(() => test.broker.reload()).toThrow("a.toml");
  expect(names()).toEqual(["b", "d"]);
  write("a", berth);
  test.broker.reload();
  expect(names()).toEqual(["a", "b", "c", "d"]);
  expect(addressOf("b")).toBe(first);

  await using tenancy = await acquire("c", { socket: test.socket });
  const taken = addressOf("c");
  rmSync(join(test.folder.path, "config", "c.toml"));
  rmSync(join(test.folder.path, "config", "a.toml"));
  test.broker.reload();
  expect(names()).toEqual(["b", "d"]);
  write("c", berth);
  test.broker.reload();
  expect(names()).toEqual(["b", "c", "d"]);
  expect(addressOf("c")).toBe(taken);
  expect(test.broker.berths[1]?.lease?.id).toBe(tenancy.lease);
  expect(addressOf("b")).toBe(first);
});
