/** A command to copy. The page itself runs nothing. */
import type { JSX } from "preact";
import type { Remedy } from "../../src/api/shapes.ts";
import { useStore } from "../live/store.ts";
import { world as worldStore } from "../live/stream.ts";
import { CopyButton } from "./copy-button.tsx";

/** `host`: where to run it. That is said only on a page of several hosts. */
export function Command({ what, command, host }: Remedy & { readonly host?: string }): JSX.Element {
  const isOne = useStore(worldStore).hosts.size < 2;
  return (
    <>
      <p class="command-label">{isOne || host === undefined ? what : `${what}, on ${host}`}</p>
      <BareCommand command={command} what="command" />
    </>
  );
}

export function BareCommand({ command, what }: { readonly command: string; readonly what: string }): JSX.Element {
  return (
    <div class="command">
      <code>{command}</code>
      <CopyButton text={command} what={what} />
    </div>
  );
}
