/** Who is connected to a server: what all ids may take. */
import { expect, it } from "vitest";
import { Players } from "../../../packages/fleet/src/sdk/model/players.ts";

it("ids of players have 256 KiB in all, and one that leaves makes room", () => {
  const players = new Players();
  players.setCapacity(10_000);
  const id = (number: number): string => "€".repeat(128) + String(number).padStart(128, "0"); // 512 bytes
  for (let number = 0; number < 512; number++) players.connect(id(number));
  expect(() => players.connect("x")).toThrow("the ids of all players have 256 KiB at most");
  expect(players.connect(id(1))).toBe(false);
  expect(players.disconnect("nobody")).toBe(false);
  expect(players.disconnect(id(1))).toBe(true);
  expect(players.connect("x")).toBe(true);
  expect(players.count).toBe(512);
});
