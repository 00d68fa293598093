/** Calls while no broker answers: they are made again until the next one does, and not without end. */
import { expect, it, vi } from "vitest";
import { acrossRestarts } from "../../src/cli/across-restarts.ts";
import { BerthError } from "../../src/errors.ts";

const never = new AbortController().signal;
const gone = new BerthError("CONNECTION_CLOSED", "the broker has closed the connection");

it("asks again while there is no broker", async () => {
  const ask = vi.fn(async () => "answer");
  ask.mockRejectedValueOnce(gone).mockRejectedValueOnce(new BerthError("BROKER_UNREACHABLE", "no broker"));
  expect(await acrossRestarts(ask, never)).toBe("answer");
  expect(ask).toHaveBeenCalledTimes(3);
});

it("does not ask again after a refusal", async () => {
  const ask = vi.fn().mockRejectedValue(new BerthError("CONFIG_INVALID", "no"));
  await expect(acrossRestarts(ask, never)).rejects.toThrow("no");
  expect(ask).toHaveBeenCalledOnce();
});

it("gives up at Ctrl-C, with what the last try threw", async () => {
  const end = new AbortController();
  const ask = vi.fn(async () => {
    end.abort();
    throw gone;
  });
  await expect(acrossRestarts(ask, end.signal)).rejects.toBe(gone);
  expect(ask).toHaveBeenCalledOnce();
});

it("gives up after half a minute", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    const ask = vi.fn(async () => {
      vi.advanceTimersByTime(11_000);
      throw gone;
    });
    await expect(acrossRestarts(ask, never)).rejects.toBe(gone);
    expect(ask).toHaveBeenCalledTimes(3);
  } finally {
    vi.useRealTimers();
  }
});
