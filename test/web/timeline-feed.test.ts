/** What happens on berths, to the history and to the pages: both get the same, and no flood. */
import { expect, it } from "vitest";
import type { Happened } from "../../packages/web/src/history/event-limit.ts";
import { TimelineFeed } from "../../packages/web/src/timeline-feed.ts";

const MINUTE = 60_000;
const start = 20_000_000 * MINUTE;

it("of a berth with too many events in a minute, history and pages get 60, and one that counts the rest", async () => {
  const kept: Happened[] = [];
  const shown: Happened[] = [];
  const feed = new TimelineFeed({
    async keep(happened) {
      kept.push(...happened);
    },
    show: (happened) => shown.push(happened),
  });
  const happens = (name: string, text: string) =>
    feed.happened({ host: "vm", name }, { at: start, kind: "lease", text, detail: null });
  for (let count = 1; count <= 5_000; count++) await happens("crowded", `Taken ${count}`);
  await happens("arena", "Taken");
  await feed.tick(start + MINUTE - 1);
  expect([shown.length, shown.at(-1)?.name]).toEqual([61, "arena"]);
  await feed.tick(start + MINUTE);
  await feed.tick(start + 2 * MINUTE);
  expect([shown.length, shown.at(-1)?.event.text]).toEqual([62, "… and 4939 more, then: Taken 5000"]);
  expect(kept).toEqual(shown);
});
