/** Beside "Serving": an older image or an older configuration than the one in force. */
import type { JSX } from "preact";
import { Icon } from "./icon.tsx";

export function OutdatedBadge(): JSX.Element {
  return (
    <span class="badge">
      <Icon name="outdated" />
      Outdated
    </span>
  );
}
