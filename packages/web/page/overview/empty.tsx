/** No berth yet: three commands that make the first one. */
import type { JSX } from "preact";
import type { Remedy } from "../../src/api/shapes.ts";
import { BareCommand } from "../parts/command.tsx";

const STEPS: readonly Remedy[] = [
  {
    what: "Watch your server for ten seconds; this writes down what it binds",
    command: "berth explain --for 10 arena -- /srv/arena/server > /etc/berthd/arena.toml",
  },
  { what: "Check it: every problem at once, with its remedy", command: "berth check" },
  {
    what: "Load it, and start the server on its berth",
    command: "berth reload && berth enable --now arena",
  },
];

export function Empty(): JSX.Element {
  return (
    <div class="empty">
      <h2>No berths yet</h2>
      <p>
        A berth is one server's place: its sockets, its user, its files. Three commands, on the host, make the first
        one.
      </p>
      <ol>
        {STEPS.map(({ what, command }, at) => (
          <li key={command}>
            <h2>
              <span>{at + 1}</span>
              {what}
            </h2>
            <BareCommand command={command} what="command" />
          </li>
        ))}
      </ol>
      <p class="by-itself">It appears here by itself, as soon as the broker knows it.</p>
      <p class="by-itself">
        Are there berths already? Then the user of this page may not see them: start berthd with --observer and its
        name.
      </p>
    </div>
  );
}
