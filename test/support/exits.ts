/** Watches exits of processes by a poll for each, which holds no descriptor of its own. */
import type { Exits } from "../../src/broker/berths/exits.ts";
import { check } from "../../src/errors.ts";
import { type Native, native, READABLE } from "../../src/native.ts";

export function exitsByPoll(sys: Native = native): Pick<Exits, "sys" | "watch"> {
  return {
    sys,
    watch: (pidfd, onExit) => {
      const poll = new sys.Poll(pidfd, () => {
        poll.close();
        onExit();
      });
      check("poll pidfd", poll.start(READABLE));
      return { pause: () => poll.start(0), resume: () => poll.start(READABLE), close: () => poll.close() };
    },
  };
}
