/** A command to copy. The page itself runs nothing. */
import type { JSX } from "preact";
import type { Remedy } from "../../src/api/shapes.ts";
import { CopyButton } from "./copy-button.tsx";

export function Command({ what, command }: Remedy): JSX.Element {
  return (
    <>
      <p class="command-label">{what}</p>
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
