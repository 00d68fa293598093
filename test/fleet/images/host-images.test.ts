/** What an agent knows of its host's images, also where the program that tells it does not answer. */
import { expect, it } from "vitest";
import type { ImageList } from "../../../packages/fleet/src/agent/copies/state-socket.ts";
import { HostImages } from "../../../packages/fleet/src/agent/images/host-images.ts";
import { Fault } from "../../../packages/fleet/src/fault.ts";

const never = new AbortController().signal;
const arena = { name: "arena", version: "2.1", digest: `sha256:${"a".repeat(64)}`, bytes: 5 };

function world() {
  const said: string[] = [];
  const program = {
    asked: 0,
    answer: async (_: AbortSignal): Promise<ImageList> => ({ folder: "/none", room: 2 ** 30, images: [arena] }),
    images: (signal: AbortSignal): Promise<ImageList> => {
      program.asked++;
      return program.answer(signal);
    },
  };
  const store = { folder: "/", mostBytes: 2 ** 30 };
  const images = new HostImages(
    program,
    store,
    () => void said.push("changed"),
    (why) => void said.push(why),
  );
  return { said, program, images };
}

/** As a program that never answers. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (signal.aborted) reject(signal.reason);
  });
}

it("a question that fails, or that nobody wants any more, removes no image, and is asked again soon", async () => {
  const { said, program, images } = world();
  expect(await images.look(never)).toEqual([arena]);
  program.answer = untilAborted;
  expect(await images.look(AbortSignal.abort())).toBeUndefined();
  expect(said).toEqual(["changed"]);
  expect(images.has(arena)).toBe(true);
  program.answer = async () => {
    throw new Fault("STATE_REFUSED", "too many connections");
  };
  expect(await images.look(never)).toBeUndefined();
  expect(images.stock?.images).toEqual([arena]);
  expect(said).toEqual(["changed", "it is not known which images this host has: too many connections"]);
  const before = program.asked;
  program.answer = async () => ({ folder: "/none", room: 1, images: [] });
  const stop = new AbortController();
  const running = images.run(stop.signal);
  await expect.poll(() => images.has(arena), { timeout: 30_000 }).toBe(false);
  expect(program.asked).toBe(before + 1);
  stop.abort();
  await running;
});

it("a program that does not answer holds up no agent that begins", { timeout: 60_000 }, async () => {
  const { said, program, images } = world();
  program.answer = untilAborted;
  await images.first(61 / 3, never);
  expect(images.stock).toBeUndefined();
  expect(said).toEqual([
    "it is not known which images this host has: the program behind --state-socket does not answer",
  ]);
});
