/** A box above the last known data: who does not answer, what still works, and a command that shows why. */
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { Host, Time } from "../../src/api/shapes.ts";
import { now } from "../live/clock.ts";
import type { Connection } from "../live/stream.ts";
import { asOf } from "../model/format.ts";
import { Command } from "../parts/command.tsx";
import { Icon } from "../parts/icon.tsx";
import { say } from "../parts/say.ts";
import { For, NextTry } from "../parts/ticking.tsx";

/** The broker of this page's host; or a peer, where it may be anything between this page and that broker. */
export function HostNoAnswer(props: {
  readonly host: Host;
  readonly isPeer: boolean;
  readonly since: Time;
}): JSX.Element {
  const { host, isPeer, since } = props;
  if (isPeer) {
    return (
      <Note title={`${host.id} does not answer`}>
        <p>
          Since {asOf(since, now())}, for <For since={since} />. It may be the host, the network, its berth-web or its
          broker; servers run on without the last two. What you see is how it was then.{" "}
          {host.nextTry === null ? null : <NextTry at={host.nextTry} />}
        </p>
        <Command
          what="See why, on the host"
          command="systemctl status berth@web berthd; journalctl -u berth@web -u berthd -n 30"
        />
      </Note>
    );
  }
  return (
    <Note title={`The broker on ${host.id} does not answer`}>
      <p>
        Since {asOf(since, now())}, for <For since={since} />. Its servers run on and nobody is disconnected; new joins
        wait in the kernel. What you see is how it was then.{" "}
        {host.nextTry === null ? null : <NextTry at={host.nextTry} />}
      </p>
      <Command what="See why, on the host" command="systemctl status berthd; journalctl -u berthd -n 30" />
    </Note>
  );
}

/** The server of this page. */
export function PageNoAnswer({ lost }: { readonly lost: Extract<Connection, { kind: "lost" }> }): JSX.Element {
  return (
    <Note title="This page's server does not answer">
      <p>
        Since {asOf(lost.since, now())}, for <For since={lost.since} />. The berths and their servers do not depend on
        it. What you see is how it was then. <NextTry at={lost.nextTry} />
      </p>
      <Command what="See why, on the host" command="systemctl status berth@web; journalctl -u berth@web -n 30" />
    </Note>
  );
}

export function Denied({ message }: { readonly message: string }): JSX.Element {
  return (
    <Note title="You may not see this page">
      <p>{message}</p>
    </Note>
  );
}

/** Screen readers read the title once. As a live region, the box would make them read its countdown each second. */
function Note({
  title,
  children,
}: {
  readonly title: string;
  readonly children: JSX.Element | JSX.Element[];
}): JSX.Element {
  useEffect(() => say(title), [title]);
  return (
    <div class="note">
      <Icon name="failed" />
      <div>
        <h2>{title}</h2>
        {children}
      </div>
    </div>
  );
}
