/** What is shown of a socket that could not be opened again. */
import { expect, it } from "vitest";
import { lostProblem } from "../../../src/broker/berths/berth/lost-problem.ts";
import { berth } from "../../config/fixture.ts";

it.each([
  ["bind udp://127.0.0.1:9: EADDRINUSE", /^another process has the address: find it with `ss -apn`/],
  ["setsockopt SO_BINDTODEVICE: ENODEV", /^remove the cause that the message names/],
])("of %s the remedy names another process only where there is one", (why, remedy) => {
  const spec = berth({ "etc/a.toml": '[sockets.game]\nlisten = ["udp://127.0.0.1:9"]\n' });
  const problem = lostProblem(spec, { name: "game", socket: { lost: `cannot be opened again: ${why}` } });
  expect(problem).toMatchObject({ message: `berth a: socket game cannot be opened again: ${why}`, line: 2 });
  expect(problem?.remedy).toMatch(remedy);
  expect(problem?.remedy).toMatch(/; the berth can be taken, without this socket$/);
  expect(lostProblem(spec, { name: "game", socket: { lost: undefined } })).toBeUndefined();
});
